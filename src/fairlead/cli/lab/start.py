"""``fairlead lab start``."""

from __future__ import annotations

import click

from fairlead.cli.lab.which import lab_called, name_option


@click.command("start")
@name_option
@click.argument("host")
def command(name: str, host: str) -> None:
    """Start the daemon of a host that has none; return when it answers.

    \b
    Example:
      fairlead lab start h1
    """
    print(lab_called(name).start(host).name)
