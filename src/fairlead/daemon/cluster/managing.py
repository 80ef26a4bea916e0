"""The leader's carrier: has the brain decide, writes what it decided, then tells sessions, callers and listeners.

Decisions are made at once and in order; what they write is committed in that order too, several at a time when the disk
is slower than the questions. Nothing of a decision leaves before it stands. A commit that is refused means that
somebody else wrote meanwhile: everything is read anew, and what was not committed is decided again.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from fairlead.daemon.cluster.tasks_output import Outputs
from fairlead.manager.decision import Decision, Stored
from fairlead.manager.manager import Manager
from fairlead.model import codes
from fairlead.model.cluster import ClusterRecord
from fairlead.model.cluster_commands import (
    CancelTicket,
    ClusterCommand,
    ClusterEvent,
    NodeSaid,
    SessionClosed,
    SessionOpened,
    Tick,
)
from fairlead.model.errors import Internal, NetError, Unavailable
from fairlead.model.events import Notice
from fairlead.model.faults import Reach, pass_by
from fairlead.model.session import Dismissed, Downward
from fairlead.store.cluster_contract import ClusterStore, Committed, Compare, Delete, Put, Txn
from fairlead.store.cluster_records import decode, encode

log = logging.getLogger(__name__)

#: Fault points: decided and not written; written and not told; pushed and not answered.
POINTS = ("managing.decided", "managing.committed", "managing.pushed")
#: Writes that decisions are joined up to; stores take 1024 in a transaction, and 1.5 MiB: a record takes 1 KiB.
_BATCH_WRITES = 256
#: Seconds that a command may wait for what the nodes have to do first (swarm: 20 s for requests).
ANSWER_S = 20.0
#: Seconds between two tries to read the records of a store that fails.
_RETRY_S = 1.0

Message = ClusterCommand | ClusterEvent


@dataclass(slots=True, eq=False)
class Outlet:
    """The manager's end of one session. ``push`` hands a message to its node, ``cut`` ends the session."""

    node_id: str
    number: int
    push: Callable[[Downward], None]
    cut: Callable[[], None]


@dataclass(slots=True, eq=False)
class _Step:
    """One message on its way: its decision, and who waits for the answer."""

    message: Message
    decision: Decision
    answered: asyncio.Future[object] | None


