"""``fairlead service inspect``."""

from __future__ import annotations

import click

from fairlead.api.client import Client
from fairlead.cli.console import each, pass_client, path, record, records, text
from fairlead.cli.inspection import show_all
from fairlead.cli.service.pretty import pretty
from fairlead.cli.service.specs import find
from fairlead.model import codes
from fairlead.model.errors import Invalid


@click.command("inspect", short_help="Show everything about services")
@click.option("-f", "--format", "form", default="", help="json, pretty, or a template such as '{{.Spec.Name}}'.")
@click.option("--pretty", "for_people", is_flag=True, help="In words for people.")
@click.option(
    "-v", "--verbose", is_flag=True, help="Also how this node sends to its tasks, and which nodes are in step."
)
@click.argument("services", nargs=-1, required=True, metavar="SERVICE...")
@pass_client
def command(client: Client, services: tuple[str, ...], *, form: str, for_people: bool, verbose: bool) -> int:
    """Show everything about services.

    \b
    Example:
      fairlead service inspect --pretty web
    """
    if for_people and form:
        raise Invalid("--format is incompatible with human friendly format", code=codes.FLAG_INVALID)
    if not for_people and form != "pretty":
        return show_all(services, lambda ref: _balanced(client, ref) if verbose else find(client, ref), form)

    def show(ref: str) -> str:
        return pretty(find(client, ref), lambda ident: text(record(client.get(path("networks", ident))).get("Name")))

    return each(services, show)


def _balanced(client: Client, ref: str) -> dict[str, object]:
    """A service, with how it is balanced in each network where it has a virtual address and this node takes part."""
    service = find(client, ref)
    found: dict[str, object] = {}
    for vip in records(record(service.get("Endpoint")).get("VirtualIPs")):
        network = record(client.get(path("networks", text(vip.get("NetworkID"))), {"verbose": True}))
        seen = record(network.get("Services")).get(text(record(service.get("Spec")).get("Name")))
        if seen:
            found[text(network.get("Name"))] = {**record(seen), "Peers": network.get("Peers") or []}
    return {**service, "Balancing": found}
