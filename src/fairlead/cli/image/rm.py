"""``fairlead image rm``."""

from __future__ import annotations

import click

from fairlead.api.client import Client
from fairlead.cli.console import each, pass_client, path, records


@click.command("rm", short_help="Remove images")
@click.option("-f", "--force", is_flag=True, help="Also when containers that do not run were made from it.")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@pass_client
def command(client: Client, images: tuple[str, ...], *, force: bool) -> int:
    """Take names from images; an image goes with its last name. One that a container uses stays.

    \b
    Example:
      fairlead image rm alpine
    """

    def remove(name: str) -> str:
        done = records(client.delete(path("images", name), {"force": force}))
        return "\n".join(f"{verb}: {what}" for row in done for verb, what in row.items())

    return each(images, remove)
