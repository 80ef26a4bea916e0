"""``fairlead stack services``."""

from __future__ import annotations

import click

from fairlead.api.client import Client
from fairlead.cli.console import filters, pass_client, records
from fairlead.cli.service.rows import SERVICE, service_row
from fairlead.cli.stack.services import NAMESPACE
from fairlead.cli.table import list_options, render
from fairlead.model.errors import NotFound


@click.command("services", short_help="List the services of a stack")
@list_options
@click.argument("stack")
@pass_client
def command(client: Client, stack: str, *, given: tuple[str, ...], form: str, no_trunc: bool, quiet: bool) -> None:
    """List the services of a stack, with how many of their tasks run.

    \b
    Example:
      fairlead stack services shop
    """
    wanted = filters((*given, f"label={NAMESPACE}={stack}"))
    services = records(client.get("/services", {"status": True, "filters": wanted}))
    if not services:
        raise NotFound(f"nothing found in stack: {stack}", hint="`fairlead stack ls` lists the stacks")
    print(render(SERVICE, [service_row(one, full=no_trunc) for one in services], form, quiet=quiet), end="")
