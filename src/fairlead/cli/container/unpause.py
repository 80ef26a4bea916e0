"""``fairlead unpause``."""

from __future__ import annotations

import click

from fairlead.api.client import Client
from fairlead.cli.console import each, pass_client, path


@click.command("unpause", short_help="Let paused containers go on")
@click.argument("containers", nargs=-1, required=True, metavar="CONTAINER...")
@pass_client
def command(client: Client, containers: tuple[str, ...]) -> int:
    """Let paused containers go on where they were.

    \b
    Example:
      fairlead unpause c1
    """

    def act(ref: str) -> str:
        client.post(path("containers", ref, "unpause"))
        return ref

    return each(containers, act)
