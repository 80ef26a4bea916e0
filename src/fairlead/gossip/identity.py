"""Who a node is: a key pair that names it.

A node's id is the beginning of the hash of its public key, so whoever has a record of a node can check, without asking
anybody, that the key in it is that node's, and that what is signed with it was said by that node (SEC-27). The boot
epoch tells one run of a node from the next; together with a sequence number it orders all that a node ever said.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple, NewType

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

#: Bytes of a node's id: 128 bits of SHA-256, beyond reach of anyone who looks for a second key with the same id.
NODE_ID_BYTES = 16
#: Bytes of an Ed25519 public key, private seed and signature (RFC 8032 section 5.1).
PUBLIC_KEY_BYTES = 32
SEED_BYTES = 32
SIGNATURE_BYTES = 64
#: Public keys kept ready for use: more than any cluster has nodes that speak at the same time, 1 KB each.
_KEYS_READY = 16384

NodeId = NewType("NodeId", bytes)
#: Public key, signature, message: whether the owner of the key signed it.
Verify = Callable[[bytes, bytes, bytes], bool]


class Address(NamedTuple):
    """Where a node listens: UDP and TCP on the same port. ``host`` is an IP address in its shortest spelling."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Identity:
    """A node's own key pair. The seed is a secret; it is in no representation."""

    def __init__(self, seed: bytes) -> None:
        if len(seed) != SEED_BYTES:
            raise ValueError(f"a seed has {SEED_BYTES} bytes, not {len(seed)}")
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        self.public_key = self._private.public_key().public_bytes_raw()
        self.id = node_id(self.public_key)

    def __repr__(self) -> str:
        return f"Identity({self.id.hex()})"

    def sign(self, message: bytes) -> bytes:
        """A signature of these bytes (RFC 8032: the same bytes always give the same signature)."""
        return self._private.sign(message)

    def verified(self, public_key: bytes, signature: bytes, message: bytes) -> bool:
        """Whether the owner of the key signed these bytes. A thousand nodes in one process may remember together what
        they found out (``testing``); a node of its own asks each time."""
        return verified(public_key, signature, message)


def node_id(public_key: bytes) -> NodeId:
    """The id of the node that has this key."""
    return NodeId(hashlib.sha256(public_key).digest()[:NODE_ID_BYTES])


def verified(public_key: bytes, signature: bytes, message: bytes) -> bool:
    """Whether the owner of the key signed these bytes; False for keys and signatures that are none."""
    key = _ready(public_key)
    if key is None:
        return False
    try:
        key.verify(signature, message)
    except InvalidSignature:
        return False
    return True


@lru_cache(maxsize=_KEYS_READY)
def _ready(public_key: bytes) -> Ed25519PublicKey | None:
    try:
        return Ed25519PublicKey.from_public_bytes(public_key)
    except ValueError:
        return None
