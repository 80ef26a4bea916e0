"""``fairlead container prune``."""

from __future__ import annotations

import click

from fairlead.api.client import Client
from fairlead.cli.console import agreed, filters, pass_client, record


@click.command("prune", short_help="Remove all containers that do not run")
@click.option("--filter", "given", multiple=True, metavar="K=V", help="label= or label!=.")
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@pass_client
def command(client: Client, *, given: tuple[str, ...], force: bool) -> None:
    """Remove all containers that do not run.

    \b
    Example:
      fairlead container prune --force
    """
    if not force and not agreed("This will remove all stopped containers."):
        return
    deleted = record(client.post("/containers/prune", query={"filters": filters(given)})).get("ContainersDeleted")
    if isinstance(deleted, list) and deleted:
        print("Deleted Containers:", *deleted, sep="\n", end="\n\n")
