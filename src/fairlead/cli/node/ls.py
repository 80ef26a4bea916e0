"""``fairlead node ls``."""

from __future__ import annotations

import click

from fairlead.api.client import Client
from fairlead.cli.console import filters, pass_client, record, records, text
from fairlead.cli.node.rows import NODE, node_row
from fairlead.cli.table import list_options, render


@click.command("ls", short_help="List nodes")
@list_options
@pass_client
def command(client: Client, *, given: tuple[str, ...], form: str, no_trunc: bool, quiet: bool) -> None:
    """List the nodes of the cluster.

    \b
    Example:
      fairlead node ls --filter role=manager --format '{{.Hostname}}'
    """
    del no_trunc  # ids of nodes are shown whole, as Docker shows them
    nodes = records(client.get("/nodes", {"filters": filters(given)}))
    own = text(record(record(client.get("/info")).get("Swarm")).get("NodeID"))
    rows = [node_row(node, own, marked=form == "table" and not quiet) for node in nodes]
    print(render(NODE, rows, form, quiet=quiet), end="")
