"""``fairlead network inspect``."""

from __future__ import annotations

import click

from fairlead.api.client import Client
from fairlead.cli.console import pass_client, path
from fairlead.cli.inspection import show_all


@click.command("inspect", short_help="Show everything about networks")
@click.option("-f", "--format", "form", default="", help="json, or a template such as '{{.Driver}}'.")
@click.option("-v", "--verbose", is_flag=True, help="Also what other nodes know.")
@click.argument("networks", nargs=-1, required=True, metavar="NETWORK...")
@pass_client
def command(client: Client, networks: tuple[str, ...], *, form: str, verbose: bool) -> int:
    """Show everything about networks: settings, subnets, how full they are, and who is connected.

    \b
    Example:
      fairlead network inspect web --format '{{range .Containers}}{{.Name}} {{end}}'
    """
    return show_all(networks, lambda ref: client.get(path("networks", ref), {"verbose": verbose}), form)
