"""``fairlead network prune``."""

from __future__ import annotations

import click

from fairlead.api.client import Client
from fairlead.cli.console import agreed, filters, pass_client, record

_WARNING = "This will remove all custom networks not used by at least one container."


@click.command("prune", short_help="Remove all networks that nobody uses")
@click.option("--filter", "given", multiple=True, metavar="K=V", help="label=, label!= or until=.")
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@pass_client
def command(client: Client, *, given: tuple[str, ...], force: bool) -> None:
    """Remove all networks that nobody uses.

    \b
    Example:
      fairlead network prune --force --filter until=24h
    """
    if not force and not agreed(_WARNING):
        return
    answer = record(client.post("/networks/prune", query={"filters": filters(given)}))
    deleted = answer.get("NetworksDeleted")
    if isinstance(deleted, list) and deleted:
        print("Deleted Networks:", *deleted, sep="\n", end="\n\n")
