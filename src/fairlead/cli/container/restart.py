"""``fairlead restart``."""

from __future__ import annotations

import click

from fairlead.api.client import Client
from fairlead.cli.console import each, pass_client, path


@click.command("restart", short_help="Restart containers")
@click.option("-t", "--time", "--timeout", "seconds", type=int, default=None, help="Patience before SIGKILL.")
@click.argument("containers", nargs=-1, required=True, metavar="CONTAINER...")
@pass_client
def command(client: Client, containers: tuple[str, ...], *, seconds: int | None) -> int:
    """Stop containers that run, and start them again.

    \b
    Example:
      fairlead restart c1
    """

    def restart(ref: str) -> str:
        client.post(path("containers", ref, "restart"), query={"t": seconds})
        return ref

    return each(containers, restart, doing="restarting")
