"""Docker's words for spans of time (docker/go-units), used by both ends."""

from __future__ import annotations

_MINUTE_S = 60
_HOUR_S = 60 * _MINUTE_S
_DAY_S = 24 * _HOUR_S

#: Steps of the words: (from this many seconds, seconds of one unit, unit). A step begins at two of its units.
_STEPS = (
    (2 * 365 * _DAY_S, 365 * _DAY_S, "years"),
    (2 * 30 * _DAY_S, 30 * _DAY_S, "months"),
    (2 * 7 * _DAY_S, 7 * _DAY_S, "weeks"),
    (2 * _DAY_S, _DAY_S, "days"),
    (2 * _HOUR_S, _HOUR_S, "hours"),
    (_HOUR_S, 0, "About an hour"),
    (2 * _MINUTE_S, _MINUTE_S, "minutes"),
    (_MINUTE_S, 0, "About a minute"),
    (2, 1, "seconds"),
    (1, 0, "1 second"),
)


def human_duration(seconds: float) -> str:
    """A span of time in words, such as ``About a minute`` or ``3 hours``."""
    for least_s, unit_s, words in _STEPS:
        if seconds >= least_s:
            return f"{int(seconds // unit_s)} {words}" if unit_s else words
    return "Less than a second"
