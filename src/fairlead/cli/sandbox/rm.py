"""``fairlead sandbox rm``."""

from __future__ import annotations

import click

from fairlead.api.client import Client
from fairlead.cli.console import each, pass_client, path


@click.command("rm", short_help="Disconnect such sandboxes from everything")
@click.argument("sandboxes", nargs=-1, required=True, metavar="SANDBOX...")
@pass_client
def command(client: Client, sandboxes: tuple[str, ...]) -> int:
    """Take sandboxes without a container out of all their networks. What runs in them runs on.

    \b
    Example:
      fairlead sandbox rm redis
    """

    def remove(ref: str) -> str:
        client.delete(path("fairlead", "sandboxes", ref))
        return ref

    return each(sandboxes, remove)
