"""``fairlead network create``."""

from __future__ import annotations

import click

from fairlead.api.client import Client
from fairlead.cli.console import dry_run_option, pairs, pass_client, record, text
from fairlead.cli.network.subnets import pool_configs
from fairlead.cli.switches import SwitchCommand


@click.command("create", cls=SwitchCommand, short_help="Create a network")
@click.option("--attachable", is_flag=True, help="Let containers of any node be attached by hand.")
@click.option("--aux-address", "aux", multiple=True, metavar="NAME=IP", help="Keep an address free for a use of yours.")
@click.option("--config-from", default="", metavar="NETWORK", help="Copy the settings of a config-only network.")
@click.option("--config-only", is_flag=True, help="Make a set of settings for other networks.")
@click.option("-d", "--driver", default="bridge", show_default=True, help="What makes the network.")
@click.option("--gateway", "gateways", multiple=True, metavar="IP", help="Address of the subnet's gateway.")
@click.option("--ingress", is_flag=True, help="Make the network of the routing mesh.")
@click.option("--internal", is_flag=True, help="No way to or from the outside.")
@click.option("--ip-range", "ranges", multiple=True, metavar="CIDR", help="Part of the subnet to choose from.")
@click.option("--ipam-driver", default="default", show_default=True, help="What gives addresses.")
@click.option("--ipam-opt", multiple=True, metavar="K=V", help="Option for it.")
@click.option("--ipv4/--no-ipv4", default=None, help="IPv4 addresses (on unless said otherwise).")
@click.option("--ipv6/--no-ipv6", default=None, help="IPv6 addresses.")
@click.option("--label", "labels", multiple=True, metavar="K[=V]", help="A label.")
@click.option("-o", "--opt", "options", multiple=True, metavar="K=V", help="Option for the driver.")
@click.option("--scope", default="", help="local or swarm.")
@click.option("--subnet", "subnets", multiple=True, metavar="CIDR", help="A subnet; chosen when none is given.")
@click.argument("name", metavar="NETWORK")
@dry_run_option()
@pass_client
def command(client: Client, /, name: str, **given: object) -> None:
    """Create a network and print its id.

    \b
    Example:
      fairlead network create --subnet 10.9.0.0/24 --gateway 10.9.0.1 web
    """
    print(text(record(client.post("/networks/create", body(name, given))).get("Id")))


def body(name: str, given: dict[str, object]) -> dict[str, object]:
    """The request; raises ``Invalid``."""
    many = {key: tuple(map(str, value)) for key, value in given.items() if isinstance(value, tuple)}
    configs = pool_configs(
        many["subnets"], many["ranges"], many["gateways"], pairs(many["aux"], what="auxiliary address").items()
    )
    plain = {"Driver": "driver", "Scope": "scope", "Internal": "internal", "Attachable": "attachable"}
    flags = {"Ingress": "ingress", "ConfigOnly": "config_only", "EnableIPv4": "ipv4", "EnableIPv6": "ipv6"}
    asked = {key: given[name] for key, name in {**plain, **flags}.items() if given[name] is not None}
    source = {"ConfigFrom": {"Network": given["config_from"]}} if given["config_from"] else {}
    ipam = {"Driver": given["ipam_driver"], "Options": pairs(many["ipam_opt"], what="option"), "Config": configs}
    options, labels = pairs(many["options"], what="option"), pairs(many["labels"], what="label")
    return {"Name": name, **asked, **source, "IPAM": ipam, "Options": options, "Labels": labels}
