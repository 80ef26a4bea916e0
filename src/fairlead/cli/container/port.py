"""``fairlead port``."""

from __future__ import annotations

import click

from fairlead.api.client import Client
from fairlead.cli.console import pass_client, path, record, records, text
from fairlead.cli.table import natural
from fairlead.model.errors import NotFound


@click.command("port", short_help="Show a container's published ports")
@click.argument("container")
@click.argument("port", required=False, metavar="[PORT[/PROTO]]")
@pass_client
def command(client: Client, container: str, port: str | None) -> None:
    """Show where the published ports of a container are reached on the host.

    \b
    Example:
      fairlead port web 80/tcp
    """
    about = record(client.get(path("containers", container, "json")))
    ports = record(record(about.get("NetworkSettings")).get("Ports"))
    wanted = (port if "/" in port else f"{port}/tcp") if port else None
    if wanted and not ports.get(wanted):
        raise NotFound(f"no public port '{wanted}' published for {container}", hint=f"`fairlead port {container}`")
    for key in sorted(ports, key=natural):
        for binding in records(ports[key]) if wanted in (None, key) else ():
            address = text(binding.get("HostIp"))
            host = f"[{address}]" if ":" in address else address
            print(("" if wanted else f"{key} -> ") + f"{host}:{text(binding.get('HostPort'))}")
