"""Firewall objects of a plan as nftables statements, and nftables' listings as objects. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeVar

from fairlead.plan.diff import Change, Create, Delete, Step
from fairlead.plan.objects import Backends, Chain, Element, Key, Object, Set, Table

#: Tables whose name begins so are ours, in every namespace.
TABLE_MARK = "fairlead"
#: The table of ``returns``, which no plan has.
RETURNS = f"{TABLE_MARK}-returns"
#: Elements in one statement: keeps a statement near 100 KiB, which nft's parser takes in a few milliseconds.
ELEMENTS_MAX = 2000

#: No table is claimed.
NONE_HELD: Mapping[Key, Sequence[str]] = MappingProxyType({})

Firewall = Table | Set | Chain | Element | Backends
_T = TypeVar("_T", Table, Set, Chain, Element)


def transaction(steps: Iterable[Step], held: Collection[Key] = ()) -> str:
    """The statements of one transaction for the firewall steps of one namespace; empty text when there are none.
    Tables ``held`` stand already, since they were claimed.

    Order: what refers goes before what is referred to (rules, elements, chains, sets, tables), and comes after it.
    """
    gone: list[Object] = []
    fresh: list[Object] = []
    changed: list[Chain] = []
    for step in steps:
        match step:
            case Delete():
                gone.append(step.object)
            case Create():
                fresh.append(step.object)
            case Change() if isinstance(step.after, Chain):
                changed.append(step.after)
            case Change(Backends() as before, Backends() as after):
                old, new = {one.key: one for one in before.elements()}, {one.key: one for one in after.elements()}
                gone += [one for key, one in old.items() if new.get(key) != one]
                fresh += [one for key, one in new.items() if old.get(key) != one]
            case _:
                pass
    return "\n".join([*_removals(gone, changed), *_additions(fresh, changed, held)])


def ruleset(
    objects: Sequence[Object], leftovers: Iterable[Table] = (), held: Mapping[Key, Sequence[str]] = NONE_HELD
) -> str:
    """The statements that make the tables of one namespace anew, whole, at one moment; ``leftovers`` go. Tables ``held``
    are claimed: they stay and are emptied by the statements given."""
    lines: list[str] = []
    for table in {item.key: item for item in (*leftovers, *_of(objects, Table))}.values():
        if table.key in held:
            lines += held[table.key]
            continue
        # adding first makes deleting one that is not there no fault
        lines += [f"add table {table.family} {table.name}", f"delete table {table.family} {table.name}"]
    return "\n".join([*lines, *_additions(objects, (), held)])


def emptied(listing: Iterable[dict[str, Any]]) -> list[str]:
    """The statements that take everything out of a table, given the JSON of ``list table`` without elements."""
    chains, sets = [], []
    for entry in listing:
        if "chain" in entry:
            chains.append(_place(entry["chain"]))
        for noun in ("set", "map"):
            if noun in entry:
                sets.append(f"delete {noun} {_place(entry[noun])}")
    return [*(f"flush chain {path}" for path in chains), *sets, *(f"delete chain {path}" for path in chains)]


def _place(body: dict[str, Any]) -> str:
    return f"{body['family']} {body['table']} {body['name']}"


def _of(objects: Iterable[Object], kind: type[_T]) -> list[_T]:
    return [item for item in objects if isinstance(item, kind)]


def _removals(gone: Sequence[Object], changed: Sequence[Chain]) -> Iterator[str]:
    tables = {(item.family, item.name) for item in _of(gone, Table)}

    def alone(item: Set | Chain | Element) -> bool:
        return (item.family, item.table) not in tables

    chains = [item for item in _of(gone, Chain) if alone(item)]
    for chain in (*chains, *changed):
        yield f"flush chain {_path(chain)}"
    yield from _element_statements("delete", [item for item in _elements(gone) if alone(item)])
    for chain in chains:
        yield f"delete chain {_path(chain)}"
    for item in _of(gone, Set):
        if alone(item):
            yield f"delete {'map' if item.value_type else 'set'} {_path(item)}"
    for table in _of(gone, Table):
        yield f"delete table {table.family} {table.name}"


def _additions(fresh: Sequence[Object], changed: Sequence[Chain], held: Collection[Key]) -> Iterator[str]:
    chains = _of(fresh, Chain)
    for table in _of(fresh, Table):
        if table.key in held:
            continue
        yield f"add table {table.family} {table.name}"
    for item in _of(fresh, Set):
        noun, type_ = ("map", f"{item.type} : {item.value_type}") if item.value_type else ("set", item.type)
        kind = f"typeof {item.typeof}" if item.typeof else f"type {type_}"
        counter = " counter ;" if item.counted else ""
        yield f"add {noun} {_path(item)} {{ {kind} ;{counter} }}"
    for chain in chains:
        hook = f" {{ {chain.hook.rstrip('; ')} ; }}" if chain.hook else ""
        yield f"add chain {_path(chain)}{hook}"
    for chain in (*chains, *changed):
        for rule in chain.rules:
            yield f"add rule {_path(chain)} {rule}"
    yield from _element_statements("add", _elements(fresh))


def _elements(objects: Iterable[Object]) -> list[Element]:
    found: list[Element] = []
    for item in objects:
        if isinstance(item, Element):
            found.append(item)
        elif isinstance(item, Backends):
            found.extend(item.elements())
    return found


def _path(item: Set | Chain) -> str:
    return f"{item.family} {item.table} {item.name}"


def _element_statements(verb: str, elements: Sequence[Element]) -> Iterator[str]:
    groups: dict[tuple[str, str, str], list[str]] = {}
    for item in elements:
        text = f"{item.element} : {item.value}" if item.value else item.element
        groups.setdefault((item.family, item.table, item.set), []).append(text)
    for (family, table, name), texts in groups.items():
        for start in range(0, len(texts), ELEMENTS_MAX):
            chunk = ", ".join(texts[start : start + ELEMENTS_MAX])
            yield f"{verb} element {family} {table} {name} {{ {chunk} }}"


def tables_in(listing: str, ns: str) -> list[Table]:
    """Our tables in the text of ``list tables``, but the one that is no plan's (``returns``). Not its JSON: nft 1.0 breaks off at
    flags that it does not know."""
    rows = (line.split() for line in listing.splitlines())
    ours = (row for row in rows if len(row) >= 3 and row[2] != RETURNS and row[2].startswith(TABLE_MARK))
    return [Table(ns, row[1], row[2]) for row in ours]


def sets_in(listing: Iterable[dict[str, Any]], table: Table) -> list[Set | Element]:
    """The sets and maps of a table with their elements in the JSON of ``list sets`` and ``list maps``."""
    found: list[Set | Element] = []
    for entry in listing:
        body = entry.get("set") or entry.get("map")
        if not isinstance(body, dict) or (body["family"], body["table"]) != (table.family, table.name):
            continue
        types = body["type"] if isinstance(body["type"], list) else [body["type"]]
        value_type = body.get("map", "")
        if isinstance(value_type, list):
            value_type = " . ".join(value_type)
        where = (table.ns, table.family, table.name)
        found.append(Set(*where, str(body["name"]), " . ".join(types), str(value_type)))
        for element in body.get("elem", ()):
            key, value = element if value_type else (element, "")
            found.append(Element(*where, str(body["name"]), _value(key, types), _value(value, [str(value_type)])))
    return found


def counts_in(listing: Iterable[dict[str, Any]]) -> dict[str, int]:
    """Packets that each element of a set with counters has matched, in the JSON of ``list set``."""
    rows = (row["elem"] for entry in listing if "set" in entry for row in entry["set"].get("elem", ()) if "elem" in row)
    return {str(row["val"]): int(row["counter"]["packets"]) for row in rows if "counter" in row}


def _value(value: Any, types: Sequence[str]) -> str:
    match value:
        case {"elem": {"val": inner}}:
            return _value(inner, types)
        case {"concat": parts}:
            return " . ".join(_value(part, types[i : i + 1]) for i, part in enumerate(parts))
        case {"prefix": {"addr": base, "len": length}}:
            return f"{base}/{length}"
        case {"range": [first, last]}:
            return f"{first}-{last}"
        case {"jump": {"target": target}}:
            return f"jump {target}"
        case {"goto": {"target": target}}:
            return f"goto {target}"
        case dict():
            return str(next(iter(value)))
        case _ if types and types[0] == "ifname" and value != "":
            return f'"{value}"'
        case _:
            return str(value)


def chains_in(listing: str, table: Table) -> list[Chain]:
    """The chains in the text of ``list table``; rules are as nft writes them."""
    found: list[Chain] = []
    name, hook, rules = "", "", list[str]()
    for line in (raw.strip() for raw in listing.splitlines()):
        if line.startswith("chain ") and line.endswith("{"):
            name, hook, rules = line.split()[1], "", []
        elif name and line == "}":
            found.append(Chain(table.ns, table.family, table.name, name, tuple(rules), hook))
            name = ""
        elif name and line.startswith("type ") and " hook " in line and not rules:
            hook = line.replace("policy accept;", "").rstrip("; ")
        elif name and line:
            rules.append(line)
    return found
