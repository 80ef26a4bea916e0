"""Keys that a cluster shares, and the sealing of what goes over the wire.

Theory of operation. The ring holds a few cluster keys, one of them primary: everything is sealed with the primary and
opened with whichever key the packet names, so a key is brought in with three steps (installed everywhere, made primary,
the old one removed) and nothing is lost in between, however many nodes have taken which step.

No node seals with the cluster key itself. Each derives a key of its own from it, its id and its boot epoch (HKDF-Expand,
RFC 5869 section 2.3), so the counter of one node is a nonce that can never meet another node's, nor that of its own
life before (NIST SP 800-38D section 8: a nonce twice under one key breaks AES-GCM). Nothing is random here.

    packet    version 1 | key id 4 | sender 16 | epoch 4 | counter 6 | ciphertext | tag 16
              the first 31 bytes are authenticated (associated data)

A sealed packet may be passed on unchanged: whoever has the cluster key derives the sender's key from the header. What it
must not be is believed twice where once is meant: ``Window`` tells a packet that was seen already.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from collections import OrderedDict
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fairlead.gossip.identity import NODE_ID_BYTES, NodeId
from fairlead.model.errors import Conflict, Invalid, NotFound

#: The first byte of every packet: the version of this format.
VERSION = 1
#: Bytes of a cluster key (AES-256).
KEY_BYTES = 32
#: Keys that a ring holds at most: a rotation needs two; more cover rotations begun before the last was finished.
KEYS_MAX = 8
#: Bytes that AES-GCM adds, and of the whole overhead of a packet.
TAG_BYTES = 16
_HEADER = struct.Struct(">B4s16sI6s")
OVERHEAD_BYTES = _HEADER.size + TAG_BYTES
#: Largest counter of one epoch; at a million packets a second it lasts nine years.
COUNTER_MAX = 2**48 - 1
#: Largest boot epoch.
EPOCH_MAX = 2**32 - 1
#: Derived keys kept ready: one for each node of a large cluster in two epochs under two keys.
_DERIVED_MAX = 32768
#: Packets that may overtake each other before an old one is taken for a repetition (IPsec's largest common window).
_WINDOW_BITS = 4096

_LABEL = b"fairlead gossip packet\0"
_NONCE_PAD = bytes(6)


@dataclass(frozen=True, slots=True)
class Opened:
    """A packet that was sealed by a member: who, in which epoch, its how-manieth, and what it says."""

    sender: NodeId
    epoch: int
    counter: int
    payload: bytes


class Keyring:
    """Cluster keys; the first one put in is primary."""

    def __init__(self, primary: bytes) -> None:
        self._keys: dict[bytes, bytes] = {}
        self._primary = b""
        self.install(primary)
        self.use(key_id(primary))
        self._derived: OrderedDict[tuple[bytes, bytes, int], AESGCM] = OrderedDict()

    def __repr__(self) -> str:
        return f"Keyring(primary {self._primary.hex()}, {len(self._keys)} keys)"

    @property
    def primary(self) -> bytes:
        """The id of the key that is sealed with."""
        return self._primary

    @property
    def ids(self) -> tuple[bytes, ...]:
        """The ids of all keys, in the order they came."""
        return tuple(self._keys)

    def install(self, key: bytes) -> bytes:
        """Be able to open what is sealed with this key; its id. Raises ``Invalid``, or ``Conflict`` when the ring is
        full."""
        if len(key) != KEY_BYTES:
            raise Invalid(f"a cluster key has {KEY_BYTES} bytes, not {len(key)}")
        identifier = key_id(key)
        if identifier not in self._keys and len(self._keys) >= KEYS_MAX:
            raise Conflict(f"the key ring holds {KEYS_MAX} keys already", hint="remove one that is no longer used")
        self._keys[identifier] = key
        return identifier

    def use(self, identifier: bytes) -> None:
        """Seal with this key from now on; raises ``NotFound``."""
        if identifier not in self._keys:
            raise NotFound(f"the key ring has no key {identifier.hex()}", hint="install it first")
        self._primary = identifier

    def remove(self, identifier: bytes) -> None:
        """Forget a key; raises ``Conflict`` for the primary one. A key that is not there is forgotten already."""
        if identifier == self._primary:
            raise Conflict(f"key {identifier.hex()} is the primary one", hint="make another one primary first")
        self._keys.pop(identifier, None)
        for known in [entry for entry in self._derived if entry[0] == identifier]:
            del self._derived[known]

    def cipher(self, identifier: bytes, sender: bytes, epoch: int) -> AESGCM | None:
        """What seals and opens one node's packets of one epoch; None when the key is not in the ring."""
        name = (identifier, sender, epoch)
        found = self._derived.get(name)
        if found is not None:
            self._derived.move_to_end(name)
            return found
        key = self._keys.get(identifier)
        if key is None:
            return None
        info = _LABEL + sender + struct.pack(">I", epoch)
        found = AESGCM(hmac.digest(key, info + b"\x01", "sha256"))
        self._derived[name] = found
        if len(self._derived) > _DERIVED_MAX:
            self._derived.popitem(last=False)
        return found


