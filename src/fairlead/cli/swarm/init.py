"""``fairlead swarm init``."""

from __future__ import annotations

import click

from fairlead.api.client import Client
from fairlead.cli.console import pass_client
from fairlead.cli.swarm.specs import (
    ADDRESS_OPTIONS,
    print_join,
    print_unlock_key,
    spec_body,
    spec_options,
    with_options,
)


@click.command("init", short_help="Make a cluster with this node as its manager")
@with_options(*ADDRESS_OPTIONS)
@spec_options
@click.option("--autolock", is_flag=True, help="Managers need a key to start.")
@click.option("--data-path-port", type=int, default=0, help="UDP port of containers' traffic (4789).")
@click.option("--default-addr-pool", "pools", multiple=True, metavar="CIDR", help="Where overlay subnets are cut from.")
@click.option(
    "--default-addr-pool-mask-length", "bits", type=int, default=24, show_default=True, help="Length of their masks."
)
@click.option("--force-new-cluster", is_flag=True, help="Go on alone with this node's records.")
@pass_client
def command(client: Client, /, **given: object) -> None:
    """Make a cluster; prints how other nodes join.

    \b
    Example:
      fairlead swarm init --advertise-addr eth0
    """
    pools = given["pools"]
    body: dict[str, object] = {
        "ListenAddr": given["listen_addr"],
        "AdvertiseAddr": given["advertise_addr"],
        "DataPathAddr": given["data_path_addr"],
        "DataPathPort": given["data_path_port"],
        "ForceNewCluster": given["force_new_cluster"],
        "AutoLockManagers": given["autolock"],
        "Availability": given["availability"],
        "DefaultAddrPool": list(pools) if isinstance(pools, tuple) else [],
        "SubnetSize": given["bits"],
        "Spec": spec_body({**given, "autolock": None}),
    }
    node_id = client.post("/swarm/init", body)
    print(f"Swarm initialized: current node ({node_id}) is now a manager.\n")
    print_join(client, "worker")
    print("To add a manager to this swarm, run 'fairlead swarm join-token manager' and follow the instructions.\n")
    if given["autolock"]:
        print_unlock_key(client)
