"""Gaps in logs, closed before anybody compares sums.

That something lacks is known when what comes after it is here. It is asked for (``Miss``) as soon as the log has been quiet
for ``GAP_S`` (packets overtake each other), of whoever sent what came after it, then of its owner, then of anybody.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random

from fairlead.gossip.holding import Holding, Taken
from fairlead.gossip.identity import NodeId
from fairlead.gossip.members import Member, Opinion
from fairlead.gossip.messages import Item, Miss, Want
from fairlead.gossip.outbox import Outbox
from fairlead.gossip.spread import Spreading
from fairlead.gossip.tree import Tree

#: Seconds without anything of a log that has a gap after which it is asked for, and until it is asked for again.
GAP_S, GAP_AGAIN_S, GAP_AGAIN_S_MAX = 0.01, 0.04, 2.0
#: Blocks that are sent for one ``Miss`` or ``Want`` at most; the rest is asked for again.
BLOCKS_MAX = 512


@dataclass(slots=True)
class _Gap:
    due: float
    tries: int = 0
    source: NodeId | None = None


class Gaps:
    """What is known to be missing."""

    def __init__(
        self,
        holding: Holding,
        outbox: Outbox,
        spreading: Spreading,
        tree: Tree,
        chance: Random,
        counters: Counter[str],
        rumours: Callable[[Iterable[Opinion], float], None],
    ) -> None:
        self._holding = holding
        self._outbox = outbox
        self._spreading = spreading
        self._tree = tree
        self._chance = chance
        self._counters = counters
        self._rumours = rumours
        self._gaps: dict[tuple[NodeId, str], _Gap] = {}
        #: When something came last that was news.
        self.last_news = float("-inf")

    def open(self, owner: NodeId, scope: str) -> bool:
        """Whether something of a log is known to be missing."""
        return (owner, scope) in self._gaps

    def took(self, taken: Taken, source: NodeId | None, now: float) -> None:
        """Something has come: look for gaps."""
        if taken.news:
            self.last_news = now
        for owner, scope in dict.fromkeys(taken.logs):
            log = self._holding.tables.log(owner, scope)
            if log is None or not log.gap:
                self._gaps.pop((owner, scope), None)
                continue
            gap = self._gaps.get((owner, scope))
            if gap is None:
                self._gaps[owner, scope] = _Gap(now + GAP_S, 0, source)
            elif not gap.tries:
                gap.due = now + GAP_S
        if taken.rumours:
            self._rumours(taken.rumours, now)

    def deadline(self) -> float | None:
        """When ``tick`` is wanted next."""
        return min((gap.due for gap in self._gaps.values()), default=None)

    def tick(self, now: float) -> None:
        """Ask for what is missing, where it is due."""
        for (owner, scope), gap in list(self._gaps.items()):
            if gap.due <= now:
                self._ask_for(owner, scope, gap, now)

    def miss(self, peer: Member, miss: Miss, now: float) -> None:
        """A node has a gap: something was lost."""
        self._spreading.loss(now)
        log = self._holding.tables.log(miss.owner, miss.scope)
        if log is None or log.epoch != miss.epoch:
            return
        items: list[Item] = [*log.within(miss.spans)[:BLOCKS_MAX]]
        if log.head is not None and miss.spans and log.head.version >= miss.spans[0][0]:
            items.insert(0, log.head)
        self._spreading.give(peer, items, now)

    def _ask_for(self, owner: NodeId, scope: str, gap: _Gap, now: float) -> None:
        log = self._holding.tables.log(owner, scope)
        if log is None or not log.gap:
            del self._gaps[owner, scope]
            return
        asked = self._whom(owner, scope, gap)
        gap.due = now + min(GAP_AGAIN_S * 2**gap.tries, GAP_AGAIN_S_MAX)
        gap.tries = min(gap.tries + 1, 16)
        if asked is None:
            return
        self._counters["gaps_asked"] += 1
        spans = log.missing()
        if spans:
            self._outbox.tell(asked, Miss(owner, scope, log.epoch, spans))
        else:
            self._outbox.tell(asked, Want((), {scope: {owner: log.version}}))

    def _whom(self, owner: NodeId, scope: str, gap: _Gap) -> Member | None:
        members = self._holding.members
        for node in (gap.source, owner)[gap.tries :]:
            member = members.get(node) if node else None
            if member is not None and member.reachable:
                return member
        others = self._tree.reachable(scope)
        return members.get(others[self._chance.randrange(len(others))]) if others else None
