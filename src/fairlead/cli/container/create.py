"""``fairlead create``."""

from __future__ import annotations

import click

from fairlead.api.client import Client
from fairlead.cli.console import pass_client
from fairlead.cli.container.creation import create, creation_options


@click.command("create", short_help="Create a container", context_settings={"allow_interspersed_args": False})
@creation_options
@pass_client
def command(client: Client, /, **given: object) -> None:
    """Create a container without starting it, and print its id.

    \b
    Example:
      fairlead create --name web --network front host nginx -g 'daemon off;'
    """
    print(create(client, given))
