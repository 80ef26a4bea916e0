"""What every store of the cluster offers: etcd's semantics, so that etcd can be one.

Keys are text, values bytes. One counter, the revision, goes up by one with each transaction that changes something;
it is the cluster's clock. An entry knows the revision that made it, the one that changed it last, and how often it was
changed since it was made. A transaction compares first, then writes all or nothing. A watch tells every change after
a revision in order, each transaction whole, and misses none; where the past is no longer kept it says so (``Compacted``),
and the reader reads everything anew. A lease is a time to live that its holder prolongs; entries that are put under
it go with it. Times to live begin anew when a store is opened, as after a change of etcd's leader.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from fairlead.model import codes
from fairlead.model.errors import Conflict, Invalid, NotFound

#: Writes, and likewise compares, in one transaction (etcd counts them so, and is started with --max-txn-ops of this), and
#: bytes of its keys and values (etcd: --max-request-bytes; swarmkit limits a transaction to the same).
TXN_OPERATIONS_MAX = 1024
TXN_BYTES_MAX = 1536 * 1024
#: Revisions of the past that a store keeps for watches: a reader that lags this far behind reads everything anew faster.
HISTORY_REVISIONS = 10_000
#: Longest time to live of a lease in seconds (etcd: 9,000,000,000); the shortest is anything above nought.
LEASE_TTL_MAX_S = 9e9


@dataclass(frozen=True, slots=True)
class Entry:
    """A key's present state. ``created`` and ``modified`` are revisions, ``version`` counts changes since it was made, from
    1; ``lease`` is the lease that it goes with, or 0."""

    key: str
    value: bytes
    created: int
    modified: int
    version: int = 1
    lease: int = 0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Entries by key, all as of one revision: a watch after it misses nothing."""

    revision: int
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Compare:
    """Holds while the key was changed last at this revision; 0 holds while there is no such key."""

    key: str
    modified: int


@dataclass(frozen=True, slots=True)
class Put:
    """Set a key, under a lease or (0) none, whatever it was under before."""

    key: str
    value: bytes
    lease: int = 0


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove a key; one that is not there is no trouble, and no change."""

    key: str


Write = Put | Delete


@dataclass(frozen=True, slots=True)
class Txn:
    """``writes`` happen, all at one revision, if all ``compares`` hold. A key is written at most once."""

    compares: tuple[Compare, ...] = ()
    writes: tuple[Write, ...] = ()


@dataclass(frozen=True, slots=True)
class Committed:
    """The transaction is done and survives; ``revision`` is its own, or the present one when it changed nothing."""

    revision: int


@dataclass(frozen=True, slots=True)
class Refused:
    """A compare did not hold and nothing was written. ``current`` has every compared key as it is at ``revision``."""

    revision: int
    current: dict[str, Entry | None]


@dataclass(frozen=True, slots=True)
class Changed:
    """One key's change: what it was and is; None where there was or is nothing."""

    key: str
    before: Entry | None
    after: Entry | None


@dataclass(frozen=True, slots=True)
class Batch:
    """What one transaction changed, as far as the watch is for it, by key."""

    revision: int
    changes: tuple[Changed, ...]


class Compacted(Conflict):
    """The changes that a watch asks for are no longer kept; ``revision`` is the oldest after which it may begin."""

    general = codes.STORE_COMPACTED

    def __init__(self, revision: int) -> None:
        super().__init__(
            f"changes before revision {revision} are no longer kept", hint="read everything anew and watch from there"
        )
        self.revision = revision


class LeaseGone(NotFound):
    """The lease has run out, was given back, or never was; its entries are gone, or will be in a moment."""

    def __init__(self, lease: int) -> None:
        super().__init__(f"no such lease: {lease}", hint="take a new one and write its entries again")
        self.lease = lease


class Watch(Protocol):
    """Changes in order, as an asynchronous iterator; ends when it or the store is closed, raises ``Compacted``."""

    def __aiter__(self) -> AsyncIterator[Batch]:
        """Itself."""

    async def __anext__(self) -> Batch:
        """The next transaction that changed something under the prefix."""

    def close(self) -> None:
        """Want no more."""


class ClusterStore(Protocol):
    """The doors. All raise ``Internal`` when the disk or the network fails; a commit that raised it may have happened."""

    @property
    def revision(self) -> int:
        """The newest revision that this store has seen; 0 before the first."""

    async def get(self, key: str) -> Entry | None:
        """A key's present state."""

    async def range(self, prefix: str) -> Snapshot:
        """All entries whose keys begin so."""

    async def commit(self, txn: Txn) -> Committed | Refused:
        """Do all or nothing, and return once it is on disk. Raises ``Invalid`` for a transaction that no store takes (too
        large, an empty key, a key written twice), ``LeaseGone``."""

    def watch(self, prefix: str, after: int | None = None) -> Watch:
        """Every change under the prefix after a revision; None means from now on."""

    async def compact(self, revision: int) -> None:
        """Forget the changes up to a revision; raises ``Invalid`` for one that is not yet."""

    async def grant(self, ttl_s: float) -> int:
        """A new lease that lives so many seconds unless it is kept alive. Raises ``Invalid`` for a time that is none."""

    async def keep_alive(self, lease: int) -> float:
        """Begin the lease's time anew; answers it in seconds. Raises ``LeaseGone``."""

    async def revoke(self, lease: int) -> None:
        """End a lease and remove its entries, all at one revision. Raises ``LeaseGone``."""

    async def close(self) -> None:
        """Finish what waits, end all watches."""


def check_txn(txn: Txn) -> None:
    """Raises ``Invalid`` for a transaction that no store takes."""
    written = [write.key for write in txn.writes]
    keys = [*written, *(compare.key for compare in txn.compares)]
    if not all(keys):
        raise Invalid("a transaction names an empty key")
    try:
        size = sum(len(key.encode()) for key in keys)
    except UnicodeEncodeError as error:
        raise Invalid("a transaction names a key that is no text") from error
    size += sum(len(write.value) for write in txn.writes if isinstance(write, Put))
    if len(set(written)) != len(written):
        raise Invalid("a transaction writes a key twice")
    operations = max(len(txn.compares), len(txn.writes))
    if operations > TXN_OPERATIONS_MAX or size > TXN_BYTES_MAX:
        raise Invalid(
            f"a transaction has {operations} writes or compares and {size} bytes; at most {TXN_OPERATIONS_MAX} and "
            f"{TXN_BYTES_MAX} are allowed",
            hint="do it in several",
        )


def check_ttl(ttl_s: float) -> None:
    """Raises ``Invalid`` for a time to live that is none."""
    if not 0 < ttl_s <= LEASE_TTL_MAX_S:
        raise Invalid(f"a lease cannot live for {ttl_s} s")
