"""``fairlead http-mesh disable``."""

from __future__ import annotations

import click

from fairlead.api.client import Client
from fairlead.cli.console import pass_client


@click.command("disable", short_help="Have the mesh nowhere")
@pass_client
def command(client: Client) -> None:
    """Have the HTTP mesh on no node any more. Services and the network fairlead-http stay; their labels wait for the next
    time.

    \b
    Example:
      fairlead http-mesh disable
    """
    client.delete("/fairlead/http-mesh")
    print("The HTTP mesh is off.")
