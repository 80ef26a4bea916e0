"""The sealing of what is said in one network, so that only those who take part in it can read or write it.

Every node of a cluster holds the key ring that opens its packets; a network's own ring (given by managers to nodes that
take part) opens the values of its records. Synthetic IVs (AES-SIV, RFC 5297): no nonce to be repeated, and the same
value is the same bytes each time, so that a record said again after a restart is no change to anybody. Network, table,
key and owner are authenticated with the value: what one node said cannot be said again by another, or elsewhere.

    value     tag of the key 4 | synthetic IV 16 | ciphertext
"""

from __future__ import annotations

import hmac
import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from fairlead.gossip.identity import NodeId
from fairlead.model.cluster import Ring
from fairlead.model.errors import Invalid

_TAG = struct.Struct(">I")
#: Bytes that sealing adds.
OVERHEAD_BYTES = _TAG.size + 16
_LABEL = b"fairlead gossip value\0"
#: Bytes of a network's key, as a ring has it.
_KEY_BYTES = 32


class Veil:
    """Seals and opens values of one network under its ring."""

    def __init__(self, network: str, ring: Ring) -> None:
        """Raises ``Invalid`` for a ring that has no primary key or a key that is none."""
        self._network = network.encode()
        self._primary = ring.primary
        self._ciphers = {key.tag: AESSIV(_derived(_bytes_of(key.secret), self._network)) for key in ring.keys}
        if ring.primary not in self._ciphers:
            raise Invalid(f"the ring of network {network} has no primary key")

    def seal(self, table: str, key: str, owner: NodeId, value: bytes) -> bytes:
        """A value as it is said."""
        tag = _TAG.pack(self._primary)
        bound = [tag, self._network, table.encode(), key.encode(), owner]
        # an empty text cannot be sealed by the library; the byte before also tells forms of values apart
        return tag + self._ciphers[self._primary].encrypt(b"\0" + value, bound)

    def unseal(self, table: str, key: str, owner: NodeId, sealed: bytes) -> bytes | None:
        """The value, None when nobody who takes part in the network said it so."""
        if len(sealed) <= OVERHEAD_BYTES:
            return None
        cipher = self._ciphers.get(_TAG.unpack_from(sealed)[0])
        if cipher is None:
            return None
        bound = [sealed[: _TAG.size], self._network, table.encode(), key.encode(), owner]
        try:
            return cipher.decrypt(sealed[_TAG.size :], bound)[1:]
        except InvalidTag:
            return None


def _derived(secret: bytes, network: bytes) -> bytes:
    """Two AES-256 keys of a network's key (HKDF-Expand, RFC 5869 section 2.3, one block of SHA-512)."""
    return hmac.digest(secret, _LABEL + network + b"\x01", "sha512")


def _bytes_of(secret: str) -> bytes:
    try:
        data = bytes.fromhex(secret)
    except ValueError:
        data = b""
    if len(data) != _KEY_BYTES:
        raise Invalid(f"a network's key has {_KEY_BYTES} bytes in hexadecimal")
    return data
