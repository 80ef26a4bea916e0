"""Identifiers and names: their grammar and how they are drawn."""

from __future__ import annotations

import hashlib
import re
from typing import Protocol

from fairlead.model import codes
from fairlead.model.errors import Invalid

#: Characters of a full object identifier, as Docker's (64 hexadecimal digits = 256 bits).
ID_LENGTH = 64
#: Characters of the short form in tables, host names and link names, as Docker's.
SHORT_ID_LENGTH = 12
#: Longest name that we accept; it becomes a DNS label or part of one (RFC 1035 section 2.3.4: 63 octets), and Docker
#: allows longer container names, so the limit is DNS's 253 for a whole name.
NAME_LENGTH_MAX = 253

#: Longest name of a Linux link (IFNAMSIZ is 16 bytes with the closing NUL).
LINK_NAME_LENGTH_MAX = 15
#: Names that Linux gives a meaning of their own: loopback, and the directories of settings for every link.
_LINK_NAMES_TAKEN = frozenset({"lo", "all", "default"})

#: One grammar for every name that can become a path, a device, a chain or a DNS label (Docker: RestrictedNamePattern).
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*\Z")


class Chance(Protocol):
    """What pure code needs of randomness; ``random.Random`` and ``random.SystemRandom`` fit."""

    def getrandbits(self, k: int, /) -> int:
        """An integer of ``k`` random bits."""


def new_id(chance: Chance) -> str:
    """A fresh identifier: 64 lower-case hexadecimal digits, never all digits in its first 12 (Docker's rule, so that
    a short id cannot be mistaken for a number)."""
    while True:
        text = f"{chance.getrandbits(ID_LENGTH * 4):0{ID_LENGTH}x}"
        if not text[:SHORT_ID_LENGTH].isdigit():
            return text


def new_mac(chance: Chance) -> str:
    """A random, locally administered unicast MAC address (IEEE 802 c.8.2), as Docker draws them since v28."""
    return _local_mac(chance.getrandbits(48).to_bytes(6, "big"))


def derived_mac(seed: str) -> str:
    """A locally administered unicast MAC address that is always the same for a text."""
    return _local_mac(hashlib.sha256(seed.encode()).digest()[:6])


def _local_mac(draw: bytes) -> str:
    return ":".join(f"{octet:02x}" for octet in ((draw[0] & 0xFE) | 0x02, *draw[1:]))


def short(identifier: str) -> str:
    """The 12-character form."""
    return identifier[:SHORT_ID_LENGTH]


def check_name(what: str, name: str) -> str:
    """Return ``name`` if it is one that may become a path, device or DNS label; raise ``Invalid`` otherwise."""
    if not _NAME.match(name) or len(name) > NAME_LENGTH_MAX:
        shown = name if len(name) <= 40 else name[:40] + "..."
        raise Invalid(
            f"invalid {what} name ({shown!r}): only [a-zA-Z0-9][a-zA-Z0-9_.-]* is allowed, "
            f"at most {NAME_LENGTH_MAX} characters",
            hint="choose letters, digits, '_', '.' and '-', beginning with a letter or digit",
            code=codes.NAME_INVALID,
        )
    return name


def check_link_name(what: str, name: str) -> str:
    """Return ``name`` if a link may be called so; raise ``Invalid`` otherwise."""
    check_name(what, name)
    if len(name) > LINK_NAME_LENGTH_MAX:
        raise Invalid(
            f"{what} name {name} is longer than {LINK_NAME_LENGTH_MAX} characters", code=codes.INTERFACE_TAKEN
        )
    if name in _LINK_NAMES_TAKEN:
        raise Invalid(
            f"{what} name {name} has a meaning of its own in Linux",
            hint="choose another name",
            code=codes.INTERFACE_TAKEN,
        )
    return name
