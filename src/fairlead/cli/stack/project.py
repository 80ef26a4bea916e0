"""What Compose files ask of a cluster: networks to make, services with their specs, and notes on what is not honoured."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fairlead.cli.compose.document import FILE_BYTES_MAX, Section, fault, load
from fairlead.cli.compose.merging import merge, settled
from fairlead.cli.stack.keys import Keys
from fairlead.cli.stack.scalars import flag, labels
from fairlead.cli.stack.services import NAMESPACE, Names, service_spec
from fairlead.model import codes
from fairlead.model.errors import Invalid

Body = dict[str, object]

#: Standard input instead of a file.
_STDIN = "-"
_STACK_NAME = re.compile(r"[a-zA-Z0-9][-_a-zA-Z0-9]*\Z")
_VOLUME_IGNORED = {
    "driver_opts": "volumes are directories of their nodes",
    "labels": "volumes are made on nodes when a task needs them",
}


@dataclass(frozen=True, slots=True)
class Project:
    """A stack as files have it. ``networks`` are bodies to make networks with, ``external`` names of networks that must
    be there; ``services`` are specs by the keys of the file. ``notes`` tell of every key that is not honoured."""

    stack: str
    networks: tuple[Body, ...]
    external: tuple[str, ...]
    services: Mapping[str, Body]
    notes: tuple[str, ...]


def check_stack_name(name: str) -> str:
    """A stack's name; raises ``Invalid``."""
    if not _STACK_NAME.match(name):
        raise Invalid(
            f'invalid stack name: "{name}"', hint="letters, digits, - and _, as in web-shop", code=codes.FLAG_INVALID
        )
    return name


def merged(files: Iterable[str], notes: list[str]) -> Section:
    """The files as one; raises ``Invalid``."""
    whole: Section | None = None
    for name in files:
        one = load(_content(name), "<stdin>" if name == _STDIN else name, dict(os.environ), notes)
        whole = one if whole is None else merge(whole, one)
    if whole is None:
        raise Invalid("Please specify a Compose file (with --compose-file)", code=codes.FLAG_INVALID)
    return settled(whole)


def project(stack: str, section: Section, notes: list[str]) -> Project:
    """What a stack of this name is to be; raises ``Invalid``."""
    top = Keys(section, "", notes)
    for word in ("configs", "secrets"):
        if word in top:
            raise fault(top.at(word), f"{word} are not implemented", "mount a directory of the nodes")
    if "include" in top:
        raise fault(top.at("include"), "include is not implemented", "give the other file with -c")
    volumes = {key: _volume(stack, key, given) for key, given in top.each("volumes")}
    networks = dict(top.each("networks"))
    bodies = {key: _network(stack, key, given) for key, given in networks.items()}
    bodies.setdefault("default", _network(stack, "default", Keys(Section(section.place), "networks.default", notes)))
    names = Names(stack, {key: str(body["Name"]) for key, body in bodies.items()}, volumes)
    services: dict[str, Body] = {}
    for key, given in top.each("services"):
        profiles = given.texts("profiles")
        if profiles and not set(profiles) & set(os.environ.get("COMPOSE_PROFILES", "").split(",")):
            notes.append(f"{given.at('profiles')}: {given.path} is left out: set COMPOSE_PROFILES={profiles[0]} for it")
            continue
        services[key] = service_spec(key, given, names, _variables)
    for word in ("version", "name"):
        top.raw(word)
    top.end({"models": "there are none here"})
    used = _targets(services)
    return Project(
        stack,
        tuple(body for body in bodies.values() if body["Name"] in used and not body.get("External")),
        tuple(str(body["Name"]) for body in bodies.values() if body["Name"] in used and body.get("External")),
        services,
        tuple(notes),
    )


def _targets(services: Mapping[str, Body]) -> set[str]:
    """Names of the networks that services are in."""
    found = set()
    for spec in services.values():
        task = spec["TaskTemplate"]
        networks = task.get("Networks") if isinstance(task, dict) else None
        found |= {str(item["Target"]) for item in networks or ()}
    return found


def _network(stack: str, key: str, given: Keys) -> Body:
    """The body that makes a network; with ``External`` set it is to be there already."""
    external = given.raw("external")
    outside, other = _external(external)
    name = given.text("name") or other
    if outside:
        given.end(dict.fromkeys(("driver", "ipam", "labels", "driver_opts"), "an external network is as it is"))
        return {"Name": name or key, "External": True}
    ipam = given.below("ipam")
    configs = []
    for item, place in ipam.items("config"):
        if not isinstance(item, Section):
            raise fault(place, f"{ipam.path}.config must be a list of mappings")
        one = Keys(item, f"{ipam.path}.config", given.notes)
        pool = {"Subnet": one.text("subnet"), "IPRange": one.text("ip_range"), "Gateway": one.text("gateway")}
        aux = {host: address or "" for host, address in one.table("aux_addresses").items()}
        one.end()
        configs.append({**{word: value for word, value in pool.items() if value}, "AuxiliaryAddresses": aux})
    driver = given.text("driver") or "overlay"
    body: Body = {
        "Name": name or f"{stack}_{key}",
        "Driver": driver,
        "Scope": "swarm",
        "Internal": bool(flag(given, "internal")),
        "Attachable": bool(flag(given, "attachable")),
        "EnableIPv4": flag(given, "enable_ipv4"),
        "EnableIPv6": flag(given, "enable_ipv6"),
        "IPAM": {"Driver": ipam.text("driver") or "default", "Options": labels(ipam, "options"), "Config": configs},
        "Options": labels(given, "driver_opts"),
        "Labels": {**labels(given), NAMESPACE: stack},
    }
    ipam.end()
    given.end()
    return body


def _external(value: object) -> tuple[bool, str]:
    """Whether something is external, and its name in the form that is no longer written."""
    if isinstance(value, Section):
        return True, str(value.get("name") or "")
    return str(value).lower() == "true", ""


def _volume(stack: str, key: str, given: Keys) -> str:
    """The full name of a volume."""
    outside, other = _external(given.raw("external"))
    name = given.text("name") or other
    if given.text("driver") not in ("", "local"):
        given.note("driver", "volumes are directories of their nodes")
    given.end(_VOLUME_IGNORED)
    return name or (key if outside else f"{stack}_{key}")


def _variables(path: str) -> list[str]:
    """The lines of a file of variables; raises ``Invalid``."""
    lines = []
    for line in _content(path).splitlines():
        text = line.strip().removeprefix("export ")
        if text and not text.startswith("#"):
            name, equals, value = text.partition("=")
            lines.append(f"{name}={_unquoted(value.strip())}" if equals else name)
    return lines


def _unquoted(value: str) -> str:
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'" else value


def _content(name: str) -> str:
    try:
        if name == _STDIN:
            return sys.stdin.read(FILE_BYTES_MAX + 1)
        with Path(name).open(encoding="utf-8") as file:
            return file.read(FILE_BYTES_MAX + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"cannot read {name}: {error}", hint="check the path", code=codes.FLAG_INVALID) from error
