"""Any sequence of actions gives what a few plain lines say it should, in every store, also across reopening."""

from __future__ import annotations

import asyncio
import random
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead.pki.sealing import Vault, open_vault
from fairlead.store.cluster_contract import (
    ClusterStore,
    Committed,
    Compacted,
    Compare,
    Delete,
    Entry,
    LeaseGone,
    Put,
    Refused,
    Txn,
)
from fairlead.store.cluster_memory import MemoryClusterStore
from fairlead.store.cluster_sqlite import SqliteClusterStore

KEYS = ["a", "a/1", "a/2", "b/1"]
#: Longer than any test takes; no lease ends by itself here.
TTL_S = 1000.0
UNLOCK_KEY = bytes(range(32))


@dataclass
class Model:
    """The semantics once more, slowly: every state that ever was is kept."""

    states: list[dict[str, Entry]] = field(default_factory=lambda: [{}])
    leases: dict[int, bool] = field(default_factory=dict)
    compacted: int = 0

    @property
    def now(self) -> dict[str, Entry]:
        return self.states[-1]

    @property
    def revision(self) -> int:
        return len(self.states) - 1

    def commit(self, txn: Txn) -> Committed | Refused | type[LeaseGone]:
        now = {compare.key: self.now.get(compare.key) for compare in txn.compares}
        for compare in txn.compares:
            entry = now[compare.key]
            if (entry.modified if entry else 0) != compare.modified:
                return Refused(self.revision, now)
        state, revision = dict(self.now), self.revision + 1
        for write in txn.writes:
            if isinstance(write, Delete):
                state.pop(write.key, None)
                continue
            if write.lease and not self.leases.get(write.lease):
                return LeaseGone
            fresh = Entry(write.key, write.value, revision, revision, 1, write.lease)
            old = state.get(write.key)
            state[write.key] = replace(fresh, created=old.created, version=old.version + 1) if old else fresh
        if state != self.now:
            self.states.append(state)
        return Committed(self.revision)

    def grant(self) -> None:
        self.leases[len(self.leases) + 1] = True

    def revoke(self, lease: int) -> bool:
        if not self.leases.get(lease):
            return False
        self.leases[lease] = False
        doomed = tuple(Delete(key) for key, entry in self.now.items() if entry.lease == lease)
        self.commit(Txn(writes=doomed))
        return True

    def changes(self, prefix: str, after: int) -> list[tuple[int, dict[str, tuple[Entry | None, Entry | None]]]]:
        found = []
        for revision in range(after + 1, self.revision + 1):
            before, then = self.states[revision - 1], self.states[revision]
            changed = {
                key: (before.get(key), then.get(key))
                for key in sorted(before.keys() | then.keys())
                if before.get(key) != then.get(key) and key.startswith(prefix)
            }
            if changed:
                found.append((revision, changed))
        return found


compares = st.builds(lambda key, back: (key, back), st.sampled_from(KEYS), st.integers(0, 2))
writes = st.one_of(
    st.builds(Put, st.sampled_from(KEYS), st.binary(max_size=3), st.sampled_from([0, 0, 0, 1, 2])),
    st.builds(Delete, st.sampled_from(KEYS)),
)
commits = st.tuples(
    st.just("commit"), st.lists(compares, max_size=2), st.lists(writes, max_size=3, unique_by=lambda write: write.key)
)
others = st.sampled_from([("grant",), ("revoke", 1), ("revoke", 2), ("compact",), ("reopen",), ("rekey",), ("watch",)])
scripts = st.lists(st.one_of(commits, commits, commits, others), max_size=25)


class Rig:
    """A store under test, which can be closed and opened again if it is one that lasts."""

    def __init__(self, directory: Path | None) -> None:
        self.directory = directory
        self.opens = 0

    def open(self) -> ClusterStore:
        self.opens += 1
        if self.directory is None:
            return MemoryClusterStore()
        path, unlock = str(self.directory / "manager.db"), open_vault(random.Random(2), UNLOCK_KEY)
        return SqliteClusterStore(path, unlock, create=self.opens == 1)


async def play(rig: Rig, script: list[tuple]) -> None:
    store, model = rig.open(), Model()
    try:
        for action in script:
            if action[0] == "reopen" and rig.directory is not None:
                await store.close()
                store = rig.open()
                model.compacted = model.revision
            elif action[0] == "rekey" and isinstance(store, SqliteClusterStore):
                key = None if store.is_locked else UNLOCK_KEY
                await store.rekey(Vault.new(random.Random(model.revision), key))
            else:
                await step(store, model, action)
            assert store.revision == model.revision
            entries = (await store.range("")).entries
            assert entries == tuple(model.now[key] for key in sorted(model.now))
            below = tuple(entry for entry in entries if entry.key.startswith("a/"))
            assert (await store.range("a/")).entries == below
            assert [await store.get(key) for key in KEYS] == [model.now.get(key) for key in KEYS]
    finally:
        await store.close()


async def step(store: ClusterStore, model: Model, action: tuple) -> None:
    if action[0] == "commit":
        # "back" is how many changes ago the key was read: 0 holds, unless it never was.
        wanted = []
        for key, back in action[1]:
            seen = [state[key].modified if key in state else 0 for state in model.states]
            older = [modified for modified in dict.fromkeys(reversed(seen)) if modified != seen[-1]]
            wanted.append(Compare(key, seen[-1] if back == 0 or len(older) < back else older[back - 1]))
        txn = Txn(tuple(wanted), tuple(action[2]))
        expected = model.commit(txn)
        if expected is LeaseGone:
            with pytest.raises(LeaseGone):
                await store.commit(txn)
        else:
            assert await store.commit(txn) == expected
    elif action[0] == "grant":
        model.grant()
        assert await store.grant(TTL_S) == len(model.leases)
    elif action[0] == "revoke":
        if model.revoke(action[1]):
            await store.revoke(action[1])
        else:
            with pytest.raises(LeaseGone):
                await store.revoke(action[1])
    elif action[0] == "compact":
        model.compacted = max(model.compacted, model.revision - 2)
        await store.compact(max(0, model.revision - 2))
    elif action[0] == "watch":
        for prefix in ("", "a/"):
            for after in range(model.revision + 1):
                await check_watch(store, model, prefix, after)


async def check_watch(store: ClusterStore, model: Model, prefix: str, after: int) -> None:
    watch = store.watch(prefix, after)
    if after < model.compacted:
        with pytest.raises(Compacted) as caught:
            await anext(watch)
        assert caught.value.revision == model.compacted
        return
    for revision, changes in model.changes(prefix, after):
        batch = await anext(watch)
        assert batch.revision == revision
        assert {changed.key: (changed.before, changed.after) for changed in batch.changes} == changes
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await anext(watch)


@settings(deadline=None, max_examples=100)
@given(scripts)
def test_memory_is_as_the_model(script: list[tuple]) -> None:
    asyncio.run(play(Rig(None), [*script, ("watch",)]))


@settings(deadline=None, max_examples=30)
@given(scripts)
def test_sqlite_is_as_the_model_also_across_reopening(script: list[tuple]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(play(Rig(Path(directory)), [*script, ("watch",), ("reopen",), ("watch",)]))
