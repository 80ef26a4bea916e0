"""``fairlead node demote``."""

from __future__ import annotations

import click

from fairlead.api.client import Client
from fairlead.cli.console import pass_client
from fairlead.cli.node.roles import change


@click.command("demote", short_help="Make managers workers")
@click.argument("nodes", nargs=-1, required=True, metavar="NODE...")
@pass_client
def command(client: Client, nodes: tuple[str, ...]) -> int:
    """Make managers workers.

    \b
    Example:
      fairlead node demote h2
    """
    return change(client, nodes, "worker", "Manager {} demoted in the swarm.")
