"""What readers see of all that was said.

A reader sees under each (scope, table, key) one record: among the owners that claim it, the one whose claim is newest by
Lamport clock (an address that moved from one node to another has both for a moment; moby 50232). Not seen are claims of
owners that cannot be reached (*hidden*, and back the moment they can), of owners that take no part in the scope's network,
and those that a verdict ends. A verdict is a record in the cluster's table ``verdicts``, believed when its owner is one of
the authorities (the managers), that names an owner and how far its word counts no more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from fairlead.gossip import codec
from fairlead.gossip.blocks import NAME_BYTES_MAX
from fairlead.gossip.codec import Malformed, Reader
from fairlead.gossip.identity import NODE_ID_BYTES, NodeId
from fairlead.gossip.keyring import EPOCH_MAX
from fairlead.gossip.log import Change, Record

#: The scope of the whole cluster; every other scope is a network's id.
CLUSTER = ""
#: The table of verdicts, in the cluster's scope.
VERDICTS = "verdicts"
#: The ``seq`` of a verdict that removes a node with its lives up to an epoch.
EVERYTHING = 2**64 - 1

Name = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What ``owner`` said up to event ``seq`` of ``epoch`` counts no more: all of it, or with ``scope``, ``table`` and
    ``key`` given only what stands there."""

    owner: NodeId
    epoch: int
    seq: int
    scope: str | None = None
    table: str | None = None
    key: str | None = None

    @property
    def whole(self) -> bool:
        """Whether it removes the node, not only something that it said."""
        return self.scope is self.table is self.key is None and self.seq >= EVERYTHING

    def covers(self, record: Record) -> bool:
        """Whether this ends a record."""
        place = (self.scope, self.table, self.key)
        given = zip(place, (record.scope, record.table, record.key), strict=True)
        return (record.epoch, record.seq) <= (self.epoch, self.seq) and all(
            wanted in (None, found) for wanted, found in given
        )


class Views:
    """The claims of all owners, and which of them is seen."""

    def __init__(self, authorities: Collection[NodeId]) -> None:
        #: Whose verdicts are believed.
        self.authorities = frozenset(authorities)
        self._claims: dict[Name, tuple[Record, ...]] = {}
        self._verdicts: dict[NodeId, dict[str, Verdict]] = {}
        self._removals: list[tuple[NodeId, int]] = []
        self.hidden: set[NodeId] = set()
        #: Network -> who takes part in it, dead ones too.
        self.attached: dict[str, set[NodeId]] = {}

    def counts(self, owner: NodeId, scope: str) -> bool:
        """Whether an owner has a say in a scope."""
        return scope == CLUSTER or owner in self.attached.get(scope, ())

    def get(self, name: Name) -> Record | None:
        """What a reader sees under a name."""
        return self._winner(self._claims.get(name, ()))

    def items(self, scope: str, table: str) -> Iterator[Record]:
        """What a reader sees of a table. As long as the whole: for people and for starts."""
        for name, claims in self._claims.items():
            if name[:2] == (scope, table) and (record := self._winner(claims)) is not None:
                yield record

    def claim(self, change: Change, seen: list[Change]) -> None:
        """An owner's claim has changed; ``seen`` gets what readers notice."""
        record = change.after or change.before
        if record is None:
            return
        name = (record.scope, record.table, record.key)
        claims = self._claims.get(name)
        if claims is None and change.after is not None:
            # Nearly all claims are the only ones to their names.
            self._claims[name] = (change.after,)
            if self._winner((change.after,)) is not None:
                seen.append(Change(None, change.after))
            return
        before = self._winner(claims or ())
        others = tuple(claim for claim in claims or () if claim.owner != record.owner)
        claims = (*others, change.after) if change.after else others
        if claims:
            self._claims[name] = claims
        else:
            self._claims.pop(name, None)
        after = self._winner(claims)
        if not _same(before, after):
            seen.append(Change(before, after))

    def drop(self, records: Iterable[Record]) -> None:
        """Forget claims that nobody sees."""
        for record in records:
            name = (record.scope, record.table, record.key)
            claims = tuple(claim for claim in self._claims.get(name, ()) if claim.owner != record.owner)
            if claims:
                self._claims[name] = claims
            else:
                self._claims.pop(name, None)

    def is_verdict(self, record: Record) -> bool:
        """Whether a record is a verdict that is believed."""
        return record.table == VERDICTS and record.scope == CLUSTER and record.owner in self.authorities

    def hold(self, name: str, verdict: Verdict, *, stands: bool) -> None:
        """A verdict stands from now on, or no more."""
        verdicts = self._verdicts.setdefault(verdict.owner, {})
        if stands:
            verdicts[name] = verdict
            if verdict.whole:
                self._removals.append((verdict.owner, verdict.epoch))
        else:
            verdicts.pop(name, None)

    def removals(self) -> list[tuple[NodeId, int]]:
        """Whom verdicts remove whole since this was asked last, and up to which epoch."""
        removals, self._removals = self._removals, []
        return removals

    def _winner(self, claims: tuple[Record, ...]) -> Record | None:
        best: Record | None = None
        for claim in claims:
            if claim.owner in self.hidden or not self.counts(claim.owner, claim.scope):
                continue
            verdicts = self._verdicts.get(claim.owner)
            if verdicts and any(verdict.covers(claim) for verdict in verdicts.values()):
                continue
            if best is None or (claim.lamport, claim.owner) > (best.lamport, best.owner):
                best = claim
        return best


def encode_verdict(verdict: Verdict) -> bytes:
    """A verdict as the value of its record."""
    place = (verdict.scope, verdict.table, verdict.key)
    parts = [b"\0" if part is None else b"\1" + codec.text(part) for part in place]
    return verdict.owner + codec.varint(verdict.epoch) + codec.varint(verdict.seq) + b"".join(parts)


def decode_verdict(value: bytes) -> Verdict | None:
    """The verdict in a record; None when it is none."""
    reader = Reader(value)
    try:
        owner, epoch, seq = NodeId(reader.take(NODE_ID_BYTES)), reader.varint(EPOCH_MAX), reader.varint()
        place = [reader.text(NAME_BYTES_MAX) if reader.byte() else None for _ in range(3)]
        reader.end()
    except Malformed:
        return None
    return Verdict(owner, epoch, seq, *place)


def _same(before: Record | None, after: Record | None) -> bool:
    """Whether a reader sees no difference: a record that was only said again is the same."""
    if before is None or after is None:
        return before is after
    return (before.owner, before.value) == (after.owner, after.value)
