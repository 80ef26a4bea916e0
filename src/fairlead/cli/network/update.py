"""``fairlead network update``."""

from __future__ import annotations

import click

from fairlead.api.client import Client
from fairlead.cli.console import pass_client, path
from fairlead.cli.network.subnets import pool_configs


@click.command("update", short_help="Give a network of the cluster more subnets")
@click.option("--subnet", "subnets", multiple=True, metavar="CIDR", help="A further subnet.")
@click.option("--gateway", "gateways", multiple=True, metavar="IP", help="Address of its gateway.")
@click.option("--ip-range", "ranges", multiple=True, metavar="CIDR", help="Part of it to choose from.")
@click.option("--grow", is_flag=True, help="Have a further subnet chosen.")
@click.argument("network")
@pass_client
def command(
    client: Client,
    network: str,
    *,
    subnets: tuple[str, ...],
    gateways: tuple[str, ...],
    ranges: tuple[str, ...],
    grow: bool,
) -> None:
    """Give a network of the cluster more subnets while it is in use; prints its name.

    \b
    Example:
      fairlead network update --subnet 10.9.1.0/24 blue
    """
    configs = pool_configs(subnets, ranges, gateways, ())
    if grow:
        configs.append({})
    client.post("/fairlead" + path("networks", network, "update"), {"Config": configs})
    print(network)
