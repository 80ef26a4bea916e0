"""Join tokens and unlock keys: what a person carries from a manager to a node that comes in.

A join token is ``SWMTKN-1-<digest>-<secret>``: the digest of the root certificate, by which the joining node knows that it
speaks to the right cluster before it says anything, and the secret, by which the cluster knows that the node may come
in and as what (swarmkit: ca.GenerateJoinToken, ca.ParseJoinToken). The two tokens differ in the secret only.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from dataclasses import dataclass, field

from fairlead.model import codes
from fairlead.model.cluster import MANAGER, WORKER
from fairlead.model.errors import Forbidden, Invalid
from fairlead.model.ids import Chance
from fairlead.pki.certificates import load_certificates, root_digest
from fairlead.pki.ids import CLUSTER_ID_LENGTH, base36

#: Characters of a SHA-256 digest in base 36: 36^50 is the first power above 2^256.
_DIGEST_LENGTH = 50
#: Bits of a token's secret (swarmkit: 16 bytes).
_SECRET_BITS = 128
_TOKEN = re.compile(rf"SWMTKN-1-([0-9a-z]{{{_DIGEST_LENGTH}}})-([0-9a-z]{{{CLUSTER_ID_LENGTH}}})\Z")

#: What an unlock key begins with; 32 bytes in base 64 without padding follow (swarmkit: encryption.HumanReadableKey).
_UNLOCK_PREFIX = "SWMKEY-1-"
#: Bytes of an unlock key, which is used as an AES-256 key.
UNLOCK_KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class JoinToken:
    """A token taken apart. The secret is in no representation."""

    digest: str
    secret: str = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> JoinToken:
        """Raises ``Invalid`` for what is no token; the text, which may be nearly a secret, is not repeated."""
        found = _TOKEN.match(text.strip())
        if found is None:
            raise Invalid(
                "invalid join token",
                hint="print one on a manager: fairlead swarm join-token worker",
                code=codes.TOKEN_INVALID,
            )
        return cls(found[1], found[2])

    def check_root(self, certificate: str) -> None:
        """Raises ``Forbidden`` unless this is one root certificate (PEM), the one that the token was made for."""
        roots = load_certificates(certificate)
        if len(roots) != 1 or not hmac.compare_digest(_digest(certificate).encode(), self.digest.encode()):
            raise Forbidden(
                "remote CA does not match fingerprint of the join token",
                hint="is the address that of a manager of the cluster which the token was printed in?",
                code=codes.AUTHORITY_MISMATCH,
            )


def new_token(root: str, chance: Chance) -> str:
    """A fresh token for nodes that join under this root certificate (PEM)."""
    return f"SWMTKN-1-{_digest(root)}-{base36(chance.getrandbits(_SECRET_BITS), CLUSTER_ID_LENGTH)}"


def role_for(presented: str, worker_token: str, manager_token: str) -> str:
    """What the bearer of a token becomes. Raises ``Invalid`` for what is no token, ``Forbidden`` for one that is neither
    of the cluster's. How long it takes does not tell how much of it was right."""
    shown = presented.strip().encode("utf-8", "backslashreplace")
    is_manager = hmac.compare_digest(shown, manager_token.encode())
    is_worker = hmac.compare_digest(shown, worker_token.encode())
    JoinToken.parse(presented)
    if is_manager or is_worker:
        return MANAGER if is_manager else WORKER
    raise Forbidden(
        "A valid join token is necessary to join this cluster",
        hint="print one on a manager: fairlead swarm join-token worker",
        code=codes.TOKEN_REFUSED,
    )


def new_unlock_key(chance: Chance) -> str:
    """A fresh key that opens a locked manager."""
    secret = chance.getrandbits(UNLOCK_KEY_BYTES * 8).to_bytes(UNLOCK_KEY_BYTES, "big")
    return _UNLOCK_PREFIX + base64.b64encode(secret).decode().rstrip("=")


def parse_unlock_key(text: str) -> bytes:
    """The 32 bytes of an unlock key; raises ``Invalid`` for what is none, without repeating it."""
    text = text.strip()
    body = text.removeprefix(_UNLOCK_PREFIX)
    try:
        secret = base64.b64decode(body + "=" * (-len(body) % 4), validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if not text.startswith(_UNLOCK_PREFIX) or len(secret) != UNLOCK_KEY_BYTES:
        raise Invalid(
            "swarm could not be unlocked: invalid key provided",
            hint=f"an unlock key begins with {_UNLOCK_PREFIX}; print it on a manager that is not locked: "
            "fairlead swarm unlock-key",
            code=codes.UNLOCK_KEY_INVALID,
        )
    return secret


def _digest(root: str) -> str:
    return base36(int.from_bytes(root_digest(root), "big"), _DIGEST_LENGTH)
