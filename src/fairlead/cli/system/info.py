"""``fairlead info``."""

from __future__ import annotations

import click

from fairlead.api.client import Client
from fairlead.cli.console import pass_client, record, records, text
from fairlead.cli.template import Template

_GIB = 2**30
_LINES = {
    "ID": "ID",
    "Name": "Name",
    "Server Version": "ServerVersion",
    "Containers": "Containers",
    " Running": "ContainersRunning",
    " Stopped": "ContainersStopped",
    "Networks": "Networks",
    "Endpoints": "Endpoints",
    "Images": "Images",
    "Default Runtime": "DefaultRuntime",
    "Kernel Version": "KernelVersion",
    "Operating System": "OperatingSystem",
    "Architecture": "Architecture",
    "CPUs": "NCPU",
}


@click.command("info", short_help="Show what the daemon knows of its host")
@click.option("-f", "--format", "form", default="", help="json, or a template such as '{{.Name}}'.")
@pass_client
def command(client: Client, *, form: str) -> None:
    """Show what the daemon knows of its host and of itself.

    \b
    Example:
      fairlead info --format '{{.ContainersRunning}}'
    """
    info = record(client.get("/info"))
    if form:
        print(Template("{{json .}}" if form == "json" else form).render(info))
        return
    for label, key in _LINES.items():
        print(f"{label}: {text(info.get(key))}")
    print(f"Total Memory: {int(text(info.get('MemTotal')) or '0') / _GIB:.4g}GiB")
    drivers = record(info.get("Plugins")).get("Network")
    print("Network Drivers:", *(drivers if isinstance(drivers, list) else ()))
    firewall = record(info.get("FirewallBackend"))
    print(f"Firewall Backend: {text(firewall.get('Driver'))}")
    rows = firewall.get("Info")
    for row in rows if isinstance(rows, list) else ():
        print(f"  {': '.join(map(text, row))}")
    print(f"Swarm: {text(record(info.get('Swarm')).get('LocalNodeState'))}")
    print("Default Address Pools:")
    for pool in records(info.get("DefaultAddressPools")):
        print(f"  Base: {text(pool.get('Base'))}, Size: {text(pool.get('Size'))}")
    warnings = info.get("Warnings")
    for warning in warnings if isinstance(warnings, list) else ():
        click.echo(f"WARNING: {warning}", err=True)
