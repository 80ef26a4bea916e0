"""``fairlead stack ps``."""

from __future__ import annotations

import click

from fairlead.api.client import Client
from fairlead.cli.console import filters, pass_client, text
from fairlead.cli.service.listing import show_tasks, wanted
from fairlead.cli.service.specs import tasks
from fairlead.cli.stack.parts import services_of
from fairlead.cli.table import list_options
from fairlead.model.errors import NotFound


@click.command("ps", short_help="List the tasks of a stack")
@click.option("--no-resolve", is_flag=True, help="Show ids of services and nodes instead of names.")
@list_options
@click.argument("stack")
@pass_client
def command(
    client: Client, stack: str, *, given: tuple[str, ...], form: str, no_trunc: bool, quiet: bool, no_resolve: bool
) -> None:
    """List the tasks of a stack: where they run, how they are, and why one waits or has ended.

    \b
    Example:
      fairlead stack ps shop
    """
    filters(given)  # complains of what is no filter
    services = [text(one.get("ID")) for one in services_of(client, stack).values()]
    if not services:
        raise NotFound(f"nothing found in stack: {stack}", hint="`fairlead stack ls` lists the stacks")
    chosen = tasks(client, {**wanted(given), "service": services})
    show_tasks(client, chosen, form, no_trunc=no_trunc, quiet=quiet, resolve=not no_resolve)
