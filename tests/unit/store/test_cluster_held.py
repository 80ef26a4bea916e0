"""What a held store does when what keeps its steps fails: nobody is told what is not so."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from fairlead.model.errors import Internal, NetError
from fairlead.store.cluster_contract import Committed, LeaseGone, Put, Txn
from fairlead.store.cluster_core import Core, Step
from fairlead.store.cluster_held import HeldStore

#: Seconds to wait for what must come.
WAIT_S = 60.0


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(scenario(), WAIT_S))


def put(store: HeldStore, key: str, lease: int = 0) -> Awaitable[object]:
    return asyncio.ensure_future(store.commit(Txn(writes=(Put(key, b"", lease),))))


class Disk:
    """Keeps nothing while it is full; ``gate`` holds it up."""

    def __init__(self) -> None:
        self.is_full = False
        self.kept: list[Step] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def keep(self, step: Step) -> None:
        await self.gate.wait()
        if self.is_full:
            raise Internal("disk full")
        self.kept.append(step)


def test_what_waits_together_is_kept_together_and_seen_only_then() -> None:
    async def scenario() -> None:
        disk = Disk()
        store = HeldStore(Core(), disk.keep)
        disk.gate.clear()
        calls = [put(store, f"k{number}") for number in range(100)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert (await store.range("")).entries == ()
        disk.gate.set()
        assert await asyncio.gather(*calls) == [Committed(number) for number in range(1, 101)]
        assert len(disk.kept) <= 2
        assert [batch.revision for step in disk.kept for batch in step.batches] == list(range(1, 101))
        await store.close()

    run(scenario)


def test_a_step_that_was_not_kept_never_was() -> None:
    async def scenario() -> None:
        disk = Disk()
        store = HeldStore(Core(), disk.keep)
        await put(store, "a")
        disk.is_full = True
        for result in await asyncio.gather(put(store, "b"), put(store, "c"), return_exceptions=True):
            assert isinstance(result, Internal)
        assert [entry.key for entry in (await store.range("")).entries] == ["a"]
        disk.is_full = False
        assert await put(store, "b") == Committed(2)
        await store.close()

    run(scenario)


def test_the_end_of_a_lease_that_could_not_be_kept_is_tried_again() -> None:
    async def scenario() -> None:
        disk = Disk()
        store = HeldStore(Core(), disk.keep)
        lease = await store.grant(1.0)
        await put(store, "a", lease)
        disk.is_full = True
        with pytest.raises(LeaseGone):
            while True:
                await store.keep_alive(lease)
                await asyncio.sleep(1.1)
        assert await store.get("a") is not None
        disk.is_full = False
        await anext(store.watch("", 1))
        assert await store.get("a") is None
        await store.close()

    run(scenario)


def test_after_a_fault_that_nobody_foresaw_nobody_is_told_that_it_was_kept() -> None:
    async def scenario() -> None:
        begun = asyncio.Event()

        async def keep(_step: Step) -> None:
            begun.set()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            raise ZeroDivisionError

        store = HeldStore(Core(), keep)
        watching = asyncio.ensure_future(anext(store.watch(""), None))
        calls = [put(store, "a")]
        await begun.wait()
        calls.append(put(store, "b"))
        for result in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(result, Internal)
        with pytest.raises(NetError, match="closed"):
            await put(store, "c")
        assert (await watching, store.revision) == (None, 0)
        with pytest.raises(ZeroDivisionError):
            await store.close()

    run(scenario)


def test_closing_leaves_no_alarm_behind() -> None:
    async def scenario() -> None:
        faults: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: faults.append(context))
        disk = Disk()
        store = HeldStore(Core(), disk.keep)
        disk.gate.clear()
        granted = asyncio.ensure_future(store.grant(0.01))
        await asyncio.sleep(0)
        closing = asyncio.ensure_future(store.close())
        await asyncio.sleep(0)
        disk.gate.set()
        await closing
        await granted
        await asyncio.sleep(0.05)
        assert faults == []

    run(scenario)
