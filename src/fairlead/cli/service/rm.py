"""``fairlead service rm``."""

from __future__ import annotations

import click

from fairlead.api.client import Client
from fairlead.cli.console import each, pass_client, path


@click.command("rm", short_help="Remove services")
@click.argument("services", nargs=-1, required=True, metavar="SERVICE...")
@pass_client
def command(client: Client, services: tuple[str, ...]) -> int:
    """Remove services; their tasks end by and by.

    \b
    Example:
      fairlead service rm web
    """

    def remove(ref: str) -> str:
        client.delete(path("services", ref))
        return ref

    return each(services, remove)
