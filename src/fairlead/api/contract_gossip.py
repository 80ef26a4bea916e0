"""What the API needs to show of gossip."""

from __future__ import annotations

from typing import Protocol

from fairlead.model.gossip import GossipRecord, GossipStatus


class GossipView(Protocol):
    """A node's part in the gossip of its cluster, to look at."""

    @property
    def speaks(self) -> bool:
        """Whether the node is in a cluster."""

    async def status(self) -> GossipStatus:
        """How it stands; raises ``Unavailable`` on a node in no cluster."""

    async def table(self, network_id: str = "") -> tuple[GossipRecord, ...]:
        """What is said in a network, or (empty) in the cluster's own scope. Raises ``Unavailable`` on a node in no
        cluster, ``NotFound`` for a network that it takes no part in."""
