"""``fairlead image import``."""

from __future__ import annotations

import json
from typing import BinaryIO

import click

from fairlead.api.client import Client
from fairlead.cli.console import pass_client, record, text
from fairlead.cli.progress import Counted


@click.command("import", short_help="Import a root file system from a tar archive")
@click.option("-c", "--change", "changes", multiple=True, metavar="LINE", help="A default, such as CMD or ENV.")
@click.argument("name")
@click.argument("tarball", type=click.File("rb"))
@pass_client
def command(client: Client, name: str, tarball: BinaryIO, *, changes: tuple[str, ...]) -> None:
    """Import a root file system from a tar archive (``-`` reads standard input) under a name.

    \b
    Example:
      fairlead image import -c 'CMD ["sh"]' alpine alpine-minirootfs.tar.gz
    """
    query = {"name": name, "changes": json.dumps(changes)}
    print(text(record(client.upload("/fairlead/images/import", Counted(tarball, name), query)).get("Name")))
