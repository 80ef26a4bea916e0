"""``fairlead container inspect``."""

from __future__ import annotations

import click

from fairlead.api.client import Client
from fairlead.cli.console import pass_client, path
from fairlead.cli.inspection import show_all


@click.command("inspect", short_help="Show everything about containers")
@click.option("-f", "--format", "form", default="", help="json, or a template such as '{{.State.Pid}}'.")
@click.argument("containers", nargs=-1, required=True, metavar="CONTAINER...")
@pass_client
def command(client: Client, containers: tuple[str, ...], *, form: str) -> int:
    """Show everything about containers.

    \b
    Example:
      fairlead container inspect c1 --format '{{.State.Status}}'
    """
    return show_all(containers, lambda ref: client.get(path("containers", ref, "json")), form)
