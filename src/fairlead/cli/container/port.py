"""``fairlead port``."""

from __future__ import annotations

import click

from fairlead.api.client import Client
from fairlead.cli.console import pass_client, path, record, records, text
from fairlead.cli.table import natural
from fairlead.model.errors import Invalid, NotFound

#: Who reaches a port, in words for people, by the API's word.
_REACH = {
    "any": "everyone who reaches this host",
    "host": "this host only",
    "address": "everyone who reaches that address",
    "host-firewall": "whom the host's firewall lets in",
    "host-firewall-address": "whom the host's firewall lets in at that address",
}


@click.command("port", short_help="Show a container's published ports")
@click.argument("container", required=False)
@click.argument("port", required=False, metavar="[PORT[/PROTO]]")
@click.option("--exposure", is_flag=True, help="Say who reaches each port; without a container, of all.")
@pass_client
def command(client: Client, container: str | None, port: str | None, exposure: bool) -> None:
    """Show where the published ports of a container are reached on the host.

    \b
    Example:
      fairlead port web 80/tcp
      fairlead port --exposure
    """
    if exposure:
        _show_exposure(client, container)
        return
    if not container:
        raise Invalid("which container?", hint="`fairlead port CONTAINER`, or `fairlead port --exposure` for all")
    about = record(client.get(path("containers", container, "json")))
    ports = record(record(about.get("NetworkSettings")).get("Ports"))
    wanted = (port if "/" in port else f"{port}/tcp") if port else None
    if wanted and not ports.get(wanted):
        raise NotFound(f"no public port '{wanted}' published for {container}", hint=f"`fairlead port {container}`")
    for key in sorted(ports, key=natural):
        for binding in records(ports[key]) if wanted in (None, key) else ():
            place = _place(text(binding.get("HostIp")), text(binding.get("HostPort")))
            print(("" if wanted else f"{key} -> ") + place)


def _show_exposure(client: Client, container: str | None) -> None:
    name = ""
    if container:
        name = text(record(client.get(path("containers", container, "json"))).get("Name")).removeprefix("/")
    for row in records(client.get("/fairlead/exposure")):
        if name in ("", row.get("Container")):
            place = _place(text(row.get("HostIp")), str(row.get("HostPort")))
            inner = f"{row.get('Container')}:{row.get('ContainerPort')}/{row.get('Type')}"
            word = text(row.get("Reach"))
            print(f"{place} -> {inner}: {_REACH.get(word, word)}")


def _place(address: str, port: str) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
