"""``fairlead volume rm``."""

from __future__ import annotations

import click

from fairlead.api.client import Client
from fairlead.cli.console import each, pass_client, path


@click.command("rm", short_help="Remove volumes")
@click.option("-f", "--force", is_flag=True, help="Say nothing when one does not exist.")
@click.argument("volumes", nargs=-1, required=True, metavar="VOLUME...")
@pass_client
def command(client: Client, volumes: tuple[str, ...], *, force: bool) -> int:
    """Remove volumes with all that is in them; those that a container uses stay.

    \b
    Example:
      fairlead volume rm data
    """

    def remove(name: str) -> str:
        client.delete(path("volumes", name), {"force": force})
        return name

    return each(volumes, remove)
