"""``fairlead image inspect``."""

from __future__ import annotations

import json

import click

from fairlead.api.client import Client
from fairlead.cli.console import pass_client, path


@click.command("inspect", short_help="Show everything about images")
@click.argument("names", nargs=-1, required=True, metavar="IMAGE...")
@pass_client
def command(client: Client, names: tuple[str, ...]) -> None:
    """Show everything about images, as JSON.

    \b
    Example:
      fairlead image inspect alpine
    """
    print(json.dumps([client.get(path("images", name, "json")) for name in names], indent=4))
