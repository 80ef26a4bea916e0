"""``fairlead swarm rotate-keys``."""

from __future__ import annotations

import time
from typing import Any

import click

from fairlead.api.client import Client
from fairlead.cli.console import pass_client

#: Seconds between two looks at how far the nodes are.
_LOOK_S = 0.05


@click.command("rotate-keys", short_help="Replace the keys that nodes share")
@click.option("-d", "--detach", is_flag=True, help="Do not wait until every node uses the new keys.")
@pass_client
def command(client: Client, *, detach: bool) -> None:
    """Replace the keys of gossip and of the data path now, as happens every 12 hours and when a node is removed.

    Every node holds a new key before any uses it, so nothing is lost; the old ones are dropped in the end.

    \b
    Example:
      fairlead swarm rotate-keys
    """
    client.post("/fairlead/swarm/keys")
    while not detach:
        found: Any = client.get("/fairlead/swarm/keys")
        if not found["Rotating"]:
            print(f"All nodes use gossip key {found['Gossip']['Primary']} and data key {found['DataPath']['Primary']}.")
            return
        time.sleep(_LOOK_S)
