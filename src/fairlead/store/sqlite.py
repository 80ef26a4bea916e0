"""One node's records in SQLite: write-ahead log, every commit on disk before it is answered.

Writes go through one thread and are joined: whatever waits while a commit is under way goes into the next one (group
commit), so that eight callers at a time cost little more than one.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from fairlead.model import codes
from fairlead.model.cluster import Lease
from fairlead.model.container import Container
from fairlead.model.endpoint import Endpoint
from fairlead.model.errors import Internal
from fairlead.model.faults import Reach, pass_by
from fairlead.model.network import Network
from fairlead.model.sandbox import Sandbox
from fairlead.model.state import Change, Record

#: Raised when what is written changes its meaning; an older file is then converted or refused, never misread.
SCHEMA = 1

#: Fault points: all is written and not committed; committed and not answered.
POINTS = ("store.written", "store.committed")

_TYPES: dict[str, type[Record]] = {
    "network": Network,
    "endpoint": Endpoint,
    "sandbox": Sandbox,
    "container": Container,
    "lease": Lease,
}

_TABLES = """
create table if not exists records (
    position integer primary key, kind text not null, id text not null, value blob not null, unique (kind, id)
);
create table if not exists facts (name text primary key, value text not null) without rowid;
"""

#: Version 0.1 kept records without the order in which they were made.
_CONVERT = """
alter table records rename to unordered;
create table records (
    position integer primary key, kind text not null, id text not null, value blob not null, unique (kind, id)
);
insert into records (kind, id, value) select kind, id, value from unordered;
drop table unordered;
"""

_UPSERT = (
    "insert into records (kind, id, value) values (?, ?, ?) on conflict (kind, id) do update set value = excluded.value"
)
_DELETE = "delete from records where kind = ? and id = ?"


class LocalStore:
    """The records of this node. Made inside a running event loop; ``close`` when done."""

    def __init__(self, path: str, reach: Reach = pass_by) -> None:
        """Open or make the file. Raises ``Internal`` when it cannot be used."""
        self._reach = reach
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")
        self._waiting: list[tuple[tuple[Change, ...], asyncio.Future[None]]] = []
        self._writer: asyncio.Task[None] | None = None
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        try:
            self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            # FULL: a commit that was answered survives power loss, not only a crash of the process.
            self._db.execute("pragma journal_mode = wal")
            self._db.execute("pragma synchronous = full")
            self._db.executescript(_TABLES)
            if not any(column[1] == "position" for column in self._db.execute("pragma table_info(records)")):
                self._db.executescript(f"begin immediate; {_CONVERT} commit;")
            found = self._fact("schema") or str(SCHEMA)
            if found != str(SCHEMA):
                raise Internal(
                    f"{path} was written by another version of Fairlead (schema {found}, this one reads {SCHEMA})",
                    hint="start the version that wrote it, or move the file away to begin anew",
                    code=codes.STORE_FAILED,
                )
            self._set_fact("schema", str(SCHEMA))
        except sqlite3.Error as error:
            raise Internal(
                f"cannot open {path}: {error}", hint="check permissions and free space", code=codes.STORE_FAILED
            ) from error

    def load(self) -> list[Record]:
        """All records, networks first, so that what refers to others comes after them; each kind in the order in which
        its records were made."""
        found: list[Record] = []
        for kind, record_type in _TYPES.items():
            decode = msgspec.json.Decoder(record_type).decode
            rows = self._db.execute("select value from records where kind = ? order by position", (kind,))
            found += [decode(value) for (value,) in rows]
        return found

    def fact(self, name: str, default: str) -> str:
        """A remembered text; ``default`` is written down and answered when there is none."""
        value = self._fact(name)
        if value is None:
            self._set_fact(name, default)
            return default
        return value

    async def write(self, changes: tuple[Change, ...]) -> None:
        """Return once the changes are on disk. Raises ``Internal`` when they could not be written."""
        if not changes:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((changes, future))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.get_running_loop().create_task(self._write_waiting())
        await future

    async def answer(self) -> None:
        """Return when the writing thread has done what was asked before: it lives."""
        await asyncio.get_running_loop().run_in_executor(self._thread, lambda: None)

    async def close(self) -> None:
        """Finish what waits and close the file."""
        if self._writer is not None:
            await self._writer
        self._thread.shutdown(wait=True)
        self._db.close()

    async def _write_waiting(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                await loop.run_in_executor(self._thread, self._commit, [changes for changes, _ in batch])
            except sqlite3.Error as error:
                for _, future in batch:
                    future.set_exception(
                        Internal(f"cannot write the state: {error}", hint="check free space", code=codes.STORE_FAILED)
                    )
            else:
                for _, future in batch:
                    if not future.cancelled():
                        future.set_result(None)

    def _commit(self, batch: Sequence[tuple[Change, ...]]) -> None:
        self._db.execute("begin immediate")
        try:
            for changes in batch:
                for change in changes:
                    if change.after is None:
                        self._db.execute(_DELETE, (change.kind, change.id))
                    else:
                        self._db.execute(_UPSERT, (change.kind, change.id, msgspec.json.encode(change.after)))
        except sqlite3.Error:
            self._db.execute("rollback")
            raise
        self._reach("store.written")
        self._db.execute("commit")
        self._reach("store.committed")

    def _fact(self, name: str) -> str | None:
        row = self._db.execute("select value from facts where name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def _set_fact(self, name: str, value: str) -> None:
        self._db.execute("insert or replace into facts values (?, ?)", (name, value))
