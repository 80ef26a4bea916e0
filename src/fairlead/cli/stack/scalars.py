"""Scalars of Compose files in the form that the API takes; each raises ``Invalid`` for a value of another kind."""

from __future__ import annotations

import math

from fairlead.cli.stack.keys import Keys
from fairlead.cli.swarm.specs import duration
from fairlead.model.errors import Invalid
from fairlead.model.limits import parse_size


def whole(given: Keys, key: str) -> int | None:
    """A whole number."""
    words = given.text(key)
    if not words:
        return None
    if not words.lstrip("-").isascii() or not words.lstrip("-").isdigit() or len(words) > 18:
        raise given.wrong(key, "must be an integer")
    return int(words)


def number(given: Keys, key: str) -> float | None:
    """A number."""
    words = given.text(key)
    try:
        value = float(words) if words else None
    except ValueError as error:
        raise given.wrong(key, "must be a number") from error
    if value is not None and not math.isfinite(value):
        raise given.wrong(key, "must be a number")
    return value


def flag(given: Keys, key: str) -> bool | None:
    """A truth value."""
    words = given.text(key).lower()
    if words not in ("", "true", "false"):
        raise given.wrong(key, "must be a boolean")
    return None if not words else words == "true"


def span_ns(given: Keys, key: str) -> int | None:
    """Nanoseconds of a span such as ``1m30s``; a bare number counts seconds."""
    words = given.text(key)
    if not words:
        return None
    try:
        return duration(f"{words}s" if words.isascii() and words.isdigit() else words)
    except Invalid as error:
        raise given.wrong(key, "does not match the format 'duration'") from error


def size(given: Keys, key: str) -> int | None:
    """Bytes of ``64m``."""
    words = given.text(key)
    try:
        return None if not words else 0 if words == "0" else parse_size(words)
    except Invalid as error:
        raise given.wrong(key, "must be a size such as 64m") from error


def one_of(given: Keys, key: str, allowed: tuple[str, ...]) -> str:
    """One of some words, or empty."""
    word = given.text(key)
    if word and word not in allowed:
        raise given.wrong(key, f"must be one of {', '.join(allowed)}")
    return word


def labels(given: Keys, key: str = "labels") -> dict[str, str]:
    """Pairs whose values are empty when absent."""
    return {name: value or "" for name, value in given.table(key).items()}
