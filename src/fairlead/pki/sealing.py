"""Secrets on disk: AES-256-GCM under a data key, which lies beside them in the clear or, with autolock, sealed itself
under the unlock key (swarmkit: DEK and KEK).

What is sealed is bound to a name, so that whoever can write to the disk cannot put one secret in another's place.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fairlead.model import codes
from fairlead.model.errors import Forbidden, Internal, Unavailable
from fairlead.model.ids import Chance

#: Bytes of a key (AES-256).
KEY_BYTES = 32
#: Bytes of a nonce, drawn by chance: good for 2^32 seals under one key (NIST SP 800-38D section 8.3).
_NONCE_BYTES = 12
#: First byte of what is sealed: how it was done.
_FORMAT = b"\x01"

_PEM_BEGIN, _PEM_END = "-----BEGIN FAIRLEAD SEALED KEY-----", "-----END FAIRLEAD SEALED KEY-----"
_PEM_NAME = "node key"
_PEM_LINE = 64

#: How a data key is kept: in the clear, or sealed under the unlock key.
_CLEAR, _LOCKED = b"clear:", b"locked:"
_DATA_KEY_NAME = "data key"


def seal(key: bytes, name: str, plain: bytes, chance: Chance) -> bytes:
    """``plain`` so that only the holder of the key reads it, and only under the same name."""
    nonce = chance.getrandbits(_NONCE_BYTES * 8).to_bytes(_NONCE_BYTES, "big")
    return _FORMAT + nonce + AESGCM(key).encrypt(nonce, plain, name.encode())


def unseal(key: bytes, name: str, sealed: bytes) -> bytes:
    """What was sealed. Raises ``Forbidden`` for another key or name, and for what is damaged; the three look alike."""
    nonce, body = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
    try:
        if sealed[:1] != _FORMAT or len(nonce) != _NONCE_BYTES:
            raise InvalidTag
        return AESGCM(key).decrypt(nonce, body, name.encode())
    except InvalidTag as error:
        raise Forbidden(
            "this was sealed with another key, or is damaged",
            hint="is it the unlock key of this manager?",
            code=codes.UNLOCK_KEY_INVALID,
        ) from error


def seal_pem(key: bytes, pem: str, chance: Chance) -> str:
    """A private key (PEM) sealed under the unlock key, as text for a file."""
    body = base64.b64encode(seal(key, _PEM_NAME, pem.encode(), chance)).decode()
    lines = [body[start : start + _PEM_LINE] for start in range(0, len(body), _PEM_LINE)]
    return "\n".join((_PEM_BEGIN, *lines, _PEM_END, ""))


def is_sealed_pem(text: str) -> bool:
    """Whether a file of a private key is sealed."""
    return text.lstrip().startswith(_PEM_BEGIN)


def unseal_pem(key: bytes, text: str) -> str:
    """The private key (PEM). Raises ``Forbidden`` with Docker's words for the wrong unlock key, ``Internal`` for a file
    that is cut off."""
    stripped = text.strip()
    try:
        if not stripped.endswith(_PEM_END) or not is_sealed_pem(stripped):
            raise ValueError("cut off")
        sealed = base64.b64decode("".join(stripped.splitlines()[1:-1]), validate=True)
    except (ValueError, binascii.Error) as error:
        raise Internal(
            "the file of the sealed private key is damaged",
            hint="leave the cluster and join again: fairlead swarm leave --force",
            code=codes.CERTIFICATE_INVALID,
        ) from error
    return _with_unlock_key(key, _PEM_NAME, sealed).decode()


class Vault:
    """A data key, and how it is kept. What it seals stays readable for every vault opened from ``kept``. The key is in no
    representation."""

    def __init__(self, data_key: bytes, kept: bytes, chance: Chance) -> None:
        self._key = data_key
        self._chance = chance
        self.kept = kept

    @classmethod
    def new(cls, chance: Chance, unlock_key: bytes | None = None) -> Vault:
        """A fresh data key, sealed under the unlock key if one is given. What an older one sealed stays closed to it, so that
        what an old copy of a disk gives away opens nothing newer."""
        key = chance.getrandbits(KEY_BYTES * 8).to_bytes(KEY_BYTES, "big")
        if unlock_key is None:
            return cls(key, _CLEAR + base64.b64encode(key), chance)
        return cls(key, _LOCKED + base64.b64encode(seal(unlock_key, _DATA_KEY_NAME, key, chance)), chance)

    @classmethod
    def opened(cls, kept: bytes, chance: Chance, unlock_key: bytes | None = None) -> Vault:
        """The vault that was kept so. Raises ``Unavailable`` when it is locked and no unlock key is given, ``Forbidden`` for
        the wrong one, ``Internal`` when it is damaged. An unlock key for what is not locked is not needed, and ignored."""
        form, key = _LOCKED if kept.startswith(_LOCKED) else _CLEAR, b""
        try:
            body = base64.b64decode(kept.removeprefix(form), validate=True)
        except binascii.Error:
            body = b""
        if form == _LOCKED and body:
            if unlock_key is None:
                raise Unavailable(
                    "Swarm is encrypted and needs to be unlocked before it can be used. "
                    'Please use "docker swarm unlock" to unlock it.',
                    hint="fairlead swarm unlock",
                    code=codes.SWARM_LOCKED,
                )
            key = _with_unlock_key(unlock_key, _DATA_KEY_NAME, body)
        elif kept.startswith(_CLEAR):
            key = body
        if len(key) != KEY_BYTES:
            raise Internal("the manager's data key is damaged", code=codes.STORE_FAILED)
        return cls(key, kept, chance)

    @property
    def is_locked(self) -> bool:
        """Whether an unlock key is needed to open it again."""
        return self.kept.startswith(_LOCKED)

    def seal(self, name: str, plain: bytes) -> bytes:
        """``plain`` bound to a name."""
        return seal(self._key, name, plain, self._chance)

    def unseal(self, name: str, sealed: bytes) -> bytes:
        """What was sealed under this name. Raises ``Internal`` when it is damaged or another's."""
        try:
            return unseal(self._key, name, sealed)
        except Forbidden as error:
            raise Internal(
                f"the record {name} is damaged: its seal does not fit",
                hint="restore the file from a copy, or leave the cluster and join again",
                code=codes.STORE_FAILED,
            ) from error


def open_vault(chance: Chance, unlock_key: bytes | None = None) -> Callable[[bytes | None], Vault]:
    """What opens a store: given how its data key is kept, or None for a new file, answers the vault."""

    def opened(kept: bytes | None) -> Vault:
        return Vault.new(chance, unlock_key) if kept is None else Vault.opened(kept, chance, unlock_key)

    return opened


def _with_unlock_key(key: bytes, name: str, sealed: bytes) -> bytes:
    try:
        return unseal(key, name, sealed)
    except Forbidden as error:
        raise Forbidden(
            "swarm could not be unlocked: invalid key provided",
            hint="print the key on a manager that is not locked: fairlead swarm unlock-key",
            code=codes.UNLOCK_KEY_INVALID,
        ) from error
