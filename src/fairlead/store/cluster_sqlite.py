"""The cluster's store in a file of this manager: SQLite, write-ahead log, every commit on disk before it is answered.

All entries are held in memory, the file is read once; a step is one transaction in the file, however many callers share
it. Values are sealed under a data key, each bound to its key and revision; how the data key is kept is a matter of
whoever opens the store (``Unlock``), and is written in the same file, so that key and values never part. Keys, revisions
and leases are not secret and are in the clear.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Protocol

from fairlead.model import codes
from fairlead.model.errors import Internal
from fairlead.model.faults import Reach, pass_by
from fairlead.store.cluster_contract import HISTORY_REVISIONS, Entry
from fairlead.store.cluster_core import Core, Step
from fairlead.store.cluster_held import HeldStore

#: Raised when what is written changes its meaning; an older file is then converted or refused, never misread.
SCHEMA = 1

#: Fault points, in the order in which they are passed: a step is begun; a row of it is written; all of it is; it is
#: committed and not answered. The same for sealing everything anew, which ends with clearing away what was there.
POINTS = (
    "cluster.begun",
    "cluster.row",
    "cluster.written",
    "cluster.committed",
    "cluster.rekey.begun",
    "cluster.rekey.row",
    "cluster.rekey.written",
    "cluster.rekey.committed",
    "cluster.rekey.cleared",
)

_TABLES = """
create table if not exists entries (
    key text primary key, value blob not null, created integer not null, modified integer not null,
    version integer not null, lease integer not null
) without rowid, strict;
create table if not exists leases (id integer primary key, ttl_s real not null) strict;
create table if not exists facts (name text primary key, value blob not null) without rowid, strict;
"""
#: Bytes of the smallest page of a SQLite file; SQLite takes what is shorter for an empty file, and fills it.
_SIZE_MIN_BYTES = 512
#: Who may open the file: its data key may lie in it.
_MODE = 0o600
#: Seconds to wait for another process that holds the file: one that ends lets go of it in a moment.
_LOCK_S = 1.0
_PUT = "insert or replace into entries values (?, ?, ?, ?, ?, ?)"
_DELETE = "delete from entries where key = ?"
_GRANT = "insert or replace into leases values (?, ?)"
_REVOKE = "delete from leases where id = ?"
_SET = "insert or replace into facts values (?, ?)"


class Vault(Protocol):
    """Seals values; ``pki.sealing.Vault`` is one."""

    @property
    def kept(self) -> bytes:
        """How the data key is to be written down."""

    @property
    def is_locked(self) -> bool:
        """Whether an unlock key is needed to open it again."""

    def seal(self, name: str, plain: bytes) -> bytes:
        """``plain`` bound to a name."""

    def unseal(self, name: str, sealed: bytes) -> bytes:
        """What was sealed under this name; raises ``Internal`` when it is damaged or another's."""


#: Given how the data key was written down, or None for a new file, answers the vault; raises when it stays locked.
Unlock = Callable[[bytes | None], Vault]


class SqliteClusterStore(HeldStore):
    """Made inside a running event loop; ``close`` when done."""

    def __init__(
        self,
        path: str,
        unlock: Unlock,
        reach: Reach = pass_by,
        *,
        create: bool = True,
        history: int = HISTORY_REVISIONS,
    ) -> None:
        """Open the file, or make it: with ``create`` False one that is missing or empty is an error, since a cluster whose
        records are lost must not look like a fresh one. Raises ``Internal`` when the file cannot be used or is damaged, and
        what ``unlock`` raises; the file is as it was then."""
        self._file = _File(path, unlock, reach, create=create)
        try:
            core = self._file.load(history)
        except BaseException:
            self._file.close()
            raise
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="cluster-store")
        super().__init__(core, self._write)

    @property
    def is_locked(self) -> bool:
        """Whether opening the store again takes an unlock key."""
        return self._file.vault.is_locked

    async def rekey(self, vault: Vault) -> None:
        """Seal everything anew, in one commit with how the new data key is kept, and overwrite what was on disk before.
        Raises ``Internal``, and all is as it was."""
        self._check_open()
        await asyncio.get_running_loop().run_in_executor(self._thread, self._file.rekey, vault)

    async def close(self) -> None:
        """Finish what waits, end all watches, close the file."""
        await super().close()
        self._thread.shutdown(wait=True)
        self._file.close()

    async def _write(self, step: Step) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._file.write, step)


