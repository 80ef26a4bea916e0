"""``fairlead swarm join``."""

from __future__ import annotations

import click

from fairlead.api.client import Client
from fairlead.cli.console import pass_client, record
from fairlead.cli.progress import waiting
from fairlead.cli.swarm.specs import ADDRESS_OPTIONS, with_options


@click.command("join", short_help="Make this node a member of a cluster")
@with_options(*ADDRESS_OPTIONS)
@click.option("--token", default="", metavar="TOKEN", help="What lets the node in, as a worker or as a manager.")
@click.argument("remote", metavar="HOST:PORT")
@pass_client
def command(client: Client, /, remote: str, **given: object) -> None:
    """Make this node a member of the cluster of the manager at HOST:PORT.

    \b
    Example:
      fairlead swarm join --token SWMTKN-1-... 192.0.2.10:2377
    """
    body = {
        "ListenAddr": given["listen_addr"],
        "AdvertiseAddr": given["advertise_addr"],
        "DataPathAddr": given["data_path_addr"],
        "RemoteAddrs": [remote],
        "JoinToken": given["token"],
        "Availability": given["availability"],
    }
    with waiting("joining"):
        client.post("/swarm/join", body)
    manages = record(record(client.get("/info")).get("Swarm")).get("ControlAvailable")
    print(f"This node joined a swarm as a {'manager' if manages else 'worker'}.")
