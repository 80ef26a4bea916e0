"""Taking up what stands in the records after a start, a crash included."""

from __future__ import annotations

import logging
import time

from fairlead.daemon.carrier import Carrier
from fairlead.engine.engine import Engine
from fairlead.kernel.apply import Kernel
from fairlead.model.errors import NetError
from fairlead.model.events import ContainerExited, ContainerFailed
from fairlead.runtime.containers import Exited, Runtime
from fairlead.store.sqlite import LocalStore

log = logging.getLogger(__name__)


async def take_up(engine: Engine, store: LocalStore, kernel: Kernel, runtime: Runtime | None, carrier: Carrier) -> None:
    """Records -> engine -> Linux; containers that ended meanwhile are brought to their end first."""
    outcome = engine.restore(store.load(), time.monotonic(), time.time())
    await store.write(outcome.changes)
    living, endings = await _ask_runtime(engine, runtime) if runtime else ([], [])
    for words in await kernel.repair(engine.plans()):
        if words.startswith("could not"):
            log.error("%s", words)
        else:
            log.info("repaired: %s", words)
    await carrier.act(outcome)
    for event in endings:
        try:
            await carrier.feed(event)
        except NetError as error:
            log.warning("container %s: %s", event.container_id[:12], error)
    for container_id, monitor_pid in living:
        carrier.watch(container_id, monitor_pid)


async def _ask_runtime(
    engine: Engine, runtime: Runtime
) -> tuple[list[tuple[str, int]], list[ContainerExited | ContainerFailed]]:
    """Which containers live, with their monitors, and what became of the others."""
    living: list[tuple[str, int]] = []
    endings: list[ContainerExited | ContainerFailed] = []
    for container in list(engine.state.containers.values()):
        if container.running:
            found = await runtime.recover(container.id)
            if isinstance(found, Exited):
                endings.append(ContainerExited(container.id, found.exit_code, found.at))
            else:
                living.append((container.id, found.monitor_pid))
        elif container.state.status == "starting":
            await runtime.release(container.id)
            endings.append(ContainerFailed(container.id, "the daemon ended while it was started", 128, time.time()))
    return living, endings
