"""``fairlead network disconnect``."""

from __future__ import annotations

import click

from fairlead.api.client import Client
from fairlead.cli.console import dry_run_option, pass_client, path


@click.command("disconnect", short_help="Disconnect a container from a network")
@click.option("-f", "--force", is_flag=True, help="Also when the container is not known any more.")
@click.argument("network")
@click.argument("container")
@dry_run_option()
@pass_client
def command(client: Client, network: str, container: str, *, force: bool) -> None:
    """Disconnect a container from a network.

    \b
    Example:
      fairlead network disconnect web c1
      fairlead network disconnect web docker:redis
    """
    client.post(path("networks", network, "disconnect"), {"Container": container, "Force": force})
