"""``fairlead swarm unlock-key``."""

from __future__ import annotations

import click

from fairlead.api.client import Client
from fairlead.cli.console import pass_client
from fairlead.cli.swarm.specs import cluster, print_unlock_key, version


@click.command("unlock-key", short_help="Show the unlock key, or replace it")
@click.option("-q", "--quiet", is_flag=True, help="Show the key only.")
@click.option("--rotate", is_flag=True, help="Replace the key.")
@pass_client
def command(client: Client, *, quiet: bool, rotate: bool) -> None:
    """Show the key that opens managers after a restart, or replace it.

    \b
    Example:
      fairlead swarm unlock-key --rotate
    """
    if rotate:
        known = cluster(client)
        client.post("/swarm/update", known.get("Spec"), {"version": version(known), "rotateManagerUnlockKey": True})
        if not quiet:
            print("Successfully rotated manager unlock key.\n")
    print_unlock_key(client, quiet=quiet)
