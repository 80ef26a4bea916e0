"""``fairlead lab down``."""

from __future__ import annotations

import sys

import click

from fairlead.cli.lab.which import lab_called, name_option


@click.command("down")
@name_option
def command(name: str) -> None:
    """Remove the hosts with their daemons, containers and networks. Nothing is left; a second time does nothing.

    \b
    Example:
      fairlead lab down
    """
    if not lab_called(name).down():
        print(f"the lab {name} is not up", file=sys.stderr)
