"""``fairlead daemon``: the only command that knows the daemon itself, and loads it only when it runs."""

from __future__ import annotations

import gc
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from fairlead.cli.firewallopts import firewall_options
from fairlead.cli.networkopts import parse_network_opts
from fairlead.cli.poolspec import parse_pool
from fairlead.model.settings import Paths

_DEFAULTS = Paths()
_LEVELS = ("debug", "info", "warning", "error")
_OPTIONS = (
    click.option("--state-dir", default=_DEFAULTS.state, show_default=True, help="What survives a reboot."),
    click.option("--run-dir", default=_DEFAULTS.run, show_default=True, help="Socket and namespaces."),
    click.option(
        "-H", "--host", "doors", multiple=True, metavar="tcp://ADDR:PORT", help="Answer there too, by mutual TLS."
    ),
    click.option("--tlsverify", is_flag=True, help="Let in only clients with a certificate; --host needs it."),
    click.option("--tlscacert", default="", metavar="PATH", help="Who signs clients, PEM."),
    click.option("--tlscert", default="", metavar="PATH", help="The daemon's certificate, PEM."),
    click.option("--tlskey", default="", metavar="PATH", help="Its key, PEM."),
    click.option(
        "--log-level", type=click.Choice(_LEVELS), default="info", show_default=True, help="Least to be logged."
    ),
    click.option(
        "--default-address-pool",
        "pools",
        multiple=True,
        metavar="base=CIDR,size=BITS",
        help="Where subnets are cut from.",
    ),
    click.option(
        "--resolv-conf",
        default="/etc/resolv.conf",
        show_default=True,
        metavar="PATH",
        help="Source of containers' own.",
    ),
    click.option("--dns", multiple=True, metavar="IP", help="Name server of containers that name none."),
    click.option("--dns-search", multiple=True, metavar="DOMAIN", help="Search domain of containers that name none."),
    click.option("--dns-opt", "dns_options", multiple=True, metavar="TEXT", help="Resolver option of such containers."),
    click.option(
        "--default-network-opt",
        "network_opts",
        multiple=True,
        metavar="DRIVER=KEY=VALUE",
        help="Option of networks to come that do not say otherwise.",
    ),
    click.option(
        "--docker-host",
        envvar="DOCKER_HOST",
        default="unix:///var/run/docker.sock",
        show_default=True,
        metavar="URL",
        help="The Docker engine whose containers docker:NAME means.",
    ),
    click.option("--podman-root", default="", metavar="PATH", help="Podman's option --root, for podman:NAME."),
    click.option("--podman-runroot", default="", metavar="PATH", help="Podman's option --runroot, for podman:NAME."),
    click.option("--containers/--no-containers", default=True, help="Run containers, or only connect those of others."),
)


def _with_options(function: Callable[..., int]) -> Callable[..., int]:
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


@click.command("daemon", short_help="Be the daemon of this host")
@_with_options
@firewall_options
def command(
    state_dir: str,
    run_dir: str,
    doors: tuple[str, ...],
    tlsverify: bool,
    tlscacert: str,
    tlscert: str,
    tlskey: str,
    log_level: str,
    pools: tuple[str, ...],
    resolv_conf: str,
    dns: tuple[str, ...],
    dns_search: tuple[str, ...],
    dns_options: tuple[str, ...],
    network_opts: tuple[str, ...],
    docker_host: str,
    podman_root: str,
    podman_runroot: str,
    containers: bool,
    **firewall: Any,
) -> int:
    """Be the daemon of this host, in the foreground, until SIGTERM. Containers outlive it.

    \b
    Example:
      fairlead daemon --default-address-pool base=10.64.0.0/12,size=24
    """
    gc.disable()  # nothing made at the start is garbage; looking for it costs a tenth of the time
    daemon = importlib.import_module("fairlead.daemon.main")
    node = daemon.NodeOptions(
        paths=Paths(state=str(Path(state_dir).absolute()), run=str(Path(run_dir).absolute())),
        default_pools=tuple(map(parse_pool, pools)),
        resolv_conf=resolv_conf,
        dns=dns,
        dns_search=dns_search,
        dns_options=dns_options,
        default_network_opts=parse_network_opts(network_opts),
        **firewall,
    )
    files = daemon.TlsFiles(tlscacert, tlscert, tlskey)
    tcp = tuple(daemon.TcpDoor.parse(url, files, verify=tlsverify) for url in doors)
    engines = daemon.ForeignEngines(docker_host, podman_root, podman_runroot)
    return int(
        daemon.main(
            daemon.DaemonOptions(node=node, engines=engines, doors=tcp, log_level=log_level, containers=containers)
        )
    )