class Sealer:
    """Seals what one node says in one epoch."""

    def __init__(self, sender: NodeId, epoch: int, keyring: Keyring) -> None:
        if not 0 <= epoch <= EPOCH_MAX:
            raise ValueError(f"epoch {epoch} is not between 0 and {EPOCH_MAX}")
        self._sender = sender
        self._epoch = epoch
        self._keyring = keyring
        self._counter = 0

    def seal(self, payload: bytes) -> bytes:
        """A packet with this payload."""
        self._counter += 1
        counter = self._counter.to_bytes(6, "big")
        key = self._keyring.primary
        header = _HEADER.pack(VERSION, key, self._sender, self._epoch, counter)
        cipher = self._keyring.cipher(key, self._sender, self._epoch)
        if cipher is None:
            raise AssertionError("a key ring has lost its primary key")
        return header + cipher.encrypt(_NONCE_PAD + counter, payload, header)


def unseal(keyring: Keyring, packet: bytes) -> Opened | None:
    """What a packet says; None when it is none, is sealed with a key that the ring has not, or was tampered with."""
    if len(packet) < OVERHEAD_BYTES:
        return None
    header = packet[: _HEADER.size]
    version, key, sender, epoch, counter = _HEADER.unpack(header)
    if version != VERSION:
        return None
    cipher = keyring.cipher(key, sender, epoch)
    if cipher is None:
        return None
    try:
        payload = cipher.decrypt(_NONCE_PAD + counter, packet[_HEADER.size :], header)
    except InvalidTag:
        return None
    return Opened(NodeId(sender), epoch, int.from_bytes(counter, "big"), payload)


class Window:
    """Which counters of one sender and epoch were seen: everything older than the window counts as seen."""

    __slots__ = ("_newest", "_seen")

    def __init__(self) -> None:
        self._newest = 0
        self._seen = 0

    def fresh(self, counter: int) -> bool:
        """Whether this counter was not seen before; it is from now on."""
        ahead = counter - self._newest
        if ahead > 0:
            self._seen = ((self._seen << ahead) | 1) & ((1 << _WINDOW_BITS) - 1) if ahead < _WINDOW_BITS else 1
            self._newest = counter
            return True
        if -ahead >= _WINDOW_BITS:
            return False
        bit = 1 << -ahead
        if self._seen & bit:
            return False
        self._seen |= bit
        return True


def key_id(key: bytes) -> bytes:
    """Four bytes by which packets name a key; they tell nothing about it."""
    return hashlib.sha256(b"fairlead gossip key id\0" + key).digest()[:4]


assert NODE_ID_BYTES == 16, "the header has room for 16 bytes"
