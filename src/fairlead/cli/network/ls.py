"""``fairlead network ls``."""

from __future__ import annotations

import click

from fairlead.api.client import Client
from fairlead.cli.console import filters, pass_client, records
from fairlead.cli.rows import NETWORK, network_row
from fairlead.cli.table import list_options, render


@click.command("ls", short_help="List networks")
@list_options
@pass_client
def command(client: Client, *, given: tuple[str, ...], form: str, no_trunc: bool, quiet: bool) -> None:
    """List networks.

    \b
    Example:
      fairlead network ls --filter driver=bridge --format '{{.Name}}'
    """
    networks = records(client.get("/networks", {"filters": filters(given)}))
    rows = [network_row(network, full=no_trunc or form == "json") for network in networks]
    print(render(NETWORK, rows, form, quiet=quiet), end="")
