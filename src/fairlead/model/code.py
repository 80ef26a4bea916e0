"""One kind of trouble: its number, and what to do about it. All of them stand in ``codes``."""

from __future__ import annotations

from typing import NamedTuple

#: How a number is written: in messages, in scripts, as the argument of ``fairlead explain``.
PREFIX = "fairlead-"


class Code(NamedTuple):
    """``title`` says what happened in a few words, ``meaning`` why it happens, ``steps`` what to do, as sentences in
    which command lines stand in back-quotes."""

    number: int
    title: str
    meaning: str
    steps: tuple[str, ...]
    retired: bool = False

    def __str__(self) -> str:
        return f"{PREFIX}{self.number}"
