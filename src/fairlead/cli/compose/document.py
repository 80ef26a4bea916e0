"""YAML with places: every key of a mapping and item of a list knows its file and line.

Scalars are read by YAML 1.2's core schema (section 10.3.2), so that ``22:22`` and ``on`` are text, as Compose has it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

import yaml

from fairlead.cli.compose.interpolation import interpolate
from fairlead.model.errors import Invalid

#: Longest file in bytes, and most values that it may stand for: anchors that multiply must not take all memory.
FILE_BYTES_MAX = 1 << 20
_VALUES_MAX = 100_000
#: Deepest nesting: Compose needs a dozen levels.
_DEPTH_MAX = 64

_INTEGER = re.compile(r"[-+]?[0-9]+\Z")
_OCTAL, _HEXADECIMAL = re.compile(r"0o[0-7]+\Z"), re.compile(r"0x[0-9a-fA-F]+\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE, _FALSE = frozenset({"true", "True", "TRUE"}), frozenset({"false", "False", "FALSE"})
_MERGE = "<<"
_RESET, _OVERRIDE = "!reset", "!override"


class Place(NamedTuple):
    """Where something stands; lines count from 1."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


class Section(dict[str, object]):
    """A mapping. ``places`` says where each key stands, ``place`` where it begins; ``tag`` is ``!override`` or empty."""

    def __init__(self, place: Place, tag: str = "") -> None:
        super().__init__()
        self.place = place
        self.tag = tag
        self.places: dict[str, Place] = {}

    def put(self, key: str, value: object, place: Place) -> None:
        """Set a key that stands at a place."""
        self[key] = value
        self.places[key] = place

    def at(self, key: str) -> Place:
        """Where a key stands."""
        return self.places.get(key, self.place)


class Items(list[object]):
    """A list. ``places`` says where each item stands; ``tag`` is ``!override`` or empty."""

    def __init__(self, place: Place, tag: str = "") -> None:
        super().__init__()
        self.place = place
        self.tag = tag
        self.places: list[Place] = []

    def add(self, value: object, place: Place) -> None:
        """Append an item that stands at a place."""
        self.append(value)
        self.places.append(place)


@dataclass(frozen=True, slots=True)
class Reset:
    """``!reset``: what other files say of this key is dropped."""


def fault(place: Place, words: str, hint: str = "") -> Invalid:
    """An error that says where."""
    return Invalid(f"{place}: {words}", hint=hint)


def load(text: str, file: str, variables: dict[str, str], noted: list[str]) -> Section:
    """The mapping that a file holds, with variables put in; words about variables that are not set go to ``noted``.
    Raises ``Invalid``."""
    if len(text.encode("utf-8", "replace")) > FILE_BYTES_MAX:
        raise Invalid(f"{file}: the file is larger than {FILE_BYTES_MAX} bytes", hint="is it a Compose file?")
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise fault(Place(file, line), f"this is no YAML: {error.problem}") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise Invalid(f"{file}: this is no YAML: {error}") from error
    root = _Reader(file, variables, noted).value(node, 0) if node is not None else Section(Place(file, 1))
    if not isinstance(root, Section):
        raise fault(Place(file, 1), "Top-level object must be a mapping", "write `services:` with services below it")
    return root


def scalar(text: str) -> object:
    """The value of a plain scalar."""
    if text in _NULL:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if len(text) <= 20:
        if _INTEGER.match(text):
            return int(text)
        if _OCTAL.match(text):
            return int(text[2:], 8)
        if _HEXADECIMAL.match(text):
            return int(text[2:], 16)
    return float(text) if _FLOAT.match(text) else text


class _Reader:
    """Values out of the nodes of one file."""

    def __init__(self, file: str, variables: dict[str, str], noted: list[str]) -> None:
        self._file = file
        self._variables = variables
        self._noted = noted
        self._count = 0

    def value(self, node: yaml.Node, depth: int) -> object:
        """The value of a node."""
        place = Place(self._file, node.start_mark.line + 1)
        self._count += 1
        if self._count > _VALUES_MAX or depth > _DEPTH_MAX:
            raise fault(place, "the file says too much at once", "do anchors multiply, or contain themselves?")
        if node.tag == _RESET:
            return Reset()
        tag = _OVERRIDE if node.tag == _OVERRIDE else ""
        if isinstance(node, yaml.MappingNode):
            return self._section(node, Section(place, tag), depth)
        if isinstance(node, yaml.SequenceNode):
            items = Items(place, tag)
            for child in node.value:
                items.add(self.value(child, depth + 1), Place(self._file, child.start_mark.line + 1))
            return items
        return self._scalar(node, place)

    def _section(self, node: yaml.MappingNode, section: Section, depth: int) -> Section:
        own: set[str] = set()
        for key_node, value_node in node.value:
            place = Place(self._file, key_node.start_mark.line + 1)
            if not isinstance(key_node, yaml.ScalarNode):
                raise fault(place, "a key must be text")
            key = str(key_node.value)
            if key == _MERGE and key_node.style is None:
                continue
            if key in own:
                raise fault(place, f"mapping key {key!r} already defined", "write each key once")
            own.add(key)
            section.put(key, self.value(value_node, depth + 1), place)
        for key_node, value_node in node.value:
            if key_node.value == _MERGE and key_node.style is None:
                self._merge(section, value_node, depth)
        return section

    def _merge(self, section: Section, node: yaml.Node, depth: int) -> None:
        """``<<``: keys of other mappings that the section has not itself; earlier ones win."""
        found = self.value(node, depth + 1)
        for other in found if isinstance(found, Items) else [found]:
            if not isinstance(other, Section):
                raise fault(section.place, "<< takes a mapping, or a list of them")
            for key, value in other.items():
                if key not in section:
                    section.put(key, value, other.at(key))

    def _scalar(self, node: yaml.Node, place: Place) -> object:
        text = str(node.value)
        if "$" in text:
            text = interpolate(text, self._variables, str(place), self._noted)
        plain = getattr(node, "style", None) is None and not node.tag.startswith("!")
        return scalar(text) if plain else text
