"""``fairlead node ps``."""

from __future__ import annotations

import click

from fairlead.api.client import Client
from fairlead.cli.console import filters, pass_client, path, record, text
from fairlead.cli.node.rows import node_path
from fairlead.cli.service.listing import show_tasks, wanted
from fairlead.cli.service.specs import tasks
from fairlead.cli.table import list_options


@click.command("ps", short_help="List the tasks on nodes")
@click.option("--no-resolve", is_flag=True, help="Show ids of services and nodes instead of names.")
@list_options
@click.argument("nodes", nargs=-1, metavar="NODE...")
@pass_client
def command(
    client: Client,
    nodes: tuple[str, ...],
    *,
    given: tuple[str, ...],
    form: str,
    no_trunc: bool,
    quiet: bool,
    no_resolve: bool,
) -> None:
    """List the tasks that the managers gave to nodes; self, which is meant when none is named, is this one.

    \b
    Example:
      fairlead node ps self
    """
    filters(given)  # complains of what is no filter
    found = []
    for ref in nodes or ("self",):
        node = record(client.get(path("nodes", node_path(client, ref))))
        found += tasks(client, {**wanted(given), "node": [text(node.get("ID"))]})
    show_tasks(client, found, form, no_trunc=no_trunc, quiet=quiet, resolve=not no_resolve)
