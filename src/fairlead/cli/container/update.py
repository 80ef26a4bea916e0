"""``fairlead update``."""

from __future__ import annotations

import click

from fairlead.api.client import Client
from fairlead.cli.console import each, pass_client, path, record
from fairlead.cli.container.wishes import limits, policy


@click.command("update", short_help="Change limits and restart policy of containers")
@click.option("-m", "--memory", default="", metavar="SIZE", help="Most memory, such as 64m.")
@click.option("--memory-swap", default="", metavar="SIZE", help="Memory and swap together; -1: no limit.")
@click.option("--memory-reservation", default="", metavar="SIZE", help="Memory it keeps when memory is short.")
@click.option("--cpus", type=float, default=0.0, metavar="N", help="Most CPUs, such as 0.5.")
@click.option("-c", "--cpu-shares", type=int, default=0, metavar="N", help="Its weight (1024).")
@click.option("--cpuset-cpus", default="", metavar="LIST", help="CPUs it may use: 0-2,4.")
@click.option("--pids-limit", type=int, default=0, metavar="N", help="Most processes; -1: no limit.")
@click.option("--blkio-weight", type=int, default=0, metavar="N", help="Its weight at disks, 10 to 1000.")
@click.option("--restart", default="", metavar="POLICY", help="no, on-failure[:N], always, unless-stopped.")
@click.argument("containers", nargs=-1, required=True, metavar="CONTAINER...")
@pass_client
def command(client: Client, /, containers: tuple[str, ...], *, restart: str, **given: object) -> int:
    """Change limits and restart policy of containers, running or not; what is not said stays.

    \b
    Example:
      fairlead update --memory 256m --restart unless-stopped c1
    """
    body = {**limits(given), **({"RestartPolicy": policy(restart)} if restart else {})}

    def change(ref: str) -> str:
        warnings = record(client.post(path("containers", ref, "update"), body)).get("Warnings")
        for warning in warnings if isinstance(warnings, list) else ():
            click.echo(f"WARNING: {warning}", err=True)
        return ref

    return each(containers, change)
