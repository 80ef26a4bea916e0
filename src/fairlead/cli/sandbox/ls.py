"""``fairlead sandbox ls``."""

from __future__ import annotations

import click

from fairlead.api.client import Client
from fairlead.cli.console import filters, pass_client, records
from fairlead.cli.rows import SANDBOX, sandbox_row
from fairlead.cli.table import list_options, render


@click.command("ls", short_help="List sandboxes without a container")
@list_options
@pass_client
def command(client: Client, *, given: tuple[str, ...], form: str, no_trunc: bool, quiet: bool) -> None:
    """List sandboxes without a container: processes, namespaces and containers of others that are connected.

    \b
    Example:
      fairlead sandbox ls --filter network=web --format '{{.Name}} {{.Target}}'
    """
    found = records(client.get("/fairlead/sandboxes", {"filters": filters(given)}))
    rows = [sandbox_row(item, full=no_trunc or form == "json") for item in found]
    print(render(SANDBOX, rows, form, quiet=quiet), end="")
