"""Start and stop of the daemon: a node is put together, answers on the API socket, and says "ready"."""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import logging
import os
import random
import signal
import socket
import sys
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from fairlead.api.server import serve
from fairlead.api.tls import TcpDoor
from fairlead.api.tls import TlsFiles as TlsFiles
from fairlead.daemon import faults, memory
from fairlead.daemon.assembly import CLUSTER_FOLDER, Assembly, NodeOptions, assemble
from fairlead.daemon.balance import Balances
from fairlead.daemon.cluster import checksums
from fairlead.daemon.cluster.agent import start_parts
from fairlead.daemon.cluster.description import describe
from fairlead.daemon.cluster.http_mesh import NodeMesh
from fairlead.daemon.cluster.membership import Membership, Surroundings
from fairlead.daemon.encryption import Encryptions
from fairlead.daemon.foreign import ForeignTargets
from fairlead.daemon.http_proxy import HttpProxy
from fairlead.daemon.node import DaemonNode, collect_facts
from fairlead.daemon.service import ServiceManager
from fairlead.kernel import ipvs, xfrm
from fairlead.model.errors import NetError
from fairlead.runtime.containers import Runtime
from fairlead.runtime.foreign import ForeignEngines

log = logging.getLogger(__name__)

#: Seconds after which a busy thread lets another one run. Names are served by a thread of their own, and Python's 5 ms
#: would be felt by every program that asks for one while the daemon is busy.
_SWITCH_INTERVAL_S = 0.0005


@dataclass(frozen=True, slots=True)
class DaemonOptions:
    """What the command line says: ``node`` of the node itself, ``engines`` where those of others are, ``doors`` where
    else the API is open, the rest of the
    process around it. Without ``containers`` it starts none: it has networks for namespaces of others only."""

    node: NodeOptions = NodeOptions()
    engines: ForeignEngines = ForeignEngines()
    doors: tuple[TcpDoor, ...] = ()
    log_level: str = "info"
    containers: bool = True


def main(options: DaemonOptions) -> int:
    """Run until SIGTERM or SIGINT; returns the exit code. Containers go on running afterwards."""
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    memory.limit()
    faulthandler.enable()  # a watchdog's SIGABRT leaves the stacks of all threads in the log
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
    service = ServiceManager()
    async with AsyncExitStack() as stack:
        stop = _stop_event()
        node = await _start(options, stack, service)
        _on_hang_up(node, service, stack)
        service.drop_rest()
        gc.freeze()  # what the start made stays, and is looked through no more
        gc.enable()
        memory.collect_often()
        memory.give_back()
        service.tell("READY=1", f"STATUS={await node.check()}")
        log.info("ready")
        for chore in (service.live(node.check), memory.keep_small()):
            stack.callback(asyncio.get_running_loop().create_task(chore).cancel)
        await stop.wait()
        service.tell("STOPPING=1", "STATUS=stopping; containers go on running")
        log.info("stopping; containers go on running")


async def _start(options: DaemonOptions, stack: AsyncExitStack, service: ServiceManager) -> Assembly:
    started, paths = time.time(), options.node.paths
    reach = faults.armed(os.environ)
    runtime = Runtime(paths, reach=reach)
    stack.callback(runtime.close)
    node = await stack.enter_async_context(
        assemble(options.node, runtime if options.containers else None, reach=reach, service=service)
    )
    facts = collect_facts(
        node.node_id,
        node.settings.hostname,
        started,
        node.settings.default_pools,
        node.engine.core.drivers.names(),
        node.warnings,
    )
    targets = ForeignTargets(node.kernel, options.engines)
    look = partial(checksums.look, node.kernel, paths.netns)
    mesh = NodeMesh(node.carrier, paths, HttpProxy)
    swarm = Membership(
        Surroundings(
            Path(paths.state) / CLUSTER_FOLDER,
            lambda place, managers: start_parts(
                node.carrier,
                node.gossiping,
                door,
                place,
                managers,
                node.kernel.ipsec,
                reach=reach,
                look=look,
                mesh=mesh,
            ),
            lambda: describe(facts, xfrm.fault(v6=False), ipvs.fault()),
            node.carrier.notices.add,
            random.SystemRandom(),
            reach,
        )
    )
    balances = Balances(node.engine, node.kernel, node.gossiping)
    door = DaemonNode(
        facts,
        node.engine,
        node.carrier,
        runtime,
        paths,
        targets,
        node.coexistence,
        swarm,
        node.gossiping,
        balances,
        Encryptions(node.kernel.ipsec),
        mesh,
    )
    await swarm.start(door)
    stack.push_async_callback(swarm.close)
    inherited = _kept_listener(paths.socket, service)
    server = await serve(door, paths.socket, inherited=inherited)
    stack.push_async_callback(server.close)
    for tcp in options.doors:
        server.open_door(tcp)
    server.kept = service.keeps
    if inherited is None:
        service.keep(_kept_as(paths.socket), server.listener.fileno())
    return node


def _kept_listener(path: str, service: ServiceManager) -> socket.socket | None:
    """The socket that was kept while no daemon ran, if the file at ``path`` still leads to it."""
    try:
        found = service.take(_kept_as(path))
    except FileNotFoundError:
        return None
    return socket.socket(fileno=found[0]) if found else None


def _kept_as(path: str) -> str:
    """The listener's name: a file made by others is another inode."""
    return f"api.{os.stat(path).st_ino}"


def _on_hang_up(node: Assembly, service: ServiceManager, stack: AsyncExitStack) -> None:
    """At SIGHUP make Linux what the records say (systemctl reload). Signals that come meanwhile ask for one more time
    together: however many there are, commands have their turn."""
    loop, wanted = asyncio.get_running_loop(), asyncio.Event()

    async def reload() -> None:
        while await wanted.wait():
            wanted.clear()
            service.reloading()
            try:
                await node.mend()
            except NetError as error:
                log.error("cannot repair: %s", error)
            service.tell("READY=1", f"STATUS={await node.check()}")

    stack.callback(loop.create_task(reload()).cancel)
    loop.add_signal_handler(signal.SIGHUP, wanted.set)
    stack.callback(loop.remove_signal_handler, signal.SIGHUP)


def _stop_event() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop
