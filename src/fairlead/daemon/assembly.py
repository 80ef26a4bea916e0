"""One node put together: store, kernel, engine, name servers and the carrier between them; no API, no signals.

``assemble`` does, in an order in which each step relies on the one before: lock the state directory; read the records;
ask the kernel what the host is; ask the runtime what became of the containers; make Linux what the records say
(repairing what a crash left, without touching what is right); open the name servers.
"""

from __future__ import annotations

import asyncio
import logging
import random
import socket
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from fairlead.daemon.carrier import Carrier
from fairlead.daemon.cluster import datapath
from fairlead.daemon.cluster.gossiping import Gossiping
from fairlead.daemon.coexistence import Coexistence
from fairlead.daemon.contract import NoContainers
from fairlead.daemon.files import NameFiles
from fairlead.daemon.keeping import KeepingKernel
from fairlead.daemon.lock import StateLock
from fairlead.daemon.recovery import take_up
from fairlead.daemon.repairs import tell_repairs
from fairlead.daemon.resolvers import HostResolverFile, SandboxResolvers
from fairlead.daemon.service import ServiceManager
from fairlead.discovery import resolvconf
from fairlead.drivers.contract import Node
from fairlead.drivers.registry import built_in
from fairlead.engine.engine import Engine
from fairlead.kernel import ipvs
from fairlead.kernel.apply import Kernel
from fairlead.kernel.foreign import NamespaceWatch
from fairlead.model.addresses import parse_address
from fairlead.model.events import BalancersFound, Event
from fairlead.model.faults import Reach, pass_by
from fairlead.model.ids import new_id
from fairlead.model.settings import DEFAULT_BRIDGE, DEFAULT_POOLS_V4, EngineSettings, Paths
from fairlead.runtime.containers import Runtime
from fairlead.store.sqlite import LocalStore

log = logging.getLogger(__name__)

#: Where below the state directory a node keeps what it has of its cluster.
CLUSTER_FOLDER = "swarm"

_IP_FORWARD = "/proc/sys/net/ipv4/ip_forward"
_IP_FORWARD_V6 = "/proc/sys/net/ipv6/conf/all/forwarding"
_BRIDGE_NF = "/proc/sys/net/bridge/bridge-nf-call-iptables"


@dataclass(frozen=True, slots=True)
class NodeOptions:
    """``default_pools`` replaces Docker's address pools; ``resolv_conf`` is the file that sandboxes' resolvers are
    derived from, ``dns``, ``dns_search`` and ``dns_options`` stand in its place where a container has none of its own.
    ``firewall_hooks`` name the firewalls of others that are asked to let containers' packets pass. Ports are published
    on ``publish_address`` (empty: all) unless their user names one; with ``ask_host_firewall`` the host's filters
    decide who reaches them."""

    paths: Paths = Paths()
    default_pools: tuple[tuple[str, int], ...] = ()
    resolv_conf: str = "/etc/resolv.conf"
    default_bridge: str = DEFAULT_BRIDGE
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    default_network_opts: dict[str, dict[str, str]] = field(default_factory=dict)
    firewall_hooks: tuple[str, ...] = ()
    publish_address: str = ""
    ask_host_firewall: bool = False


@dataclass(frozen=True, slots=True)
class Assembly:
    """A node at work. Commands go through ``carrier.submit``; ``engine.state`` are its records, to read. ``warnings``
    are what an operator should know of this machine. ``gossiping`` is silent as long as the node is in no cluster."""

    options: NodeOptions
    node_id: str
    settings: EngineSettings
    engine: Engine
    carrier: Carrier
    kernel: Kernel
    store: LocalStore
    resolvers: SandboxResolvers
    warnings: tuple[str, ...]
    coexistence: Coexistence
    gossiping: Gossiping

    async def check(self) -> str:
        """Return how the node is when its threads have answered."""
        await self.kernel.answer()
        await self.store.answer()
        state = self.engine.state
        running = sum(container.running for container in state.containers.values())
        return f"{len(state.networks)} networks, {running} containers running"

    async def mend(self) -> None:
        """Make Linux what it was told to be, whatever has been done to it; what is decided and not applied yet is none
        of that, and may still be refused."""
        tell_repairs(await self.kernel.repair())


