"""``fairlead node rm``."""

from __future__ import annotations

import click

from fairlead.api.client import Client
from fairlead.cli.console import each, pass_client, path
from fairlead.cli.node.rows import node_path


@click.command("rm", short_help="Remove nodes from the cluster")
@click.option("-f", "--force", is_flag=True, help="Also a node that is not down.")
@click.argument("nodes", nargs=-1, required=True, metavar="NODE...")
@pass_client
def command(client: Client, nodes: tuple[str, ...], *, force: bool) -> int:
    """Remove nodes from the cluster: they are out at once, everywhere.

    \b
    Example:
      fairlead node rm --force h3
    """

    def remove(ref: str) -> str:
        client.delete(path("nodes", node_path(client, ref)), {"force": force})
        return ref

    return each(nodes, remove)
