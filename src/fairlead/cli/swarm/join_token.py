"""``fairlead swarm join-token``."""

from __future__ import annotations

import click

from fairlead.api.client import Client
from fairlead.cli.console import pass_client, record, text
from fairlead.cli.swarm.specs import cluster, print_join, version


@click.command("join-token", short_help="Show how nodes join, or replace a join token")
@click.option("-q", "--quiet", is_flag=True, help="Show the token only.")
@click.option("--rotate", is_flag=True, help="Replace the token; nodes that have joined are not touched.")
@click.argument("role", type=click.Choice(["worker", "manager"]), metavar="worker|manager")
@pass_client
def command(client: Client, role: str, *, quiet: bool, rotate: bool) -> None:
    """Show how nodes join in a role, or replace the token for it.

    \b
    Example:
      fairlead swarm join-token --rotate worker
    """
    if rotate:
        known = cluster(client)
        client.post(
            "/swarm/update", known.get("Spec"), {"version": version(known), f"rotate{role.capitalize()}Token": True}
        )
        if not quiet:
            print(f"Successfully rotated {role} join token.\n")
    if quiet:
        print(text(record(cluster(client).get("JoinTokens")).get(role.capitalize())))
    else:
        print_join(client, role)
