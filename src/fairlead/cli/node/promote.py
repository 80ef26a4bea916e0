"""``fairlead node promote``."""

from __future__ import annotations

import click

from fairlead.api.client import Client
from fairlead.cli.console import pass_client
from fairlead.cli.node.roles import change


@click.command("promote", short_help="Make nodes managers")
@click.argument("nodes", nargs=-1, required=True, metavar="NODE...")
@pass_client
def command(client: Client, nodes: tuple[str, ...]) -> int:
    """Make nodes managers.

    \b
    Example:
      fairlead node promote h2
    """
    return change(client, nodes, "manager", "Node {} promoted to a manager in the swarm.")
