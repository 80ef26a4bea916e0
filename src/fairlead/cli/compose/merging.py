"""Several Compose files as one: later ones say more, or otherwise (Compose Specification, "Merge and override")."""

from __future__ import annotations

from collections.abc import Callable

from fairlead.cli.compose.document import Items, Place, Reset, Section, fault

#: Lists that replace each other: order is all that they say.
_REPLACED = frozenset({"command", "entrypoint", "test"})
#: Lists of ``k=v`` (or ``k:v``) that are mappings written otherwise, and the sign between.
_TABLES = {"environment": "=", "labels": "=", "sysctls": "=", "extra_hosts": ""}


def merge(base: Section, over: Section) -> Section:
    """``over`` on top of ``base``; both are left alone. Raises ``Invalid``."""
    merged = _copy(base)
    for key, value in over.items():
        place = over.at(key)
        if isinstance(value, Reset):
            merged.pop(key, None)
            continue
        merged.put(key, _merged(key, _alike(key, merged.get(key)), _alike(key, value)), place)
    return merged


def settled(section: Section) -> Section:
    """The same without what ``!reset`` marks."""
    clean = Section(section.place)
    for key, value in section.items():
        if not isinstance(value, Reset):
            clean.put(key, settled(value) if isinstance(value, Section) else value, section.at(key))
    return clean


def _alike(key: str, value: object) -> object:
    """The form in which values of a key that has two are compared."""
    if key in _TABLES:
        return _table(value, _TABLES[key])
    return _named(value) if key == "networks" else value


def _merged(key: str, before: object, value: object) -> object:
    if isinstance(value, Section) and isinstance(before, Section) and not value.tag:
        return merge(before, value)
    if isinstance(value, Items) and isinstance(before, Items) and not value.tag and key not in _REPLACED:
        return _appended(before, value, _IDENTITIES.get(key, repr))
    return value


def _appended(before: Items, value: Items, identity: Callable[[object], str]) -> Items:
    """Both lists; an item that is the same thing as an earlier one takes its place."""
    items: dict[str, tuple[object, Place]] = {}
    for source in (before, value):
        for item, place in zip(source, source.places, strict=True):
            items[identity(item)] = (item, place)
    merged = Items(before.place)
    for item, place in items.values():
        merged.add(item, place)
    return merged


def _copy(section: Section) -> Section:
    made = Section(section.place)
    made.update(section)
    made.places.update(section.places)
    return made


def _table(value: object, sign: str) -> object:
    """A list of pairs as the mapping that it stands for."""
    if not isinstance(value, Items):
        return value
    table = Section(value.place, value.tag)
    for item, place in zip(value, value.places, strict=True):
        separator = sign or ("=" if "=" in str(item) else ":")
        key, found, text = str(item).partition(separator)
        table.put(key, text if found else None, place)
    return table


def _named(value: object) -> object:
    """A list of names as a mapping without more about them."""
    if not isinstance(value, Items):
        return value
    table = Section(value.place, value.tag)
    for item, place in zip(value, value.places, strict=True):
        if not isinstance(item, str):
            raise fault(place, "a network's name must be text")
        table.put(item, None, place)
    return table


def _port(item: object) -> str:
    if not isinstance(item, Section):
        return str(item)
    return repr([str(item.get(key, "")) for key in ("host_ip", "target", "published", "protocol")])


def _volume(item: object) -> str:
    if isinstance(item, Section):
        return str(item.get("target", ""))
    parts = str(item).split(":")
    return parts[1] if len(parts) > 1 else parts[0]


_IDENTITIES: dict[str, Callable[[object], str]] = {"ports": _port, "volumes": _volume}
