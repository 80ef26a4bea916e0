"""The list of tasks that ``service ps``, ``node ps`` and ``stack ps`` show."""

from __future__ import annotations

from collections.abc import Iterable

from fairlead.api.client import Client
from fairlead.cli.console import record, records, text
from fairlead.cli.service.rows import TASK, task_rows
from fairlead.cli.table import render


def show_tasks(
    client: Client, tasks: Iterable[dict[str, object]], form: str, *, no_trunc: bool, quiet: bool, resolve: bool = True
) -> None:
    """Print a list of tasks, with names of services and nodes, or with ``resolve`` off their ids."""
    services: dict[str, str] = {}
    nodes: dict[str, str] = {}
    if resolve and not quiet:
        services = {
            text(one["ID"]): text(record(one.get("Spec")).get("Name")) for one in records(client.get("/services"))
        }
        nodes = node_names(client)
    print(render(TASK, task_rows(tasks, services, nodes, full=no_trunc), form, quiet=quiet), end="")


def node_names(client: Client) -> dict[str, str]:
    """Names of nodes by id."""
    return {
        text(node.get("ID")): text(record(node.get("Spec")).get("Name"))
        or text(record(node.get("Description")).get("Hostname"))
        for node in records(client.get("/nodes"))
    }


def wanted(given: Iterable[str]) -> dict[str, list[str]]:
    """``--filter k=v`` options by key."""
    found: dict[str, list[str]] = {}
    for item in given:
        key, _, value = item.partition("=")
        found.setdefault(key.strip().lower(), []).append(value.strip())
    return found
