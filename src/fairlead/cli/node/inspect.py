"""``fairlead node inspect``."""

from __future__ import annotations

import click

from fairlead.api.client import Client
from fairlead.cli.console import pass_client, path
from fairlead.cli.inspection import show_all
from fairlead.cli.node.rows import node_path


@click.command("inspect", short_help="Show everything about nodes")
@click.option("-f", "--format", "form", default="", help="json, or a template such as '{{.Status.State}}'.")
@click.argument("nodes", nargs=-1, required=True, metavar="NODE...")
@pass_client
def command(client: Client, nodes: tuple[str, ...], *, form: str) -> int:
    """Show everything about nodes; self is this one.

    \b
    Example:
      fairlead node inspect self --format '{{.Status.Addr}}'
    """
    return show_all(nodes, lambda ref: client.get(path("nodes", node_path(client, ref))), form)
