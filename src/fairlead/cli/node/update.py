"""``fairlead node update``."""

from __future__ import annotations

import click

from fairlead.api.client import Client
from fairlead.cli.console import pairs, pass_client, path, record
from fairlead.cli.node.rows import node_path
from fairlead.cli.swarm.specs import version
from fairlead.model import codes
from fairlead.model.errors import Invalid


@click.command("update", short_help="Change a node")
@click.option("--availability", type=click.Choice(["active", "pause", "drain"]), help="Whether the node takes tasks.")
@click.option("--role", type=click.Choice(["worker", "manager"]), help="What the node is in the cluster.")
@click.option("--label-add", "added", multiple=True, metavar="K[=V]", help="A label to set.")
@click.option("--label-rm", "removed", multiple=True, metavar="K", help="A label to take away.")
@click.argument("node")
@pass_client
def command(
    client: Client,
    node: str,
    *,
    availability: str | None,
    role: str | None,
    added: tuple[str, ...],
    removed: tuple[str, ...],
) -> None:
    """Change a node; prints its name.

    \b
    Example:
      fairlead node update --availability drain --label-add rack=7 h2
    """
    found = record(client.get(path("nodes", node_path(client, node))))
    spec = record(found.get("Spec"))
    labels = record(spec.get("Labels"))
    for key in removed:
        if key not in labels:
            raise Invalid(f"key {key} doesn't exist in node's labels", code=codes.FLAG_INVALID)
        del labels[key]
    labels.update(pairs(added, what="label"))
    spec["Labels"] = labels
    spec.update({name: value for name, value in (("Availability", availability), ("Role", role)) if value})
    client.post(path("nodes", str(found["ID"]), "update"), spec, {"version": version(found)})
    print(node)
