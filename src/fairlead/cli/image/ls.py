"""``fairlead image ls``."""

from __future__ import annotations

import click

from fairlead.api.client import Client
from fairlead.cli.console import filters, pass_client, records
from fairlead.cli.rows import IMAGE, image_row
from fairlead.cli.table import list_options, render


@click.command("ls", short_help="List imported root file systems")
@list_options
@pass_client
def command(client: Client, *, given: tuple[str, ...], form: str, no_trunc: bool, quiet: bool) -> None:
    """List imported root file systems, and ``host``, the one that is always there.

    \b
    Example:
      fairlead image ls
    """
    del no_trunc  # nothing here is shortened
    images = records(client.get("/images/json", {"filters": filters(given)}))
    print(render(IMAGE, map(image_row, images), form, quiet=quiet), end="")
