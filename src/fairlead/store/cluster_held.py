"""A store of the cluster that this process holds: the doors of ``cluster_contract`` around a ``Core``.

What comes in waits in one queue; whatever waits is staged together, kept in one go, published, and answered, in that
order. Ends of leases go the same way. How a step is kept is the only thing in which such stores differ.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from fairlead.model import codes
from fairlead.model.errors import Internal, NetError
from fairlead.store.cluster_contract import (
    Batch,
    Committed,
    Entry,
    LeaseGone,
    Refused,
    Snapshot,
    Txn,
    check_ttl,
    check_txn,
)
from fairlead.store.cluster_core import Core, Step

#: Makes a step survive; raises ``Internal`` when it could not, and nothing of it must show up later.
Keep = Callable[[Step], Awaitable[None]]
#: Seconds until the end of a lease that could not be kept is tried again.
_AGAIN_S = 1.0

_Answer = Committed | Refused | int | None


@dataclass(slots=True)
class _Action:
    """Something that waits for its turn: how it is staged, and who is told."""

    stage: Callable[[Step], _Answer]
    future: asyncio.Future[_Answer]


class _Pulse:
    """Wakes all who wait, again and again."""

    def __init__(self) -> None:
        self.is_ended = False
        self._next = asyncio.Event()

    async def wait(self) -> None:
        """Return at the next beat."""
        await self._next.wait()

    def beat(self) -> None:
        """Let all who wait now look again."""
        self._next.set()
        self._next = asyncio.Event()


class HeldStore:
    """Entries in this process, kept by ``keep``. Made inside a running event loop; ``close`` when done."""

    def __init__(self, core: Core, keep: Keep) -> None:
        self._core = core
        self._keep = keep
        self._loop = asyncio.get_running_loop()
        self._waiting: list[_Action] = []
        self._writer: asyncio.Task[None] | None = None
        self._pulse = _Pulse()
        self._ends: dict[int, float] = {}
        self._alarm: asyncio.TimerHandle | None = None
        for lease in core.leases:
            self._prolong(lease)
        self._set_alarm()

    @property
    def revision(self) -> int:
        """The newest published revision."""
        return self._core.revision

    async def get(self, key: str) -> Entry | None:
        """A key's present state."""
        return self._core.get(key)

    async def range(self, prefix: str) -> Snapshot:
        """All entries whose keys begin so."""
        return self._core.range(prefix)

    async def commit(self, txn: Txn) -> Committed | Refused:
        """Do all or nothing, and return once it is kept."""
        check_txn(txn)
        answer = await self._done(lambda step: self._core.stage(step, txn))
        assert isinstance(answer, Committed | Refused)
        return answer

    def watch(self, prefix: str, after: int | None = None) -> HeldWatch:
        """Every change under the prefix after a revision; None means from now on."""
        return HeldWatch(self._core, self._pulse, prefix, self._core.revision if after is None else after)

    async def compact(self, revision: int) -> None:
        """Forget the changes up to a revision."""
        self._core.compact(revision)

    async def grant(self, ttl_s: float) -> int:
        """A new lease."""
        check_ttl(ttl_s)
        answer = await self._done(lambda step: self._core.stage_grant(step, ttl_s))
        assert isinstance(answer, int)
        return answer

    async def keep_alive(self, lease: int) -> float:
        """Begin the lease's time anew. One whose time is over is not brought back, though its entries may still be there."""
        if self._ends.get(lease, 0.0) <= self._loop.time():
            raise LeaseGone(lease)
        self._prolong(lease)
        return self._core.leases[lease]

    async def revoke(self, lease: int) -> None:
        """End a lease and remove its entries."""
        await self._done(partial(self._revoke, lease))

    async def close(self) -> None:
        """Finish what waits, end all watches."""
        self._end()
        if self._writer is not None:
            await self._writer

    def _end(self) -> None:
        self._pulse.is_ended = True
        self._pulse.beat()
        if self._alarm is not None:
            self._alarm.cancel()

    def _check_open(self) -> None:
        if self._pulse.is_ended:
            raise Internal("the cluster's store is closed", code=codes.STORE_FAILED)

    async def _done(self, stage: Callable[[Step], _Answer]) -> _Answer:
        # A caller that gives up does not take back what others may build upon.
        return await asyncio.shield(self._enqueue(stage))

    def _enqueue(self, stage: Callable[[Step], _Answer]) -> asyncio.Future[_Answer]:
        self._check_open()
        action = _Action(stage, self._loop.create_future())
        self._waiting.append(action)
        if self._writer is None or self._writer.done():
            self._writer = self._loop.create_task(self._work())
        return action.future

    async def _work(self) -> None:
        while self._waiting:
            actions, self._waiting = self._waiting, []
            answers: list[_Answer | NetError] | None = None
            try:
                step = self._core.begin()
                staged = [_staged(action, step) for action in actions]
                if step.changes_anything:
                    await self._keep(step)
                self._publish(step)
                answers = staged
            except NetError as error:
                answers = [error for _ in actions]
            finally:
                if answers is None:
                    # Nobody knows what was kept: whoever goes on from here might contradict it.
                    self._end()
                    lost = (*actions, *self._waiting)
                    actions, answers, self._waiting = list(lost), [_fault() for _ in lost], []
                for action, answer in zip(actions, answers, strict=True):
                    _tell(action.future, answer)

    def _publish(self, step: Step) -> None:
        self._core.publish(step)
        for lease, ttl_s in step.leases.items():
            if ttl_s is None:
                self._ends.pop(lease, None)
            else:
                self._prolong(lease)
        if step.leases:
            self._set_alarm()
        if step.batches:
            self._pulse.beat()

    def _prolong(self, lease: int) -> None:
        self._ends[lease] = self._loop.time() + self._core.leases[lease]

    def _set_alarm(self) -> None:
        """Wake at the first end of a lease. Prolonging one meanwhile costs nothing until then."""
        if self._alarm is not None:
            self._alarm.cancel()
        is_wanted = self._ends and not self._pulse.is_ended
        self._alarm = self._loop.call_at(min(self._ends.values()), self._end_leases) if is_wanted else None

    def _end_leases(self) -> None:
        now = self._loop.time()
        due = [lease for lease, end in self._ends.items() if end <= now]
        if not due:
            self._set_alarm()
        for lease in due:
            self._enqueue(partial(self._revoke, lease)).add_done_callback(self._ended)

    def _ended(self, future: asyncio.Future[_Answer]) -> None:
        """An end that was kept has set the next alarm; one that could not be kept is tried again."""
        if isinstance(future.exception(), Internal) and not self._pulse.is_ended:
            if self._alarm is not None:
                self._alarm.cancel()
            self._alarm = self._loop.call_later(_AGAIN_S, self._end_leases)

    def _revoke(self, lease: int, step: Step) -> None:
        self._core.stage_revoke(step, lease)


