"""``fairlead top``."""

from __future__ import annotations

import click

from fairlead.api.client import Client
from fairlead.cli.console import pass_client, path, record

#: Blanks between two columns.
_GAP = 3


@click.command("top", short_help="Show the processes of a container", context_settings={"ignore_unknown_options": True})
@click.argument("container")
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[PS OPTIONS]...")
@pass_client
def command(client: Client, container: str, words: tuple[str, ...]) -> None:
    """Show the processes of a container, as the host counts them, with any options of ps(1) that show PIDs.

    \b
    Example:
      fairlead top c1 -o pid,rss,args
    """
    found = record(client.get(path("containers", container, "top"), {"ps_args": " ".join(words) or None}))
    titles, rows = found.get("Titles"), found.get("Processes")
    lines = [line for line in (titles, *(rows if isinstance(rows, list) else ())) if isinstance(line, list)]
    widths = [max(len(str(cell)) for cell in column) for column in zip(*lines, strict=False)]
    for line in lines:
        cells = [str(cell).ljust(width + _GAP) for cell, width in zip(line, widths, strict=False)]
        print("".join(cells).rstrip())
