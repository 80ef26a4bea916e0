"""``fairlead kill``."""

from __future__ import annotations

import click

from fairlead.api.client import Client
from fairlead.cli.console import each, pass_client, path


@click.command("kill", short_help="Send containers a signal")
@click.option("-s", "--signal", "signal_name", default="SIGKILL", show_default=True, help="Name or number.")
@click.argument("containers", nargs=-1, required=True, metavar="CONTAINER...")
@pass_client
def command(client: Client, containers: tuple[str, ...], *, signal_name: str) -> int:
    """Send the first process of containers a signal.

    \b
    Example:
      fairlead kill --signal HUP c1
    """

    def kill(ref: str) -> str:
        client.post(path("containers", ref, "kill"), query={"signal": signal_name})
        return ref

    return each(containers, kill)
