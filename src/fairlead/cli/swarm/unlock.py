"""``fairlead swarm unlock``."""

from __future__ import annotations

import sys

import click

from fairlead.api.client import Client
from fairlead.cli.console import pass_client


@click.command("unlock", short_help="Open this node's records of the cluster")
@pass_client
def command(client: Client) -> None:
    """Open this node's records of the cluster after a restart; asks for the unlock key, or reads it from its input.

    \b
    Example:
      fairlead swarm unlock
    """
    hidden = sys.stdin.isatty()
    key = click.prompt("Enter unlock key", hide_input=True) if hidden else sys.stdin.readline()
    client.post("/swarm/unlock", {"UnlockKey": str(key).strip()})
