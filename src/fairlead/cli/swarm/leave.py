"""``fairlead swarm leave``."""

from __future__ import annotations

import click

from fairlead.api.client import Client
from fairlead.cli.console import pass_client


@click.command("leave", short_help="End this node's membership")
@click.option("-f", "--force", is_flag=True, help="Also as a manager, whatever becomes of the cluster.")
@pass_client
def command(client: Client, *, force: bool) -> None:
    """End this node's membership; it forgets the cluster and its networks.

    \b
    Example:
      fairlead swarm leave
    """
    client.post("/swarm/leave", query={"force": force})
    print("Node left the swarm.")
