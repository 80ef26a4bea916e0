"""Taking up what stands in the records after a start, a crash included."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable

from fairlead.daemon.carrier import Carrier
from fairlead.daemon.repairs import tell_repairs
from fairlead.engine.engine import Engine
from fairlead.kernel.apply import Kernel
from fairlead.kernel.foreign import holds
from fairlead.model.errors import NetError
from fairlead.model.events import ContainerExited, ContainerFailed, ContainerRunning
from fairlead.model.faults import Reach, pass_by
from fairlead.model.sandbox import Sandbox
from fairlead.model.state import Record
from fairlead.runtime.containers import Exited, Runtime
from fairlead.store.sqlite import LocalStore

log = logging.getLogger(__name__)

#: Fault points: the records are read; the runtime has told what lives; Linux is repaired; names are served again; what
#: ended meanwhile is carried out; what nobody has a record of is gone.
POINTS = (
    "recovery.loaded",
    "recovery.asked",
    "recovery.repaired",
    "recovery.acted",
    "recovery.told",
    "recovery.swept",
)


async def take_up(
    engine: Engine, store: LocalStore, kernel: Kernel, runtime: Runtime | None, carrier: Carrier, reach: Reach = pass_by
) -> None:
    """Records -> engine -> Linux; containers that ended meanwhile are brought to their end first, those whose start was
    under way run from now on or are gone, and what the runtime has of containers without a record goes."""
    records = store.load()
    outcome = engine.restore(records, time.monotonic(), time.time(), await _gone(records))
    await store.write(outcome.changes)
    for words in engine.unusable():
        log.warning("%s", words)
    reach("recovery.loaded")
    living, events = await _ask_runtime(engine, runtime) if runtime else ([], [])
    reach("recovery.asked")
    tell_repairs(await kernel.repair(engine.plans()))
    reach("recovery.repaired")
    await carrier.act(outcome)
    reach("recovery.acted")
    for event in events:
        try:
            await carrier.feed(event)
        except NetError as error:
            log.warning("container %s: %s", event.container_id[:12], error)
    reach("recovery.told")
    for container_id, monitor_pid in living:
        carrier.watch(container_id, monitor_pid)
    if runtime:
        await _sweep(engine, runtime)
    reach("recovery.swept")


async def _gone(records: Iterable[Record]) -> frozenset[str]:
    """Sandboxes whose namespace, made by others, ended meanwhile."""
    found = set()
    for record in records:
        if isinstance(record, Sandbox) and record.foreign and not await asyncio.to_thread(holds, record.foreign):
            log.info("the namespace of %s is gone", record.foreign.target, extra={"sandbox": record.id})
            found.add(record.id)
    return frozenset(found)


async def _ask_runtime(
    engine: Engine, runtime: Runtime
) -> tuple[list[tuple[str, int]], list[ContainerRunning | ContainerExited | ContainerFailed]]:
    """Which containers live, with their monitors, and what is news of the others."""
    living: list[tuple[str, int]] = []
    news: list[ContainerRunning | ContainerExited | ContainerFailed] = []
    for container in list(engine.state.containers.values()):
        starting = container.state.status == "starting"
        if not (container.running or starting):
            await runtime.release_rest(container.id)
            continue
        found = await runtime.recover(container.id, starting=starting)
        if not isinstance(found, Exited):
            living.append((container.id, found.monitor_pid))
            # one that is to be removed is killed, and the kernel lets no process die that stands still
            paused = container.state.status == "paused" and not container.state.removing
            if runtime.is_suspended(container.id) != paused:
                await runtime.suspend(container.id, resume=not paused)
            if starting:
                news.append(ContainerRunning(container.id, found.pid, found.monitor_pid, time.time()))
        elif starting:
            words = "the daemon ended while it was started"
            news.append(ContainerFailed(container.id, words, found.exit_code, found.at, cut_short=True))
        else:
            news.append(ContainerExited(container.id, found.exit_code, found.at))
    return living, news


async def _sweep(engine: Engine, runtime: Runtime) -> None:
    """Take away what the runtime has of containers that no record knows: their removal was under way."""
    for container_id in runtime.known():
        if container_id not in engine.state.containers:
            try:
                await runtime.remove(container_id)
            except NetError as error:
                log.error("leftovers of container %s stay: %s", container_id[:12], error)
            else:
                log.info("removed leftovers of container %s", container_id[:12])
