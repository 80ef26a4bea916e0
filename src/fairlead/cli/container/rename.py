"""``fairlead rename``."""

from __future__ import annotations

import click

from fairlead.api.client import Client
from fairlead.cli.console import pass_client, path


@click.command("rename", short_help="Rename a container")
@click.argument("container")
@click.argument("name")
@pass_client
def command(client: Client, container: str, name: str) -> None:
    """Give a container another name; the names that others resolve follow.

    \b
    Example:
      fairlead rename c1 web
    """
    client.post(path("containers", container, "rename"), query={"name": name})
