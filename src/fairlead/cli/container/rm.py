"""``fairlead rm``."""

from __future__ import annotations

import click

from fairlead.api.client import ApiError, Client
from fairlead.cli.console import dry_run_option, each, pass_client, path

_NOT_FOUND = 404


@click.command("rm", short_help="Remove containers")
@click.option("-f", "--force", is_flag=True, help="Kill them first; say nothing when one does not exist.")
@click.option("-v", "--volumes", is_flag=True, help="Remove its anonymous volumes, too.")
@click.argument("containers", nargs=-1, required=True, metavar="CONTAINER...")
@dry_run_option()
@pass_client
def command(client: Client, containers: tuple[str, ...], *, force: bool, volumes: bool) -> int:
    """Remove containers.

    \b
    Example:
      fairlead rm --force c1
    """

    def remove(ref: str) -> str | None:
        try:
            client.delete(path("containers", ref), {"force": force, "v": volumes})
        except ApiError as error:
            if force and error.status == _NOT_FOUND:
                return None
            raise
        return ref

    return each(containers, remove, doing="removing")
