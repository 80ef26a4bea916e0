"""``fairlead lab stop``."""

from __future__ import annotations

import signal

import click

from fairlead.cli.lab.which import lab_called, name_option

_SIGNALS = {what.name.removeprefix("SIG"): what for what in signal.Signals}


@click.command("stop")
@name_option
@click.option(
    "-s",
    "--signal",
    "signal_name",
    type=click.Choice(sorted(_SIGNALS), case_sensitive=False),
    default="TERM",
    show_default=True,
    metavar="SIGNAL",
    help="How to end it: KILL is what a crash looks like.",
)
@click.argument("host")
def command(name: str, signal_name: str, host: str) -> None:
    """End the daemon of a host; its containers run on.

    \b
    Example:
      fairlead lab stop --signal KILL h1
    """
    print(lab_called(name).stop(host, _SIGNALS[signal_name.upper()]).name)
