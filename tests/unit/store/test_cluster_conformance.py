"""Every store of the cluster behaves the same: etcd's semantics. A new store is one more line in STORES."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from fairlead.model.errors import Invalid
from fairlead.pki.sealing import open_vault
from fairlead.store.cluster_contract import (
    TXN_BYTES_MAX,
    TXN_OPERATIONS_MAX,
    Batch,
    Changed,
    ClusterStore,
    Committed,
    Compacted,
    Compare,
    Delete,
    Entry,
    LeaseGone,
    Put,
    Refused,
    Snapshot,
    Txn,
    Watch,
)
from fairlead.store.cluster_memory import MemoryClusterStore
from fairlead.store.cluster_sqlite import SqliteClusterStore

#: Seconds to wait for what must come.
WAIT_S = 60.0


def memory(_path: Path, history: int) -> ClusterStore:
    return MemoryClusterStore(history)


def sqlite(path: Path, history: int) -> ClusterStore:
    return SqliteClusterStore(str(path / "manager.db"), open_vault(random.Random(1)), history=history)


STORES = {"memory": memory, "sqlite": sqlite}

Opener = Callable[[Path, int], ClusterStore]
Scenario = Callable[[ClusterStore], Awaitable[None]]


@pytest.fixture(params=STORES.values(), ids=STORES.keys())
def opener(request: pytest.FixtureRequest) -> Opener:
    return request.param


@asynccontextmanager
async def opened(opener: Opener, path: Path, history: int = 1000) -> AsyncIterator[ClusterStore]:
    store = opener(path, history)
    try:
        yield store
    finally:
        await store.close()


def run(opener: Opener, path: Path, scenario: Scenario, history: int = 1000) -> None:
    async def whole() -> None:
        async with opened(opener, path, history) as store:
            await asyncio.wait_for(scenario(store), WAIT_S)

    asyncio.run(whole())


async def put(store: ClusterStore, key: str, value: bytes = b"", lease: int = 0) -> int:
    answer = await store.commit(Txn(writes=(Put(key, value, lease),)))
    assert isinstance(answer, Committed)
    return answer.revision


async def taken(watch: Watch, count: int) -> list[Batch]:
    return [await anext(watch) for _ in range(count)]


def test_a_key_knows_its_revisions_and_how_often_it_changed(opener: Opener, tmp_path: Path) -> None:
    async def scenario(store: ClusterStore) -> None:
        assert store.revision == 0
        assert await store.get("a") is None
        assert [await put(store, "a", b"1"), await put(store, "b"), await put(store, "a", b"2")] == [1, 2, 3]
        assert await store.get("a") == Entry("a", b"2", created=1, modified=3, version=2)
        assert await store.commit(Txn(writes=(Delete("a"),))) == Committed(4)
        assert await store.get("a") is None
        await put(store, "a", b"3")
        assert await store.get("a") == Entry("a", b"3", created=5, modified=5, version=1)
        assert store.revision == 5

    run(opener, tmp_path, scenario)


def test_the_same_value_again_is_a_change(opener: Opener, tmp_path: Path) -> None:
    async def scenario(store: ClusterStore) -> None:
        await put(store, "a", b"1")
        await put(store, "a", b"1")
        assert await store.get("a") == Entry("a", b"1", created=1, modified=2, version=2)

    run(opener, tmp_path, scenario)


def test_a_range_has_what_begins_so_by_key(opener: Opener, tmp_path: Path) -> None:
    async def scenario(store: ClusterStore) -> None:
        keys = ["node/b", "node/a", "node0", "nodf", "nod", "node/", "node/\U0010ffff", "node/é"]
        for key in keys:
            await put(store, key)
        found = await store.range("node/")
        assert [entry.key for entry in found.entries] == ["node/", "node/a", "node/b", "node/é", "node/\U0010ffff"]
        assert found.revision == len(keys)
        assert len((await store.range("")).entries) == len(keys)
        assert await store.range("x") == Snapshot(len(keys), ())

    run(opener, tmp_path, scenario)


def test_a_transaction_is_all_at_one_revision(opener: Opener, tmp_path: Path) -> None:
    async def scenario(store: ClusterStore) -> None:
        await put(store, "gone")
        txn = Txn(writes=(Put("b", b""), Put("a", b""), Delete("gone"), Delete("never")))
        assert await store.commit(txn) == Committed(2)
        assert [(entry.key, entry.modified) for entry in (await store.range("")).entries] == [("a", 2), ("b", 2)]

    run(opener, tmp_path, scenario)


@pytest.mark.parametrize("wrong", [Compare("a", 0), Compare("a", 1), Compare("a", 3), Compare("b", 2)])
def test_one_compare_that_does_not_hold_refuses_all_and_tells_what_is(
    opener: Opener, tmp_path: Path, wrong: Compare
) -> None:
    async def scenario(store: ClusterStore) -> None:
        await put(store, "a", b"1")
        await put(store, "a", b"2")
        now = Entry("a", b"2", created=1, modified=2, version=2)
        answer = await store.commit(Txn((Compare("a", 2), wrong), (Put("a", b"3"), Put("c", b""))))
        assert answer == Refused(2, {"a": now} if wrong.key == "a" else {"a": now, "b": None})
        assert await store.range("") == Snapshot(2, (now,))
        held = await store.commit(Txn((Compare("a", 2), Compare("b", 0)), (Put("b", b""),)))
        assert held == Committed(3)

    run(opener, tmp_path, scenario)


def test_what_changes_nothing_has_no_revision(opener: Opener, tmp_path: Path) -> None:
    async def scenario(store: ClusterStore) -> None:
        await put(store, "a")
        watch = store.watch("", 0)
        assert await store.commit(Txn()) == Committed(1)
        assert await store.commit(Txn((Compare("a", 1),))) == Committed(1)
        assert await store.commit(Txn((Compare("a", 1),), (Delete("b"),))) == Committed(1)
        assert isinstance(await store.commit(Txn((Compare("a", 9),))), Refused)
        await put(store, "b")
        assert [batch.revision for batch in await taken(watch, 2)] == [1, 2]

    run(opener, tmp_path, scenario)


def test_what_no_store_takes_is_refused_before_anything_happens(opener: Opener, tmp_path: Path) -> None:
    many = tuple(Put(f"k{number}", b"") for number in range(TXN_OPERATIONS_MAX + 1))

    async def scenario(store: ClusterStore) -> None:
        for writes in (
            (Put("", b""),),
            (Put("a", b""), Delete("a")),
            many,
            (Put("a", bytes(TXN_BYTES_MAX)),),
        ):
            with pytest.raises(Invalid):
                await store.commit(Txn(writes=writes))
        for key in ("", "\udc80"):
            with pytest.raises(Invalid):
                await store.commit(Txn((Compare(key, 0),)))
        assert store.revision == 0
        assert await store.commit(Txn(writes=many[1:])) == Committed(1)

    run(opener, tmp_path, scenario)


def test_of_many_who_compare_and_set_at_once_each_step_has_one_winner(opener: Opener, tmp_path: Path) -> None:
    async def scenario(store: ClusterStore) -> None:
        async def count() -> None:
            for _ in range(20):
                answer: Committed | Refused | None = None
                while not isinstance(answer, Committed):
                    entry = await store.get("sum")
                    total, modified = (int(entry.value), entry.modified) if entry else (0, 0)
                    answer = await store.commit(
                        Txn((Compare("sum", modified),), (Put("sum", str(total + 1).encode()),))
                    )

        await asyncio.gather(*(count() for _ in range(8)))
        entry = await store.get("sum")
        assert entry is not None
        assert (entry.value, entry.version, store.revision) == (b"160", 160, 160)

    run(opener, tmp_path, scenario)


def test_writers_that_give_up_leave_whole_transactions(opener: Opener, tmp_path: Path) -> None:
    async def scenario(store: ClusterStore) -> None:
        pairs = [(Put(f"a{number}", b""), Put(f"b{number}", b"")) for number in range(40)]
        writers = [asyncio.ensure_future(store.commit(Txn(writes=pair))) for pair in pairs]
        await asyncio.sleep(0)
        for writer in writers[::2]:
            writer.cancel()
        await asyncio.gather(*writers, return_exceptions=True)
        await put(store, "last")
        keys = {entry.key for entry in (await store.range("")).entries}
        assert all((f"a{number}" in keys) == (f"b{number}" in keys) for number in range(40))
        assert {f"a{number}" for number in range(1, 40, 2)} <= keys

    run(opener, tmp_path, scenario)


def test_a_watch_tells_each_transaction_whole_from_the_revision_on(opener: Opener, tmp_path: Path) -> None:
    async def scenario(store: ClusterStore) -> None:
        await put(store, "a/1", b"1")
        await put(store, "b/1")
        await store.commit(Txn(writes=(Put("a/2", b""), Put("b/2", b""), Delete("a/1"))))
        first = Entry("a/1", b"1", 1, 1)
        wanted = [
            Batch(1, (Changed("a/1", None, first),)),
            Batch(3, (Changed("a/1", first, None), Changed("a/2", None, Entry("a/2", b"", 3, 3)))),
        ]
        assert await taken(store.watch("a/", 0), 2) == wanted
        assert await taken(store.watch("a/", 1), 1) == wanted[1:]
        late, now = store.watch("a/", 3), store.watch("a/")
        waiting = [asyncio.ensure_future(anext(watch)) for watch in (late, now)]
        await put(store, "b/3")
        await put(store, "a/2", b"new")
        change = Changed("a/2", Entry("a/2", b"", 3, 3), Entry("a/2", b"new", 3, 5, 2))
        assert await asyncio.gather(*waiting) == [Batch(5, (change,))] * 2

    run(opener, tmp_path, scenario)


def test_a_snapshot_and_a_watch_after_it_miss_nothing(opener: Opener, tmp_path: Path) -> None:
    async def scenario(store: ClusterStore) -> None:
        async def write(name: str) -> None:
            for number in range(50):
                await put(store, f"{name}/{number % 7}", str(number).encode())

        writers = [asyncio.ensure_future(write(name)) for name in "abc"]
        await taken(store.watch("", 0), 30)
        snapshot = await store.range("")
        seen = {entry.key: entry for entry in snapshot.entries}
        watch, revision = store.watch("", snapshot.revision), snapshot.revision
        while revision < 150:
            batch = await anext(watch)
            assert batch.revision == revision + 1
            revision = batch.revision
            for changed in batch.changes:
                assert seen.get(changed.key) == changed.before
                if changed.after is not None:
                    seen[changed.key] = changed.after
        await asyncio.gather(*writers)
        assert sorted(seen) == [entry.key for entry in (await store.range("")).entries]
        assert tuple(seen[key] for key in sorted(seen)) == (await store.range("")).entries

    run(opener, tmp_path, scenario)


def test_a_watch_of_what_is_to_come_waits_for_that_revision(opener: Opener, tmp_path: Path) -> None:
    async def scenario(store: ClusterStore) -> None:
        watch = store.watch("", 2)
        waiting = asyncio.ensure_future(anext(watch))
        for key in "abc":
            await put(store, key)
        assert (await waiting).revision == 3

    run(opener, tmp_path, scenario)


def test_who_asks_for_what_was_compacted_is_told_from_where_there_is_more(opener: Opener, tmp_path: Path) -> None:
    async def scenario(store: ClusterStore) -> None:
        for _ in range(5):
            await put(store, "a")
        lagging = store.watch("", 1)
        await store.compact(3)
        await store.compact(2)
        for watch in (lagging, store.watch("", 0), store.watch("", 2)):
            with pytest.raises(Compacted) as caught:
                await anext(watch)
            assert caught.value.revision == 3
        assert [batch.revision for batch in await taken(store.watch("", 3), 2)] == [4, 5]
        with pytest.raises(Invalid, match="future"):
            await store.compact(6)

    run(opener, tmp_path, scenario)


def test_the_past_has_a_limit(opener: Opener, tmp_path: Path) -> None:
    async def scenario(store: ClusterStore) -> None:
        for _ in range(10):
            await put(store, "a")
        with pytest.raises(Compacted) as caught:
            await anext(store.watch("", 5))
        assert caught.value.revision == 6
        assert [batch.revision for batch in await taken(store.watch("", 6), 4)] == [7, 8, 9, 10]

    run(opener, tmp_path, scenario, history=4)


def test_a_watch_that_is_closed_ends_and_so_do_all_with_the_store(opener: Opener, tmp_path: Path) -> None:
    async def scenario(store: ClusterStore) -> None:
        one, other = store.watch(""), store.watch("")
        waiting = [asyncio.ensure_future(collected(watch)) for watch in (one, other)]
        await asyncio.sleep(0)
        one.close()
        assert await waiting[0] == []
        await store.close()
        assert await waiting[1] == []

    async def collected(watch: Watch) -> list[Batch]:
        return [batch async for batch in watch]

    run(opener, tmp_path, scenario)


def test_entries_go_with_their_lease_all_at_once(opener: Opener, tmp_path: Path) -> None:
    async def scenario(store: ClusterStore) -> None:
        lease, other = await store.grant(100.0), await store.grant(100.0)
        assert (lease != other, store.revision) == (True, 0)
        await put(store, "a", lease=lease)
        await put(store, "b", lease=lease)
        await put(store, "moved", lease=lease)
        await put(store, "moved", lease=other)
        await put(store, "freed", lease=lease)
        await put(store, "freed")
        assert [entry.lease for entry in (await store.range("")).entries] == [lease, lease, 0, other]
        await store.revoke(lease)
        assert [entry.key for entry in (await store.range("")).entries] == ["freed", "moved"]
        (batch,) = await taken(store.watch("", 6), 1)
        assert (batch.revision, [(changed.key, changed.after) for changed in batch.changes]) == (
            7,
            [("a", None), ("b", None)],
        )
        for call in (store.revoke(lease), store.keep_alive(lease), put(store, "c", lease=lease)):
            with pytest.raises(LeaseGone):
                await call
        assert store.revision == 7
        assert await store.keep_alive(other) == 100.0

    run(opener, tmp_path, scenario)


def test_a_lease_that_nobody_keeps_alive_ends(opener: Opener, tmp_path: Path) -> None:
    async def scenario(store: ClusterStore) -> None:
        short, long = await store.grant(1.0), await store.grant(1000.0)
        await store.commit(Txn(writes=(Put("short", b"", short), Put("long", b"", long))))
        (batch,) = await taken(store.watch("", 1), 1)
        assert [(changed.key, changed.after) for changed in batch.changes] == [("short", None)]
        with pytest.raises(LeaseGone):
            await store.keep_alive(short)
        assert [entry.key for entry in (await store.range("")).entries] == ["long"]

    run(opener, tmp_path, scenario)


def test_a_lease_that_is_kept_alive_outlives_one_that_is_not(opener: Opener, tmp_path: Path) -> None:
    async def scenario(store: ClusterStore) -> None:
        kept, left = await store.grant(60.0), await store.grant(1.0)
        await store.commit(Txn(writes=(Put("kept", b"", kept), Put("left", b"", left))))
        gone = asyncio.ensure_future(anext(store.watch("left", 1)))
        while not gone.done():
            await store.keep_alive(kept)
            await asyncio.sleep(0.01)
        assert await store.get("kept") is not None
        assert await store.get("left") is None

    run(opener, tmp_path, scenario)


@pytest.mark.parametrize("ttl_s", [0.0, -1.0, float("inf"), float("nan"), 1e10])
def test_a_lease_lives_for_some_time(opener: Opener, tmp_path: Path, ttl_s: float) -> None:
    async def scenario(store: ClusterStore) -> None:
        with pytest.raises(Invalid, match="lease"):
            await store.grant(ttl_s)

    run(opener, tmp_path, scenario)


def test_a_transaction_under_no_lease_does_nothing(opener: Opener, tmp_path: Path) -> None:
    async def scenario(store: ClusterStore) -> None:
        with pytest.raises(LeaseGone):
            await store.commit(Txn(writes=(Put("a", b""), Put("b", b"", 77))))
        assert (await store.range(""), store.revision) == (Snapshot(0, ()), 0)

    run(opener, tmp_path, scenario)


def test_what_waits_when_the_store_is_closed_is_done(opener: Opener, tmp_path: Path) -> None:
    async def scenario(store: ClusterStore) -> None:
        writers = [asyncio.ensure_future(put(store, f"k{number}")) for number in range(20)]
        await asyncio.sleep(0)
        await store.close()
        assert sorted(await asyncio.gather(*writers)) == list(range(1, 21))

    run(opener, tmp_path, scenario)
