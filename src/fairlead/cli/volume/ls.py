"""``fairlead volume ls``."""

from __future__ import annotations

import click

from fairlead.api.client import Client
from fairlead.cli.console import filters, pass_client, record, records
from fairlead.cli.rows import VOLUME, volume_row
from fairlead.cli.table import list_options, render


@click.command("ls", short_help="List volumes")
@list_options
@pass_client
def command(client: Client, *, given: tuple[str, ...], form: str, no_trunc: bool, quiet: bool) -> None:
    """List volumes.

    \b
    Example:
      fairlead volume ls --filter dangling=true
    """
    del no_trunc  # nothing here is shortened
    volumes = records(record(client.get("/volumes", {"filters": filters(given)})).get("Volumes"))
    print(render(VOLUME, map(volume_row, volumes), form, quiet=quiet), end="")
