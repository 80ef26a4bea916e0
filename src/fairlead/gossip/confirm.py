"""Who has confirmed what this node said.

An ack that tells the same sum as the ping confirms all that was said before the ping, at no cost. Whoever waits for
something to be everywhere (key rotation, an address that is free again) asks ``converged``; then the members that have not
confirmed it are asked at once, and again until they have.
"""

from __future__ import annotations

from collections import deque

from fairlead.gossip.contract import Written
from fairlead.gossip.identity import NodeId
from fairlead.gossip.inquiry import Inquiry
from fairlead.gossip.members import Members
from fairlead.gossip.messages import Have, Versions
from fairlead.gossip.outbox import Outbox
from fairlead.gossip.tables import Tables
from fairlead.gossip.tree import Tree

#: Writes whose time is known, and pings whose ack may confirm something: at most.
_TIMES_MAX, _PINGS_MAX = 4096, 1024


class Confirmations:
    """How far each member has confirmed this node's own logs."""

    def __init__(self, epoch: int, members: Members, tables: Tables, tree: Tree, outbox: Outbox) -> None:
        self._epoch = epoch
        self._own = members.own
        self._tables = tables
        self._inquiry = Inquiry(epoch, members, tables, tree, outbox, self._question)
        self._times: dict[str, deque[tuple[int, float]]] = {}
        self._pings: dict[int, dict[str, int]] = {}

    def said(self, scope: str, now: float) -> None:
        """Something was said and signed in a scope just now."""
        times = self._times.setdefault(scope, deque(maxlen=_TIMES_MAX))
        times.append((self._tables.own(scope).seq, now))

    def pinged(self, number: int) -> None:
        """A ping goes out: what was said until now is in its sum."""
        if self._times:
            if len(self._pings) >= _PINGS_MAX:
                self._pings.clear()
            self._pings[number] = {scope: self._tables.own(scope).seq for scope in self._times}

    def same(self, number: int, by: NodeId) -> None:
        """The ack to a ping tells the same sum."""
        for scope, seq in self._pings.pop(number, {}).items():
            if self._tables.counts(by, scope):
                self._inquiry.reached(by, scope, self._epoch, seq)

    def has(self, by: NodeId, versions: Versions) -> None:
        """A member tells how much it has of logs."""
        for scope, owners in versions.items():
            version = owners.get(self._own)
            if version is not None:
                self._inquiry.reached(by, scope, version.epoch, version.seq)

    def converged(self, written: Written) -> bool:
        """Whether every living member of the scope has confirmed a write; if not, those that have not will be asked."""
        return self._inquiry.complete(written)

    def forget(self, member: NodeId) -> None:
        """A member is lost or in a new life: what it has is not known any more."""
        self._inquiry.forget(member)

    def deadline(self) -> float | None:
        """When ``tick`` is wanted next."""
        return self._inquiry.deadline()

    def tick(self, now: float) -> None:
        """Ask those who have not confirmed what is waited for."""
        self._inquiry.tick(now)

    def lag_s(self, now: float) -> float:
        """The age of the oldest thing said that not all have confirmed."""
        oldest = now
        for scope, times in list(self._times.items()):
            least = self._inquiry.least(scope)
            while times and times[0][0] <= least:
                times.popleft()
            if times:
                oldest = min(oldest, times[0][1])
            else:
                del self._times[scope]
        return now - oldest

    def _question(self, scope: str, _seq: int) -> Have:
        return Have({scope: {self._own: self._tables.own(scope).version}}, ask=True)
