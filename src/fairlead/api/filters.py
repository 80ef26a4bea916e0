"""The ``filters`` of list, prune and event calls: keys are ANDed, values of a key ORed, labels ANDed (Docker)."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

import msgspec

from fairlead.model import codes
from fairlead.model.errors import Invalid

#: Most repetitions in one pattern. Python's matcher backtracks: with n repetitions a match can take name-length^n
#: steps, so that two keep the worst case below a millisecond (253^2 steps).
REPETITIONS_MAX = 2

_Shape = dict[str, dict[str, bool] | list[str]]


class Filters:
    """Parsed filters of one call."""

    def __init__(self, values: Mapping[str, list[str]]) -> None:
        self._values = values

    @classmethod
    def parse(cls, text: str, allowed: Collection[str]) -> Filters:
        """From the query parameter; raises ``Invalid`` for bad JSON and for keys outside ``allowed``."""
        if not text:
            return cls({})
        try:
            raw = msgspec.json.decode(text.encode("utf-8", "replace"), type=_Shape)
        except (msgspec.DecodeError, RecursionError) as error:
            raise Invalid(
                "invalid filter", hint='write filters as {"key": ["value"]}', code=codes.FILTER_INVALID
            ) from error
        values: dict[str, list[str]] = {}
        for key, given in raw.items():
            if key not in allowed:
                raise Invalid(
                    f"invalid filter '{key}'",
                    hint="allowed here: " + ", ".join(sorted(allowed)),
                    code=codes.FILTER_INVALID,
                )
            chosen = [value for value, on in given.items() if on] if isinstance(given, dict) else given
            if chosen:
                values[key] = chosen
        return cls(values)

    def get(self, key: str) -> list[str]:
        """The values of a key, empty when it was not given."""
        return self._values.get(key, [])

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def exact(self, key: str, *candidates: str) -> bool:
        """Whether no filter of this key stands, or one equals a candidate."""
        return key not in self or any(value in candidates for value in self.get(key))

    def matches(self, key: str, *candidates: str) -> bool:
        """As ``exact``, also for substrings and simple patterns; raises ``Invalid`` for a pattern too costly."""
        return key not in self or any(_found(value, text) for value in self.get(key) for text in candidates)

    def labels(self, labels: Mapping[str, str], key: str = "label") -> bool:
        """Whether all filters ``label`` (``k`` or ``k=v``), or those of another key, hold and none of ``label!`` does."""
        holds = all(_has(labels, wanted) for wanted in self.get(key))
        return holds and not any(_has(labels, unwanted) for unwanted in self.get(f"{key}!"))

    def boolean(self, key: str) -> bool | None:
        """The one truth value of a key, None when absent; raises ``Invalid``."""
        values = self.get(key)
        if not values:
            return None
        if len(values) == 1 and values[0] in ("true", "1", "false", "0"):
            return values[0] in ("true", "1")
        raise Invalid(
            f"invalid filter '{key}={values}'", hint=f"write {key}=true or {key}=false", code=codes.FILTER_INVALID
        )


def _has(labels: Mapping[str, str], wanted: str) -> bool:
    key, equals, value = wanted.partition("=")
    return key in labels and (not equals or labels[key] == value)


def _found(value: str, text: str) -> bool:
    if value in text:
        return True
    if not any(sign in value for sign in "^$.*+?[|("):
        return False
    repetitions = sum(value.count(sign) for sign in "*+{")
    if repetitions > REPETITIONS_MAX or (repetitions and "(" in value) or "(?" in value or "\\" in value:
        raise Invalid(
            f"filter pattern {value!r} is too complex",
            hint=f"use at most {REPETITIONS_MAX} repetitions and no groups",
            code=codes.FILTER_INVALID,
        )
    try:
        return re.search(value, text) is not None
    except re.error as error:
        raise Invalid(
            f"filter pattern {value!r} is not a regular expression: {error}", code=codes.FILTER_INVALID
        ) from error
