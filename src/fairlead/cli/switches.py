"""Switches in Docker's grammar: ``--ipv6``, ``--ipv6=true``, ``--ipv4=false`` (Go's ParseBool)."""

from __future__ import annotations

import click

from fairlead.model.errors import Invalid
from fairlead.model.options import flag


class SwitchCommand(click.Command):
    """A command whose switches may be given a value behind ``=``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click's, after each valued switch is turned into the plain one that means the same."""
        switches = {
            name: one for one in self.params if isinstance(one, click.Option) and one.is_flag for name in one.opts
        }
        plain: list[str] = []
        for at, arg in enumerate(args):
            if arg == "--":
                return super().parse_args(ctx, [*plain, *args[at:]])
            name, equals, value = arg.partition("=")
            switch = switches.get(name) if equals and name.startswith("--") else None
            plain += [arg] if switch is None else _plain(ctx, switch, name, value)
        return super().parse_args(ctx, plain)


def _plain(ctx: click.Context, switch: click.Option, name: str, value: str) -> list[str]:
    try:
        on = flag({name: value}, name, True)
    except Invalid as error:
        raise click.BadParameter(f"{value!r} is neither true nor false", ctx, switch) from error
    return [name] if on else switch.secondary_opts[:1]