class Managing:
    """The cluster's brain at work on this node. Belongs to one event loop; ``open`` before use, ``close`` after."""

    def __init__(
        self,
        manager: Manager,
        store: ClusterStore,
        tell: Callable[[Notice], None],
        reach: Reach = pass_by,
    ) -> None:
        self.manager = manager
        self.store = store
        self._tell = tell
        self._reach = reach
        self._steps: deque[_Step] = deque()
        self._outlets: dict[str, Outlet] = {}
        #: What tasks write, read over the sessions of their nodes.
        self.outputs = Outputs(self._way_to)
        self._tickets: dict[str, asyncio.Future[object]] = {}
        self._numbers = itertools.count(int(time.time() * 1000))
        self._alarm: asyncio.TimerHandle | None = None
        #: Revisions that our own commits made, of keys that decisions under way may have seen before.
        self._revisions: dict[str, int] = {}
        self._wanted = asyncio.Event()
        self._work: asyncio.Task[None] | None = None
        self._closed = False

    async def open(self) -> None:
        """Read the records and begin; raises what the store raises."""
        self._put(await self._restored())
        self._work = asyncio.get_running_loop().create_task(self._carry())

    async def close(self) -> None:
        """End every session and stop; what is committed stays."""
        self._closed = True
        if self._alarm is not None:
            self._alarm.cancel()
        for outlet in list(self._outlets.values()):
            outlet.cut()
        if self._work is not None:
            self._work.cancel()
            await asyncio.gather(self._work, return_exceptions=True)
        for step in self._steps:
            _refuse(step.answered, _ended())
        for waiting in self._tickets.values():
            _refuse(waiting, _ended())
        await self.store.close()

    async def ask(self, command: ClusterCommand) -> object:
        """Have a command carried out; its answer, or what it is refused with. Goes on when the caller stops waiting."""
        return await asyncio.shield(self._submit(command))

    def next_session(self) -> int:
        """A number for a session, greater than any before, over restarts too."""
        return next(self._numbers)

    def opened(self, outlet: Outlet, event: SessionOpened) -> None:
        """A node has opened a session; an earlier one of it ends."""
        earlier = self._outlets.pop(outlet.node_id, None)
        self._outlets[outlet.node_id] = outlet
        if earlier is not None:
            self.outputs.ended(outlet.node_id)
            earlier.cut()
        self._feed(event)

    def said(self, event: NodeSaid) -> asyncio.Future[object]:
        """A node said something; the future is the answer, for those messages that have one."""
        return self._submit(event)

    def closed(self, outlet: Outlet) -> None:
        """A session has ended."""
        if self._outlets.get(outlet.node_id) is outlet:
            del self._outlets[outlet.node_id]
            self.outputs.ended(outlet.node_id)
        if not self._closed:
            self._feed(SessionClosed(outlet.node_id, outlet.number))

    def _way_to(self, node_id: str) -> Callable[[Downward], None] | None:
        outlet = self._outlets.get(node_id)
        return outlet.push if outlet is not None else None

    def _feed(self, event: ClusterEvent) -> None:
        future = self._submit(event)
        future.add_done_callback(_logged)

    def _submit(self, message: Message) -> asyncio.Future[object]:
        answered: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        if self._closed:
            answered.set_exception(_ended())
            return answered
        try:
            decision = self.manager.handle(message, time.monotonic(), time.time())
        except NetError as error:
            answered.set_exception(error)
        except Exception:  # a supervisor: one message that nobody foresaw must not end the cluster's brain
            log.exception("a message failed in a way that nobody foresaw: %s", type(message).__name__)
            fault = Internal("an error inside Fairlead", hint="the manager's log has the details", code=codes.FAULT)
            answered.set_exception(fault)
        else:
            self._put(decision, message, answered)
        return answered

    def _put(
        self, decision: Decision, message: Message | None = None, answered: asyncio.Future[object] | None = None
    ) -> None:
        self._reach("managing.decided")
        self._steps.append(_Step(message or Tick(), decision, answered))
        self._wake(decision.wake_at)
        self._wanted.set()

    def _wake(self, at: float | None) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if at is not None and not self._closed:
            delay = max(0.0, at - time.monotonic())
            self._alarm = asyncio.get_running_loop().call_later(delay, self._feed, Tick())

    async def _carry(self) -> None:
        """Commit and tell, one decision after the other."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            while self._steps:
                batch, txn = self._batch()
                try:
                    stands = await self._commit(batch, txn)
                except NetError as error:
                    log.error("the cluster's store failed: %s", error)
                    await self._start_over(error)
                    break
                if not stands:
                    await self._decide_again()
                    break
                for step in batch:
                    self._steps.popleft()
                    self._carried(step)
            self._revisions.clear()

    def _batch(self) -> tuple[list[_Step], Txn]:
        """The decisions that one transaction can take, oldest first. Of several writes of a record the last counts; what
        it is compared with is what the first of them saw, or what we ourselves made of it since."""
        batch: list[_Step] = []
        seen: dict[str, int] = {}
        last: dict[str, ClusterRecord | None] = {}
        for step in self._steps:
            writes = {f"{write.kind}/{write.id}": write for write in step.decision.writes}
            if batch and len(last.keys() | writes.keys()) > _BATCH_WRITES:
                break
            batch.append(step)
            for key, write in writes.items():
                seen.setdefault(key, self._revisions.get(key, write.revision))
                last[key] = write.record
        compares = tuple(Compare(key, revision) for key, revision in seen.items())
        changes = tuple(Delete(key) if record is None else Put(key, encode(record)) for key, record in last.items())
        return batch, Txn(compares, changes)

    async def _commit(self, batch: list[_Step], txn: Txn) -> bool:
        """Whether what the decisions write stands now."""
        if not txn.compares:
            return True
        result = await self.store.commit(txn)
        if not isinstance(result, Committed):
            return False
        self._reach("managing.committed")
        for write in txn.writes:
            self._revisions[write.key] = result.revision if isinstance(write, Put) else 0
        for step in batch:
            self.manager.committed(step.decision, result.revision)
        return True

    def _carried(self, step: _Step) -> None:
        """The decision stands: tell everyone whom it concerns."""
        decision = step.decision
        for push in decision.pushes:
            outlet = self._outlets.get(push.node_id)
            if outlet is not None and outlet.number == push.session:
                outlet.push(push.message)
                if isinstance(push.message, Dismissed):
                    self._outlets.pop(push.node_id, None)
                    self.outputs.ended(push.node_id)
        self._reach("managing.pushed")
        for notice in decision.notices:
            self._tell(replace(notice, scope="swarm"))
        if step.answered is not None and decision.ticket:
            self._await_ticket(decision.ticket, step.answered)
        elif step.answered is not None and not step.answered.done():
            step.answered.set_result(decision.reply)
        for answer in decision.answers:
            waiting = self._tickets.pop(answer.ticket, None)
            if answer.error is not None:
                _refuse(waiting, answer.error)
            elif waiting is not None and not waiting.done():
                waiting.set_result(answer.reply)

    def _await_ticket(self, ticket: str, answered: asyncio.Future[object]) -> None:
        self._tickets[ticket] = answered
        timer = asyncio.get_running_loop().call_later(ANSWER_S, self._give_up, ticket)
        answered.add_done_callback(lambda _: timer.cancel())

    def _give_up(self, ticket: str) -> None:
        waiting = self._tickets.pop(ticket, None)
        self._submit(CancelTicket(ticket)).add_done_callback(_logged)
        _refuse(
            waiting,
            Unavailable(
                f"the nodes did not do their part within {ANSWER_S:g} s",
                hint="`fairlead node ls` shows which do not answer; try again",
            ),
        )

    async def _restored(self) -> Decision:
        snapshot = await self.store.range("")
        stored = [Stored(decode(entry.key, entry.value), entry.modified) for entry in snapshot.entries]
        return self.manager.restore(stored, time.monotonic(), time.time())

    async def _decide_again(self) -> None:
        """Somebody else wrote: what was decided on the ground of older records is decided anew, in the same order."""
        log.info("the cluster's records were changed by another manager; reading them anew")
        undone, self._steps = self._steps, deque()
        self._put(await self._restored())
        for step in undone:
            if step.answered is None:
                continue
            again = self._submit(step.message)
            _follow(again, step.answered)

    async def _start_over(self, error: NetError) -> None:
        """The store failed, and whether what was asked for happened is not known: callers are told, records read anew
        as soon as that works."""
        undone, self._steps = self._steps, deque()
        for step in undone:
            _refuse(step.answered, error)
        while True:
            try:
                self._put(await self._restored())
            except NetError:
                await asyncio.sleep(_RETRY_S)
            else:
                return


def _follow(again: asyncio.Future[object], answered: asyncio.Future[object]) -> None:
    """The outcome of the one becomes the other's."""

    def hand_on(done: asyncio.Future[object]) -> None:
        if answered.done():
            return
        error = None if done.cancelled() else done.exception()
        if error is not None:
            answered.set_exception(error)
        elif not done.cancelled():
            answered.set_result(done.result())

    again.add_done_callback(hand_on)


def _refuse(waiting: asyncio.Future[object] | None, error: NetError) -> None:
    if waiting is not None and not waiting.done():
        waiting.set_exception(error)
        waiting.exception()  # whoever asked may be gone


def _ended() -> NetError:
    return Unavailable("this manager stops", hint="ask another one")


def _logged(done: asyncio.Future[object]) -> None:
    if not done.cancelled() and (error := done.exception()) is not None:
        log.warning("%s", error)
