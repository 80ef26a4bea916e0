"""One owner's log in one scope, as anybody holds it: what was said, what of it stands, what others lack of it.

Blocks come in any order, more than once, from anybody; they are applied in the order of their numbers. A gap is closed
either by the blocks that are missing, or by a head together with every block in which something still stands: then it
does not matter what stood in the gap. Blocks and heads given to this module have been checked.

When the owner starts again, its log begins anew in a higher epoch. What it said before stands until the head that says
``complete``: a node that starts again under its name never blinks.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from fairlead.gossip.blocks import Block, Event, Head, Said, Span, draft_blocks, draft_head
from fairlead.gossip.identity import NodeId

#: Blocks kept that cannot be applied yet; more are dropped, since they can be asked for again.
WAITING_MAX = 2048
#: Blocks that wait that are looked at for gaps at one time.
_GAPS_MAX = 64
#: Blocks of a log that must be there before compaction is thought of: below, it saves nothing worth a packet.
COMPACT_BLOCKS_MIN = 16

Name = tuple[str, str]


class Record(NamedTuple):
    """What stands under (scope, table, key), said by its owner as event ``seq`` of an epoch."""

    owner: NodeId
    scope: str
    table: str
    key: str
    value: bytes
    epoch: int
    seq: int
    lamport: int


class Version(NamedTuple):
    """How much of a log somebody has: events up to ``seq`` of an epoch, and the head of this rank (0: none)."""

    epoch: int = 0
    seq: int = 0
    head: int = 0

    def __bool__(self) -> bool:
        return bool(self.seq or self.head)


class Change(NamedTuple):
    """A record before and after; None means absent. Both have the same scope, table and key."""

    before: Record | None
    after: Record | None


class Log:
    """What a holder has of the log of ``owner`` in ``scope``."""

    def __init__(self, owner: NodeId, scope: str) -> None:
        self.owner = owner
        self.scope = scope
        self.epoch = 0
        self.seq = 0
        self.head: Head | None = None
        #: What its version adds to the sum of its scope (kept by ``tables.py``).
        self.weight = 0
        self._records: dict[Name, Record] = {}
        self._former: dict[Name, Record] = {}
        self._blocks: dict[int, Block] = {}
        #: First number of a block -> how many of its events stand; those of which none does.
        self._standing: dict[int, int] = {}
        self._dead: dict[int, None] = {}
        self._firsts: list[int] = []
        self._waiting: dict[int, Block] = {}
        self._next_head: Head | None = None

    @property
    def version(self) -> Version:
        """How much of it is here."""
        return Version(self.epoch, self.seq, self.head.rank if self.head else 0)

    @property
    def gap(self) -> bool:
        """Whether something is known to be missing."""
        return bool(self._waiting) or self._next_head is not None

    @property
    def blocks(self) -> int:
        """Blocks held."""
        return len(self._blocks) + len(self._waiting)

    def knows(self, block: Block) -> bool:
        """Whether a block is here, or past."""
        if block.epoch != self.epoch:
            return block.epoch < self.epoch
        return block.last <= self.seq or block.first in self._waiting

    def records(self) -> Iterator[Record]:
        """All that stands."""
        yield from self._records.values()
        yield from (record for name, record in self._former.items() if name not in self._records)

    def record(self, table: str, key: str) -> Record | None:
        """What stands under a name."""
        return self._records.get((table, key)) or self._former.get((table, key))

    def offer(self, head: Head | None, blocks: Sequence[Block]) -> list[Change]:
        """Take what somebody sent; what changed. What is known or outdated already changes nothing."""
        changes: list[Change] = []
        for item in (*((head,) if head else ()), *blocks):
            if item.epoch > self.epoch:
                self._begin(item.epoch)
        for block in blocks:
            if block.epoch == self.epoch and block.last > self.seq:
                self._waiting[block.first] = block
                self._follow(changes)
                if len(self._waiting) > WAITING_MAX:
                    del self._waiting[max(self._waiting)]
        if head is not None and head.epoch == self.epoch and head.rank > self._newest_head():
            self._next_head = head
        self._advance(changes)
        return changes

    def since(self, known: Version) -> tuple[Head | None, list[Block]]:
        """What somebody lacks who has ``known``, oldest first."""
        seq, head = (known.seq, known.head) if known.epoch == self.epoch else (0, 0)
        if known.epoch > self.epoch:
            return None, []
        lacking: list[Block] = []
        for first in reversed(self._firsts):
            block = self._blocks[first]
            if block.last <= seq:
                break
            lacking.append(block)
        lacking.reverse()
        return self.head if self.head and self.head.rank > head else None, lacking

    def missing(self) -> tuple[Span, ...]:
        """The first gaps between what was applied and what waits."""
        spans: list[Span] = []
        at = self.seq
        for first in sorted(self._waiting)[:_GAPS_MAX]:
            if first > at + 1:
                spans.append((at + 1, first - 1))
            at = max(at, self._waiting[first].last)
        return tuple(spans)

    def within(self, spans: Iterable[Span]) -> list[Block]:
        """Blocks that have events of these spans, oldest first."""
        found: dict[int, Block] = {}
        for low, high in spans:
            at = max(bisect_right(self._firsts, low) - 1, 0)
            while at < len(self._firsts) and self._firsts[at] <= high:
                block = self._blocks[self._firsts[at]]
                if block.last >= low:
                    found[block.first] = block
                at += 1
        return list(found.values())

    def _newest_head(self) -> int:
        newest = self._next_head or self.head
        return newest.rank if newest else 0

    def _begin(self, epoch: int) -> None:
        self._former = {**self._former, **self._records}
        self._records = {}
        self.epoch, self.seq = epoch, 0
        self.head = self._next_head = None
        for table in (self._blocks, self._standing, self._dead, self._waiting):
            table.clear()
        self._firsts.clear()

    def _follow(self, changes: list[Change]) -> None:
        """Apply what comes next."""
        while (block := self._waiting.pop(self.seq + 1, None)) is not None:
            self._apply(block, None, changes)
            self.seq = block.last

    def _advance(self, changes: list[Change]) -> None:
        if self._leap(changes):
            self._follow(changes)
        self._take_head(changes)
        if self._waiting:
            for first in [first for first, block in self._waiting.items() if block.last <= self.seq]:
                del self._waiting[first]

    def _leap(self, changes: list[Change]) -> bool:
        """Go forward to a head when all that stands by it is here."""
        head = self._next_head
        if head is None or head.version <= self.seq:
            return False
        chosen = _covering(head.live, self.seq, self._waiting)
        if chosen is None:
            return False
        for name, record in list(self._records.items()):
            if not _within(head.live, record.seq):
                self._drop(name, changes)
        for block in chosen:
            del self._waiting[block.first]
            self._apply(block, head.live, changes)
        self.seq = head.version
        return True

    def _take_head(self, changes: list[Change]) -> None:
        head = self._next_head
        if head is None or head.version > self.seq:
            return
        self.head, self._next_head = head, None
        gone = [first for first in self._dead if self._blocks[first].last <= head.version]
        for first in gone:
            del self._blocks[first], self._standing[first], self._dead[first]
        if gone:
            self._firsts = list(self._blocks)
        if head.complete and self._former:
            former, self._former = self._former, {}
            changes += [Change(record, None) for name, record in former.items() if name not in self._records]

    def _apply(self, block: Block, live: Sequence[Span] | None, changes: list[Change]) -> None:
        """Apply a block's events that are new; with ``live`` only those that stand by it."""
        self._blocks[block.first] = block
        self._firsts.append(block.first)
        self._standing[block.first] = 0
        for seq, event in enumerate(block.events, block.first):
            if seq <= self.seq or (live is not None and not _within(live, seq)):
                continue
            name = (event.table, event.key)
            before = self.record(*name)
            if event.value is None:
                self._drop(name, changes, before)
                continue
            self._forget(name)
            after = Record(self.owner, self.scope, event.table, event.key, event.value, block.epoch, seq, event.lamport)
            self._records[name] = after
            self._standing[block.first] += 1
            changes.append(Change(before, after))
        if not self._standing[block.first]:
            self._dead[block.first] = None

    def _drop(self, name: Name, changes: list[Change], before: Record | None = None) -> None:
        before = before or self.record(*name)
        self._forget(name)
        self._former.pop(name, None)
        if before is not None:
            changes.append(Change(before, None))

    def _forget(self, name: Name) -> None:
        """The record of this epoch under a name stands no more."""
        record = self._records.pop(name, None)
        if record is None:
            return
        first = self._firsts[bisect_right(self._firsts, record.seq) - 1]
        self._standing[first] -= 1
        if not self._standing[first]:
            self._dead[first] = None


