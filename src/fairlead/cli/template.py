r"""The part of Go's templates that people write after ``--format``.

Fields (``.A.B``, ``$``, ``$.A``), variables of a range, texts, numbers; ``if``/``else``/``end``, ``range``/``else``/``end``
with or without ``$key, $value :=``, ``with``; pipes and parentheses, also ``(index .A "b").C``; ``json index len join upper lower title println
eq ne not and or split``; trimming by ``{{-`` and ``-}}``; ``\t`` and ``\n``. Maps are gone through by sorted key, as in Go.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from fairlead.model import codes
from fairlead.model.errors import Invalid

#: What Go prints for a key that a map has not.
NO_VALUE = "<no value>"

#: Patterns are compiled at first use (``re`` remembers them): most starts of the command line need none.
_WORD = r'\s*("(?:[^"\\]|\\.)*"|`[^`]*`|\$\w*(?:\.\w+)*|\.(?:\w+(?:\.\w+)*)?|-?\d+|\w+|:=|[|(),])'
_ACTION = r"(?s)\{\{(-\s)?\s*(.*?)\s*(\s-)?\}\}"

Scope = dict[str, object]


class Missing:
    """The value of a field that is not there."""

    def __str__(self) -> str:
        return NO_VALUE


class _Block:
    """A text, an output, or an ``if``/``range``/``with`` with what it encloses. No dataclass: that would import more
    than this module holds, at each start of the command line."""

    __slots__ = ("body", "kind", "otherwise", "source")

    def __init__(self, kind: str, source: str = "") -> None:
        self.kind = kind
        self.source = source
        self.body: list[_Block] = []
        self.otherwise: list[_Block] = []


class Template:
    """A parsed template. ``strict`` refuses fields that are not there, else they are ``<no value>``."""

    def __init__(self, text: str, *, strict: bool = False) -> None:
        self._strict = strict
        self._blocks = _parse(text.replace(r"\t", "\t").replace(r"\n", "\n"))

    def render(self, data: object) -> str:
        """The text for one value; raises ``Invalid``."""
        return "".join(self._render(self._blocks, {"$": data, ".": data}))

    def _render(self, blocks: Sequence[_Block], scope: Scope) -> Iterator[str]:
        for block in blocks:
            if block.kind == "text":
                yield block.source
            elif block.kind == "output":
                yield show(self._value(block.source, scope))
            elif block.kind == "range":
                yield from self._range(block, scope)
            else:
                value = self._value(block.source, scope)
                inner = {**scope, ".": value} if block.kind == "with" and _truth(value) else scope
                yield from self._render(block.body if _truth(value) else block.otherwise, inner)

    def _range(self, block: _Block, scope: Scope) -> Iterator[str]:
        names, assigned, source = block.source.rpartition(":=")
        value = self._value(source, scope)
        items = _items(value)
        if not items:
            yield from self._render(block.otherwise, scope)
        variables = [name.strip() for name in names.split(",")] if assigned else []
        for key, item in items:
            inner = {**scope, ".": item}
            if variables:
                inner[variables[-1]] = item
            if len(variables) > 1:
                inner[variables[0]] = key
            yield from self._render(block.body, inner)

    def _value(self, source: str, scope: Scope) -> object:
        return _Expression(_tokens(source), scope, strict=self._strict).value()


class _Expression:
    """One action, evaluated from left to right."""

    def __init__(self, tokens: list[str], scope: Scope, *, strict: bool) -> None:
        self._tokens = tokens
        self._scope = scope
        self._strict = strict

    def value(self) -> object:
        """The value of the whole pipe up to its end or a closing parenthesis."""
        value = self._command([])
        while self._tokens and self._tokens[0] == "|":
            self._tokens.pop(0)
            value = self._command([value])
        return value

    def _command(self, piped: list[object]) -> object:
        if not self._tokens:
            raise Invalid("template: missing value for command", code=codes.TEMPLATE_INVALID)
        word = self._tokens[0]
        if word in _FUNCTIONS:
            self._tokens.pop(0)
            arguments = [*self._operands(), *piped]
            try:
                return _FUNCTIONS[word](*arguments)
            except (TypeError, ValueError) as error:
                raise Invalid(f"template: error calling {word}: {error}", code=codes.TEMPLATE_INVALID) from error
        first = self._operand()
        arguments = [*self._operands(), *piped]
        if callable(first):
            return first(*arguments)
        if arguments:
            raise Invalid(f"template: can't give argument to non-function {word}", code=codes.TEMPLATE_INVALID)
        return first

    def _operands(self) -> list[object]:
        found = []
        while self._tokens and self._tokens[0] not in ("|", ")"):
            found.append(self._operand())
        return found

    def _operand(self) -> object:
        word = self._tokens.pop(0)
        if word == "(":
            value = self.value()
            if not self._tokens or self._tokens.pop(0) != ")":
                raise Invalid("template: unclosed left paren", code=codes.TEMPLATE_INVALID)
            follows = self._tokens and len(self._tokens[0]) > 1 and self._tokens[0][0] == "."
            return self._within(value, self._tokens.pop(0)[1:].split(".")) if follows else value
        if word[0] in '"`':
            return json.loads(word) if word[0] == '"' else word[1:-1]
        if word[0] in ".$":
            return self._field(word)
        if word in ("true", "false", "nil"):
            return {"true": True, "false": False, "nil": None}[word]
        if word.lstrip("-").isdigit():
            return int(word)
        raise Invalid(
            f'template: function "{word}" not defined',
            hint=f"there are: {', '.join(sorted(_FUNCTIONS))}",
            code=codes.TEMPLATE_INVALID,
        )

    def _field(self, word: str) -> object:
        root, *names = word.split(".")
        if root not in self._scope and root:
            raise Invalid(f'template: undefined variable "{root}"', code=codes.TEMPLATE_INVALID)
        return self._within(self._scope[root or "."], [name for name in names if name])

    def _within(self, value: object, names: Sequence[str]) -> object:
        for name in names:
            if isinstance(value, Mapping) and name in value:
                value = value[name]
            elif self._strict:
                raise Invalid(
                    f"template: can't evaluate field {name}",
                    hint="there are: " + ", ".join(f".{key}" for key in value) if isinstance(value, Mapping) else "",
                    code=codes.TEMPLATE_INVALID,
                )
            else:
                return Missing()
        return value


def show(value: object) -> str:
    """A value as Go prints it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "<nil>"
    if isinstance(value, Mapping):
        return "map[" + " ".join(f"{key}:{show(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, list | tuple):
        return "[" + " ".join(map(show, value)) + "]"
    return str(value)


def _parse(text: str) -> list[_Block]:
    top: list[_Block] = []
    into, open_blocks, last = top, [(_Block("top"), top)], 0
    trim = False
    for action in re.finditer(_ACTION, text):
        plain = text[last : action.start()]
        plain = plain.lstrip() if trim else plain
        into.append(_Block("text", plain.rstrip() if action[1] else plain))
        last, trim = action.end(), bool(action[3])
        word, _, rest = action[2].partition(" ")
        if word in ("if", "range", "with"):
            block = _Block(word, rest)
            into.append(block)
            open_blocks.append((block, into))
            into = block.body
        elif word == "else" and len(open_blocks) > 1 and not rest:
            into = open_blocks[-1][0].otherwise
        elif word == "end" and len(open_blocks) > 1:
            into = open_blocks.pop()[1]
        elif word in ("else", "end"):
            raise Invalid(f"template: unexpected {{{{{action[2]}}}}}", code=codes.TEMPLATE_INVALID)
        elif not action[2].startswith("/*"):
            into.append(_Block("output", action[2]))
    if len(open_blocks) > 1:
        raise Invalid("template: unexpected EOF", hint="an {{end}} is missing", code=codes.TEMPLATE_INVALID)
    tail = text[last:]
    into.append(_Block("text", tail.lstrip() if trim else tail))
    if "{{" in tail:
        raise Invalid("template: unclosed action", hint="a }} is missing", code=codes.TEMPLATE_INVALID)
    return top


def _tokens(source: str) -> list[str]:
    found, position = [], 0
    source = source.strip()
    token_at = re.compile(_WORD).match
    while position < len(source):
        token = token_at(source, position)
        if token is None:
            raise Invalid(f"template: unexpected {source[position:]!r}", code=codes.TEMPLATE_INVALID)
        found.append(token[1])
        position = token.end()
    return found


def _items(value: object) -> list[tuple[object, object]]:
    if isinstance(value, Mapping):
        return [(key, value[key]) for key in sorted(value)]
    if isinstance(value, list | tuple):
        return list(enumerate(value))
    if value is None or isinstance(value, Missing):
        return []
    raise Invalid(f"template: range can't iterate over {show(value)}", code=codes.TEMPLATE_INVALID)


def _truth(value: object) -> bool:
    return bool(value) and not isinstance(value, Missing)


def _json(value: object) -> str:
    return json.dumps(None if isinstance(value, Missing) else value, separators=(",", ":"), ensure_ascii=False)


def _index(value: object, *keys: object) -> object:
    for key in keys:
        if isinstance(value, Mapping):
            value = value.get(key, Missing())
        elif isinstance(value, list | tuple) and isinstance(key, int) and 0 <= key < len(value):
            value = value[key]
        else:
            raise ValueError(f"cannot index {show(value)} with {show(key)}")
    return value


def _len(value: object) -> int:
    if isinstance(value, str | Mapping | list | tuple):
        return len(value)
    raise ValueError(f"len of {show(value)}")


def _join(value: object, separator: object) -> str:
    return str(separator).join(show(item) for _, item in _items(value))


def _split(value: object, separator: object) -> list[str]:
    return str(value).split(str(separator))


def _println(*values: object) -> str:
    return " ".join(map(show, values)) + "\n"


def _eq(value: object, *others: object) -> bool:
    return any(value == other for other in others)


def _ne(value: object, other: object) -> bool:
    return value != other


def _not(value: object) -> bool:
    return not _truth(value)


def _and(*values: object) -> object:
    return next((value for value in values if not _truth(value)), values[-1])


def _or(*values: object) -> object:
    return next((value for value in values if _truth(value)), values[-1])


def _upper(value: object) -> str:
    return show(value).upper()


def _lower(value: object) -> str:
    return show(value).lower()


def _title(value: object) -> str:
    return show(value).title()


_FUNCTIONS: dict[str, Callable[..., object]] = {
    "and": _and,
    "eq": _eq,
    "index": _index,
    "join": _join,
    "json": _json,
    "len": _len,
    "lower": _lower,
    "ne": _ne,
    "not": _not,
    "or": _or,
    "println": _println,
    "split": _split,
    "title": _title,
    "upper": _upper,
}
