"""News, pushed along trees: at once, and each node's packets unchanged.

Whoever has news seals it once and pushes the packet to its children in its own tree; each of them takes what is new and
pushes the very same bytes to its children in the same tree. No tick is waited for. What is said in quick succession is
gathered for ``GATHER_S``, so a thousand writes are few packets, and the first is never late.

What comes by repair is not pushed again: its holder tells the children of the tree how much it has, and they ask for what
they lack. Each hop is confirmed (``links.py``) where packets get lost, as long as losses are seen and ``CALM_S`` longer, and
where little is said: then nothing that comes after it would show that something was lost, and it costs little.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from math import exp

from fairlead.gossip.blocks import PACKET_BYTES, Block, Head
from fairlead.gossip.holding import Holding, Taken
from fairlead.gossip.identity import Address, NodeId
from fairlead.gossip.keyring import OVERHEAD_BYTES, ShortId, name_of
from fairlead.gossip.links import Links
from fairlead.gossip.members import Card, Member
from fairlead.gossip.messages import Delta, Have, Item, Spread
from fairlead.gossip.outbox import Outbox
from fairlead.gossip.tree import Tree
from fairlead.gossip.views import CLUSTER
from fairlead.gossip.wire import filled, portions

#: Seconds for which news is gathered after other news was sent.
GATHER_S = 0.01
#: Seconds between hints.
HINTS_S = 0.02
#: Seconds without a loss until hops are confirmed no longer because of it: where packets get lost and much is said the next
#: loss is seen sooner, and what was only late (a cluster that starts at once) costs confirmations no longer than this.
CALM_S = 3.0
#: Seconds without a loss until silence is taken for what it was before (``swim``).
DOUBT_S = 30.0
#: Packets of news a second, over about a second, up to which all are confirmed.
QUIET_RATE = 50.0
#: Bytes of items in one packet.
ITEMS_BYTES = PACKET_BYTES - OVERHEAD_BYTES - 2
#: Logs in one ``Have``: 16 bytes of an owner and numbers, in one packet with the name of a scope for each.
HAVE_LOGS = 24
#: Items of news that wait at most; what is more is repaired later.
_NEWS_MAX = 65536


class Spreading:
    """Pushes news along the trees."""

    def __init__(self, holding: Holding, outbox: Outbox, tree: Tree, links: Links, counters: Counter[str]) -> None:
        self._holding = holding
        self._outbox = outbox
        self._tree = tree
        self._links = links
        self._counters = counters
        self._news: dict[str, list[Item]] = {}
        self._waiting = 0
        #: Scope -> owners of logs that the children are to be told about.
        self._hints: dict[str, dict[NodeId, None]] = {}
        #: Packets to be sent on, with their scopes, sealers, the neighbours they came from, and whether hops are confirmed.
        self._passing: list[tuple[bytes, str, ShortId, NodeId | None, bool]] = []
        self._last_sent = self._last_hints = float("-inf")
        self._lossy_until = self._seen_until = self._doubt_until = float("-inf")
        #: Packets of news a second, over about a second, at a time.
        self._rate, self._rated_at = 0.0, float("-inf")

    def lossy(self, now: float) -> bool:
        """Whether packets were lost of late."""
        return now < self._doubt_until

    def _confirmed(self, now: float) -> bool:
        """Whether hops are confirmed, one more packet included."""
        self._rate = self._rate * exp(self._rated_at - now) + 1.0
        self._rated_at = now
        return self._rate <= QUIET_RATE or now < self._lossy_until

    def loss(self, now: float) -> None:
        """Something did not arrive."""
        self._seen_until = now + CALM_S
        self._hear_of_loss(now)

    def _hear_of_loss(self, now: float) -> None:
        self._lossy_until = now + CALM_S
        self._doubt_until = now + DOUBT_S

    def tell(self, items: Iterable[Item]) -> None:
        """Have news of this node's own sent to all: what it said, and what it found out."""
        for item in items:
            if self._waiting >= _NEWS_MAX:
                self._counters["news_dropped"] += 1
                return
            scope = item.scope if isinstance(item, (Block, Head)) else CLUSTER
            self._news.setdefault(scope, []).append(item)
            self._waiting += 1

    def may_send(self, now: float) -> bool:
        """Whether news goes out now; otherwise it is gathered a little longer."""
        return now >= self._last_sent + GATHER_S

    def deadline(self, *, unsaid: bool) -> float | None:
        """When what is gathered, here or (``unsaid``) in logs, is to be sent."""
        dues = [self._last_sent + GATHER_S] if unsaid or self._waiting else []
        if self._hints:
            dues.append(self._last_hints + HINTS_S)
        return min(dues, default=None)

    def flush(self, now: float) -> None:
        """Send what is gathered."""
        if not self._waiting:
            return
        self._last_sent = now
        for scope, items in self._taken_news().items():
            # Cards first: those who pass it on should know of whom the tree consists.
            items.sort(key=lambda item: not isinstance(item, Card))
            children = self._tree.children(scope, self._holding.own)
            for group in filled(items, ITEMS_BYTES) if children else ():
                confirm = self._confirmed(now)
                packet = self._outbox.seal(Spread(group, lossy=confirm, seen=now < self._seen_until))
                for child in children:
                    self._links.push(child, packet, now, confirm=confirm)

    def _taken_news(self) -> dict[str, list[Item]]:
        """What is gathered, by scope. What is said in networks that all nodes are in goes with what is said to the cluster: the
        tree is the same, and a node that comes is one packet."""
        news, self._news, self._waiting = self._news, {}, 0
        for scope in [scope for scope in news if scope != CLUSTER] if CLUSTER in news else ():
            if self._tree.ring(scope) == self._tree.ring(CLUSTER):
                news[CLUSTER] += news.pop(scope)
        return news

    def passed(self, packet: bytes, spread: Spread, sealer: ShortId, source: Member | Address, now: float) -> Taken:
        """A packet of a tree has come from a neighbour (its address, when it is not known): take it, and if it has news,
        have it passed on."""
        # Whoever forwards has not checked all that is in a packet; whoever sealed it has.
        members = self._holding.members
        author = members.named(sealer)
        taken = self._holding.take(spread.items, author.id.hex() if author else sealer.hex())
        if spread.seen and taken.news:  # not because a stranger plays an old packet again
            self._hear_of_loss(now)
        confirm = spread.lossy or now < self._lossy_until
        # Its card may have come just now.
        by, at = (source, source.card.address) if isinstance(source, Member) else (members.at(source), source)
        if confirm or not taken.news:
            self._links.confirm(by.id if by else at, name_of(packet))
        if taken.news:
            self._confirmed(now)
            scopes = {item.scope if isinstance(item, Block | Head) else CLUSTER for item in spread.items}
            scope = scopes.pop() if len(scopes) == 1 else CLUSTER
            self._passing.append((packet, scope, sealer, by.id if by else None, confirm))
        return taken

    def pass_on(self, now: float) -> None:
        """Send on what has come, along the trees over all nodes that are known by now."""
        if not self._passing:
            return
        passing, self._passing = self._passing, []
        for packet, scope, sealer, by, confirm in passing:
            root = self._holding.members.named(sealer)
            # The card of a sealer that is not known may be on its way: whoever lacks the news is told by repair.
            for child in self._tree.children(scope, root.id) if root else ():
                if child != by:
                    self._links.push(child, packet, now, confirm=confirm)

    def give(self, to: Member, items: Iterable[Item], now: float) -> None:
        """Send one node what it lacks."""
        for group in filled(items, ITEMS_BYTES):
            self._links.push(to.id, self._outbox.seal(Delta(group), to), now)

    def hint(self, logs: Iterable[tuple[NodeId, str]]) -> None:
        """Have the children in this node's own tree told how much is held of these logs."""
        for owner, scope in logs:
            self._hints.setdefault(scope, {})[owner] = None

    def flush_hints(self, now: float) -> None:
        """Tell what was hinted at, gathered: much comes at one time where much was missing."""
        if not self._hints or now < self._last_hints + HINTS_S:
            return
        hints, self._hints = self._hints, {}
        self._last_hints = now
        for scope, owners in hints.items():
            logs = {owner: self._holding.tables.log(owner, scope) for owner in owners}
            held = {owner: log.version for owner, log in logs.items() if log is not None}
            members = [self._holding.members.get(child) for child in self._tree.children(scope, self._holding.own)]
            for part in portions({scope: held}, HAVE_LOGS):
                for member in members:
                    if member is not None:
                        self._links.push(member.id, self._outbox.seal(Have(part), member), now)
