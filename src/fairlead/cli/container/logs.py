"""``fairlead logs``."""

from __future__ import annotations

import sys

import click

from fairlead.api.client import Client
from fairlead.cli.console import pass_client, path, record
from fairlead.cli.container.session import pump


@click.command("logs", short_help="Show a container's output")
@click.option("-f", "--follow", is_flag=True, help="Go on until it ends.")
@click.option("--since", default=None, metavar="TIME", help="Begin here: a time, or a span such as 10m.")
@click.option("--until", default=None, metavar="TIME", help="End here.")
@click.option("-n", "--tail", default="all", metavar="N", help="Only the last N lines.")
@click.option("-t", "--timestamps", is_flag=True, help="With the time of each line.")
@click.argument("container")
@pass_client
def command(
    client: Client, container: str, *, follow: bool, since: str | None, until: str | None, tail: str, timestamps: bool
) -> None:
    """Show what a container has written to its standard output and error.

    \b
    Example:
      fairlead logs --follow --tail 20 c1
    """
    config = record(record(client.get(path("containers", container, "json"))).get("Config"))
    query: dict[str, str | int | bool | None] = {"stdout": True, "stderr": True, "follow": follow}
    query |= {"since": since, "until": until, "tail": tail, "timestamps": timestamps}
    with client.open("GET", path("containers", container, "logs"), query) as reply:
        pump(reply, tty_mode=bool(config.get("Tty")), stdin=False)
    sys.stdout.flush()
