"""``fairlead service inspect``."""

from __future__ import annotations

import click

from fairlead.api.client import Client
from fairlead.cli.console import each, pass_client, path, record, text
from fairlead.cli.inspection import show_all
from fairlead.cli.service.pretty import pretty
from fairlead.cli.service.specs import find
from fairlead.model import codes
from fairlead.model.errors import Invalid


@click.command("inspect", short_help="Show everything about services")
@click.option("-f", "--format", "form", default="", help="json, pretty, or a template such as '{{.Spec.Name}}'.")
@click.option("--pretty", "for_people", is_flag=True, help="In words for people.")
@click.argument("services", nargs=-1, required=True, metavar="SERVICE...")
@pass_client
def command(client: Client, services: tuple[str, ...], *, form: str, for_people: bool) -> int:
    """Show everything about services.

    \b
    Example:
      fairlead service inspect --pretty web
    """
    if for_people and form:
        raise Invalid("--format is incompatible with human friendly format", code=codes.FLAG_INVALID)
    if not for_people and form != "pretty":
        return show_all(services, lambda ref: client.get(path("services", ref)), form)

    def show(ref: str) -> str:
        return pretty(find(client, ref), lambda ident: text(record(client.get(path("networks", ident))).get("Name")))

    return each(services, show)
