"""``fairlead wait``."""

from __future__ import annotations

import click

from fairlead.api.client import Client
from fairlead.cli.console import each, pass_client, path
from fairlead.cli.container.foreground import exit_code


@click.command("wait", short_help="Wait until containers end; print their exit codes")
@click.argument("containers", nargs=-1, required=True, metavar="CONTAINER...")
@pass_client
def command(client: Client, containers: tuple[str, ...]) -> int:
    """Wait until containers end, and print the exit code of each.

    \b
    Example:
      fairlead wait c1
    """

    def wait(ref: str) -> str:
        with client.open("POST", path("containers", ref, "wait")) as waiting:
            return str(exit_code(waiting))

    return each(containers, wait)