class HeldWatch:
    """Changes of a held store, in order. Holds no queue of its own: it reads the past that the store keeps, so a reader
    that lags costs nothing, and one that lags too far is told."""

    def __init__(self, core: Core, pulse: _Pulse, prefix: str, after: int) -> None:
        self._core = core
        self._pulse = pulse
        self._prefix = prefix
        self._after = after
        self._is_closed = False

    def __aiter__(self) -> AsyncIterator[Batch]:
        return self

    async def __anext__(self) -> Batch:
        while not (self._is_closed or self._pulse.is_ended):
            batch, self._after = self._core.since(self._prefix, self._after)
            if batch is not None:
                return batch
            await self._pulse.wait()
        raise StopAsyncIteration

    def close(self) -> None:
        """Want no more; whoever waits for the next change is let go."""
        self._is_closed = True
        self._pulse.beat()


def _staged(action: _Action, step: Step) -> _Answer | NetError:
    try:
        return action.stage(step)
    except NetError as error:
        return error


def _fault() -> Internal:
    return Internal("the cluster's store failed in a way that nobody foresaw", code=codes.FAULT)


def _tell(future: asyncio.Future[_Answer], answer: _Answer | NetError) -> None:
    if isinstance(answer, NetError):
        future.set_exception(answer)
        future.exception()  # its caller may have gone
    else:
        future.set_result(answer)
