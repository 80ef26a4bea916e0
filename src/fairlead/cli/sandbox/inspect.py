"""``fairlead sandbox inspect``."""

from __future__ import annotations

import click

from fairlead.api.client import Client
from fairlead.cli.console import pass_client, path
from fairlead.cli.inspection import show_all


@click.command("inspect", short_help="Show everything about such sandboxes")
@click.option("-f", "--format", "form", default="", help="json, or a template such as '{{.Target}}'.")
@click.argument("sandboxes", nargs=-1, required=True, metavar="SANDBOX...")
@pass_client
def command(client: Client, sandboxes: tuple[str, ...], *, form: str) -> int:
    """Show everything about sandboxes without a container: where they are, their networks, their ports.

    \b
    Example:
      fairlead sandbox inspect redis
    """
    return show_all(sandboxes, lambda ref: client.get(path("fairlead", "sandboxes", ref)), form)
