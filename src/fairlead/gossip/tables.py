"""Everything that was said by everybody, and what comes of it.

Which node takes part in which network is a record of the cluster's scope, too (table ``attachments``). What an owner says
in a network counts as soon as that record is there, and is kept, unseen, until it is: a write that outruns its owner's
attachment is not lost, and what a node said in a network that it has left does not come back.

Each log's version enters an additive hash of its scope, kept as it changes: two nodes with the same sum hold the same.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial

from fairlead.gossip.blocks import Block, Event, Head, Said, sign
from fairlead.gossip.identity import Identity, NodeId
from fairlead.gossip.log import Change, Log, OwnLog, Record, Version
from fairlead.gossip.sums import Sums
from fairlead.gossip.views import CLUSTER, VERDICTS, Views, decode_verdict

#: The table of attachments, in the cluster's scope: a network and a node's id in its keys, nothing in its values.
ATTACHMENTS = "attachments"
_U64 = 2**64


class Logs:
    """All logs that a node holds, its own among them, as far as they are said and compared."""

    def __init__(self, identity: Identity, epoch: int, authorities: Collection[NodeId] = ()) -> None:
        self._identity = identity
        self._epoch = epoch
        self._lamport = 0
        self._logs: dict[str, dict[NodeId, Log]] = {}
        self._own: dict[str, OwnLog] = {}
        #: Scopes in which something was put since the last ``flush``.
        self._talking: dict[str, None] = {}
        #: How much was said in scopes that were left: numbers are never used twice.
        self._spoken: dict[str, int] = {}
        self._sums: dict[str, Sums] = {}
        self.views = Views(authorities)
        #: Grows with each change of who takes part in which network.
        self.attachment_changes = 0

    @property
    def attached(self) -> dict[str, set[NodeId]]:
        """Network -> who takes part in it, dead ones too."""
        return self.views.attached

    def put(self, scope: str, table: str, key: str, value: bytes | None) -> None:
        """Say that something stands under a name, or (None) no more; nobody hears of it before ``flush``."""
        self._lamport += 1
        self.own(scope).say(Event(self._lamport, table, key, value))
        self._talking[scope] = None

    def own(self, scope: str) -> OwnLog:
        """This node's own log in a scope, made when there is none."""
        log = self._own.get(scope)
        if log is None:
            log = self._own[scope] = OwnLog(self._identity.id, scope, self._epoch, self._spoken.get(scope, 0))
            self._logs.setdefault(scope, {})[self._identity.id] = log
        return log

    def unsaid(self) -> list[str]:
        """Scopes in which something waits for ``flush``."""
        return [scope for scope in self._talking if self._own[scope].unsaid] if self._talking else []

    def log(self, owner: NodeId, scope: str) -> Log | None:
        """What is held of one log, to be read."""
        return self._logs.get(scope, {}).get(owner)

    def versions(self, scope: str, firsts: Collection[int] = range(256)) -> dict[NodeId, Version]:
        """How much is held of every log of a scope that counts; of owners whose ids begin with one of some bytes."""
        logs = self._logs.get(scope, {})
        return {
            owner: log.version
            for owner, log in logs.items()
            if owner[0] in firsts and log.version and self.counts(owner, scope)
        }

    def count(self, scope: str, firsts: Collection[int]) -> int:
        """How many logs are held of a scope, of owners whose ids begin with one of some bytes."""
        return sum(owner[0] in firsts for owner in self._logs.get(scope, ()))

    def knows(self, block: Block) -> bool:
        """Whether a block is here, or past."""
        log = self._logs.get(block.scope, {}).get(block.owner)
        return log is not None and log.knows(block)

    def digest(self, scopes: Iterable[str]) -> int:
        """The sum over some scopes, 64 bits: the same for those who hold the same of them."""
        return sum(sums.total for scope in scopes if (sums := self._sums.get(scope)) is not None) % _U64

    def sums(self, scope: str) -> Sums:
        """The sums over a scope's logs, to be read."""
        return self._sums.get(scope) or Sums()

    def counts(self, owner: NodeId, scope: str) -> bool:
        """Whether an owner has a say in a scope."""
        return self.views.counts(owner, scope)

    def _moved(self, log: Log, before: Version) -> None:
        if log.version != before:
            former, log.weight = log.weight, _weight(log, log.version)
            if self.counts(log.owner, log.scope):
                self._add(log, log.weight - former)

    def _add(self, log: Log, more: int) -> None:
        sums = self._sums.get(log.scope)
        if sums is None:
            sums = self._sums[log.scope] = Sums()
        sums.add(log.owner, more)


