"""``fairlead volume inspect``."""

from __future__ import annotations

import json

import click

from fairlead.api.client import Client
from fairlead.cli.console import pass_client, path


@click.command("inspect", short_help="Show everything about volumes")
@click.argument("names", nargs=-1, required=True, metavar="VOLUME...")
@pass_client
def command(client: Client, names: tuple[str, ...]) -> None:
    """Show everything about volumes, as JSON.

    \b
    Example:
      fairlead volume inspect data
    """
    print(json.dumps([client.get(path("volumes", name)) for name in names], indent=4))
