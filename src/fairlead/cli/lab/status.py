"""``fairlead lab status``."""

from __future__ import annotations

import json

import click

from fairlead.cli.lab.which import lab_called, name_option
from fairlead.lab.lab import HostStatus

_COLUMNS = ("HOST", "ADDRESS", "ADDRESS (IPv6)", "PID", "STATE", "SOCKET")
_KEYS = ("host", "address", "address6", "pid", "state", "socket")


@click.command("status")
@name_option
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", help="How to show them.")
def command(name: str, form: str) -> None:
    """Show the hosts of a lab and how their daemons are: ready, starting or stopped.

    \b
    Example:
      fairlead lab status --format json
    """
    rows = [_row(status) for status in lab_called(name).status()]
    if form == "json":
        for row in rows:
            print(json.dumps(dict(zip(_KEYS, row, strict=True))))
        return
    lines = [_COLUMNS, *(tuple(str(cell or "-") for cell in row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_COLUMNS))]
    for line in lines:
        print("   ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _row(status: HostStatus) -> tuple[str | int, ...]:
    host = status.host
    return (host.name, host.address_v4, host.address_v6, status.pid, status.state, host.socket)