class OwnLog(Log):
    """A node's own log in one scope: what it says is gathered, signed and applied here first. ``seq`` is what it has said
    of this epoch already, if it has been in the scope before."""

    def __init__(self, owner: NodeId, scope: str, epoch: int, seq: int = 0) -> None:
        super().__init__(owner, scope)
        self.epoch = epoch
        self.seq = seq
        self._said: dict[Name, Event] = {}
        self._complete = False

    @property
    def unsaid(self) -> int:
        """How many events wait to be signed."""
        return len(self._said)

    def say(self, event: Event) -> None:
        """Put or delete; what was said of the same key and is not signed yet is replaced."""
        name = (event.table, event.key)
        self._said.pop(name, None)
        if event.value is not None or self.record(*name) is not None:
            self._said[name] = event

    def flush(self) -> tuple[list[Block], list[Change]]:
        """Write down what was said: blocks to be signed, and what changed."""
        events, self._said = list(self._said.values()), {}
        blocks = draft_blocks(self.owner, self.scope, self.epoch, self.seq + 1, events)
        return blocks, self.offer(None, blocks)

    def sum_up(self, *, complete: bool, anyhow: bool = False) -> tuple[Head | None, list[Change]]:
        """A head to be signed, if it would tell anybody anything: that blocks may be dropped, or that the epoch is complete; with
        ``anyhow`` if there is none yet: it tells that an epoch has begun."""
        news = (complete and not self._complete) or (anyhow and self.head is None)
        if not self._dead and not news:
            return None, []
        self._complete = self._complete or complete
        seqs = sorted(record.seq for record in self._records.values())
        head = draft_head(self.owner, self.scope, self.epoch, self.seq, _spans(seqs), complete=self._complete)
        return head, self.offer(head, ())

    def signed(self, said: Said) -> None:
        """Hold what is signed in the place of its draft."""
        if isinstance(said, Head):
            self.head = said
        elif said.first in self._blocks:
            self._blocks[said.first] = said

    def compact(self) -> int:
        """Say again what stands in blocks of which less than half stands, once they are the greater part; how many
        records that were. So a log's size stays within twice that of what stands in it."""
        sparse = [first for first, standing in self._standing.items() if 2 * standing < len(self._blocks[first].events)]
        if len(self._blocks) < COMPACT_BLOCKS_MIN or 2 * len(sparse) < len(self._blocks):
            return 0
        again = set(sparse)
        count = 0
        for record in list(self._records.values()):
            first = self._firsts[bisect_right(self._firsts, record.seq) - 1]
            if first in again and (record.table, record.key) not in self._said:
                self.say(Event(record.lamport, record.table, record.key, record.value))
                count += 1
        return count


def _within(spans: Sequence[Span], seq: int) -> bool:
    at = bisect_right(spans, (seq, 2**64)) - 1
    return at >= 0 and spans[at][0] <= seq <= spans[at][1]


def _covering(live: Sequence[Span], seq: int, blocks: dict[int, Block]) -> list[Block] | None:
    """The blocks, by number, that hold every event after ``seq`` of the spans; None when one is missing."""
    firsts = sorted(blocks)
    chosen: dict[int, Block] = {}
    for low, high in live:
        at = max(low, seq + 1)
        while at <= high:
            place = bisect_right(firsts, at) - 1
            if place < 0 or blocks[firsts[place]].last < at:
                return None
            chosen[firsts[place]] = blocks[firsts[place]]
            at = blocks[firsts[place]].last + 1
    return list(chosen.values())


def _spans(seqs: Iterable[int]) -> tuple[Span, ...]:
    found: list[Span] = []
    for seq in seqs:
        if found and found[-1][1] == seq - 1:
            found[-1] = (found[-1][0], seq)
        else:
            found.append((seq, seq))
    return tuple(found)
