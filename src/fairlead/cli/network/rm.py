"""``fairlead network rm``."""

from __future__ import annotations

import click

from fairlead.api.client import ApiError, Client
from fairlead.cli.console import dry_run_option, each, pass_client, path

_NOT_FOUND = 404


@click.command("rm", short_help="Remove networks")
@click.option("-f", "--force", is_flag=True, help="Say nothing when a network does not exist.")
@click.argument("networks", nargs=-1, required=True, metavar="NETWORK...")
@dry_run_option()
@pass_client
def command(client: Client, networks: tuple[str, ...], *, force: bool) -> int:
    """Remove networks.

    \b
    Example:
      fairlead network rm web
    """

    def remove(ref: str) -> str | None:
        try:
            client.delete(path("networks", ref))
        except ApiError as error:
            if force and error.status == _NOT_FOUND:
                return None
            raise
        return ref

    return each(networks, remove)
