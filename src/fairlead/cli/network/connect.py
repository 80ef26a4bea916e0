"""``fairlead network connect``."""

from __future__ import annotations

import click

from fairlead.api.client import Client
from fairlead.cli.console import dry_run_option, pairs, pass_client, path
from fairlead.cli.container.publish import bindings
from fairlead.model.sandbox import DNS_MODES


@click.command("connect", short_help="Connect a container to a network")
@click.option("--alias", "aliases", multiple=True, help="Another name of the container in this network.")
@click.option("--driver-opt", "options", multiple=True, metavar="K=V", help="Option for the driver.")
@click.option("--gw-priority", type=int, default=0, help="The network of the highest priority is the way out.")
@click.option("--ip", "ipv4", default="", metavar="IP", help="IPv4 address.")
@click.option("--ip6", "ipv6", default="", metavar="IP", help="IPv6 address.")
@click.option("--link", "links", multiple=True, metavar="CONTAINER:ALIAS", help="A name for another container.")
@click.option("--link-local-ip", "link_local", multiple=True, metavar="IP", help="Link-local address.")
@click.option("--mac-address", "mac", default="", metavar="MAC", help="Ethernet address.")
@click.option("--name", default="", metavar="NAME", help="What a target of others is called here.")
@click.option("-p", "--publish", "ports", multiple=True, metavar="[HOST:]PORT", help="Publish a port of such a target.")
@click.option("--dns", multiple=True, metavar="IP", help="Ask this server for outside names of such a target.")
@click.option("--dns-mode", type=click.Choice(DNS_MODES), help="How names are served to such a target.")
@click.argument("network")
@click.argument("container")
@dry_run_option()
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
    name: str,
    ports: tuple[str, ...],
    dns: tuple[str, ...],
    dns_mode: str | None,
) -> None:
    """Connect a container to a network, at once when it runs.

    A target of others is pid:N, netns:PATH, netns:NAME, docker:NAME or podman:NAME. It stays connected until its
    network namespace goes.

    \b
    Example:
      fairlead network connect --alias db --ip 10.9.0.9 web c1
      fairlead network connect --name cache -p 6379:6379 web docker:redis
    """
    endpoint = {
        "IPAMConfig": {"IPv4Address": ipv4, "IPv6Address": ipv6, "LinkLocalIPs": list(link_local)},
        "Aliases": list(aliases),
        "Links": list(links),
        "DriverOpts": pairs(options, what="driver option"),
        "GwPriority": gw_priority,
        "MacAddress": mac,
    }
    body: dict[str, object] = {"Container": container, "EndpointConfig": endpoint}
    if name or ports or dns or dns_mode:
        body["Sandbox"] = {"Name": name, "PortBindings": bindings(ports), "Dns": list(dns), "DnsMode": dns_mode}
    client.post(path("networks", network, "connect"), body)
