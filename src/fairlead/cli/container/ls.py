"""``fairlead ps`` and ``fairlead container ls``."""

from __future__ import annotations

import click

from fairlead.api.client import Client
from fairlead.cli.console import filters, pass_client, records
from fairlead.cli.rows import CONTAINER, container_row
from fairlead.cli.table import list_options, render


@click.command("ps", short_help="List containers")
@click.option("-a", "--all", "every", is_flag=True, help="Also those that do not run.")
@click.option("-n", "--last", type=int, default=0, metavar="N", help="The last N created, whatever they do.")
@click.option("-l", "--latest", is_flag=True, help="The last created.")
@list_options
@pass_client
def command(
    client: Client,
    *,
    every: bool,
    last: int,
    latest: bool,
    given: tuple[str, ...],
    form: str,
    no_trunc: bool,
    quiet: bool,
) -> None:
    """List containers, newest first.

    \b
    Example:
      fairlead ps --all --filter network=web --format 'table {{.Names}}\\t{{.Status}}'
    """
    limit = 1 if latest else max(last, 0)
    query = {"all": every, "limit": limit or None, "filters": filters(given)}
    rows = [container_row(item, full=no_trunc) for item in records(client.get("/containers/json", query))]
    print(render(CONTAINER, rows, form, quiet=quiet), end="")
