"""Along which way news goes: for each origin a tree over all nodes of a scope, that everybody computes alike.

The nodes of a scope, ascending by id and turned so that the origin comes first, are the places 0, 1, 2 … of a heap with
``FANOUT`` children each; in a small scope the origin speaks to all. So each node is near the root of one tree and a leaf
of most, and the load is even. The dead stay in their places: who forwards to a dead node forwards to its children
instead, and to a suspect's as well as to itself. Two nodes with different opinions of a third therefore still agree on
all else of the tree.
"""

from __future__ import annotations

from bisect import bisect_left

from fairlead.gossip.identity import NodeId
from fairlead.gossip.members import Members
from fairlead.gossip.tables import Tables
from fairlead.gossip.views import CLUSTER

#: Children of a node. Depth is log_4 N; 3 to 6 differ little, and 4 was measured (gossip-anchors 6).
FANOUT = 4
#: Nodes beside the origin up to which it speaks to all itself: one hop, and still few packets at once.
DIRECT_MAX = 16
#: Trees kept computed: one for each origin that speaks between two changes of the members.
_TREES_MAX = 8192


class Tree:
    """Who forwards to whom, as one node sees it."""

    def __init__(self, members: Members, tables: Tables) -> None:
        self._members = members
        self._tables = tables
        self._at = (-1, -1)
        self._rings: dict[str, list[NodeId]] = {}
        self._children: dict[tuple[str, NodeId], tuple[NodeId, ...]] = {}

    def ring(self, scope: str) -> list[NodeId]:
        """All nodes of a scope that have not left, the dead too, ascending."""
        self._refresh()
        if scope == CLUSTER:
            return self._members.ring
        ring = self._rings.get(scope)
        if ring is None:
            nodes = self._tables.attached.get(scope, ())
            ring = self._rings[scope] = [node for node in self._members.ring if node in nodes]
        return ring

    def reachable(self, scope: str) -> list[NodeId]:
        """Nodes of a scope that are spoken to, this one not among them, ascending."""
        lost = self._members.lost
        return [node for node in self.ring(scope) if node not in lost and node != self._members.own]

    def children(self, scope: str, root: NodeId) -> tuple[NodeId, ...]:
        """To whom this node forwards what ``root`` has to say in a scope."""
        self._refresh()
        found = self._children.get((scope, root))
        if found is None:
            if len(self._children) >= _TREES_MAX:
                self._children.clear()
            found = self._children[scope, root] = self._compute(scope, root)
        return found

    def _refresh(self) -> None:
        at = (self._members.changes, self._tables.attachment_changes)
        if at != self._at:
            self._at = at
            self._rings.clear()
            self._children.clear()

    def _compute(self, scope: str, root: NodeId) -> tuple[NodeId, ...]:
        ring, own = self.ring(scope), self._members.own
        turned = bisect_left(ring, root)
        # A root that is none of them (a node that writes before it is attached) stands before the first.
        inside = turned < len(ring) and ring[turned] == root
        before = 0 if inside else 1
        places = len(ring) + before
        fanout = places if places - 1 <= DIRECT_MAX else FANOUT
        if own == root:
            place = 0
        else:
            at = bisect_left(ring, own)
            if at == len(ring) or ring[at] != own:
                return ()
            place = (at - turned) % len(ring) + before
        found: list[NodeId] = []
        waiting = [place]
        while waiting:
            parent = waiting.pop()
            for child in range(fanout * parent + 1, min(fanout * (parent + 1) + 1, places)):
                node = ring[(turned + child - before) % len(ring)]
                member = self._members.get(node)
                if member is None or not member.reachable:
                    waiting.append(child)
                    continue
                if member.suspected:
                    waiting.append(child)
                if node != own:
                    found.append(node)
        return tuple(found)
