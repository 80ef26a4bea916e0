"""``fairlead gossip peers``."""

from __future__ import annotations

import click

from fairlead.api.client import Client
from fairlead.cli.console import filters, pass_client, records
from fairlead.cli.gossip.rows import PEER, peer_row
from fairlead.cli.table import list_options, render


@click.command("peers", short_help="List the other nodes as this one sees them")
@list_options
@pass_client
def command(client: Client, *, given: tuple[str, ...], form: str, no_trunc: bool, quiet: bool) -> None:
    """List the other nodes of the cluster as this one sees them: alive, suspect, dead or left.

    \b
    Example:
      fairlead gossip peers --filter state=dead --format '{{.Address}} {{.State}}'
    """
    found = records(client.get("/fairlead/gossip/peers", {"filters": filters(given)}))
    rows = [peer_row(peer, full=no_trunc or form == "json") for peer in found]
    print(render(PEER, rows, form, quiet=quiet), end="")
