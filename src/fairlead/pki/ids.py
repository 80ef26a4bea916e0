"""Identifiers of nodes and clusters: 128 random bits in base 36 (swarmkit: identity.NewID)."""

from __future__ import annotations

import re

from fairlead.model.ids import Chance

#: Characters of an identifier: 36^25 is the first power of 36 above 2^128.
CLUSTER_ID_LENGTH = 25

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_ID = re.compile(rf"[0-9a-z]{{{CLUSTER_ID_LENGTH}}}\Z")


def base36(number: int, width: int) -> str:
    """A number that is not negative, padded with noughts on the left to at least ``width`` digits."""
    digits = []
    while number:
        number, digit = divmod(number, len(_DIGITS))
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits)).rjust(width, "0")


def new_cluster_id(chance: Chance) -> str:
    """A fresh identifier of a node or cluster: 25 characters."""
    return base36(chance.getrandbits(128), CLUSTER_ID_LENGTH)


def is_cluster_id(text: str) -> bool:
    """Whether a text has the form of such an identifier."""
    return _ID.match(text) is not None
