"""Nodes in another role, as ``promote`` and ``demote`` put them."""

from __future__ import annotations

from collections.abc import Iterable

from fairlead.api.client import Client
from fairlead.cli.console import each, path, record, text
from fairlead.cli.node.rows import node_path
from fairlead.cli.swarm.specs import version


def change(client: Client, nodes: Iterable[str], role: str, done: str) -> int:
    """Put nodes into a role; ``done`` says so of one. The exit code."""

    def put(ref: str) -> str:
        found = record(client.get(path("nodes", node_path(client, ref))))
        spec = record(found.get("Spec"))
        if text(spec.get("Role")) == role:
            return f"Node {ref} is already a {role}."
        client.post(path("nodes", str(found["ID"]), "update"), {**spec, "Role": role}, {"version": version(found)})
        return done.format(ref)

    return each(nodes, put)
