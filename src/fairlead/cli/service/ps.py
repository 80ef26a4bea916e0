"""``fairlead service ps``."""

from __future__ import annotations

import click

from fairlead.api.client import Client
from fairlead.cli.console import filters, pass_client, text
from fairlead.cli.faults import complain
from fairlead.cli.service.listing import show_tasks, wanted
from fairlead.cli.service.specs import find, tasks
from fairlead.cli.table import list_options
from fairlead.model.errors import NetError


@click.command("ps", short_help="List the tasks of services")
@click.option("--no-resolve", is_flag=True, help="Show ids of services and nodes instead of names.")
@list_options
@click.argument("services", nargs=-1, required=True, metavar="SERVICE...")
@pass_client
def command(
    client: Client,
    services: tuple[str, ...],
    *,
    given: tuple[str, ...],
    form: str,
    no_trunc: bool,
    quiet: bool,
    no_resolve: bool,
) -> int:
    """List the tasks of services: where they run, how they are, and why one waits or has ended.

    \b
    Example:
      fairlead service ps --filter desired-state=running web
    """
    filters(given)  # complains of what is no filter
    found, code = [], 0
    for ref in services:
        try:
            found.append(text(find(client, ref).get("ID")))
        except NetError as error:
            code = complain(error)
    if found:
        chosen = tasks(client, {**wanted(given), "service": found})
        show_tasks(client, chosen, form, no_trunc=no_trunc, quiet=quiet, resolve=not no_resolve)
    return code
