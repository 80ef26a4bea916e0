"""What a store of the cluster that lives in this process knows: entries, leases and the recent past. No clock, no disk.

A step stages any number of actions upon what is published, one seeing what those before it did; nothing of it is
visible. Then it is kept (memory: at once; SQLite: on disk), and published whole or dropped. So readers and watches never
see what a crash could take back, and actions that wait together share one commit.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from fairlead.model.errors import Invalid
from fairlead.store.cluster_contract import (
    HISTORY_REVISIONS,
    Batch,
    Changed,
    Committed,
    Compacted,
    Delete,
    Entry,
    LeaseGone,
    Put,
    Refused,
    Snapshot,
    Txn,
    Write,
)


@dataclass(slots=True)
class Step:
    """Actions that are kept together. ``entries`` and ``leases`` are what becomes of keys and leases (None: they go; a lease
    is its time to live in seconds), ``batches`` the transactions in order."""

    revision: int
    last_lease: int
    entries: dict[str, Entry | None] = field(default_factory=dict)
    leases: dict[int, float | None] = field(default_factory=dict)
    batches: list[Batch] = field(default_factory=list)

    @property
    def changes_anything(self) -> bool:
        """Whether there is something to keep."""
        return bool(self.entries or self.leases)


class Core:
    """The published state, and the stages upon it."""

    def __init__(
        self,
        revision: int = 0,
        entries: Iterable[Entry] = (),
        leases: dict[int, float] | None = None,
        last_lease: int = 0,
        history: int = HISTORY_REVISIONS,
    ) -> None:
        """``history`` is how many revisions of the past are kept; of the time before there is nothing."""
        self.revision = revision
        self.compacted = revision
        self.leases = dict(leases or {})
        self._last_lease = last_lease
        self._entries = {entry.key: entry for entry in entries}
        self._keys = sorted(self._entries)
        self._under: dict[int, set[str]] = {}
        for entry in self._entries.values():
            self._attach(entry)
        self._batches: deque[Batch] = deque()
        self._history = history

    def get(self, key: str) -> Entry | None:
        """A key's published state."""
        return self._entries.get(key)

    def range(self, prefix: str) -> Snapshot:
        """All published entries whose keys begin so."""
        first = bisect_left(self._keys, prefix)
        last = bisect_right(self._keys, prefix, first, key=lambda key: key[: len(prefix)])
        return Snapshot(self.revision, tuple(self._entries[key] for key in self._keys[first:last]))

    def since(self, prefix: str, after: int) -> tuple[Batch | None, int]:
        """The first transaction after a revision that changed something under the prefix, and the revision up to which there
        is nothing to tell. Raises ``Compacted``."""
        if after < self.compacted:
            raise Compacted(self.compacted)
        # Every transaction that changes something has the next revision, so its place follows from it.
        for place in range(after - self.compacted, len(self._batches)):
            batch = self._batches[place]
            changes = tuple(changed for changed in batch.changes if changed.key.startswith(prefix))
            if changes:
                return Batch(batch.revision, changes), batch.revision
        return None, max(after, self.revision)

    def compact(self, revision: int) -> None:
        """Forget the transactions up to a revision. Raises ``Invalid`` for one that is not yet."""
        if revision > self.revision:
            raise Invalid(f"revision {revision} is in the future; the newest is {self.revision}")
        while self._batches and self._batches[0].revision <= revision:
            self._batches.popleft()
        self.compacted = max(self.compacted, revision)

    def begin(self) -> Step:
        """An empty step upon what is published."""
        return Step(self.revision, self._last_lease)

    def stage(self, step: Step, txn: Txn) -> Committed | Refused:
        """Do a transaction in the step, if its compares hold. Raises ``LeaseGone``, with nothing done."""
        now = {compare.key: self._staged(step, compare.key) for compare in txn.compares}
        if any(_modified(now[compare.key]) != compare.modified for compare in txn.compares):
            return Refused(step.revision, now)
        for write in txn.writes:
            if isinstance(write, Put) and write.lease and not self._is_leased(step, write.lease):
                raise LeaseGone(write.lease)
        self._write(step, txn.writes)
        return Committed(step.revision)

    def stage_grant(self, step: Step, ttl_s: float) -> int:
        """A new lease; numbers are never used again."""
        step.last_lease += 1
        step.leases[step.last_lease] = ttl_s
        return step.last_lease

    def stage_revoke(self, step: Step, lease: int) -> None:
        """End a lease and remove its entries. Raises ``LeaseGone``."""
        if not self._is_leased(step, lease):
            raise LeaseGone(lease)
        keys = self._under.get(lease, set()) | {key for key, entry in step.entries.items() if entry is not None}
        held = [key for key in keys if (entry := self._staged(step, key)) is not None and entry.lease == lease]
        step.leases[lease] = None
        self._write(step, tuple(Delete(key) for key in sorted(held)))

    def publish(self, step: Step) -> None:
        """Make a step visible, once it is kept."""
        for key, entry in step.entries.items():
            before = self._entries.get(key)
            if before is not None and before.lease:
                self._under[before.lease].discard(key)
            if entry is not None:
                if before is None:
                    insort(self._keys, key)
                self._entries[key] = entry
                self._attach(entry)
            elif before is not None:
                del self._entries[key]
                del self._keys[bisect_left(self._keys, key)]
        for lease, ttl_s in step.leases.items():
            if ttl_s is None:
                self.leases.pop(lease, None)
                self._under.pop(lease, None)
            else:
                self.leases[lease] = ttl_s
        self._batches.extend(step.batches)
        self.revision, self._last_lease = step.revision, step.last_lease
        while len(self._batches) > self._history:
            self.compacted = self._batches.popleft().revision

    def _write(self, step: Step, writes: tuple[Write, ...]) -> None:
        revision, changes = step.revision + 1, []
        for write in writes:
            before, after = self._staged(step, write.key), None
            if isinstance(write, Put):
                created, version = (before.created, before.version + 1) if before is not None else (revision, 1)
                after = Entry(write.key, write.value, created, revision, version, write.lease)
            elif before is None:
                continue
            step.entries[write.key] = after
            changes.append(Changed(write.key, before, after))
        if changes:
            step.revision = revision
            step.batches.append(Batch(revision, tuple(sorted(changes, key=lambda changed: changed.key))))

    def _staged(self, step: Step, key: str) -> Entry | None:
        return step.entries[key] if key in step.entries else self._entries.get(key)

    def _is_leased(self, step: Step, lease: int) -> bool:
        return (step.leases[lease] is not None) if lease in step.leases else lease in self.leases

    def _attach(self, entry: Entry) -> None:
        if entry.lease:
            self._under.setdefault(entry.lease, set()).add(entry.key)


def _modified(entry: Entry | None) -> int:
    return 0 if entry is None else entry.modified
