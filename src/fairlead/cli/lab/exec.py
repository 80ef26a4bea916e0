"""``fairlead lab exec``."""

from __future__ import annotations

import os
import sys

import click

from fairlead.cli.lab.which import lab_called, name_option


@click.command("exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@name_option
@click.argument("host")
@click.argument("arguments", nargs=-1, required=True, type=click.UNPROCESSED, metavar="COMMAND [ARG]...")
def command(name: str, host: str, arguments: tuple[str, ...]) -> None:
    """Run a command on a host, with FAIRLEAD_HOST and DOCKER_HOST set to its daemon. The exit code is the command's.

    \b
    Example:
      fairlead lab exec h1 -- fairlead ps
    """
    words = list(arguments[1:] if arguments[0] == "--" else arguments)
    if not words:
        raise click.UsageError("Missing argument 'COMMAND [ARG]...'.")
    entry = lab_called(name).entry(host, words, os.getcwd())
    sys.stdout.flush()
    os.execvpe(entry.arguments[0], entry.arguments, entry.environment)
