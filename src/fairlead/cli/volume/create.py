"""``fairlead volume create``."""

from __future__ import annotations

import click

from fairlead.api.client import Client
from fairlead.cli.console import pairs, pass_client, record, text


@click.command("create", short_help="Create a volume")
@click.option("-l", "--label", "labels", multiple=True, metavar="K[=V]", help="A label.")
@click.argument("name", default="")
@pass_client
def command(client: Client, name: str, *, labels: tuple[str, ...]) -> None:
    """Create a volume, or find it when it is there; a name is chosen when none is given.

    \b
    Example:
      fairlead volume create data
    """
    made = record(client.post("/volumes/create", {"Name": name, "Labels": pairs(labels, what="label")}))
    print(text(made.get("Name")))
