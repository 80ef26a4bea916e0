"""``fairlead service rollback``."""

from __future__ import annotations

import click

from fairlead.api.client import Client
from fairlead.cli.console import pass_client, record, text
from fairlead.cli.service.convergence import follow
from fairlead.cli.service.options import WAITING
from fairlead.cli.service.specs import find, put, with_options


@click.command("rollback", short_help="Go back to the spec before the last update")
@with_options(*WAITING)
@click.argument("service")
@pass_client
def command(client: Client, service: str, *, detach: bool, quiet: bool) -> int:
    """Give a service the spec that it had before its last update.

    \b
    Example:
      fairlead service rollback web
    """
    found = find(client, service)
    put(client, found, record(found.get("Spec")), "previous")
    print(service, flush=True)
    return 0 if detach else follow(client, text(found.get("ID")), quiet=quiet)
