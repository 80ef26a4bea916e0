"""The output of tasks, on its way from the node where one runs to the manager where somebody reads it.

``Telling`` is the node's end, ``Outputs`` the manager's. A chunk is sent when there is one, and no more than
``LOG_WINDOW`` before the first of them was read: so a slow reader costs both ends a few chunks, and holds nobody up.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass, field

from fairlead.daemon.cluster.contract import Session
from fairlead.daemon.cluster.tasks import Tasks
from fairlead.model.errors import Exhausted, NetError, Unavailable
from fairlead.model.runspec import LogLine
from fairlead.model.service import Task
from fairlead.model.session import LOG_WINDOW, Downward, LogChunk, LogEnd, LogMore, LogOrder, LogWish

log = logging.getLogger(__name__)

#: Bytes of output in a chunk: enough that a long output takes few, small beside what else a session carries.
CHUNK_BYTES = 64 * 1024
#: Lines in a chunk; also lines that are read ahead of it.
CHUNK_LINES = 256
#: Outputs that one node tells, and one manager reads, at a time.
READERS_MAX = 256


@dataclass(slots=True)
class _Told:
    """One output that is being told."""

    work: asyncio.Task[None]
    window: asyncio.Semaphore


class Telling:
    """The node's end, in one session."""

    def __init__(self, tasks: Tasks, session: Session) -> None:
        self._tasks = tasks
        self._session = session
        self._told: dict[str, _Told] = {}

    def order(self, order: LogOrder) -> None:
        """A manager begins to read, reads on, or has enough."""
        told = self._told.get(order.id)
        match order:
            case LogWish() if told is None:
                window = asyncio.Semaphore(LOG_WINDOW)
                work = asyncio.get_running_loop().create_task(self._tell(order, window))
                self._told[order.id] = _Told(work, window)
            case LogMore() if told is not None:
                told.window.release()
            case LogEnd() if told is not None:
                told.work.cancel()
            case _:
                log.debug("an order about output that nobody tells")

    async def close(self) -> None:
        """Tell nothing more."""
        works = [told.work for told in self._told.values()]
        for work in works:
            work.cancel()
        await asyncio.gather(*works, return_exceptions=True)
        self._told.clear()

    async def _tell(self, wish: LogWish, window: asyncio.Semaphore) -> None:
        ending = LogChunk(wish.id, last=True)
        try:
            if len(self._told) > READERS_MAX:
                raise Exhausted(f"this node tells the output of {READERS_MAX} tasks already")
            async with aclosing(self._chunks(wish)) as chunks:
                async for chunk in chunks:
                    await window.acquire()
                    await self._session.send(chunk)
        except NetError as error:
            ending = LogChunk(wish.id, last=True, error=error.message)
        except Exception:  # a supervisor: the session and its other work go on
            log.exception("the output of task %s cannot be told", wish.task_id)
            ending = LogChunk(wish.id, last=True, error="an error inside Fairlead")
        finally:
            self._told.pop(wish.id, None)
        with suppress(NetError):
            await self._session.send(ending)

    async def _chunks(self, wish: LogWish) -> AsyncGenerator[LogChunk]:
        """Lines as they come; those that are there together go together."""
        lines: asyncio.Queue[LogLine | None] = asyncio.Queue(CHUNK_LINES)

        async def read() -> None:
            try:
                output = self._tasks.output(wish.task_id, follow=wish.follow, tail=wish.tail, since=wish.since)
                async for line in output:
                    await lines.put(line)
            except Exception:
                await lines.put(None)
                raise
            await lines.put(None)

        reading = asyncio.ensure_future(read())
        try:
            while (line := await lines.get()) is not None:
                chunk, size = [line], len(line.data)
                while size < CHUNK_BYTES and len(chunk) < CHUNK_LINES and not lines.empty():
                    more = lines.get_nowait()
                    if more is None:
                        lines.put_nowait(None)
                        break
                    chunk.append(more)
                    size += len(more.data)
                yield LogChunk(wish.id, tuple(chunk))
            await reading
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)


@dataclass(slots=True)
class _Read:
    """One output that is being read. None in its chunks: its node is gone."""

    node_id: str
    chunks: asyncio.Queue[LogChunk | None] = field(default_factory=asyncio.Queue)


class Outputs:
    """The manager's end. ``way`` is how a node is told something, None for one that has no session."""

    def __init__(self, way: Callable[[str], Callable[[Downward], None] | None]) -> None:
        self._way = way
        self._reads: dict[str, _Read] = {}
        self._numbers = itertools.count(1)

    async def read(self, task: Task, follow: bool, tail: int | None, since: float | None) -> AsyncIterator[LogLine]:
        """What a task has written; with ``follow`` until it ends. Nothing for one that has no node yet. Raises
        ``Unavailable`` when its node cannot be asked, or goes meanwhile, and ``Exhausted``."""
        if not task.node_id:
            return
        if len(self._reads) >= READERS_MAX:
            raise Exhausted(f"this manager reads the output of {READERS_MAX} tasks already")
        tell = self._way(task.node_id)
        if tell is None:
            raise _away(task.node_id)
        name = str(next(self._numbers))
        read = self._reads[name] = _Read(task.node_id)
        tell(LogWish(name, task.id, follow, tail, since))
        try:
            while (chunk := await read.chunks.get()) is not None:
                for line in chunk.lines:
                    yield line
                if chunk.last:
                    if chunk.error:
                        raise Unavailable(chunk.error, hint=f"`fairlead logs` on node {task.node_id} may show it")
                    del self._reads[name]
                    return
                self._tell(task.node_id, LogMore(name))
            raise _away(task.node_id)
        finally:
            if self._reads.pop(name, None) is not None:
                self._tell(task.node_id, LogEnd(name))

    def heard(self, node_id: str, chunk: LogChunk) -> None:
        """A node tells some of an output. One that tells more than it was asked for is not listened to."""
        read = self._reads.get(chunk.id)
        if read is None or read.node_id != node_id:
            return
        if read.chunks.qsize() > LOG_WINDOW:
            read.chunks.put_nowait(
                LogChunk(chunk.id, last=True, error=f"node {node_id} tells more than it was asked for")
            )
            del self._reads[chunk.id]
        else:
            read.chunks.put_nowait(chunk)

    def ended(self, node_id: str) -> None:
        """A node's session is over: what it was telling is."""
        for read in self._reads.values():
            if read.node_id == node_id:
                read.chunks.put_nowait(None)

    def _tell(self, node_id: str, order: LogOrder) -> None:
        tell = self._way(node_id)
        if tell is not None:
            tell(order)


def _away(node_id: str) -> NetError:
    """Docker's words."""
    return Unavailable(
        "incomplete log stream. some logs could not be retrieved for the following reasons: "
        f"node {node_id} is not available",
        hint="`fairlead node ls` shows whether it is back",
    )
