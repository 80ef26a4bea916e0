"""``fairlead daemon``: the only command that knows the daemon itself, and loads it only when it runs."""

from __future__ import annotations

import importlib
from pathlib import Path

import click

from fairlead.cli.poolspec import parse_pool
from fairlead.model.settings import Paths

_DEFAULTS = Paths()
_LEVELS = ("debug", "info", "warning", "error")


@click.command("daemon", short_help="Be the daemon of this host")
@click.option("--state-dir", default=_DEFAULTS.state, show_default=True, help="What survives a reboot.")
@click.option("--run-dir", default=_DEFAULTS.run, show_default=True, help="Socket and namespaces.")
@click.option("--log-level", type=click.Choice(_LEVELS), default="info", show_default=True, help="Least to be logged.")
@click.option(
    "--default-address-pool", "pools", multiple=True, metavar="base=CIDR,size=BITS", help="Where subnets are cut from."
)
@click.option(
    "--resolv-conf", default="/etc/resolv.conf", show_default=True, metavar="PATH", help="Source of containers' own."
)
@click.option("--dns", multiple=True, metavar="IP", help="Name server of containers that name none.")
@click.option("--dns-search", multiple=True, metavar="DOMAIN", help="Search domain of containers that name none.")
@click.option("--dns-opt", "dns_options", multiple=True, metavar="TEXT", help="Resolver option of such containers.")
def command(
    state_dir: str,
    run_dir: str,
    log_level: str,
    pools: tuple[str, ...],
    resolv_conf: str,
    dns: tuple[str, ...],
    dns_search: tuple[str, ...],
    dns_options: tuple[str, ...],
) -> int:
    """Be the daemon of this host, in the foreground, until SIGTERM. Containers outlive it.

    \b
    Example:
      fairlead daemon --default-address-pool base=10.64.0.0/12,size=24
    """
    daemon = importlib.import_module("fairlead.daemon.main")
    node = daemon.NodeOptions(
        paths=Paths(state=str(Path(state_dir).absolute()), run=str(Path(run_dir).absolute())),
        default_pools=tuple(map(parse_pool, pools)),
        resolv_conf=resolv_conf,
        dns=dns,
        dns_search=dns_search,
        dns_options=dns_options,
    )
    return int(daemon.main(daemon.DaemonOptions(node=node, log_level=log_level)))
