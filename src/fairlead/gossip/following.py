"""Who does what this node said. To hold it is not enough: tables in Linux take longer, and may be refused.

Who waits for that (a task is stopped when nobody sends to it any more) asks ``complete``; then the members that take part in
the scope are asked, and again until each has answered. Whoever runs the core over there hears of the question
(``FollowAsked``) after all that it is about, and answers when that is done. For those who ask nothing is kept.
"""

from __future__ import annotations

from fairlead.gossip.contract import FollowAsked, Written
from fairlead.gossip.identity import NodeId
from fairlead.gossip.inquiry import Inquiry
from fairlead.gossip.members import Members
from fairlead.gossip.messages import Follow, Followed
from fairlead.gossip.outbox import Outbox
from fairlead.gossip.tables import Tables
from fairlead.gossip.tree import Tree


class Following(Inquiry):
    """How far each member does what this node's own logs say, and this one what theirs do."""

    def __init__(self, epoch: int, members: Members, tables: Tables, tree: Tree, outbox: Outbox) -> None:
        super().__init__(epoch, members, tables, tree, outbox, lambda scope, seq: Follow(scope, epoch, seq))

    def members(self, written: Written) -> dict[NodeId, bool]:
        """The living members of the scope, and which of them are known to do what was said up to a write."""
        lacking = self.lacking(written.scope, written.seq)
        return {node: node not in lacking for node in self._tree.reachable(written.scope)}

    def answer(self, asked: FollowAsked) -> None:
        """This node does now what another one asked about."""
        member = self._members.get(asked.by)
        if member is not None:
            self._outbox.tell(member, Followed(asked.scope, asked.epoch, asked.seq))
