"""Until everyone has answered: members are asked how far they have come with this node's log of a scope, at once and again
until they are there.

Two things are asked so: whether they hold what was said (``confirm.py``), and whether they do what it says.
"""

from __future__ import annotations

from collections.abc import Callable

from fairlead.gossip.contract import Written
from fairlead.gossip.identity import NodeId
from fairlead.gossip.members import Members
from fairlead.gossip.messages import Message
from fairlead.gossip.outbox import Outbox
from fairlead.gossip.tables import Tables
from fairlead.gossip.tree import Tree

#: Seconds until a member that has not answered is asked again; grows with each time up to the second number.
AGAIN_S, AGAIN_S_MAX = 0.05, 1.0
#: Scopes that are asked about at a time.
_INTERESTS_MAX = 256


class Inquiry:
    """How far each member has come with this node's own logs. ``question`` makes what is asked of a scope up to an event."""

    def __init__(
        self,
        epoch: int,
        members: Members,
        tables: Tables,
        tree: Tree,
        outbox: Outbox,
        question: Callable[[str, int], Message],
    ) -> None:
        self._epoch = epoch
        self._members = members
        self._tables = tables
        self._tree = tree
        self._outbox = outbox
        self._question = question
        self._reached: dict[NodeId, dict[str, int]] = {}
        self._interests: dict[str, int] = {}
        self._due: float | None = None
        self._again = AGAIN_S

    def reached(self, by: NodeId, scope: str, epoch: int, seq: int) -> None:
        """A member says that it has come so far. Nobody can have come further than was said, nor anywhere where nothing
        was."""
        own = self._tables.log(self._members.own, scope)
        if own is not None and epoch == self._epoch and seq <= own.seq:
            known = self._reached.setdefault(by, {})
            known[scope] = max(seq, known.get(scope, 0))

    def complete(self, written: Written) -> bool:
        """Whether every living member of the scope has come to a write; if not, those that have not will be asked."""
        said = written.epoch == self._epoch and self._tables.own(written.scope).seq >= written.seq
        if said and not self.lacking(written.scope, written.seq):
            self._interests.pop(written.scope, None)
            return True
        if len(self._interests) < _INTERESTS_MAX:
            self._interests[written.scope] = max(written.seq, self._interests.get(written.scope, 0))
            if self._due is None:
                self._due, self._again = float("-inf"), AGAIN_S
        return False

    def lacking(self, scope: str, seq: int) -> list[NodeId]:
        """Living members of a scope that have not come so far."""
        nodes = self._tree.reachable(scope)
        return [node for node in nodes if self._reached.get(node, {}).get(scope, 0) < seq]

    def least(self, scope: str) -> int:
        """How far all living members of a scope have come; to the end, where there is nobody."""
        seqs = [self._reached.get(node, {}).get(scope, 0) for node in self._tree.reachable(scope)]
        return min(seqs, default=self._tables.own(scope).seq)

    def forget(self, member: NodeId) -> None:
        """A member is lost or in a new life: how far it has come is not known any more."""
        self._reached.pop(member, None)

    def deadline(self) -> float | None:
        """When ``tick`` is wanted next."""
        return self._due

    def tick(self, now: float) -> None:
        """Ask those who have not come to what is waited for."""
        if self._due is None or self._due > now:
            return
        for scope, seq in list(self._interests.items()):
            lacking = self.lacking(scope, seq)
            if not lacking and self._tables.own(scope).seq >= seq:
                del self._interests[scope]
            for node in lacking:
                member = self._members.get(node)
                if member is not None:
                    self._outbox.tell(member, self._question(scope, seq))
        self._due = now + self._again if self._interests else None
        self._again = min(1.5 * self._again, AGAIN_S_MAX)
