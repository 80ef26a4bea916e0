"""``fairlead node ps``."""

from __future__ import annotations

import json

import click

from fairlead.api.client import Client
from fairlead.cli.console import pass_client, path, record, records, text
from fairlead.cli.node.rows import node_path
from fairlead.cli.table import Kind, list_options, render

_TASK = Kind(
    headers={
        "ID": "ID",
        "Name": "NAME",
        "Image": "IMAGE",
        "Node": "NODE",
        "DesiredState": "DESIRED STATE",
        "CurrentState": "CURRENT STATE",
        "Error": "ERROR",
        "Ports": "PORTS",
    },
    shown=("ID", "Name", "Image", "Node", "DesiredState", "CurrentState", "Error", "Ports"),
    key="ID",
)


@click.command("ps", short_help="List the tasks on nodes")
@list_options
@click.argument("nodes", nargs=-1, metavar="NODE...")
@pass_client
def command(
    client: Client, nodes: tuple[str, ...], *, given: tuple[str, ...], form: str, no_trunc: bool, quiet: bool
) -> None:
    """List the tasks that the managers gave to nodes; self, which is meant when none is named, is this one.

    \b
    Example:
      fairlead node ps self
    """
    del no_trunc, given
    rows = []
    for ref in nodes or ("self",):
        node = record(client.get(path("nodes", node_path(client, ref))))
        wanted = json.dumps({"node": [text(node.get("ID"))]})
        hostname = text(record(node.get("Description")).get("Hostname"))
        for task in records(client.get("/tasks", {"filters": wanted})):
            status = record(task.get("Status"))
            rows.append(
                {
                    "ID": text(task.get("ID")),
                    "Name": text(task.get("Name")),
                    "Image": text(record(record(task.get("Spec")).get("ContainerSpec")).get("Image")),
                    "Node": hostname,
                    "DesiredState": text(task.get("DesiredState")).capitalize(),
                    "CurrentState": text(status.get("State")).capitalize(),
                    "Error": text(status.get("Err")),
                    "Ports": "",
                }
            )
    print(render(_TASK, rows, form, quiet=quiet), end="")
