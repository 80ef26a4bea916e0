"""When a node that has come to a network has heard all that is said there.

What is pulled from one node may lack what that one has not got yet itself. So all is here when two of the others (or the
only one) hold the same, which pings and acks tell; and when nobody else is there.
"""

from __future__ import annotations

from fairlead.gossip.contract import Settled
from fairlead.gossip.holding import Holding
from fairlead.gossip.identity import NodeId
from fairlead.gossip.tree import Tree

#: Others that must hold the same.
AGREED = 2
#: Seconds in the cluster after which a node that sees nobody else in a network believes it: by then attachments that were
#: under way have come.
ALONE_S = 1.0


class Settling:
    """Networks that have been attached and not heard out."""

    def __init__(self, holding: Holding, tree: Tree) -> None:
        self._holding = holding
        self._tree = tree
        self._agreed: dict[str, set[NodeId]] = {}
        self._alone_at: float | None = None

    def begin(self, network: str, now: float) -> None:
        """A network has been attached, or is to be heard anew: the cluster was joined."""
        self._agreed[network] = set()
        self._alone_at = now + ALONE_S

    def end(self, network: str) -> None:
        """A network has been detached."""
        self._agreed.pop(network, None)

    def agree(self, peer: NodeId) -> None:
        """A node holds the same of all that the two share."""
        for network, agreed in list(self._agreed.items()):
            if self._holding.tables.counts(peer, network):
                agreed.add(peer)
                if len(agreed) >= min(AGREED, len(self._tree.reachable(network))):
                    self._settle(network)

    def deadline(self, *, joined: bool) -> float | None:
        """When ``tick`` is wanted next. Who is not in a cluster yet cannot know that it is alone."""
        return self._alone_at if self._agreed and joined else None

    def tick(self, now: float, *, joined: bool) -> None:
        """See whether this node is alone in a network."""
        if not joined or self._alone_at is None or now < self._alone_at:
            return
        self._alone_at = None
        for network in [network for network in self._agreed if not self._tree.reachable(network)]:
            self._settle(network)

    def _settle(self, network: str) -> None:
        del self._agreed[network]
        self._holding.events.append(Settled(network))
