"""Private keys: P-256 for certificates, and the node's gossip key, of which only the signing is asked for."""

from __future__ import annotations

import hashlib
from typing import Protocol

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from fairlead.model import codes
from fairlead.model.errors import Invalid
from fairlead.model.ids import Chance

#: Order of the P-256 group (SEC 2 section 2.4.2): private keys are 1 .. this - 1.
_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
#: Bits drawn beyond the order's 256, so that the remainder is even to 2^-64 (FIPS 186-5 appendix A.2.1).
_EXTRA_BITS = 64
#: Bytes of a key's identifier: the first 160 bits of SHA-256 of the public key (RFC 7093 section 2 method 1).
KEY_ID_BYTES = 20


class GossipSigner(Protocol):
    """A node's gossip identity, as far as a request for a certificate needs it."""

    @property
    def public_key(self) -> bytes:
        """The Ed25519 public key: 32 bytes."""

    def sign(self, message: bytes) -> bytes:
        """The Ed25519 signature of a message: 64 bytes."""


def new_key(chance: Chance) -> str:
    """A fresh P-256 private key (PEM, PKCS #8)."""
    number = 1 + chance.getrandbits(256 + _EXTRA_BITS) % (_P256_ORDER - 1)
    key = ec.derive_private_key(number, ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def load_key(text: str) -> ec.EllipticCurvePrivateKey:
    """Raises ``Invalid`` for what is no P-256 private key; nothing of it is repeated."""
    try:
        key = load_pem_private_key(text.encode("utf-8", "backslashreplace"), None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise Invalid("this is no private key", code=codes.CERTIFICATE_INVALID) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise Invalid("the private key is not of the curve P-256", code=codes.CERTIFICATE_INVALID)
    return key


def key_id(key: ec.EllipticCurvePublicKey) -> bytes:
    """What names a public key in certificates."""
    point = key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return hashlib.sha256(point).digest()[:KEY_ID_BYTES]


def public_info(key: ec.EllipticCurvePublicKey) -> bytes:
    """A public key with its kind (DER, SubjectPublicKeyInfo)."""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
