"""How nodes come to hold the same whatever was lost: by comparing sums, then names, then sending what lacks.

Theory of operation. A ping and its ack carry 8 bytes each: the sum over members, the cluster's scope and the networks that
both nodes are in. When they differ and nothing has come for ``QUIET_S`` (news that is still on its way differs, too), one
of the two sends a ``Digest``, a sum for each scope. The other answers with a ``Vector`` of what differs; when that would
be long, first with the sums over the branches of what differs (``Branches``), and the two descend to where they differ; when
that is much, it asks by stream (``Sync``). Whoever has the other's vector knows what both lack: it sends the one and asks
for the other. Both sums are then the same, or there is news again.

What a node gains so is news to the nodes around it, too: it tells them how much it has (``Have``). Cards are pushed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import inf

from fairlead.gossip.gaps import Gaps
from fairlead.gossip.holding import Holding, Taken
from fairlead.gossip.identity import NodeId
from fairlead.gossip.lacking import NOTHING, Lacking
from fairlead.gossip.log import Version
from fairlead.gossip.members import Card, Member, Opinion
from fairlead.gossip.messages import Branches, Digest, Have, Item, Message, State, Sync, Vector, Versions, Want
from fairlead.gossip.outbox import Outbox
from fairlead.gossip.spread import HAVE_LOGS, Spreading
from fairlead.gossip.sums import CHILDREN, LEAF_MIN, ROOT, Sums, under
from fairlead.gossip.wire import CARDS_MAX, portions

#: Seconds without news after which sums are believed to differ for good.
QUIET_S = 0.05
#: Seconds after which they are compared by name even though news keeps coming.
IMPATIENT_S = 3.0
#: Seconds to the next comparison with the same node when one changed nothing; doubled each time.
AGAIN_S, AGAIN_S_MAX = 0.2, 30.0
#: Seconds for which what was asked for is not asked for again of another; logs of which that is known, at most.
ASKED_S, ASKED_MAX = 0.06, 16384
#: Nodes that seemed to hold something else while news was under way, and are compared with when that is over.
STALE_COMPARED = 2
#: Blocks that are sent to a node that lacks them unasked.
PUSHED_MAX = 16
#: Names in one ``Vector``, and branches times tables in one ``Branches``, that fit a packet; more go by stream.
VECTOR_NAMES, BRANCHED_MAX = 40, 9


@dataclass(slots=True)
class _Difference:
    since: float
    due: float
    again: float = AGAIN_S
    sure: bool = False


class Repair(Lacking):
    """Compares, asks and answers."""

    def __init__(
        self,
        holding: Holding,
        outbox: Outbox,
        spreading: Spreading,
        gaps: Gaps,
        counters: Counter[str],
        former: Callable[[str], None],
        rtt: Callable[[NodeId], float],
    ) -> None:
        super().__init__(holding, spreading, former)
        self._outbox = outbox
        self._gaps = gaps
        self._counters = counters
        self._rtt = rtt
        #: Nodes that hold something else, as far as known; and those with which that was talked about of late.
        self._differences: dict[NodeId, _Difference] = {}
        self._rested: dict[NodeId, _Difference] = {}
        #: No difference is due before this: news puts them all off, and they are not looked through for each.
        self._wake = inf
        self._syncing: set[NodeId] = set()
        #: (Owner, scope) -> what of its log was asked for last, and until when it may be on its way.
        self._asked: dict[tuple[NodeId, str], tuple[Version, float]] = {}

    def sum(self, with_node: NodeId) -> int:
        """What is held of what a node and this one share, as eight bytes."""
        shared = self._holding.shared(with_node)
        return (self._holding.members.sums.total + self._holding.tables.digest(shared)) % 2**64

    def compared(self, peer: NodeId, now: float, *, same: bool) -> None:
        """A ping or an ack has shown whether a node holds the same."""
        if same:
            self._differences.pop(peer, None)
            self._rested.pop(peer, None)
            return
        if peer not in self._differences:
            difference = self._rested.pop(peer, None) or _Difference(now, now)
            difference.since = now
            self._note(peer, difference)

    def contact(self, peer: NodeId, now: float, wait_s: float = 0.0) -> None:
        """Compare with a node soon, whatever the sums were."""
        self._note(peer, _Difference(now - IMPATIENT_S, now + wait_s, sure=True))

    def deadline(self) -> float | None:
        """When ``tick`` is wanted next."""
        return self._wake if self._differences else None

    def tick(self, now: float) -> None:
        """Compare and ask, where it is due."""
        if now < self._wake:
            return
        for peer, difference in list(self._differences.items()):
            if self._when(peer, difference) > now:
                continue
            news = self._gaps.last_news
            stale = not difference.sure and difference.since <= news and now >= news + self._quiet(peer)
            if stale and len(self._differences) > STALE_COMPARED:
                # It was seen while news was under way; two others will do, and the next pings.
                del self._differences[peer]
            else:
                self._compare(peer, difference, now)
        dues = (self._when(peer, difference) for peer, difference in self._differences.items())
        self._wake = min(dues, default=inf)

    def digest(self, peer: Member, digest: Digest, now: float) -> None:
        """A node differs and says where it may be."""
        known = self._differences.get(peer.id)
        patient_until = (known.since if known else now) + IMPATIENT_S
        if now < min(self._gaps.last_news + self._quiet(peer.id), patient_until):
            # What the other lacks may be on its way to it, as it is to this node.
            self.compared(peer.id, now, same=False)
            return
        holding = self._holding
        shared = holding.shared(peer.id)
        scopes = [scope for scope in shared if digest.sums.get(scope) != holding.tables.digest([scope])]
        members = digest.members != holding.members.sums.total
        if not scopes and not members:
            return
        self._counters["differences"] += 1
        self._descend(peer, scopes, members, (ROOT,))

    def branched(self, peer: Member, branched: Branches, now: float) -> None:
        """A node has said what it holds under branches where the two differ: descend into those that do."""
        tables, shared = self._holding.tables, self._holding.shared(peer.id)
        below: set[int] = set()
        members = branched.members is not None and _differ(
            branched.branches, branched.members, self._holding.members.sums, below
        )
        scopes = [
            scope
            for scope, theirs in branched.sums.items()
            if scope in shared and _differ(branched.branches, theirs, tables.sums(scope), below)
        ]
        if below:
            self._descend(peer, scopes, members, sorted(below))

    def _descend(self, peer: Member, scopes: Sequence[str], members: bool, branches: Sequence[int]) -> None:
        """Two nodes differ under some branches: name what is held there if it is little, else go on with sums."""
        holding, firsts = self._holding, under(branches)
        names = sum(member.id[0] in firsts for member in holding.members) if members else 0
        names += sum(holding.tables.count(scope, firsts) for scope in scopes)
        if names <= VECTOR_NAMES:
            self._outbox.tell(peer, self._vector(scopes, members=members, ask=True, branches=branches))
        elif branches[0] >= LEAF_MIN or len(branches) * (len(scopes) + members) > BRANCHED_MAX:
            self.sync(peer, scopes, members=members, branches=branches)
        else:
            sums = {scope: _children(holding.tables.sums(scope), branches) for scope in scopes}
            own = _children(holding.members.sums, branches) if members else None
            self._outbox.tell(peer, Branches(tuple(branches), own, sums))

    def _vector(self, scopes: Iterable[str], *, members: bool, ask: bool, branches: Sequence[int]) -> Vector:
        """What is held here under some branches, named."""
        firsts, holding = under(branches), self._holding
        opinions = tuple(member.opinion for member in holding.members if member.id[0] in firsts) if members else ()
        versions = {scope: holding.tables.versions(scope, firsts) for scope in scopes}
        return Vector(opinions, versions, members, ask, tuple(branches))

    def sync(
        self, peer: Member, scopes: Sequence[str], *, members: bool, ask: bool = True, branches: Sequence[int] = (ROOT,)
    ) -> None:
        """Ask a node by stream for all that one lacks; then (``ask``) have it ask for what it lacks."""
        if peer.id in self._syncing:
            return
        self._syncing.add(peer.id)

        def then(answer: Message | None, then_now: float) -> None:
            self._syncing.discard(peer.id)
            if not isinstance(answer, State):
                return
            # Who has just come to a scope (it asks without being asked) learns what all others there have.
            self.gain(answer.items, peer, then_now, hint=ask)
            if answer.more:
                self.sync(peer, scopes, members=members, ask=ask, branches=branches)
            elif ask and self._holding.members.get(peer.id) is not None:
                self._outbox.tell(peer, self._digest(peer.id))

        vector = self._vector(scopes, members=members, ask=ask, branches=branches)
        if not self._outbox.ask(peer.card.address, self._outbox.seal(Sync(vector), peer), then):
            self._syncing.discard(peer.id)

    def vectored(self, peer: Member, vector: Vector, now: float) -> None:
        """A node has said what it holds: send what it lacks, ask for what is lacking here."""
        known = {scope: vector.versions[scope] for scope in self._holding.shared(peer.id) if scope in vector.versions}
        self._spreading.give(peer, self._members_lacking(vector), now)
        blocks = self._after(self._held(known, vector.branches))
        if len(blocks) <= PUSHED_MAX:
            self._spreading.give(peer, blocks, now)
        else:
            # So much may be on its way: the other asks for what it lacks when it has heard that it is here.
            for part in portions(self._ours(known, vector.branches), HAVE_LOGS):
                self._outbox.tell(peer, Have(part))
        cards, opinions = self._holding.lacks(vector.opinions)
        self._gaps.took(self._holding.take(opinions, peer.id.hex()), peer.id, now)
        wanted = self._wanted(known, now)
        for at in range(0, len(cards), CARDS_MAX):
            self._outbox.tell(peer, Want(tuple(cards[at : at + CARDS_MAX]), {}))
        for part in portions(wanted, HAVE_LOGS):
            self._outbox.tell(peer, Want((), part))

    def have(self, peer: Member, have: Have, now: float) -> None:
        """A node says how much it holds of some logs."""
        wanted = self._wanted(have.versions, now)
        if wanted:
            self._outbox.tell(peer, Want((), wanted))
        if have.ask:
            held: dict[str, dict[NodeId, Version]] = {}
            for scope, owners in have.versions.items():
                for owner in owners:
                    log = self._holding.tables.log(owner, scope)
                    held.setdefault(scope, {})[owner] = log.version if log else NOTHING
            self._outbox.tell(peer, Have(held))

    def gain(self, items: Iterable[Item], peer: Member, now: float, *, hint: bool = True) -> Taken:
        """What was lacking has come: take it, and (``hint``) let the nodes around know."""
        taken = self._holding.take(tuple(items), peer.id.hex())
        self._gaps.took(taken, peer.id, now)
        if taken.news:
            self._counters["repaired"] += len(taken.news)
            self._spreading.tell(item for item in taken.news if isinstance(item, Card | Opinion))
            lately = taken.logs if hint else ()
            self._spreading.hint(name for name in lately if not self._gaps.open(*name))
            difference = self._differences.get(peer.id) or self._rested.get(peer.id)
            if difference is not None:
                difference.again = AGAIN_S
        return taken

    def _note(self, peer: NodeId, difference: _Difference) -> None:
        self._differences[peer] = difference
        self._wake = min(self._wake, self._when(peer, difference))

    def _when(self, peer: NodeId, difference: _Difference) -> float:
        return max(difference.due, min(self._gaps.last_news + self._quiet(peer), difference.since + IMPATIENT_S))

    def _quiet(self, peer: NodeId) -> float:
        return QUIET_S + 3 * self._rtt(peer)

    def _digest(self, peer: NodeId) -> Digest:
        tables = self._holding.tables
        sums = {scope: tables.digest([scope]) for scope in self._holding.shared(peer)[: HAVE_LOGS // 2]}
        return Digest(self._holding.members.sums.total, sums)

    def _compare(self, peer: NodeId, difference: _Difference, now: float) -> None:
        member = self._holding.members.get(peer)
        del self._differences[peer]
        if member is None or not member.reachable:
            return
        self._rested[peer] = difference
        difference.due = now + difference.again
        difference.again = min(2 * difference.again, AGAIN_S_MAX)
        self._counters["digests_sent"] += 1
        self._outbox.tell(member, self._digest(peer))

    def _wanted(self, versions: Versions, now: float) -> dict[str, dict[NodeId, Version]]:
        """What to ask somebody for who has these versions: what is not on its way from another already."""
        found: dict[str, dict[NodeId, Version]] = {}
        if len(self._asked) > ASKED_MAX:
            self._asked.clear()
        for scope, owners in self._behind(versions).items():
            for owner, ours in owners.items():
                theirs = versions[scope][owner]
                asked, until = self._asked.get((owner, scope), (NOTHING, now))
                if (now >= until or asked != theirs) and len(self._asked) <= ASKED_MAX:
                    self._asked[owner, scope] = (theirs, now + ASKED_S)
                    found.setdefault(scope, {})[owner] = ours
        return found


def _children(sums: Sums, branches: Iterable[int]) -> tuple[int, ...]:
    return tuple(total for branch in branches for total in sums.children(branch))


def _differ(branches: Iterable[int], theirs: Sequence[int], ours: Sums, below: set[int]) -> bool:
    """Whether sums over the children of branches differ; those that do are put into ``below``."""
    differing = [
        CHILDREN * branch + place
        for at, branch in enumerate(branches)
        for place, total in enumerate(ours.children(branch))
        if total != theirs[CHILDREN * at + place]
    ]
    below.update(differing)
    return bool(differing)
