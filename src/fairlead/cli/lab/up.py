"""``fairlead lab up``."""

from __future__ import annotations

import click

from fairlead.cli.lab.which import lab_called, name_option


@click.command("up")
@click.option("--hosts", type=int, default=2, show_default=True, metavar="N", help="How many hosts to make.")
@click.option("--swarm", is_flag=True, help="Make one cluster of them: h1 is its manager, the others are workers.")
@name_option
def command(hosts: int, swarm: bool, name: str) -> None:
    """Make hosts h1, h2, … on an underlay, each with a daemon; return when all daemons answer.

    \b
    Example:
      fairlead lab up --hosts 3 --swarm
    """
    for host in lab_called(name).up(hosts, with_swarm=swarm):
        print(f"{host.name}  {host.address_v4}  {host.url}")
