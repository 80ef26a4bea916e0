"""Flags that are lists: what is added takes the place of what has the same key, what is removed is named by its key."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from fairlead.cli.console import pairs
from fairlead.cli.container.creation import environment, host_line
from fairlead.cli.container.wishes import mount, ulimit
from fairlead.cli.service import ports
from fairlead.cli.service.singles import Spec, section
from fairlead.model import codes
from fairlead.model.errors import Invalid, NotImplementedHere

_TASK = "TaskTemplate"
_CONTAINER = (_TASK, "ContainerSpec")
#: Fields of ``--network`` in the long form.
_NETWORK_FIELDS = ("name", "alias", "driver-opt", "ip")

Resolve = Callable[[str], str]


class _List(NamedTuple):
    """A list in a spec: where it is, how an item is read, what it is known by, and how that is read of ``-rm``."""

    path: tuple[str, ...]
    read: Callable[[str], object]
    key: Callable[[object], object]
    removed: Callable[[str], object]


def _itself(item: object) -> object:
    return item


def _word(text: str) -> object:
    return text


def _field(name: str) -> Callable[[object], object]:
    return lambda item: item.get(name) if isinstance(item, Mapping) else None


def _variable(item: object) -> object:
    return str(item).partition("=")[0]


def _host(text: str) -> object:
    name, _, address = host_line(text).partition(":")
    return f"{address} {name}"


def _host_name(item: object) -> object:
    return str(item).partition(" ")[2]


def _preference(text: str) -> object:
    strategy, equals, label = text.partition("=")
    if strategy != "spread" or not equals or not label:
        raise Invalid(
            f'unsupported placement preference "{text}" (only spread is supported)',
            hint="write spread=node.labels.zone",
            code=codes.FLAG_INVALID,
        )
    return {"Spread": {"SpreadDescriptor": label}}


def network(text: str) -> dict[str, object]:
    """``NET`` or ``name=NET,alias=A,driver-opt=K=V,ip=IP`` as ``Networks`` has it; raises ``Invalid``."""
    if "=" not in text:
        return {"Target": text}
    fields: dict[str, list[str]] = {}
    for part in text.split(","):
        key, equals, value = part.strip().partition("=")
        if not equals or key.lower() not in _NETWORK_FIELDS:
            raise Invalid(
                f"invalid field {part!r} in network {text!r}",
                hint="write name=NET,alias=A,driver-opt=K=V,ip=IP or ip=IP-IP",
                code=codes.FLAG_INVALID,
            )
        fields.setdefault(key.lower(), []).append(value)
    if "name" not in fields:
        raise Invalid(f"network name or ID must be specified: {text!r}", code=codes.FLAG_INVALID)
    body: dict[str, object] = {"Target": fields["name"][-1], "Aliases": fields.get("alias", [])}
    body["DriverOpts"] = pairs(fields.get("driver-opt", []), what="driver option")
    return {**body, "Addresses": fields.get("ip", [])}


_SPREAD = _field("Spread")
_PLAIN: Mapping[str, _List] = {
    "constraint": _List((_TASK, "Placement", "Constraints"), _word, _itself, _word),
    "dns": _List((*_CONTAINER, "DNSConfig", "Nameservers"), _word, _itself, _word),
    "dns_option": _List((*_CONTAINER, "DNSConfig", "Options"), _word, _itself, _word),
    "dns_search": _List((*_CONTAINER, "DNSConfig", "Search"), _word, _itself, _word),
    "env": _List((*_CONTAINER, "Env"), _word, _variable, _word),
    "group": _List((*_CONTAINER, "Groups"), _word, _itself, _word),
    "host": _List((*_CONTAINER, "Hosts"), _host, _itself, _word),
    "mount": _List((*_CONTAINER, "Mounts"), mount, _field("Target"), _word),
    "placement_pref": _List((_TASK, "Placement", "Preferences"), _preference, _itself, _preference),
    "ulimit": _List((*_CONTAINER, "Ulimits"), ulimit, _field("Name"), _word),
}
_TABLES: Mapping[str, tuple[str, ...]] = {
    "label": ("Labels",),
    "container_label": (*_CONTAINER, "Labels"),
    "sysctl": (*_CONTAINER, "Sysctls"),
}
_ABSENT = {"config": "configs", "secret": "secrets", "generic_resource": "generic resources"}


def apply(
    spec: Spec, added: Mapping[str, tuple[str, ...]], removed: Mapping[str, tuple[str, ...]], resolve: Resolve
) -> None:
    """Take away, then add; ``resolve`` gives the id of a network that is named. Raises ``Invalid``."""
    for name, what in _ABSENT.items():
        if added.get(name) or removed.get(name):
            raise NotImplementedHere(f"{what} are not implemented", hint=f"leave --{name.replace('_', '-')} out")
    for name, rule in _PLAIN.items():
        more = environment((), added.get(name, ())) if name == "env" else added.get(name, ())
        _change(spec, rule, more, removed.get(name, ()), by_name=name == "host")
    for name, path in _TABLES.items():
        _change_table(spec, path, pairs(added.get(name, ()), what=name.replace("_", " ")), removed.get(name, ()))
    _change_networks(spec, added.get("network", ()), removed.get("network", ()), resolve)
    _change_ports(spec, added.get("publish", ()), removed.get("publish", ()))


def _change(spec: Spec, rule: _List, added: Iterable[str], removed: Iterable[str], *, by_name: bool) -> None:
    more, less = [rule.read(text) for text in added], [rule.removed(text) for text in removed]
    if not more and not less:
        return
    holder = section(spec, *rule.path[:-1])
    present = holder.get(rule.path[-1])
    items = list(present) if isinstance(present, list) else []
    if by_name:  # of a host, the name alone or name and address
        items = [item for item in items if not any(_is_host(item, str(text)) for text in less)]
    else:
        items = [item for item in items if rule.key(item) not in less]
    for item in more:
        items = [other for other in items if rule.key(other) != rule.key(item)]
        items.append(item)
    holder[rule.path[-1]] = items


def _is_host(item: object, text: str) -> bool:
    name, _, address = text.partition(":")
    return _host_name(item) == name and address in ("", str(item).partition(" ")[0])


def _change_table(spec: Spec, path: tuple[str, ...], added: Mapping[str, str], removed: Iterable[str]) -> None:
    gone = set(removed)
    if not added and not gone:
        return
    table = section(spec, *path)
    for name in gone:
        table.pop(name, None)
    table.update(added)


def _change_networks(spec: Spec, added: Iterable[str], removed: Iterable[str], resolve: Resolve) -> None:
    more, less = [network(text) for text in added], [resolve(text) for text in removed]
    if not more and not less:
        return
    task = section(spec, _TASK)
    present = task.get("Networks")
    items = [item for item in present if item.get("Target") not in less] if isinstance(present, list) else []
    for item in more:
        item["Target"] = resolve(str(item["Target"]))
        if any(other.get("Target") == item["Target"] for other in items):
            raise Invalid("service is already attached to network", hint="take it away with --network-rm first")
        items.append(item)
    task["Networks"] = items


def _change_ports(spec: Spec, added: Iterable[str], removed: Iterable[str]) -> None:
    more = ports.ports(added)
    gone = list(removed)
    if not more and not gone:
        return
    endpoint = section(spec, "EndpointSpec")
    present = endpoint.get("Ports")
    items = ports.without(present if isinstance(present, list) else [], gone)
    for port in more:
        items = [*(other for other in items if ports.key(other) != ports.key(port)), port]
    endpoint["Ports"] = items
