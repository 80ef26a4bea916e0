"""``fairlead image prune``."""

from __future__ import annotations

import click

from fairlead.api.client import Client
from fairlead.cli.console import agreed, filters, pass_client, record, records


@click.command("prune", short_help="Remove images that nobody uses")
@click.option("-a", "--all", "every", is_flag=True, help="Also those with a name.")
@click.option("--filter", "given", multiple=True, metavar="K=V", help="label=, label!= or until=.")
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@pass_client
def command(client: Client, *, every: bool, given: tuple[str, ...], force: bool) -> None:
    """Remove the images without a name that no container uses.

    \b
    Example:
      fairlead image prune --all --force
    """
    what = "all images without at least one container associated to them" if every else "all dangling images"
    if not force and not agreed(f"This will remove {what}."):
        return
    chosen = filters((*given, "dangling=false") if every else given)
    for row in records(record(client.post("/images/prune", query={"filters": chosen})).get("ImagesDeleted")):
        for verb, name in row.items():
            print(f"{verb}: {name}")
