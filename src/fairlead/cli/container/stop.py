"""``fairlead stop``."""

from __future__ import annotations

import click

from fairlead.api.client import Client
from fairlead.cli.console import dry_run_option, each, pass_client, path


@click.command("stop", short_help="Stop containers")
@click.option("-t", "--time", "--timeout", "seconds", type=int, default=None, help="Patience before SIGKILL.")
@click.argument("containers", nargs=-1, required=True, metavar="CONTAINER...")
@dry_run_option()
@pass_client
def command(client: Client, containers: tuple[str, ...], *, seconds: int | None) -> int:
    """Stop containers: the stop signal, then SIGKILL after some patience.

    \b
    Example:
      fairlead stop --time 2 c1
    """

    def stop(ref: str) -> str:
        client.post(path("containers", ref, "stop"), query={"t": seconds})
        return ref

    return each(containers, stop, doing="stopping")
