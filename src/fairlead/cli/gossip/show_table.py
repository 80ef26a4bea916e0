"""``fairlead gossip table``."""

from __future__ import annotations

import click

from fairlead.api.client import Client
from fairlead.cli.console import pass_client, records
from fairlead.cli.gossip.rows import RECORD, record_row
from fairlead.cli.table import render


@click.command("table", short_help="List what is said in a network")
@click.option("--format", "form", default="table", help="table, json, 'table TEMPLATE' or a template.")
@click.option("--no-trunc", is_flag=True, help="Shorten nothing.")
@click.argument("network", default="", metavar="[NETWORK]")
@pass_client
def command(client: Client, network: str, *, form: str, no_trunc: bool) -> None:
    """List what is said in a network that this node takes part in; without one, which node takes part in which network.

    \b
    Example:
      fairlead gossip table web
    """
    found = records(client.get("/fairlead/gossip/table", {"network": network or None}))
    rows = [record_row(item, full=no_trunc or form == "json") for item in found]
    print(render(RECORD, rows, form), end="")
