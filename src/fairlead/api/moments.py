"""Moments in queries: epoch seconds, RFC 3339, or a span before now such as ``1h30m`` (Docker's timetypes)."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from fairlead.model.errors import Invalid

#: Seconds of each unit of Go's duration text that users write.
_UNIT_S = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_SPAN = re.compile(r"(?:\d{1,12}(?:\.\d{1,9})?(?:h|ms|m|s|us|ns))+")
_PART = re.compile(r"(\d+(?:\.\d+)?)(h|ms|m|s|us|ns)")
_EPOCH = re.compile(r"\d{1,12}(\.\d{1,9})?")
#: RFC 3339 fractions have up to nine digits, Python's reader takes six.
_FRACTION = re.compile(r"(\.\d{6})\d{1,3}")


def parse_moment(text: str, now: float) -> float:
    """Epoch seconds; raises ``Invalid``."""
    if _EPOCH.fullmatch(text):
        return float(text)
    if _SPAN.fullmatch(text):
        return now - sum(float(number) * _UNIT_S[unit] for number, unit in _PART.findall(text))
    try:
        moment = datetime.fromisoformat(_FRACTION.sub(r"\1", text))
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError) as error:
        raise Invalid(
            f"invalid time {text!r}", hint="write epoch seconds, 2026-01-31T12:00:00Z, or a span such as 10m"
        ) from error


def optional_moment(text: str, now: float) -> float | None:
    """The same; None for no text and for Docker's 0, which means "from the beginning"."""
    return parse_moment(text, now) if text and text != "0" else None
