"""``fairlead volume prune``."""

from __future__ import annotations

import click

from fairlead.api.client import Client
from fairlead.cli.console import agreed, filters, pass_client, record


@click.command("prune", short_help="Remove volumes that nobody uses")
@click.option("-a", "--all", "every", is_flag=True, help="Also those with a name of their own.")
@click.option("--filter", "given", multiple=True, metavar="K=V", help="label= or label!=.")
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@pass_client
def command(client: Client, *, every: bool, given: tuple[str, ...], force: bool) -> None:
    """Remove the volumes without a name that no container uses.

    \b
    Example:
      fairlead volume prune --all --force
    """
    what = "all volumes" if every else "anonymous volumes"
    if not force and not agreed(f"This will remove {what} not used by at least one container."):
        return
    chosen = filters((*given, "all=true") if every else given)
    deleted = record(client.post("/volumes/prune", query={"filters": chosen})).get("VolumesDeleted")
    if isinstance(deleted, list) and deleted:
        print("Deleted Volumes:", *deleted, sep="\n", end="\n\n")
