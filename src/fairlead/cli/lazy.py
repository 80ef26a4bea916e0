"""Groups whose commands are loaded when they are called: the table is data, so ``--help`` loads no command at all."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import NamedTuple

import click


class Entry(NamedTuple):
    """A command in a table: the module whose ``command`` it is, and its line in the group's help."""

    module: str
    help: str
    hidden: bool = False


def _living(command: click.Command, ctx: click.Context) -> click.Command:
    attach = importlib.import_module("fairlead.cli.living").attach
    found = attach(command, ctx)
    return found if isinstance(found, click.Command) else command


class LazyGroup(click.Group):
    """A group over a table of entries. This is the one place where a module is loaded by name."""

    def __init__(self, name: str, entries: Mapping[str, Entry], help_text: str) -> None:
        super().__init__(name, help=help_text, no_args_is_help=True)
        self._entries = entries

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the table, which groups what belongs together."""
        return [*self._entries, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a name, loaded now; None when there is none."""
        entry = self._entries.get(cmd_name)
        if entry is None:
            return super().get_command(ctx, cmd_name)
        command = importlib.import_module(entry.module).command
        if not isinstance(command, click.Command):
            return None
        # Only the shell's completion parses so; what knows living names is loaded for it alone.
        return _living(command, ctx) if ctx.resilient_parsing else command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The help's list, out of the table."""
        rows = [(name, entry.help) for name, entry in self._entries.items() if not entry.hidden]
        with formatter.section("Commands"):
            formatter.write_dl(rows)
