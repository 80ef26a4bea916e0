"""Services as commands read and change them: the spec out of flags, an update on the version that was read."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

import click

from fairlead.api.client import Client
from fairlead.cli.console import path, record, records, text
from fairlead.cli.container.creation import environment
from fairlead.cli.service import lists, singles
from fairlead.cli.service.options import LISTS, Option
from fairlead.cli.service.singles import Spec, section
from fairlead.cli.swarm.specs import version
from fairlead.model import codes
from fairlead.model.errors import Invalid


def with_options(*options: Option) -> Callable[[Callable[..., object]], Callable[..., object]]:
    """A decorator for all of these options."""

    def decorate(function: Callable[..., object]) -> Callable[..., object]:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def find(client: Client, ref: str) -> dict[str, object]:
    """A service; raises ``ApiError``."""
    return record(client.get(path("services", ref)))


def put(client: Client, service: Mapping[str, object], spec: Mapping[str, object], rollback: str = "") -> None:
    """Give a service another spec, on the version that was read; ``rollback`` as the API has it."""
    query = {"version": version(dict(service)), "rollback": rollback or None}
    client.post(path("services", text(service.get("ID")), "update"), dict(spec), query)


def made(given: Mapping[str, object], image: str, words: tuple[str, ...]) -> Spec:
    """The spec that the flags of ``create`` ask for; raises ``Invalid``."""
    spec: Spec = {"TaskTemplate": {"ContainerSpec": {"Image": image, "Args": list(words)}}}
    mode = text(given.get("mode")) or "replicated"
    spec["Mode"] = {"Global": {}} if mode == "global" else {"Replicated": {"Replicas": 1}}
    singles.apply(spec, given)
    added = {name: _many(given, name) for name in _dests()}
    added["env"] = (*environment(_many(given, "env_file"), ()), *added["env"])
    lists.apply(spec, added, {}, lambda ref: ref)
    set_addresses(spec, _many(given, "addresses"))
    return spec


def change(client: Client, spec: Spec, given: Mapping[str, object]) -> None:
    """Change a spec as the flags of ``update`` say; raises ``Invalid`` or ``ApiError``."""
    singles.apply(spec, given)
    added = {name: _many(given, f"{name}_add") for name in _dests()}
    removed = {name: _many(given, f"{name}_rm") for name in _dests()}
    lists.apply(spec, added, removed, lambda ref: text(record(client.get(path("networks", ref))).get("Id")))
    set_addresses(spec, _many(given, "addresses"))
    if given.get("force"):
        task = section(spec, "TaskTemplate")
        task["ForceUpdate"] = int(text(task.get("ForceUpdate")) or "0") + 1


def set_addresses(spec: Spec, addresses: tuple[str, ...]) -> None:
    """Addresses of slots in the first network; ``none`` takes them away. Raises ``Invalid``."""
    if not addresses:
        return
    networks = section(spec, "TaskTemplate").get("Networks")
    if not isinstance(networks, list) or not networks:
        raise Invalid("--ip needs a network", hint="add --network NET", code=codes.FLAG_INVALID)
    networks[0]["Addresses"] = [] if addresses == ("none",) else list(addresses)


def tell_warnings(answer: object) -> None:
    """Write what the daemon warns of to standard error."""
    warnings = record(answer).get("Warnings")
    for warning in warnings if isinstance(warnings, list) else ():
        click.echo(f"WARNING: {warning}", err=True)


def tasks_of(client: Client, service_id: str, more: Mapping[str, list[str]] | None = None) -> list[dict[str, object]]:
    """The tasks of a service; ``more`` are further filters."""
    return tasks(client, {"service": [service_id], **(more or {})})


def tasks(client: Client, wanted: Mapping[str, list[str]]) -> list[dict[str, object]]:
    """Tasks by filters."""
    return records(client.get("/tasks", {"filters": json.dumps(wanted) if wanted else None}))


def _dests() -> list[str]:
    return [name.replace("-", "_") for name, _, _ in LISTS]


def _many(given: Mapping[str, object], name: str) -> tuple[str, ...]:
    value = given.get(name)
    return tuple(map(str, value)) if isinstance(value, tuple) else ()
