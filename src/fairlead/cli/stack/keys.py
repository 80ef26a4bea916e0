"""The keys of a part of a Compose file: each is taken with its type checked, and what nobody takes is told of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fairlead.cli.compose.document import Items, Place, Section, fault
from fairlead.model.errors import Invalid


class Keys:
    """One mapping of a file. ``path`` is its own name, as in ``services.web``."""

    def __init__(self, section: Section, path: str, notes: list[str]) -> None:
        self.section = section
        self.path = path
        self.notes = notes
        self._taken: set[str] = set()

    def __contains__(self, key: str) -> bool:
        return self.section.get(key) is not None

    def name(self, key: str) -> str:
        """The whole name of a key."""
        return f"{self.path}.{key}" if self.path else key

    def at(self, key: str) -> Place:
        """Where a key stands."""
        return self.section.at(key)

    def raw(self, key: str) -> object:
        """A value of whatever type."""
        self._taken.add(key)
        return self.section.get(key)

    def text(self, key: str) -> str:
        """Text; numbers and truth values are taken as they are written. Empty when absent."""
        value = self.raw(key)
        if isinstance(value, Section | Items):
            raise self.wrong(key, "must be a string")
        return as_text(value)

    def texts(self, key: str) -> list[str]:
        """A list of texts; one text alone is a list too."""
        value = self.raw(key)
        if value is None:
            return []
        if isinstance(value, Section):
            raise self.wrong(key, "must be a list")
        return [as_text(item) for item in value] if isinstance(value, Items) else [as_text(value)]

    def items(self, key: str) -> list[tuple[object, Place]]:
        """The items of a list, with their places."""
        value = self.raw(key)
        if value is None:
            return []
        if not isinstance(value, Items):
            raise self.wrong(key, "must be a list")
        return list(zip(value, value.places, strict=True))

    def table(self, key: str, separator: str = "=") -> dict[str, str | None]:
        """Pairs, written as a mapping or as a list of ``k=v``; None for a key without a value."""
        value = self.raw(key)
        if value is None:
            return {}
        if isinstance(value, Section):
            return {name: None if item is None else as_text(item) for name, item in value.items()}
        pairs = {}
        for item in self.texts(key):
            name, found, words = item.partition(separator)
            if not name:
                raise self.wrong(key, f"has an entry without a name: {item!r}")
            pairs[name] = words if found else None
        return pairs

    def below(self, key: str) -> Keys:
        """The mapping under a key, empty when absent."""
        value = self.raw(key)
        if value is not None and not isinstance(value, Section):
            raise self.wrong(key, "must be a mapping")
        return Keys(value or Section(self.at(key)), self.name(key), self.notes)

    def each(self, key: str) -> Iterator[tuple[str, Keys]]:
        """The mappings under the keys of a mapping; null is an empty one."""
        found = self.below(key)
        for name in found.section:
            yield name, found.below(name)

    def wrong(self, key: str, words: str) -> Invalid:
        """An error about a key."""
        return fault(self.at(key), f"{self.name(key)} {words}")

    def end(self, ignored: Mapping[str, str] | None = None) -> None:
        """Note every key that stands there and was not taken: ``ignored`` are those that are known, and why; any other
        raises ``Invalid``. Keys ``x-…`` are the user's own."""
        for key, value in self.section.items():
            if key in self._taken or key.startswith("x-"):
                continue
            why = (ignored or {}).get(key)
            if why is None:
                raise fault(
                    self.at(key),
                    f"{self.path or '(root)'} Additional property {key} is not allowed",
                    "is it written right?",
                )
            if value is not None:
                self.note(key, why)

    def note(self, key: str, why: str, place: Place | None = None) -> None:
        """Note that a key is not honoured."""
        self.notes.append(f"{place or self.at(key)}: {self.name(key)} is not honoured: {why}")


def as_text(value: object) -> str:
    """A scalar as text, null as none."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)
