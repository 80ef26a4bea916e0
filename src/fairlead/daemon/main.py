"""Start and stop of the daemon: a node is put together, answers on the API socket, and says "ready"."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass

from fairlead.api.server import serve
from fairlead.daemon import faults
from fairlead.daemon.assembly import NodeOptions, assemble
from fairlead.daemon.node import DaemonNode, collect_facts
from fairlead.model.errors import NetError
from fairlead.runtime.containers import Runtime

log = logging.getLogger(__name__)

#: Seconds after which a busy thread lets another one run. Names are served by a thread of their own, and Python's 5 ms
#: would be felt by every program that asks for one while the daemon is busy.
_SWITCH_INTERVAL_S = 0.0005


@dataclass(frozen=True, slots=True)
class DaemonOptions:
    """What the command line says: ``node`` of the node itself, the rest of the process around it."""

    node: NodeOptions = NodeOptions()
    log_level: str = "info"


def main(options: DaemonOptions) -> int:
    """Run until SIGTERM or SIGINT; returns the exit code. Containers go on running afterwards."""
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    logging.basicConfig(
        level=options.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s", force=True
    )
    try:
        asyncio.run(_run(options))
    except NetError as error:
        log.error("%s%s", error, f" ({error.hint})" if error.hint else "")
        return error.exit_code
    return 0


async def _run(options: DaemonOptions) -> None:
    async with AsyncExitStack() as stack:
        stop = _stop_event()
        await _start(options, stack)
        _notify("READY=1")
        log.info("ready")
        await stop.wait()
        _notify("STOPPING=1")
        log.info("stopping; containers go on running")


async def _start(options: DaemonOptions, stack: AsyncExitStack) -> None:
    started, paths = time.time(), options.node.paths
    reach = faults.armed(os.environ)
    runtime = Runtime(paths, reach=reach)
    stack.callback(runtime.close)
    node = await stack.enter_async_context(assemble(options.node, runtime, reach))
    facts = collect_facts(
        node.node_id,
        node.settings.hostname,
        started,
        node.settings.default_pools,
        node.engine.core.drivers.names(),
        node.warnings,
    )
    server = await serve(DaemonNode(facts, node.engine, node.carrier, runtime, paths), paths.socket)
    stack.push_async_callback(server.close)


def _stop_event() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def _notify(state: str) -> None:
    """Tell systemd (sd_notify(3)); without it nobody listens."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    target = "\0" + address[1:] if address.startswith("@") else address
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        try:
            sender.sendto(state.encode(), target)
        except OSError as error:
            log.warning("cannot notify the service manager: %s", error)