@asynccontextmanager
async def assemble(
    options: NodeOptions,
    runtime: Runtime | None = None,
    *,
    reach: Reach = pass_by,
    service: ServiceManager | None = None,
) -> AsyncIterator[Assembly]:
    """A node that is put together on entry and let go of on exit; what stands in Linux stays. Without ``runtime`` it
    has sandboxes of others only, and containers in the records are left as they are. ``reach`` is told fault points,
    ``service`` keeps sockets and namespaces while we are away. Raises ``Invalid`` for options that
    cannot be, ``Conflict`` when another process uses the state directory, and what store and kernel raise."""
    paths, chance = options.paths, random.SystemRandom()
    resolvconf.check_servers(options.dns)
    resolvconf.check_search(options.dns_search)
    resolvconf.check_options(options.dns_options)
    if options.publish_address:
        parse_address(options.publish_address, "--ip value")
    async with AsyncExitStack() as stack:
        _make_folders(paths)
        stack.enter_context(StateLock(paths.state))
        store = LocalStore(f"{paths.state}/node.db", reach)
        stack.push_async_callback(store.close)
        node_id = store.fact("node-id", new_id(chance))
        kernel = Kernel(paths.netns, reach)
        stack.push_async_callback(kernel.close)
        settings = EngineSettings(
            hostname=socket.gethostname(),
            default_pools=options.default_pools or DEFAULT_POOLS_V4,
            default_bridge=options.default_bridge,
            dns=options.dns,
            dns_search=options.dns_search,
            dns_options=options.dns_options,
            default_network_opts=options.default_network_opts,
            publish_address=options.publish_address,
            ask_host_firewall=options.ask_host_firewall,
        )
        node, warnings = await survey(settings, store, kernel)
        engine = Engine(settings, paths, built_in(), chance, node, node_id)
        source = HostResolverFile(options.resolv_conf)
        _learn(engine, source.read())
        _learn(engine, await kernel.host_facts())
        if (path := datapath.stored(f"{paths.state}/{CLUSTER_FOLDER}")) is not None:
            _learn(engine, path)
            _learn(engine, BalancersFound(not ipvs.fault()))
        service = service or ServiceManager({})
        keeping = KeepingKernel(kernel, service, paths.netns)
        keeping.find_again()
        resolvers = SandboxResolvers(kernel, service)
        stack.callback(resolvers.shut)
        files = NameFiles(paths.containers, reach)
        namespaces = NamespaceWatch()
        stack.callback(namespaces.close)
        carrier = Carrier(engine, store, keeping, resolvers, runtime or NoContainers(), files, namespaces, reach)
        stack.push_async_callback(carrier.close)
        gossiping = Gossiping(carrier.feed)
        stack.push_async_callback(gossiping.stop)
        carrier.gossip = gossiping
        await take_up(engine, store, kernel, runtime, carrier, reach)
        keeping.note(engine.plans())
        keeping.drop_rest()
        await kernel.watch(lambda facts: _learn(engine, facts))
        coexistence = Coexistence(kernel, engine, carrier.notices, node_id, options.firewall_hooks)
        stack.push_async_callback(coexistence.close)
        await coexistence.start()
        follower = asyncio.get_running_loop().create_task(source.follow(carrier.feed))
        stack.push_async_callback(_call_off, follower)
        yield Assembly(
            options, node_id, settings, engine, carrier, kernel, store, resolvers, warnings, coexistence, gossiping
        )


def _make_folders(paths: Paths) -> None:
    for folder in (paths.state, paths.run, paths.netns):
        Path(folder).mkdir(parents=True, exist_ok=True, mode=0o711)


def _learn(engine: Engine, fact: Event) -> None:
    engine.handle(fact, time.monotonic(), time.time())


async def _call_off(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def survey(settings: EngineSettings, store: LocalStore, kernel: Kernel) -> tuple[Node, tuple[str, ...]]:
    """What the drivers may know of this machine, and what an operator should know of it."""
    warnings: list[str] = []
    forwarded = _sysctl(_IP_FORWARD) == "1"
    guard = store.fact("forwarding-switched-on-by-us", "no" if forwarded else "yes") == "yes"
    forwarded_v6 = _sysctl(_IP_FORWARD_V6) == "1"
    guard_v6 = store.fact("ipv6-forwarding-switched-on-by-us", "no" if forwarded_v6 else "yes") == "yes"
    strangers = (await kernel.strangers()).bridges
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
        guard_forwarding_v6=guard_v6,
        bridge_nf_off=not (nf_present and strangers),
        ask_host_firewall=settings.ask_host_firewall,
    )
    return node, tuple(warnings)


def _sysctl(path: str) -> str:
    """A setting of this namespace; empty where the kernel lacks it."""
    try:
        return Path(path).read_text().strip()
    except FileNotFoundError:
        return ""
