"""``fairlead inspect``: any kind of object."""

from __future__ import annotations

import click

from fairlead.api.client import ApiError, Client
from fairlead.cli.console import pass_client, path
from fairlead.cli.inspection import show_all
from fairlead.model.errors import NotFound

_KINDS = {"container": ("containers", "json"), "network": ("networks",), "image": ("images", "json")}
_NOT_FOUND = 404


@click.command("inspect", short_help="Show everything about containers, networks or images")
@click.option("-f", "--format", "form", default="", help="json, or a template such as '{{.State.Pid}}'.")
@click.option("-s", "--size", is_flag=True, hidden=True)
@click.option("--type", "kind", type=click.Choice(list(_KINDS)), default=None, help="Look among these only.")
@click.argument("refs", nargs=-1, required=True, metavar="NAME|ID...")
@pass_client
def command(client: Client, refs: tuple[str, ...], *, form: str, size: bool, kind: str | None) -> int:
    """Show everything about containers, networks or images.

    \b
    Example:
      fairlead inspect c1 --format '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}'
    """
    del size  # accepted for the sake of scripts; nothing here has a size of its own

    def find(ref: str) -> object:
        for noun, *rest in [_KINDS[kind]] if kind else _KINDS.values():
            try:
                return client.get(path(noun, ref, *rest))
            except ApiError as error:
                if error.status != _NOT_FOUND:
                    raise
        raise NotFound(
            f"No such {kind or 'object'}: {ref}", hint="`fairlead ps --all` and `network ls` list what is there"
        )

    return show_all(refs, find, form)
