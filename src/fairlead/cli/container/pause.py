"""``fairlead pause``."""

from __future__ import annotations

import click

from fairlead.api.client import Client
from fairlead.cli.console import each, pass_client, path


@click.command("pause", short_help="Stop the clock of containers")
@click.argument("containers", nargs=-1, required=True, metavar="CONTAINER...")
@pass_client
def command(client: Client, containers: tuple[str, ...]) -> int:
    """Stop the clock of all processes of containers.

    \b
    Example:
      fairlead pause c1
    """

    def act(ref: str) -> str:
        client.post(path("containers", ref, "pause"))
        return ref

    return each(containers, act)
