"""Start and stop of the daemon.

Start, in an order in which each step relies on the one before: lock the state directory; read the records; ask the
kernel what the host is; ask the runtime what became of the containers; make Linux what the records say (repairing what
a crash left, without touching what is right); open the name servers; answer on the API socket; say "ready".
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import random
import signal
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from fairlead.api.server import serve
from fairlead.daemon.carrier import Carrier
from fairlead.daemon.files import NameFiles
from fairlead.daemon.node import DaemonNode, collect_facts
from fairlead.daemon.resolvers import SandboxResolvers
from fairlead.discovery import resolvconf
from fairlead.drivers.contract import Node
from fairlead.drivers.registry import built_in
from fairlead.engine.engine import Engine
from fairlead.kernel.apply import Kernel
from fairlead.model.errors import Conflict, NetError
from fairlead.model.events import ContainerExited, ContainerFailed, HostChanged
from fairlead.model.ids import new_id
from fairlead.model.settings import DEFAULT_POOLS_V4, EngineSettings, Paths
from fairlead.runtime.containers import Exited, Runtime
from fairlead.store.sqlite import LocalStore

log = logging.getLogger(__name__)

#: Seconds after which a busy thread lets another one run. Names are served by a thread of their own, and Python's 5 ms
#: would be felt by every program that asks for one while the daemon is busy.
_SWITCH_INTERVAL_S = 0.0005
_IP_FORWARD = "/proc/sys/net/ipv4/ip_forward"
_BRIDGE_NF = "/proc/sys/net/bridge/bridge-nf-call-iptables"


@dataclass(frozen=True, slots=True)
class DaemonOptions:
    """What the command line says. ``default_pools`` replaces Docker's address pools; ``resolv_conf`` is the file that
    containers' resolvers are derived from."""

    paths: Paths = Paths()
    default_pools: tuple[tuple[str, int], ...] = ()
    resolv_conf: str = "/etc/resolv.conf"
    log_level: str = "info"


def main(options: DaemonOptions) -> int:
    """Run until SIGTERM or SIGINT; returns the exit code. Containers go on running afterwards."""
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    logging.basicConfig(
        level=options.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s", force=True
    )
    try:
        with _StateLock(options.paths):
            asyncio.run(_run(options))
    except NetError as error:
        log.error("%s%s", error, f" ({error.hint})" if error.hint else "")
        return error.exit_code
    return 0


class _StateLock:
    """One daemon for each state directory."""

    def __init__(self, paths: Paths) -> None:
        for folder in (paths.state, paths.run, paths.netns):
            Path(folder).mkdir(parents=True, exist_ok=True, mode=0o711)
        self._folder = paths.state

    def __enter__(self) -> None:
        self._descriptor = os.open(f"{self._folder}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._descriptor)
            raise Conflict(
                f"another daemon uses {self._folder}", hint="stop it, or give --state-dir and --run-dir"
            ) from None

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)


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
    started, paths = time.time(), options.paths
    chance = random.SystemRandom()
    store = LocalStore(f"{paths.state}/node.db")
    stack.push_async_callback(store.close)
    node_id = store.fact("node-id", new_id(chance))
    kernel = Kernel(paths.netns)
    stack.push_async_callback(kernel.close)
    pools = options.default_pools or DEFAULT_POOLS_V4
    settings = EngineSettings(hostname=socket.gethostname(), default_pools=pools)
    node, warnings = await _survey(settings, store, kernel)
    registry = built_in()
    engine = Engine(settings, paths, registry, chance, node, node_id)
    engine.core.resolver = _host_resolver(options.resolv_conf)
    engine.handle(await kernel.host_facts(), time.monotonic(), time.time())
    runtime = Runtime(paths)
    stack.callback(runtime.close)
    resolvers = SandboxResolvers(kernel)
    stack.callback(resolvers.shut)
    carrier = Carrier(engine, store, kernel, resolvers, runtime, NameFiles(paths.containers))
    stack.push_async_callback(carrier.close)
    await _take_up(engine, store, kernel, runtime, carrier)
    await kernel.watch(lambda facts: _learn(engine, facts))
    facts = collect_facts(node_id, settings.hostname, started, pools, registry.names(), warnings)
    server = await serve(DaemonNode(facts, engine, carrier, runtime, paths), paths.socket)
    stack.push_async_callback(server.close)


def _learn(engine: Engine, facts: HostChanged) -> None:
    engine.handle(facts, time.monotonic(), time.time())


async def _survey(settings: EngineSettings, store: LocalStore, kernel: Kernel) -> tuple[Node, tuple[str, ...]]:
    """What the drivers may know of this machine, and what an operator should know of it."""
    warnings: list[str] = []
    forwarded = _sysctl(_IP_FORWARD) == "1"
    guard = store.fact("forwarding-switched-on-by-us", "no" if forwarded else "yes") == "yes"
    strangers = await kernel.foreign_bridges()
    nf_present = _sysctl(_BRIDGE_NF) != ""
    if nf_present and strangers:
        warnings.append(
            f"bridged frames pass the firewall (bridge-nf-call-iptables) and are left so for {', '.join(strangers)}: "
            "traffic between containers is slower than it could be"
        )
    node = Node(
        mtu=settings.mtu,
        default_bridge=settings.default_bridge,
        forward=settings.ip_forward,
        guard_forwarding=guard,
        bridge_nf_off=nf_present and not strangers,
    )
    return node, tuple(warnings)


async def _take_up(engine: Engine, store: LocalStore, kernel: Kernel, runtime: Runtime, carrier: Carrier) -> None:
    """Records -> engine -> Linux; containers that ended meanwhile are brought to their end first."""
    outcome = engine.restore(store.load(), time.monotonic(), time.time())
    await store.write(outcome.changes)
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


def _sysctl(path: str) -> str:
    """A setting of this namespace; empty where the kernel lacks it."""
    try:
        return Path(path).read_text().strip()
    except FileNotFoundError:
        return ""


def _host_resolver(path: str) -> resolvconf.ResolvConf:
    try:
        return resolvconf.parse(Path(path).read_text())
    except OSError as error:
        log.warning("cannot read %s (%s): containers will resolve only each other", path, error.strerror)
        return resolvconf.ResolvConf()


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


def parse_pools(texts: Sequence[str]) -> tuple[tuple[str, int], ...]:
    """``base=10.10.0.0/16,size=24`` as dockerd's option --default-address-pool has it; raises ``ValueError``."""
    pools = []
    for text in texts:
        fields = dict(part.split("=", 1) for part in text.split(","))
        if set(fields) != {"base", "size"}:
            raise ValueError(f"{text!r}: write it like base=10.10.0.0/16,size=24")
        pools.append((fields["base"], int(fields["size"])))
    return tuple(pools)