class Tables(Logs):
    """The logs, and what readers see of them. ``authorities`` are those whose verdicts are believed."""

    def get(self, scope: str, table: str, key: str) -> Record | None:
        """What a reader sees under a name."""
        return self.views.get((scope, table, key))

    def items(self, scope: str, table: str) -> Iterator[Record]:
        """What a reader sees of a table. As long as the whole: for people and for starts."""
        return self.views.items(scope, table)

    def attach(self, network: str, *, there: bool = True) -> None:
        """Say that this node takes part in a network, or no more."""
        self.put(CLUSTER, ATTACHMENTS, attachment_key(network, self._identity.id), b"" if there else None)

    def flush(self, scope: str) -> tuple[list[Block], list[Change]]:
        """Write down what was put in a scope: blocks to be signed (``sign``), and what readers see change."""
        log = self.own(scope)
        before = log.version
        self._talking.pop(scope, None)
        blocks, changes = log.flush()
        self._moved(log, before)
        return blocks, self._see(changes)

    def sum_up(self, scope: str, *, complete: bool, anyhow: bool = False) -> tuple[Head | None, list[Change]]:
        """This node's next head in a scope, to be signed, when there is something to sum up (or ``anyhow``); what readers
        see change."""
        log = self.own(scope)
        before = log.version
        if log.compact():
            self._talking[scope] = None
        head, changes = log.sum_up(complete=complete, anyhow=anyhow)
        self._moved(log, before)
        return head, self._see(changes)

    def sign(self, drafts: Sequence[Said]) -> list[Said]:
        """What this node has written down, signed together, to be sent."""
        signed = sign(self._identity, drafts)
        for said in signed:
            self.own(said.scope).signed(said)
        return signed

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
        for change in changes:
            if change.after is not None and change.after.lamport > self._lamport:
                self._lamport = change.after.lamport
        return self._see(changes)

    def expel(self, owner: NodeId) -> list[Change]:
        """Forget all that an owner said: it was removed."""
        seen: list[Change] = []
        for scope, logs in list(self._logs.items()):
            log = logs.get(owner)
            if log is not None:
                if self.counts(owner, scope):
                    self._add(log, -log.weight)
                del logs[owner]
                seen += self._see([Change(record, None) for record in list(log.records())])
        return seen

    def hide(self, owner: NodeId) -> list[Change]:
        """An owner cannot be reached: nobody sees its records; what readers see change."""
        if owner in self.views.hidden:
            return []
        return self._again(owner, lambda: self.views.hidden.add(owner))

    def show(self, owner: NodeId) -> list[Change]:
        """An owner is there again, and so is all that it said."""
        if owner not in self.views.hidden:
            return []
        return self._again(owner, lambda: self.views.hidden.discard(owner))

    def forget_scope(self, scope: str) -> list[Change]:
        """This node has no part in a scope any more: everything of it goes."""
        records = [record for log in self._logs.get(scope, {}).values() for record in log.records()]
        changes = [
            Change(seen, None) for record in records if (seen := self.get(scope, record.table, record.key)) == record
        ]
        self.views.drop(records)
        own = self._own.pop(scope, None)
        self._talking.pop(scope, None)
        if own is not None:
            self._spoken[scope] = own.seq
        self._logs.pop(scope, None)
        self._sums.pop(scope, None)
        return changes

    def trust(self, authorities: Iterable[NodeId]) -> list[Change]:
        """Believe verdicts of these from now on, and of nobody else; what readers see change."""
        trusted, before = frozenset(authorities), self.views.authorities
        said = [record for log in self._logs.get(CLUSTER, {}).values() for record in log.records()]
        verdicts = [record for record in said if record.table == VERDICTS]
        seen: list[Change] = []
        for record in verdicts:
            if record.owner in before - trusted:
                seen += self._judge(Change(record, None))
        self.views.authorities = trusted
        for record in verdicts:
            if record.owner in trusted - before:
                seen += self._judge(Change(None, record))
        return seen

    def _again(self, owner: NodeId, act: Callable[[], object]) -> list[Change]:
        """See an owner's records with other eyes."""
        names = [
            (record.scope, record.table, record.key)
            for logs in self._logs.values()
            if owner in logs
            for record in logs[owner].records()
        ]
        before = {name: self.views.get(name) for name in names}
        act()
        after = {name: self.views.get(name) for name in names}
        return [Change(before[name], after[name]) for name in before if before[name] != after[name]]

    def _see(self, changes: Iterable[Change]) -> list[Change]:
        """What of an owner's changes readers notice."""
        seen: list[Change] = []
        for change in changes:
            self.views.claim(change, seen)
            record = change.after or change.before
            if record is None or record.scope != CLUSTER:
                continue
            if self.views.is_verdict(record):
                seen += self._judge(change)
            elif record.table == ATTACHMENTS and (change.before is None) != (change.after is None):
                network = record.key.partition("/")[0]
                if record.key == attachment_key(network, record.owner):
                    seen += self._attachment(network, record.owner, there=change.after is not None)
        return seen

    def _attachment(self, network: str, owner: NodeId, *, there: bool) -> list[Change]:
        """A node takes part in a network from now on, or no more: its log there counts, or is forgotten."""
        log = self._logs.get(network, {}).get(owner)
        if log is not None:
            weight = log.weight
            self._add(log, weight if there else -weight)
        self.attachment_changes += 1
        nodes = self.attached.setdefault(network, set())
        seen = self._again(owner, partial(nodes.add if there else nodes.discard, owner))
        if not there:
            if not nodes:
                del self.attached[network]
            if log is not None and owner != self._identity.id:
                self.views.drop(log.records())
                del self._logs[network][owner]
        return seen

    def _judge(self, change: Change) -> list[Change]:
        """An authority has made or taken back a verdict."""
        seen: list[Change] = []
        for record, stands in ((change.before, False), (change.after, True)):
            verdict = decode_verdict(record.value) if record else None
            if record is not None and verdict is not None:
                held = partial(self.views.hold, record.owner.hex() + record.key, verdict, stands=stands)
                seen += self._again(verdict.owner, held)
        return seen


def attachment_key(network: str, owner: NodeId) -> str:
    """The key of the record that says that a node takes part in a network."""
    return f"{network}/{owner.hex()}"


def _weight(log: Log, version: Version) -> int:
    """What a log of this version adds to its scope's sum."""
    if not version:
        return 0
    numbers = struct.pack(">QQQ", version.epoch, version.seq, version.head)
    return int.from_bytes(hashlib.blake2b(log.owner + log.scope.encode() + numbers, digest_size=8).digest(), "big")
