"""``fairlead export``."""

from __future__ import annotations

import sys
from typing import BinaryIO

import click

from fairlead.api.client import Client
from fairlead.cli.console import pass_client, path
from fairlead.model.errors import Invalid


@click.command("export", short_help="Write a container's root file system as a tar archive")
@click.option("-o", "--output", type=click.File("wb"), default=None, metavar="FILE", help="Write here.")
@click.argument("container")
@pass_client
def command(client: Client, container: str, *, output: BinaryIO | None) -> None:
    """Write a container's root file system, without what is mounted into it, as a tar archive.

    \b
    Example:
      fairlead export -o c1.tar c1
    """
    if output is None and sys.stdout.isatty():
        raise Invalid("refusing to write an archive to a terminal", hint="use -o, or redirect the output")
    sink = output or sys.stdout.buffer
    with client.open("GET", path("containers", container, "export")) as reply:
        for piece in reply.pieces():
            sink.write(piece)
