"""``fairlead network connect``."""

from __future__ import annotations

import click

from fairlead.api.client import Client
from fairlead.cli.console import pairs, pass_client, path


@click.command("connect", short_help="Connect a container to a network")
@click.option("--alias", "aliases", multiple=True, help="Another name of the container in this network.")
@click.option("--driver-opt", "options", multiple=True, metavar="K=V", help="Option for the driver.")
@click.option("--gw-priority", type=int, default=0, help="The network of the highest priority is the way out.")
@click.option("--ip", "ipv4", default="", metavar="IP", help="IPv4 address.")
@click.option("--ip6", "ipv6", default="", metavar="IP", help="IPv6 address.")
@click.option("--link", "links", multiple=True, metavar="CONTAINER:ALIAS", help="A name for another container.")
@click.option("--link-local-ip", "link_local", multiple=True, metavar="IP", help="Link-local address.")
@click.option("--mac-address", "mac", default="", metavar="MAC", help="Ethernet address.")
@click.argument("network")
@click.argument("container")
@pass_client
def command(
    client: Client,
    network: str,
    container: str,
    *,
    aliases: tuple[str, ...],
    options: tuple[str, ...],
    gw_priority: int,
    ipv4: str,
    ipv6: str,
    links: tuple[str, ...],
    link_local: tuple[str, ...],
    mac: str,
) -> None:
    """Connect a container to a network, at once when it runs.

    \b
    Example:
      fairlead network connect --alias db --ip 10.9.0.9 web c1
    """
    endpoint = {
        "IPAMConfig": {"IPv4Address": ipv4, "IPv6Address": ipv6, "LinkLocalIPs": list(link_local)},
        "Aliases": list(aliases),
        "Links": list(links),
        "DriverOpts": pairs(options, what="driver option"),
        "GwPriority": gw_priority,
        "MacAddress": mac,
    }
    client.post(path("networks", network, "connect"), {"Container": container, "EndpointConfig": endpoint})
