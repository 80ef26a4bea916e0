"""Variables in the values of Compose files: ``$V``, ``${V}``, ``${V:-d}``, ``${V-d}``, ``${V:?e}``, ``${V?e}``,
``${V:+r}``, ``${V+r}``, nested; ``$$`` is a dollar."""

from __future__ import annotations

import re
from collections.abc import Mapping

from fairlead.model.errors import Invalid

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
#: Deepest nesting of defaults in each other.
_DEPTH_MAX = 16


def interpolate(text: str, variables: Mapping[str, str], place: str, noted: list[str], depth: int = 0) -> str:
    """The text with variables put in. One that is not set is empty, and named in ``noted``. Raises ``Invalid``."""
    if depth > _DEPTH_MAX:
        raise _fault(place, text)
    pieces, at = [], 0
    while (dollar := text.find("$", at)) >= 0:
        pieces.append(text[at:dollar])
        rest = text[dollar + 1 :]
        named = _NAME.match(rest)
        if rest.startswith("$"):
            pieces.append("$")
            at = dollar + 2
        elif named:
            pieces.append(_value(named[0], variables, place, noted))
            at = dollar + 1 + named.end()
        elif rest.startswith("{"):
            end = _closing(text, dollar + 2)
            if end < 0:
                raise _fault(place, text)
            pieces.append(_braced(text[dollar + 2 : end], text, variables, place, noted, depth))
            at = end + 1
        else:
            raise _fault(place, text)
    return "".join([*pieces, text[at:]])


def _braced(inner: str, whole: str, variables: Mapping[str, str], place: str, noted: list[str], depth: int) -> str:
    named = _NAME.match(inner)
    if not named:
        raise _fault(place, whole)
    name, rest = named[0], inner[named.end() :]
    if not rest:
        return _value(name, variables, place, noted)
    strict = rest.startswith(":")
    sign, words = rest[strict : strict + 1], rest[strict + 1 :]
    present = name in variables and (not strict or variables[name] != "")
    if sign not in ("-", "?", "+") or not sign:
        raise _fault(place, whole)
    if sign == "+":
        return interpolate(words, variables, place, noted, depth + 1) if present else ""
    if present:
        return variables[name]
    told = interpolate(words, variables, place, noted, depth + 1)
    if sign == "?":
        raise Invalid(
            f"{place}: required variable {name} is missing a value{f': {told}' if told else ''}",
            hint=f"set {name} in the environment",
        )
    return told


def _value(name: str, variables: Mapping[str, str], place: str, noted: list[str]) -> str:
    if name not in variables:
        noted.append(f'{place}: the variable "{name}" is not set: a blank string stands for it')
    return variables.get(name, "")


def _closing(text: str, start: int) -> int:
    """Where the brace closes that was opened before ``start``; -1 nowhere."""
    open_braces, at = 1, start
    while at < len(text):
        if text.startswith("$$", at):
            at += 1
        elif text.startswith("${", at):
            open_braces += 1
            at += 1
        elif text[at] == "}":
            open_braces -= 1
            if not open_braces:
                return at
        at += 1
    return -1


def _fault(place: str, text: str) -> Invalid:
    return Invalid(f'{place}: invalid interpolation format: "{text}"', hint="a dollar that is meant is written $$")
