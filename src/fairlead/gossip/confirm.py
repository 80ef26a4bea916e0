"""Who has confirmed what this node said.

An ack that tells the same sum as the ping confirms all that was said before the ping, at no cost. Whoever waits for
something to be everywhere (draining, key rotation) asks ``converged``; then the members that have not confirmed it are
asked at once, and again until they have.
"""

from __future__ import annotations

from collections import deque

from fairlead.gossip.contract import Written
from fairlead.gossip.identity import NodeId
from fairlead.gossip.members import Members
from fairlead.gossip.messages import Have, Versions
from fairlead.gossip.outbox import Outbox
from fairlead.gossip.tables import Tables
from fairlead.gossip.tree import Tree

#: Seconds until a member that has not confirmed is asked again; grows with each time up to the second number.
AGAIN_S, AGAIN_S_MAX = 0.05, 1.0
#: Questions that are under way, writes whose time is known, and pings whose ack may confirm something: at most.
_INTERESTS_MAX, _TIMES_MAX, _PINGS_MAX = 256, 4096, 1024


class Confirmations:
    """How far each member has confirmed this node's own logs."""

    def __init__(self, epoch: int, members: Members, tables: Tables, tree: Tree, outbox: Outbox) -> None:
        self._epoch = epoch
        self._members = members
        self._tables = tables
        self._tree = tree
        self._outbox = outbox
        self._confirmed: dict[NodeId, dict[str, int]] = {}
        self._times: dict[str, deque[tuple[int, float]]] = {}
        self._pings: dict[int, dict[str, int]] = {}
        self._interests: dict[str, int] = {}
        self._due: float | None = None
        self._again = AGAIN_S

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
                self._confirm(by, scope, seq)

    def has(self, by: NodeId, versions: Versions) -> None:
        """A member tells how much it has of logs."""
        for scope, owners in versions.items():
            version = owners.get(self._members.own)
            own = self._tables.log(self._members.own, scope)
            # Nobody can have more than was said, nor anything of where nothing was.
            if version is not None and own is not None and version.epoch == self._epoch and version.seq <= own.seq:
                self._confirm(by, scope, version.seq)

    def converged(self, written: Written) -> bool:
        """Whether every living member of the scope has confirmed a write; if not, those that have not will be asked."""
        said = written.epoch == self._epoch and self._tables.own(written.scope).seq >= written.seq
        if said and not self._lacking(written.scope, written.seq):
            self._interests.pop(written.scope, None)
            return True
        if len(self._interests) < _INTERESTS_MAX:
            self._interests[written.scope] = max(written.seq, self._interests.get(written.scope, 0))
            if self._due is None:
                self._due, self._again = float("-inf"), AGAIN_S
        return False

    def forget(self, member: NodeId) -> None:
        """A member is lost or in a new life: what it has is not known any more."""
        self._confirmed.pop(member, None)

    def deadline(self) -> float | None:
        """When ``tick`` is wanted next."""
        return self._due

    def tick(self, now: float) -> None:
        """Ask those who have not confirmed what is waited for."""
        if self._due is None or self._due > now:
            return
        for scope, seq in list(self._interests.items()):
            lacking = self._lacking(scope, seq)
            if not lacking and self._tables.own(scope).seq >= seq:
                del self._interests[scope]
            version = self._tables.own(scope).version
            for node in lacking:
                member = self._members.get(node)
                if member is not None:
                    self._outbox.tell(member, Have({scope: {self._members.own: version}}, ask=True))
        self._due = now + self._again if self._interests else None
        self._again = min(1.5 * self._again, AGAIN_S_MAX)

    def lag_s(self, now: float) -> float:
        """The age of the oldest thing said that not all have confirmed."""
        oldest = now
        for scope, times in list(self._times.items()):
            seqs = [self._confirmed.get(node, {}).get(scope, 0) for node in self._tree.reachable(scope)]
            least = min(seqs, default=self._tables.own(scope).seq)
            while times and times[0][0] <= least:
                times.popleft()
            if times:
                oldest = min(oldest, times[0][1])
            else:
                del self._times[scope]
        return now - oldest

    def _lacking(self, scope: str, seq: int) -> list[NodeId]:
        nodes = self._tree.reachable(scope)
        return [node for node in nodes if self._confirmed.get(node, {}).get(scope, 0) < seq]

    def _confirm(self, by: NodeId, scope: str, seq: int) -> None:
        known = self._confirmed.setdefault(by, {})
        known[scope] = max(seq, known.get(scope, 0))
