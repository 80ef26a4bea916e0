"""What the engine wants done later or beside: alarms, questions for health, clocks stopped and let go on."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress

from fairlead.daemon.contract import Containers
from fairlead.engine.outcome import Discard, Probe, Suspend, Wake
from fairlead.model.errors import NetError, NotFound
from fairlead.model.events import Event, HealthProbed, RestartDue, RestartFailed

log = logging.getLogger(__name__)

#: Tells the engine a fact and carries out what it decides.
Feed = Callable[[Event], Awaitable[None]]


class Errands:
    """Alarms and questions of one node. An alarm of a key that is set already takes its place."""

    def __init__(self, runtime: Containers, feed: Feed) -> None:
        self._runtime = runtime
        self._feed = feed
        self._alarms: dict[str, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def wake(self, message: Wake) -> None:
        """Tell the engine an event when its time has come."""
        known = self._alarms.pop(message.key, None)
        if known is not None:
            known.cancel()
        loop = asyncio.get_running_loop()
        self._alarms[message.key] = loop.call_later(message.after_s, self._ring, message)

    def probe(self, message: Probe) -> None:
        """Ask a container for its health, and tell the engine the answer."""
        self._spawn(self._ask(message))

    async def suspend(self, message: Suspend) -> None:
        """Stop a container's clock, or let it go on; raises what the runtime raises."""
        await self._runtime.suspend(message.container_id, resume=message.resume)

    async def discard(self, message: Discard) -> None:
        """Remove a container and the volumes that go with it; one that somebody else uses by now stays."""
        await self._runtime.remove(message.container_id)
        for volume in message.volumes:
            with suppress(NotFound):
                await self._runtime.drop_volume(volume)

    def close(self) -> None:
        """Forget every alarm and question; the engine sets them anew at its start."""
        for alarm in self._alarms.values():
            alarm.cancel()
        self._alarms.clear()
        for task in self._tasks:
            task.cancel()

    def _ring(self, message: Wake) -> None:
        self._alarms.pop(message.key, None)
        self._spawn(self._tell(message.event))

    async def _tell(self, event: Event) -> None:
        try:
            await self._feed(event)
        except NetError as error:
            if not isinstance(event, RestartDue):
                log.error("an event could not be carried out: %s", error)
                return
            log.warning("container %s could not be started again: %s", event.container_id[:12], error)
            await self._tell(RestartFailed(event.container_id, error.message))

    async def _ask(self, message: Probe) -> None:
        start = time.time()
        try:
            code, output = await self._runtime.probe(message.container_id, message.words, message.timeout_s)
        except NetError as error:
            code, output = -1, error.message
        answer = HealthProbed(message.container_id, message.pid, start, time.time(), code, output)
        await self._tell(answer)

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
