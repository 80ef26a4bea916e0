"""What somebody lacks who has said what it holds, and what is lacking here: logs and members, looked up and sent."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from fairlead.gossip.contract import STREAM_BYTES_MAX
from fairlead.gossip.gaps import BLOCKS_MAX
from fairlead.gossip.holding import Holding
from fairlead.gossip.identity import NodeId
from fairlead.gossip.log import Version
from fairlead.gossip.members import Member
from fairlead.gossip.messages import Item, State, Vector, Versions, Want
from fairlead.gossip.spread import Spreading
from fairlead.gossip.sums import under
from fairlead.gossip.views import CLUSTER
from fairlead.gossip.wire import encode_item

#: Bytes of one ``State``.
STATE_BYTES = STREAM_BYTES_MAX // 4
#: How much is held of a log that is not here.
NOTHING = Version()


class Lacking:
    """Who lacks what. ``former`` is told when others know this node's log in a scope by its former life only."""

    def __init__(self, holding: Holding, spreading: Spreading, former: Callable[[str], None]) -> None:
        self._holding = holding
        self._spreading = spreading
        self._former = former

    def synced(self, vector: Vector) -> State:
        """The answer to a ``Sync``."""
        # A node that has just attached asks before its attachment has come here.
        scopes = (CLUSTER, *self._holding.networks)
        known = {scope: vector.versions[scope] for scope in scopes if scope in vector.versions}
        self._behind(known)
        return _state([*self._members_lacking(vector), *self._after(self._held(known, vector.branches))])

    def want(self, peer: Member, want: Want, now: float) -> None:
        """A node asks for what comes after what it has."""
        members = self._holding.members
        items: list[Item] = [member.card for card in want.cards if (member := members.get(card)) is not None]
        items += self._after(want.versions)[:BLOCKS_MAX]
        self._spreading.give(peer, items, now)

    def _behind(self, versions: Versions) -> dict[str, dict[NodeId, Version]]:
        """Of which logs somebody has more."""
        found: dict[str, dict[NodeId, Version]] = {}
        holding = self._holding
        for scope, owners in versions.items():
            if scope != CLUSTER and scope not in holding.networks:
                continue
            for owner, theirs in owners.items():
                log = holding.tables.log(owner, scope)
                ours = log.version if log else NOTHING
                if owner == holding.own and not ours:
                    self._former(scope)
                newer = (theirs.epoch, theirs.seq) > (ours.epoch, ours.seq) or (
                    theirs.epoch == ours.epoch and theirs.head > ours.head
                )
                if newer and owner != holding.own and theirs.epoch > holding.members.banned.get(owner, -1):
                    found.setdefault(scope, {})[owner] = ours
        return found

    def _members_lacking(self, vector: Vector) -> list[Item]:
        """What somebody lacks of members who has said all that it has."""
        if not vector.members:
            return []
        items: list[Item] = []
        theirs, firsts = {opinion.id: opinion for opinion in vector.opinions}, under(vector.branches)
        for member in self._holding.members:
            if member.id[0] not in firsts:
                continue
            opinion = theirs.get(member.id)
            if opinion is None or opinion.order < member.card.order:
                items.append(member.card)
                known = 0
            else:
                known = opinion.level if opinion.order == member.card.order else member.level
            if member.level > known:
                items.append(member.opinion)
        return items

    def _held(self, known: Versions, branches: Sequence[int]) -> Versions:
        """For each log held here of these scopes, how much of it somebody has who has said all that it has."""
        tables, firsts = self._holding.tables, under(branches)
        return {
            scope: {owner: owners.get(owner, NOTHING) for owner in tables.versions(scope, firsts)}
            for scope, owners in known.items()
        }

    def _ours(self, known: Versions, branches: Sequence[int]) -> Versions:
        """How much is held here of logs of which somebody has less."""
        firsts = under(branches)
        held = {scope: self._holding.tables.versions(scope, firsts) for scope in known}
        return {
            scope: {owner: version for owner, version in owners.items() if version != known[scope].get(owner)}
            for scope, owners in held.items()
        }

    def _after(self, versions: Versions) -> list[Item]:
        items: list[Item] = []
        for scope, owners in versions.items():
            for owner, known in owners.items():
                log = self._holding.tables.log(owner, scope)
                if log is not None and log.version != known:
                    head, blocks = log.since(known)
                    items += [*((head,) if head else ()), *blocks]
        return items


def _state(items: Iterable[Item]) -> State:
    """As much as one message by stream holds."""
    chosen: list[Item] = []
    size = 0
    for item in items:
        size += len(encode_item(item))
        if chosen and size > STATE_BYTES:
            return State(tuple(chosen), more=True)
        chosen.append(item)
    return State(tuple(chosen), more=False)
