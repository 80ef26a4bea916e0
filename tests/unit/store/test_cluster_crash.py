"""Killed between any two steps of its work, a manager's store has all that was answered and nothing by halves.

Run as a program, this file plays STEPS once for each place at which the process can be killed, in a process of its own
that is killed there; the test opens what each of them left.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from fairlead.model.errors import Unavailable
from fairlead.pki.sealing import Vault, open_vault
from fairlead.store.cluster_contract import Committed, Compare, Delete, LeaseGone, Put, Snapshot, Txn
from fairlead.store.cluster_held import HeldStore
from fairlead.store.cluster_memory import MemoryClusterStore
from fairlead.store.cluster_sqlite import POINTS, SqliteClusterStore

UNLOCK_KEY = bytes(32)
LEASES = (1, 2)

Step = Callable[[HeldStore], Awaitable[None]]


def txn(*writes: Put | Delete) -> Step:
    async def step(store: HeldStore) -> None:
        compares = []
        for write in writes:
            entry = await store.get(write.key)
            compares.append(Compare(write.key, entry.modified if entry else 0))
        assert isinstance(await store.commit(Txn(tuple(compares), writes)), Committed)

    return step


async def grant(store: HeldStore) -> None:
    await store.grant(1000.0)


async def revoke(store: HeldStore) -> None:
    await store.revoke(1)


async def lock(store: HeldStore) -> None:
    if isinstance(store, SqliteClusterStore):
        await store.rekey(Vault.new(random.Random(5), UNLOCK_KEY))


async def open_up(store: HeldStore) -> None:
    if isinstance(store, SqliteClusterStore):
        await store.rekey(Vault.new(random.Random(6)))


STEPS: tuple[Step, ...] = (
    txn(Put("node/a", b"1"), Put("node/b", b"1"), Put("network/x", b"1")),
    grant,
    grant,
    txn(Put("session/a", b"", 1), Put("session/b", b"", 2)),
    txn(Put("node/a", b"2"), Delete("node/b"), Put("node/c", b"1")),
    lock,
    txn(Put("node/b", b"again"), Delete("network/x")),
    revoke,
    open_up,
    txn(Put("node/a", b"3"), Delete("node/c")),
)
#: Steps after which the store is locked.
LOCKED_AFTER = range(STEPS.index(lock) + 1, STEPS.index(open_up) + 1)


async def play(directory: Path, kill_at: int) -> list[str]:
    """Do all steps, note each that was answered, be killed at the place with this number; answers all places."""
    places: list[str] = []

    def reach(point: str) -> None:
        places.append(point)
        if len(places) == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    with (directory / "answered").open("ab", buffering=0) as answered:
        store = SqliteClusterStore(str(directory / "manager.db"), open_vault(random.Random(3)), reach)
        for step in STEPS:
            await step(store)
            answered.write(b".")
        await store.close()
    return places


def program(directory: Path) -> None:
    """One process for each place, until one comes through."""
    number, status = 0, signal.SIGKILL
    while status:
        number += 1
        place = directory / f"{number:03}"
        place.mkdir()
        child = os.fork()
        if child == 0:
            places = asyncio.run(play(place, number))
            (directory / "places").write_text("\n".join(places))
            os._exit(0)
        _, waited = os.waitpid(child, 0)
        status = os.waitstatus_to_exitcode(waited)
        if status not in {0, -signal.SIGKILL}:
            raise SystemExit(f"the process that was to be killed at place {number} ended with {status}")


State = tuple[Snapshot, tuple[bool, ...]]


async def state_of(store: HeldStore) -> State:
    living = []
    for lease in LEASES:
        try:
            await store.keep_alive(lease)
            living.append(True)
        except LeaseGone:
            living.append(False)
    return await store.range(""), tuple(living)


async def expected() -> list[State]:
    store = MemoryClusterStore()
    states = [await state_of(store)]
    for step in STEPS:
        await step(store)
        states.append(await state_of(store))
    await store.close()
    return states


def on_disk(place: Path) -> bytes:
    return b"".join(file.read_bytes() for file in place.iterdir())


async def check(place: Path, states: list[State]) -> None:
    path, answered = str(place / "manager.db"), len((place / "answered").read_bytes())
    try:
        store = SqliteClusterStore(path, open_vault(random.Random(4)))
        was_locked = False
    except Unavailable:
        store = SqliteClusterStore(path, open_vault(random.Random(4), UNLOCK_KEY))
        was_locked = True
    assert store.is_locked is was_locked
    if was_locked:
        # The data key of before was in the clear: nothing of it may be left once a locked file was opened again.
        assert b"clear:" not in on_disk(place)
    found = await state_of(store)
    possible = [done for done in (answered, answered + 1) if done < len(states)]
    assert (found, was_locked) in [(states[done], done in LOCKED_AFTER) for done in possible], answered
    # and it goes on from there
    assert await store.commit(Txn(writes=(Put("after", b""),))) == Committed(found[0].revision + 1)
    if not was_locked:
        await store.rekey(Vault.new(random.Random(7), UNLOCK_KEY))
    await store.close()


def test_killed_anywhere_it_has_what_was_answered_and_nothing_by_halves(tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, __file__, str(tmp_path)], check=False, timeout=120, capture_output=True)
    assert ended.returncode == 0, ended.stderr.decode()
    places = (tmp_path / "places").read_text().split("\n")
    assert set(places) == set(POINTS)

    async def scenario() -> None:
        states = await expected()
        for number, point in enumerate((*places, "nowhere"), 1):
            try:
                await check(tmp_path / f"{number:03}", states)
            except Exception as fault:
                fault.add_note(f"killed at place {number}: {point}")
                raise

    asyncio.run(scenario())


if __name__ == "__main__":
    program(Path(sys.argv[1]))
