"""The cluster's records in a file: what is on the disk, who can read it, and what becomes of a damaged one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import resource
import signal
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fairlead.model import codes
from fairlead.model.errors import Forbidden, Internal, NetError, Unavailable
from fairlead.pki.sealing import Vault, open_vault
from fairlead.store.cluster_contract import Committed, LeaseGone, Put, Txn
from fairlead.store.cluster_sqlite import SqliteClusterStore

UNLOCK_KEY, OTHER_KEY = bytes(range(32)), bytes(reversed(range(32)))
SECRET = b"a signing key that nobody may read"


def vault(key: bytes | None = None, seed: int = 1) -> Callable[[bytes | None], Vault]:
    return open_vault(random.Random(seed), key)


def path_in(directory: Path) -> str:
    return str(directory / "swarm" / "manager.db")


async def put(store: SqliteClusterStore, *keys: str, value: bytes = SECRET, lease: int = 0) -> None:
    answer = await store.commit(Txn(writes=tuple(Put(key, value, lease) for key in keys)))
    assert isinstance(answer, Committed)


async def filled(directory: Path, key: bytes | None = None) -> None:
    store = SqliteClusterStore(path_in(directory), vault(key))
    await put(store, "cluster/c", "node/a", "node/b")
    await put(store, "node/a", value=b"new")
    await store.close()


def on_disk(directory: Path) -> bytes:
    return b"".join(file.read_bytes() for file in sorted((directory / "swarm").iterdir()))


def test_a_file_is_for_its_owner_alone_and_shows_no_value(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = SqliteClusterStore(path_in(tmp_path), vault())
        await put(store, "cluster/c")
        files = list((tmp_path / "swarm").iterdir())
        assert len(files) > 1
        assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
        assert SECRET not in on_disk(tmp_path)
        await store.close()
        assert SECRET not in on_disk(tmp_path)

    asyncio.run(scenario())


def test_a_file_that_was_brought_back_open_to_all_is_closed_to_them(tmp_path: Path) -> None:
    asyncio.run(filled(tmp_path))
    file = Path(path_in(tmp_path))
    file.chmod(0o644)
    asyncio.run(reopened(tmp_path))
    assert file.stat().st_mode & 0o777 == 0o600


def test_everything_comes_back_also_leases_with_their_full_time(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = SqliteClusterStore(path_in(tmp_path), vault())
        gone, lease = await store.grant(50.0), await store.grant(60.0)
        await put(store, "session/a", lease=lease)
        await put(store, "session/a", lease=lease)
        await store.revoke(gone)
        before = await store.range("")
        await store.close()
        again = SqliteClusterStore(path_in(tmp_path), vault(), create=False)
        assert await again.range("") == before
        assert await again.keep_alive(lease) == 60.0
        with pytest.raises(LeaseGone):
            await again.keep_alive(gone)
        assert await again.grant(1.0) == lease + 1
        await again.revoke(lease)
        assert await again.get("session/a") is None
        await again.close()

    asyncio.run(scenario())


def test_a_lease_runs_out_after_reopening_if_its_holder_is_gone(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = SqliteClusterStore(path_in(tmp_path), vault())
        await put(store, "session/a", lease=await store.grant(2.0))
        await store.close()
        again = SqliteClusterStore(path_in(tmp_path), vault(), create=False)
        assert await again.get("session/a") is not None
        async with asyncio.timeout(60):
            await anext(again.watch("session/"))
        assert await again.get("session/a") is None
        await again.close()

    asyncio.run(scenario())


def test_autolock_takes_the_unlock_key_and_no_other(tmp_path: Path) -> None:
    async def scenario() -> None:
        await filled(tmp_path, UNLOCK_KEY)
        before = on_disk(tmp_path)
        with pytest.raises(Unavailable, match="Swarm is encrypted and needs to be unlocked") as locked:
            SqliteClusterStore(path_in(tmp_path), vault())
        with pytest.raises(Forbidden, match="swarm could not be unlocked: invalid key provided") as wrong:
            SqliteClusterStore(path_in(tmp_path), vault(OTHER_KEY))
        assert (locked.value.code, wrong.value.code) == (codes.SWARM_LOCKED, codes.UNLOCK_KEY_INVALID)
        assert on_disk(tmp_path) == before
        store = SqliteClusterStore(path_in(tmp_path), vault(UNLOCK_KEY), create=False)
        assert store.is_locked
        entry = await store.get("node/b")
        assert entry is not None
        assert entry.value == SECRET
        await store.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("first", "second"), [(None, UNLOCK_KEY), (UNLOCK_KEY, OTHER_KEY), (UNLOCK_KEY, None), (None, None)]
)
def test_a_new_seal_leaves_nothing_of_the_old_one(tmp_path: Path, first: bytes | None, second: bytes | None) -> None:
    async def scenario() -> None:
        store = SqliteClusterStore(path_in(tmp_path), vault(first))
        await put(store, "cluster/c", "node/a")
        old = vault(first)(None)  # the same seed draws the same key
        assert old.kept.split(b":")[1] in on_disk(tmp_path)
        before = await store.range("")
        await store.rekey(Vault.new(random.Random(9), second))
        assert old.kept.split(b":")[1] not in on_disk(tmp_path)
        await put(store, "node/b")
        assert store.is_locked is (second is not None)
        await store.close()
        assert old.kept.split(b":")[1] not in on_disk(tmp_path)
        again = SqliteClusterStore(path_in(tmp_path), vault(second), create=False)
        after = await again.range("")
        assert after.entries[:2] == before.entries
        await again.close()
        if second is not None:
            with pytest.raises(Unavailable):
                SqliteClusterStore(path_in(tmp_path), vault())
        if first is not None and second is not None:
            with pytest.raises(Forbidden):
                SqliteClusterStore(path_in(tmp_path), vault(first))

    asyncio.run(scenario())


def test_writes_while_everything_is_sealed_anew_are_neither_lost_nor_sealed_with_the_old_key(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = SqliteClusterStore(path_in(tmp_path), vault())
        await put(store, *(f"node/{number}" for number in range(200)))
        writers = [asyncio.ensure_future(put(store, f"lease/{number}")) for number in range(20)]
        await asyncio.sleep(0)
        rekeying = asyncio.ensure_future(store.rekey(Vault.new(random.Random(8), UNLOCK_KEY)))
        writers += [asyncio.ensure_future(put(store, f"lease/{number}")) for number in range(20, 40)]
        await asyncio.gather(*writers, rekeying)
        before = await store.range("")
        await store.close()
        again = SqliteClusterStore(path_in(tmp_path), vault(UNLOCK_KEY), create=False)
        assert await again.range("") == before
        assert len(before.entries) == 240
        await again.close()

    asyncio.run(scenario())


def tampered(directory: Path, statement: str) -> None:
    with contextlib.closing(sqlite3.connect(path_in(directory))) as file:
        assert file.execute(statement).rowcount > 0
        file.commit()


@pytest.mark.parametrize(
    "statement",
    [
        "update entries set value = (select value from entries where key = 'node/b') where key = 'cluster/c'",
        "update entries set modified = 1 where key = 'node/a'",
        "update entries set value = zeroblob(60) where key = 'node/a'",
        "update entries set value = x'' where key = 'node/a'",
        "update facts set value = cast('clear:' as blob) where name = 'vault'",
        "update facts set value = cast('clear:AAAA' as blob) where name = 'vault'",
        "update facts set value = cast('locked:!' as blob) where name = 'vault'",
        "update facts set value = x'ff' where name = 'vault'",
        "delete from facts where name = 'vault'",
        "update facts set value = cast('7' as blob) where name = 'schema'",
        "update facts set value = cast('soon' as blob) where name = 'revision'",
        "update facts set value = cast('1' as blob) where name = 'revision'",
        "insert into leases values (9, 1.0)",
    ],
)
def test_a_file_that_was_tampered_with_is_refused(tmp_path: Path, statement: str) -> None:
    async def scenario() -> None:
        await filled(tmp_path)
        tampered(tmp_path, statement)
        with pytest.raises(Internal) as caught:
            SqliteClusterStore(path_in(tmp_path), vault())
        assert caught.value.code == codes.STORE_FAILED
        assert caught.value.hint or "data key" in caught.value.message

    asyncio.run(scenario())


@pytest.mark.parametrize("left", [1, 100, 4096, 8192, 12288, 15000])
def test_a_file_that_was_cut_off_is_refused_and_left_alone(tmp_path: Path, left: int) -> None:
    file = Path(path_in(tmp_path))
    asyncio.run(filled(tmp_path))
    assert file.stat().st_size > left
    os.truncate(file, left)
    with pytest.raises(Internal, match="cannot open"):
        asyncio.run(reopened(tmp_path))
    assert file.stat().st_size == left


async def reopened(directory: Path) -> None:
    await SqliteClusterStore(path_in(directory), vault(), create=False).close()


@pytest.mark.parametrize("lost", ["missing", "empty", "tables only"])
def test_a_lost_file_does_not_look_like_a_fresh_cluster(tmp_path: Path, lost: str) -> None:
    async def scenario() -> None:
        await filled(tmp_path)
        if lost == "missing":
            os.unlink(path_in(tmp_path))
        elif lost == "empty":
            os.truncate(path_in(tmp_path), 0)
        else:
            for table in ("entries", "facts"):
                tampered(tmp_path, f"delete from {table}")
        with pytest.raises(Internal, match=r"missing or empty|data key is lost"):
            SqliteClusterStore(path_in(tmp_path), vault(), create=False)

    asyncio.run(scenario())


def test_two_processes_never_share_a_file(tmp_path: Path) -> None:
    program = (
        "import asyncio, random, sys\n"
        "from fairlead.pki.sealing import open_vault\n"
        "from fairlead.store.cluster_sqlite import SqliteClusterStore\n"
        "async def run(): SqliteClusterStore(sys.argv[1], open_vault(random.Random(1)))\n"
        "asyncio.run(run())\n"
    )

    async def scenario() -> None:
        store = SqliteClusterStore(path_in(tmp_path), vault())
        await put(store, "a")
        other = await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, path_in(tmp_path), stderr=asyncio.subprocess.PIPE
        )
        _, said = await asyncio.wait_for(other.communicate(), 60)
        assert other.returncode == 1
        assert b"database is locked" in said
        await put(store, "b")
        await store.close()

    asyncio.run(scenario())


def test_a_full_disk_refuses_the_write_and_nothing_else_happens(tmp_path: Path) -> None:
    """The limit on file sizes stands for the full disk; the signal that goes with it is not wanted."""

    async def scenario() -> None:
        store = SqliteClusterStore(path_in(tmp_path), vault())
        lease = await store.grant(1000.0)
        await put(store, "a", lease=lease)
        old = resource.getrlimit(resource.RLIMIT_FSIZE)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024, old[1]))
        try:
            calls = [put(store, f"big/{number}", value=random.Random(number).randbytes(300_000)) for number in range(3)]
            failed = await asyncio.gather(*calls, return_exceptions=True)
            with pytest.raises(Internal):
                await store.rekey(Large.new(random.Random(3), UNLOCK_KEY))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, old)
            signal.signal(signal.SIGXFSZ, handler)
        assert [type(error) for error in failed] == [Internal] * 3
        assert all(isinstance(error, NetError) and error.code == codes.STORE_FAILED for error in failed)
        assert ([entry.key for entry in (await store.range("")).entries], store.revision) == (["a"], 1)
        assert not store.is_locked
        await put(store, "b")
        before = await store.range("")
        await store.close()
        again = SqliteClusterStore(path_in(tmp_path), vault(), create=False)
        assert await again.range("") == before
        await again.close()

    asyncio.run(scenario())


class Large(Vault):
    """Seals to more than the disk holds."""

    def seal(self, name: str, plain: bytes) -> bytes:
        return super().seal(name, plain + bytes(200_000))


def test_after_it_is_closed_it_says_so(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = SqliteClusterStore(path_in(tmp_path), vault())
        await store.close()
        for call in (put(store, "a"), store.grant(1.0), store.rekey(Vault.new(random.Random(1)))):
            with pytest.raises(Internal, match="closed"):
                await call
        await store.close()

    asyncio.run(scenario())
