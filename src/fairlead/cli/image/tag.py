"""``fairlead image tag``."""

from __future__ import annotations

import click

from fairlead.api.client import Client
from fairlead.cli.console import pass_client, path


@click.command("tag", short_help="Give an image another name")
@click.argument("image")
@click.argument("name")
@pass_client
def command(client: Client, image: str, name: str) -> None:
    """Give an image another name, with a tag behind a colon.

    \b
    Example:
      fairlead image tag alpine team/base:1
    """
    head, slash, last = name.rpartition("/")
    repo, _, tag = last.partition(":")
    client.post(path("images", image, "tag"), query={"repo": f"{head}{slash}{repo}", "tag": tag or None})