class _File:
    """The file. After opening, one thread uses it."""

    def __init__(self, path: str, unlock: Unlock, reach: Reach, *, create: bool) -> None:
        self._path = path
        self._reach = reach
        try:
            size = os.path.getsize(path) if os.path.exists(path) else 0
            if 0 < size < _SIZE_MIN_BYTES or (size == 0 and not create):
                raise self._trouble("open", "it is cut off" if size else "it is missing or empty")
            os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
            # SQLite gives the files beside it the same mode.
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _MODE)
            try:
                os.fchmod(descriptor, _MODE)  # a copy that was brought back may be open to all
            finally:
                os.close(descriptor)
        except OSError as error:
            raise self._trouble("open", str(error)) from error
        self._db = sqlite3.connect(path, timeout=_LOCK_S, check_same_thread=False, isolation_level=None)
        try:
            with self._failing("open"):
                self._prepare()
                self.vault = self._opened(unlock, create=create)
        except BaseException:
            self._db.close()
            raise

    def load(self, history: int) -> Core:
        """Everything that is kept. Raises ``Internal`` for a value whose seal does not fit."""
        with self._failing("read"):
            rows = self._db.execute("select key, value, created, modified, version, lease from entries")
            entries = [Entry(row[0], self.vault.unseal(_name(row[0], row[3]), row[1]), *row[2:]) for row in rows]
            leases = dict(self._db.execute("select id, ttl_s from leases").fetchall())
            revision, last_lease = self._number("revision"), self._number("last lease")
        if any(entry.modified > revision for entry in entries) or any(lease > last_lease for lease in leases):
            raise self._trouble("read", "it is older than its entries")
        return Core(revision, entries, leases, last_lease, history)

    def write(self, step: Step) -> None:
        """Make a step survive."""
        with self._failing("write"), self._transaction("cluster"):
            for key, entry in step.entries.items():
                self._put(key, entry)
                self._reach("cluster.row")
            for lease, ttl_s in step.leases.items():
                self._db.execute(*((_REVOKE, (lease,)) if ttl_s is None else (_GRANT, (lease, ttl_s))))
                self._reach("cluster.row")
            self._db.execute(_SET, ("revision", str(step.revision).encode()))
            self._db.execute(_SET, ("last lease", str(step.last_lease).encode()))

    def rekey(self, vault: Vault) -> None:
        """Seal everything under another vault."""
        with self._failing("write"):
            with self._transaction("cluster.rekey"):
                for key, sealed, modified in self._db.execute("select key, value, modified from entries").fetchall():
                    name = _name(key, modified)
                    value = vault.seal(name, self.vault.unseal(name, sealed))
                    self._db.execute("update entries set value = ? where key = ?", (value, key))
                    self._reach("cluster.rekey.row")
                self._db.execute(_SET, ("vault", vault.kept))
            self.vault = vault
            self._clear_away()
            self._reach("cluster.rekey.cleared")

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def _prepare(self) -> None:
        # Two brains on one file would each believe that they alone give addresses away.
        self._db.execute("pragma locking_mode = exclusive")
        self._db.execute("pragma journal_mode = wal")
        # FULL: a commit that was answered survives power loss, not only a crash of the process.
        self._db.execute("pragma synchronous = full")
        # What was deleted or replaced is overwritten: an old data key must not be found on the disk.
        self._db.execute("pragma secure_delete = on")
        (verdict,) = self._db.execute("pragma quick_check(1)").fetchone()
        if verdict != "ok":
            raise self._trouble("open", str(verdict))
        self._db.executescript(f"begin immediate; {_TABLES} commit;")
        schema = (self._fact("schema") or str(SCHEMA).encode()).decode("utf-8", "replace")
        if schema != str(SCHEMA):
            raise Internal(
                f"{self._path} was written by another version of Fairlead (schema {schema}, this one reads {SCHEMA})",
                hint="start the version that wrote it",
                code=codes.STORE_FAILED,
            )

    def _opened(self, unlock: Unlock, *, create: bool) -> Vault:
        kept = self._fact("vault")
        if kept is None and not (create and self._db.execute("select 1 from entries").fetchone() is None):
            raise self._trouble("open", "its data key is lost")
        vault = unlock(kept)
        if kept is None:
            with self._transaction("cluster"):
                self._db.execute(_SET, ("schema", str(SCHEMA).encode()))
                self._db.execute(_SET, ("vault", vault.kept))
        self._clear_away()
        return vault

    def _put(self, key: str, entry: Entry | None) -> None:
        if entry is None:
            self._db.execute(_DELETE, (key,))
            return
        sealed = self.vault.seal(_name(key, entry.modified), entry.value)
        self._db.execute(_PUT, (key, sealed, entry.created, entry.modified, entry.version, entry.lease))

    def _fact(self, name: str) -> bytes | None:
        row = self._db.execute("select value from facts where name = ?", (name,)).fetchone()
        return None if row is None else bytes(row[0])

    def _number(self, name: str) -> int:
        """A fact that counts, 0 before it was first written."""
        value = self._fact(name) or b"0"
        if not value.isdigit():
            raise self._trouble("read", f"its {name} is no number")
        return int(value)

    def _clear_away(self) -> None:
        """Bring the log into the file and empty it, so that neither has what is no longer true."""
        self._db.execute("pragma wal_checkpoint(truncate)")

    @contextmanager
    def _transaction(self, points: str) -> Iterator[None]:
        self._db.execute("begin immediate")
        try:
            self._reach(f"{points}.begun")
            yield
            self._reach(f"{points}.written")
            self._db.execute("commit")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("rollback")
            raise
        self._reach(f"{points}.committed")

    @contextmanager
    def _failing(self, what: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._trouble(what, str(error)) from error

    def _trouble(self, what: str, why: str) -> Internal:
        return Internal(
            f"cannot {what} the cluster's records in {self._path}: {why}",
            hint="check permissions and free space; if the file is damaged, restore it from a copy, or leave the cluster "
            "and join again",
            code=codes.STORE_FAILED,
        )


def _name(key: str, modified: int) -> str:
    """What a value is sealed under: neither another key's value nor an older one of the same key takes its place."""
    return f"{key}@{modified}"
