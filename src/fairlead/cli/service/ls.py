"""``fairlead service ls``."""

from __future__ import annotations

import click

from fairlead.api.client import Client
from fairlead.cli.console import filters, pass_client, records
from fairlead.cli.service.rows import SERVICE, service_row
from fairlead.cli.table import list_options, render


@click.command("ls", short_help="List services")
@list_options
@pass_client
def command(client: Client, *, given: tuple[str, ...], form: str, no_trunc: bool, quiet: bool) -> None:
    """List services, with how many of their tasks run.

    \b
    Example:
      fairlead service ls --filter label=team=web --format '{{.Name}} {{.Replicas}}'
    """
    services = records(client.get("/services", {"status": True, "filters": filters(given)}))
    print(render(SERVICE, [service_row(one, full=no_trunc) for one in services], form, quiet=quiet), end="")
