"""Everything that was said by everybody, and what a reader sees of it.

A reader sees under each (scope, table, key) one record: among the owners that claim it, the one whose claim is newest by
Lamport clock (an address that moved from one node to another has both for a moment; moby 50232). Records of an owner
that cannot be reached are *hidden*, not erased: they are back in the moment it is. Only a verdict ends a record against
its owner's word: a record in the cluster's table ``verdicts``, believed when its owner is one of the authorities (the
managers), that names an owner and how far its word counts no more.

Which node takes part in which network is a record of the cluster's scope, too (table ``attachments``). What an owner says
in a network counts as soon as that record is there, and is kept, unseen, until it is: a write that outruns its owner's
attachment is not lost, and what a node said in a network that it has left does not come back.

Each log's version enters an additive hash of its scope, kept as it changes: two nodes with the same sum hold the same.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from fairlead.gossip import codec
from fairlead.gossip.blocks import NAME_BYTES_MAX, Block, Event, Head
from fairlead.gossip.codec import Malformed, Reader
from fairlead.gossip.identity import NODE_ID_BYTES, Identity, NodeId
from fairlead.gossip.keyring import EPOCH_MAX
from fairlead.gossip.log import Change, Log, OwnLog, Record, Version

#: The scope of the whole cluster; every other scope is a network's id.
CLUSTER = ""
#: The table of verdicts, in the cluster's scope.
VERDICTS = "verdicts"
#: The table of attachments, in the cluster's scope: a network and a node's id in its keys, nothing in its values.
ATTACHMENTS = "attachments"
_U64 = 2**64
#: The ``seq`` of a verdict that removes a node with its lives up to an epoch.
EVERYTHING = _U64 - 1

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


class Tables:
    """All logs that a node holds, its own among them. ``authorities`` are those whose verdicts are believed."""

    def __init__(self, identity: Identity, epoch: int, authorities: Collection[NodeId] = ()) -> None:
        self._identity = identity
        self._epoch = epoch
        self._authorities = frozenset(authorities)
        self._lamport = 0
        self._logs: dict[str, dict[NodeId, Log]] = {}
        self._own: dict[str, OwnLog] = {}
        #: How much was said in scopes that were left: numbers are never used twice.
        self._spoken: dict[str, int] = {}
        self._sums: dict[str, int] = {}
        self._claims: dict[Name, tuple[Record, ...]] = {}
        self._hidden: set[NodeId] = set()
        self._verdicts: dict[NodeId, dict[str, Verdict]] = {}
        self._removals: list[tuple[NodeId, int]] = []
        #: Network -> who takes part in it, dead ones too; ``attachment_changes`` grows with each change of it.
        self.attached: dict[str, set[NodeId]] = {}
        self.attachment_changes = 0

    def attach(self, network: str) -> None:
        """Say that this node takes part in a network."""
        self.put(CLUSTER, ATTACHMENTS, attachment_key(network, self._identity.id), b"")

    def detach(self, network: str) -> None:
        """Say that this node takes no part in a network any more."""
        self.put(CLUSTER, ATTACHMENTS, attachment_key(network, self._identity.id), None)

    def counts(self, owner: NodeId, scope: str) -> bool:
        """Whether an owner has a say in a scope."""
        return scope == CLUSTER or owner in self.attached.get(scope, ())

    def put(self, scope: str, table: str, key: str, value: bytes | None) -> None:
        """Say that something stands under a name, or (None) no more; nobody hears of it before ``flush``."""
        self._lamport += 1
        self.own(scope).say(Event(self._lamport, table, key, value))

    def own(self, scope: str) -> OwnLog:
        """This node's own log in a scope, made when there is none."""
        log = self._own.get(scope)
        if log is None:
            log = self._own[scope] = OwnLog(self._identity, scope, self._epoch, self._spoken.get(scope, 0))
            self._logs.setdefault(scope, {})[self._identity.id] = log
        return log

    @property
    def has_unsaid(self) -> bool:
        """Whether something waits for ``flush``."""
        return any(log.unsaid for log in self._own.values())

    def unsaid(self) -> list[str]:
        """Scopes in which something waits for ``flush``."""
        return [scope for scope, log in self._own.items() if log.unsaid]

    def flush(self, scope: str) -> tuple[list[Block], list[Change]]:
        """Sign what was put in a scope: the blocks to send, and what readers see change."""
        log = self.own(scope)
        before = log.version
        blocks, changes = log.flush()
        self._moved(log, before)
        return blocks, self._see(changes)

    def sum_up(self, scope: str, *, complete: bool) -> tuple[Head | None, list[Change]]:
        """This node's next head in a scope, when there is something to sum up; what readers see change."""
        log = self.own(scope)
        before = log.version
        log.compact()
        head, changes = log.sum_up(complete=complete)
        self._moved(log, before)
        return head, self._see(changes)

    def offer(self, owner: NodeId, scope: str, head: Head | None, blocks: Sequence[Block]) -> list[Change]:
        """Take what was received of a log (checked); what readers see change."""
        if owner == self._identity.id:
            return []
        log = self._logs.setdefault(scope, {}).get(owner)
        if log is None:
            log = self._logs[scope][owner] = Log(owner, scope)
        before = log.version
        changes = log.offer(head, blocks)
        self._moved(log, before)
        self._lamport = max(self._lamport, max((c.after.lamport for c in changes if c.after), default=0))
        return self._see(changes)

    def removals(self) -> list[tuple[NodeId, int]]:
        """Whom verdicts remove whole since this was asked last, and up to which epoch."""
        removals, self._removals = self._removals, []
        return removals

    def expel(self, owner: NodeId) -> list[Change]:
        """Forget all that an owner said: it was removed."""
        seen: list[Change] = []
        for scope, logs in list(self._logs.items()):
            log = logs.get(owner)
            if log is None:
                continue
            if self.counts(owner, scope):
                self._sums[scope] = (self._sums.get(scope, 0) - _weight(log, log.version)) % _U64
            del logs[owner]
            seen += self._see([Change(record, None) for record in list(log.records())])
        return seen

    def hide(self, owner: NodeId) -> list[Change]:
        """An owner cannot be reached: nobody sees its records; what readers see change."""
        if owner in self._hidden:
            return []
        return self._again(owner, lambda: self._hidden.add(owner))

    def show(self, owner: NodeId) -> list[Change]:
        """An owner is there again, and so is all that it said."""
        if owner not in self._hidden:
            return []
        return self._again(owner, lambda: self._hidden.discard(owner))

    def forget_scope(self, scope: str) -> list[Change]:
        """This node has no part in a scope any more: everything of it goes."""
        records = [record for log in self._logs.get(scope, {}).values() for record in log.records()]
        changes = [
            Change(seen, None) for record in records if (seen := self.get(scope, record.table, record.key)) == record
        ]
        for record in records:
            self._claims.pop((scope, record.table, record.key), None)
        own = self._own.pop(scope, None)
        if own is not None:
            self._spoken[scope] = own.seq
        self._logs.pop(scope, None)
        self._sums.pop(scope, None)
        return changes

    def get(self, scope: str, table: str, key: str) -> Record | None:
        """What a reader sees under a name."""
        return self._winner(self._claims.get((scope, table, key), ()))

    def items(self, scope: str, table: str) -> Iterator[Record]:
        """What a reader sees of a table. As long as the whole: for people and for starts."""
        for name, claims in self._claims.items():
            if name[:2] == (scope, table) and (record := self._winner(claims)) is not None:
                yield record

    def versions(self, scope: str) -> dict[NodeId, Version]:
        """How much is held of every log of a scope that counts."""
        logs = self._logs.get(scope, {})
        return {owner: log.version for owner, log in logs.items() if log.version and self.counts(owner, scope)}

    def knows(self, block: Block) -> bool:
        """Whether a block is here, or past."""
        log = self._logs.get(block.scope, {}).get(block.owner)
        return log is not None and log.knows(block)

    def log(self, owner: NodeId, scope: str) -> Log | None:
        """What is held of one log, to be read."""
        return self._logs.get(scope, {}).get(owner)

    def digest(self, scopes: Iterable[str]) -> int:
        """The sum over some scopes, 64 bits: the same for those who hold the same of them."""
        return sum(self._sums.get(scope, 0) for scope in scopes) % _U64

    def _moved(self, log: Log, before: Version) -> None:
        if log.version != before and self.counts(log.owner, log.scope):
            change = _weight(log, log.version) - _weight(log, before)
            self._sums[log.scope] = (self._sums.get(log.scope, 0) + change) % _U64

    def _again(self, owner: NodeId, act: Callable[[], object]) -> list[Change]:
        """See an owner's records with other eyes."""
        names = [
            (record.scope, record.table, record.key)
            for logs in self._logs.values()
            if owner in logs
            for record in logs[owner].records()
        ]
        before = {name: self._winner(self._claims.get(name, ())) for name in names}
        act()
        after = {name: self._winner(self._claims.get(name, ())) for name in names}
        return [Change(before[name], after[name]) for name in before if before[name] != after[name]]

    def _see(self, changes: Iterable[Change]) -> list[Change]:
        """What of an owner's changes readers notice."""
        seen: list[Change] = []
        for change in changes:
            record = change.after or change.before
            if record is None:
                continue
            name = (record.scope, record.table, record.key)
            claims = self._claims.get(name, ())
            before = self._winner(claims)
            others = tuple(claim for claim in claims if claim.owner != record.owner)
            claims = (*others, change.after) if change.after else others
            if claims:
                self._claims[name] = claims
            else:
                self._claims.pop(name, None)
            after = self._winner(claims)
            if not _same(before, after):
                seen.append(Change(before, after))
            if name[:2] == (CLUSTER, VERDICTS) and record.owner in self._authorities:
                seen += self._judge(change)
            if name[:2] == (CLUSTER, ATTACHMENTS) and (change.before is None) != (change.after is None):
                network = record.key.partition("/")[0]
                if record.key == attachment_key(network, record.owner):
                    seen += self._attachment(network, record.owner, there=change.after is not None)
        return seen

    def _attachment(self, network: str, owner: NodeId, *, there: bool) -> list[Change]:
        """A node takes part in a network from now on, or no more: its log there counts, or is forgotten."""
        log = self._logs.get(network, {}).get(owner)
        weight = _weight(log, log.version) if log else 0
        self._sums[network] = (self._sums.get(network, 0) + (weight if there else -weight)) % _U64
        self.attachment_changes += 1
        nodes = self.attached.setdefault(network, set())
        seen = self._again(owner, partial(nodes.add if there else nodes.discard, owner))
        if not there:
            if not nodes:
                del self.attached[network]
            if log is not None and owner != self._identity.id:
                for record in log.records():
                    self._unclaim(record)
                del self._logs[network][owner]
        return seen

    def _unclaim(self, record: Record) -> None:
        name = (record.scope, record.table, record.key)
        claims = tuple(claim for claim in self._claims.get(name, ()) if claim.owner != record.owner)
        if claims:
            self._claims[name] = claims
        else:
            self._claims.pop(name, None)

    def _judge(self, change: Change) -> list[Change]:
        """An authority has made or taken back a verdict."""
        seen: list[Change] = []
        for record, stands in ((change.before, False), (change.after, True)):
            verdict = decode_verdict(record.value) if record else None
            if record is not None and verdict is not None:
                held = partial(self._hold, record.owner.hex() + record.key, verdict, stands=stands)
                seen += self._again(verdict.owner, held)
        return seen

    def _hold(self, name: str, verdict: Verdict, *, stands: bool) -> None:
        verdicts = self._verdicts.setdefault(verdict.owner, {})
        if stands:
            verdicts[name] = verdict
            if verdict.whole:
                self._removals.append((verdict.owner, verdict.epoch))
        else:
            verdicts.pop(name, None)

    def _winner(self, claims: tuple[Record, ...]) -> Record | None:
        best: Record | None = None
        for claim in claims:
            if claim.owner in self._hidden or not self.counts(claim.owner, claim.scope):
                continue
            verdicts = self._verdicts.get(claim.owner)
            if verdicts and any(verdict.covers(claim) for verdict in verdicts.values()):
                continue
            if best is None or (claim.lamport, claim.owner) > (best.lamport, best.owner):
                best = claim
        return best


def attachment_key(network: str, owner: NodeId) -> str:
    """The key of the record that says that a node takes part in a network."""
    return f"{network}/{owner.hex()}"


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


_NOTHING = Version()


def _same(before: Record | None, after: Record | None) -> bool:
    """Whether a reader sees no difference: a record that was only said again is the same."""
    if before is None or after is None:
        return before is after
    return (before.owner, before.value) == (after.owner, after.value)


def _weight(log: Log, version: Version) -> int:
    """What a log of this version adds to its scope's sum."""
    if not version:
        return 0
    numbers = struct.pack(">QQQ", version.epoch, version.seq, version.head)
    return int.from_bytes(hashlib.blake2b(log.owner + log.scope.encode() + numbers, digest_size=8).digest(), "big")
