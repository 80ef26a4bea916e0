"""How nodes come to hold the same whatever was lost: by comparing sums, then names, then sending what lacks.

Theory of operation. A ping and its ack carry 8 bytes each: the sum over members, the cluster's scope and the networks that
both nodes are in. When they differ and nothing has come for ``QUIET_S`` (news that is still on its way differs, too), one
of the two sends a ``Digest``, a sum for each scope. The other answers with a ``Vector`` of what differs, or, when that is
long, asks by stream (``Sync``). Whoever has the other's vector knows what both lack: it sends the one and asks for the
other. Both sums are then the same, or there is news again.

A gap in a log is seen sooner than by sums: what lacks is asked for (``Miss``) when the log has been quiet for ``GAP_S``,
of whoever sent what came after it, then of its owner, then of anybody.

What a node gains so is news to the nodes around it, too: it tells them how much it has (``Have``). Cards are pushed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from random import Random

from fairlead.gossip.contract import STREAM_BYTES_MAX
from fairlead.gossip.holding import Holding, Taken
from fairlead.gossip.identity import NodeId
from fairlead.gossip.links import Links
from fairlead.gossip.log import Version
from fairlead.gossip.members import Card, Member, Opinion
from fairlead.gossip.outbox import Outbox
from fairlead.gossip.spread import HAVE_LOGS, ITEMS_BYTES, Spreading
from fairlead.gossip.tables import CLUSTER
from fairlead.gossip.tree import Tree
from fairlead.gossip.wire import (
    Delta,
    Digest,
    Have,
    Item,
    Message,
    Miss,
    State,
    Sync,
    Vector,
    Versions,
    Want,
    encode_item,
    filled,
    portions,
)

#: Seconds without news after which sums are believed to differ for good.
QUIET_S = 0.05
#: Seconds after which they are compared by name even though news keeps coming.
IMPATIENT_S = 1.0
#: Seconds to the next comparison with the same node when one changed nothing; doubled each time.
AGAIN_S, AGAIN_S_MAX = 0.2, 30.0
#: Seconds without anything of a log that has a gap after which it is asked for, and until it is asked for again.
GAP_S, GAP_AGAIN_S, GAP_AGAIN_S_MAX = 0.01, 0.04, 2.0
#: Names in one ``Vector``; more go by stream.
VECTOR_NAMES = 40
#: Bytes of one ``State``.
STATE_BYTES = STREAM_BYTES_MAX // 4
#: Blocks that are sent for one ``Miss`` or ``Want`` at most; the rest is asked for again.
BLOCKS_MAX = 512
#: Cards in one ``Want``.
_CARDS_MAX = 64
_NOTHING = Version()


@dataclass(slots=True)
class _Difference:
    since: float
    due: float
    again: float = AGAIN_S
    open: bool = True


@dataclass(slots=True)
class _Gap:
    due: float
    tries: int = 0
    source: NodeId | None = None


class Repair:
    """Compares, asks and answers."""

    def __init__(
        self,
        holding: Holding,
        outbox: Outbox,
        links: Links,
        spreading: Spreading,
        tree: Tree,
        chance: Random,
        counters: Counter[str],
        rumours: Callable[[Iterable[Opinion], float], None],
    ) -> None:
        self._holding = holding
        self._outbox = outbox
        self._links = links
        self._spreading = spreading
        self._tree = tree
        self._chance = chance
        self._counters = counters
        self._rumours = rumours
        self._differences: dict[NodeId, _Difference] = {}
        self._gaps: dict[tuple[NodeId, str], _Gap] = {}
        self._syncing: set[NodeId] = set()
        self.last_news = float("-inf")

    def sum(self, with_node: NodeId) -> int:
        """What is held of what a node and this one share, as eight bytes."""
        shared = self._holding.shared(with_node)
        return (self._holding.members.sum + self._holding.tables.digest(shared)) % 2**64

    def compared(self, peer: NodeId, now: float, *, same: bool) -> None:
        """A ping or an ack has shown whether a node holds the same."""
        if same:
            self._differences.pop(peer, None)
            return
        known = self._differences.get(peer)
        if known is None:
            self._differences[peer] = _Difference(now, now)
        elif not known.open:
            known.open, known.since = True, now

    def contact(self, peer: NodeId, now: float, wait_s: float = 0.0) -> None:
        """Compare with a node soon, whatever the sums were."""
        self._differences[peer] = _Difference(now - IMPATIENT_S, now + wait_s)

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
        dues = [gap.due for gap in self._gaps.values()]
        dues += [self._when(difference) for difference in self._differences.values() if difference.open]
        return min(dues, default=None)

    def tick(self, now: float) -> None:
        """Compare and ask, where it is due."""
        for peer, difference in list(self._differences.items()):
            if difference.open and self._when(difference) <= now:
                self._compare(peer, difference, now)
        for (owner, scope), gap in list(self._gaps.items()):
            if gap.due <= now:
                self._ask_for(owner, scope, gap, now)

    def digest(self, peer: Member, digest: Digest, now: float) -> None:
        """A node differs and says where it may be."""
        holding = self._holding
        shared = holding.shared(peer.id)
        scopes = [scope for scope in shared if digest.sums.get(scope) != holding.tables.digest([scope])]
        members = digest.members != holding.members.sum
        if not scopes and not members:
            return
        self._counters["differences"] += 1
        vector = self.vector(scopes, members=members)
        if len(vector.opinions) + sum(map(len, vector.versions.values())) <= VECTOR_NAMES:
            self._outbox.tell(peer, vector)
        else:
            self.sync(peer, vector, now)

    def vector(self, scopes: Iterable[str], *, members: bool, ask: bool = True) -> Vector:
        """What is held here, named."""
        opinions = tuple(member.opinion for member in self._holding.members) if members else ()
        return Vector(opinions, {scope: self._holding.tables.versions(scope) for scope in scopes}, members, ask)

    def sync(self, peer: Member, vector: Vector, now: float) -> None:
        """Ask a node by stream for all that one lacks; then have it ask for what it lacks."""
        if peer.id in self._syncing:
            return
        self._syncing.add(peer.id)

        def then(answer: Message | None, then_now: float) -> None:
            self._syncing.discard(peer.id)
            if not isinstance(answer, State):
                return
            self.gain(answer.items, peer, then_now)
            if answer.more:
                self.sync(peer, self.vector(vector.versions, members=vector.members), then_now)
            elif vector.ask and self._holding.members.get(peer.id) is not None:
                self._outbox.tell(peer, self._digest(peer.id))

        if not self._outbox.ask(peer.card.address, self._outbox.seal(Sync(vector), peer), then):
            self._syncing.discard(peer.id)

    def vectored(self, peer: Member, vector: Vector, now: float) -> None:
        """A node has said what it holds: send what it lacks, ask for what is lacking here."""
        known = {scope: vector.versions[scope] for scope in self._holding.shared(peer.id) if scope in vector.versions}
        items = self._lacking(vector, known)
        for group in filled(items, ITEMS_BYTES):
            self._links.push(peer.id, self._outbox.seal(Delta(group), peer), now)
        cards, opinions = self._holding.lacks(vector.opinions)
        self.took(self._holding.take(opinions, peer.id.hex()), peer.id, now)
        wanted = self._behind(known)
        for at in range(0, len(cards), _CARDS_MAX):
            self._outbox.tell(peer, Want(tuple(cards[at : at + _CARDS_MAX]), {}))
        for part in portions(wanted, HAVE_LOGS):
            self._outbox.tell(peer, Want((), part))

    def synced(self, vector: Vector) -> State:
        """The answer to a ``Sync``."""
        # A node that has just attached asks before its attachment has come here.
        scopes = (CLUSTER, *self._holding.networks)
        known = {scope: vector.versions[scope] for scope in scopes if scope in vector.versions}
        return state(self._lacking(vector, known))

    def whole(self, scopes: Iterable[str]) -> State:
        """All that is held of members and some scopes, for one that has nothing."""
        return state(self._lacking(Vector((), {}, members=True, ask=False), {scope: {} for scope in scopes}))

    def want(self, peer: Member, want: Want, now: float) -> None:
        """A node asks for what comes after what it has."""
        members = self._holding.members
        items: list[Item] = [member.card for card in want.cards if (member := members.get(card)) is not None]
        items += self._after(want.versions)[:BLOCKS_MAX]
        self._send(peer, items, now)

    def miss(self, peer: Member, miss: Miss, now: float) -> None:
        """A node has a gap: something was lost."""
        self._spreading.loss(now)
        log = self._holding.tables.log(miss.owner, miss.scope)
        if log is None or log.epoch != miss.epoch:
            return
        items: list[Item] = [*log.within(miss.spans)[:BLOCKS_MAX]]
        if log.head is not None and miss.spans and log.head.version >= miss.spans[0][0]:
            items.insert(0, log.head)
        self._send(peer, items, now)

    def have(self, peer: Member, have: Have, now: float) -> None:
        """A node says how much it holds of some logs."""
        wanted = self._behind(have.versions)
        if wanted:
            self._outbox.tell(peer, Want((), wanted))
        if have.ask:
            held: dict[str, dict[NodeId, Version]] = {}
            for scope, owners in have.versions.items():
                for owner in owners:
                    log = self._holding.tables.log(owner, scope)
                    held.setdefault(scope, {})[owner] = log.version if log else _NOTHING
            self._outbox.tell(peer, Have(held, have.root))

    def gain(self, items: Iterable[Item], peer: Member, now: float) -> Taken:
        """What was lacking has come: take it, and let the nodes around know."""
        taken = self._holding.take(tuple(items), peer.id.hex())
        self.took(taken, peer.id, now)
        if taken.news:
            self._counters["repaired"] += len(taken.news)
            self._spreading.tell(item for item in taken.news if isinstance(item, Card | Opinion))
            gaps = [name for name in taken.logs if name in self._gaps]
            self._spreading.hint([name for name in taken.logs if name not in gaps], None, now)
            difference = self._differences.get(peer.id)
            if difference is not None:
                difference.again = AGAIN_S
        return taken

    def _when(self, difference: _Difference) -> float:
        return max(difference.due, min(self.last_news + QUIET_S, difference.since + IMPATIENT_S))

    def _digest(self, peer: NodeId) -> Digest:
        tables = self._holding.tables
        sums = {scope: tables.digest([scope]) for scope in self._holding.shared(peer)[: HAVE_LOGS // 2]}
        return Digest(self._holding.members.sum, sums)

    def _compare(self, peer: NodeId, difference: _Difference, now: float) -> None:
        member = self._holding.members.get(peer)
        if member is None or not member.reachable:
            del self._differences[peer]
            return
        difference.open = False
        difference.due = now + difference.again
        difference.again = min(2 * difference.again, AGAIN_S_MAX)
        self._counters["digests_sent"] += 1
        self._outbox.tell(member, self._digest(peer))

    def _ask_for(self, owner: NodeId, scope: str, gap: _Gap, now: float) -> None:
        log = self._holding.tables.log(owner, scope)
        if log is None or not log.gap:
            del self._gaps[owner, scope]
            return
        asked = self._whom(owner, scope, gap)
        gap.due = now + min(GAP_AGAIN_S * 2**gap.tries, GAP_AGAIN_S_MAX)
        gap.tries = min(gap.tries + 1, 16)
        self._spreading.loss(now)
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

    def _behind(self, versions: Versions) -> dict[str, dict[NodeId, Version]]:
        """Of which logs somebody has more."""
        found: dict[str, dict[NodeId, Version]] = {}
        holding = self._holding
        for scope, owners in versions.items():
            if scope != CLUSTER and scope not in holding.networks:
                continue
            for owner, theirs in owners.items():
                log = holding.tables.log(owner, scope)
                ours = log.version if log else _NOTHING
                newer = (theirs.epoch, theirs.seq) > (ours.epoch, ours.seq) or (
                    theirs.epoch == ours.epoch and theirs.head > ours.head
                )
                if newer and owner != holding.own and not holding.members.banned(owner, theirs.epoch):
                    found.setdefault(scope, {})[owner] = ours
        return found

    def _lacking(self, vector: Vector, known: Mapping[str, Mapping[NodeId, Version]]) -> list[Item]:
        """What somebody lacks who has said all that it has."""
        items: list[Item] = []
        if vector.members:
            theirs = {opinion.id: opinion for opinion in vector.opinions}
            for member in self._holding.members:
                opinion = theirs.get(member.id)
                if opinion is None or opinion.order < member.card.order:
                    items.append(member.card)
                    opinion = None
                if member.level and (
                    opinion is None or (opinion.order == member.card.order and opinion.level < member.level)
                ):
                    items.append(member.opinion)
        tables = self._holding.tables
        for scope, owners in known.items():
            held = {owner: owners.get(owner, _NOTHING) for owner in tables.versions(scope)}
            items += self._after({scope: held})
        return items

    def _after(self, versions: Versions) -> list[Item]:
        items: list[Item] = []
        for scope, owners in versions.items():
            for owner, known in owners.items():
                log = self._holding.tables.log(owner, scope)
                if log is not None and log.version != known:
                    head, blocks = log.since(known)
                    items += [*((head,) if head else ()), *blocks]
        return items

    def _send(self, peer: Member, items: list[Item], now: float) -> None:
        for group in filled(items, ITEMS_BYTES):
            self._links.push(peer.id, self._outbox.seal(Delta(group), peer), now)


def state(items: Iterable[Item]) -> State:
    """As much as one message by stream holds."""
    chosen: list[Item] = []
    size = 0
    for item in items:
        size += len(encode_item(item))
        if chosen and size > STATE_BYTES:
            return State(tuple(chosen), more=True)
        chosen.append(item)
    return State(tuple(chosen), more=False)
