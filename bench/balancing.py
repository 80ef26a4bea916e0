"""vip.*: connections to the virtual address of a service, and what a changed task costs, with few and with many services."""

from __future__ import annotations

import asyncio
import itertools
import random
import resource
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from bench.context import BY_HAND, OURS, Context, Samples, interleave
from bench.hosts import run
from bench.report import Reading
from bench.traffic import ECHO_PORT, LISTEN_S, SERVE_PORT, measure, serve
from fairlead.balance.board import Board, Task
from fairlead.balance.nftables import Nftables
from fairlead.drivers.contract import Node
from fairlead.drivers.registry import built_in
from fairlead.engine.engine import Engine
from fairlead.kernel import netns
from fairlead.kernel.apply import Kernel
from fairlead.model import options
from fairlead.model.backend import Backend
from fairlead.model.cluster import Lease, PeerNames
from fairlead.model.commands import Command, ConnectNetwork, CreateSandbox, InstallNetwork
from fairlead.model.events import Applied, DataPath, Event, LeasesGranted, NamesSeen
from fairlead.model.network import SWARM, Network, Pool
from fairlead.model.sandbox import SandboxSettings
from fairlead.model.settings import EngineSettings, Paths
from fairlead.plan.objects import Plan

_SERVICES, _TASKS, _SANDBOXES = 1000, 10, 100
_OWN = "127.0.0.2"
_ID = "ab" * 32
_NETWORK = Network(
    _ID,
    "sea",
    "overlay",
    0.0,
    scope=SWARM,
    attachable=True,
    pools=(Pool("p", "10.64.0.0/12", gateway="10.64.0.1"),),
    options={options.VXLAN_IDS: "4097"},
)


def connections(context: Context) -> Iterator[Reading]:
    """vip.connect, vip.connect.many, vip.rtt"""
    rates, many, rtts = Samples(), Samples(), Samples()
    with ExitStack() as stack:
        by_hand = stack.enter_context(context.by_hand())
        server = by_hand.container()
        serve(stack, context, server.netns)
        paths: dict[str, dict[str, tuple[str, str]]] = {"few": {}, "many": {}}
        for kind, services in (("few", 1), ("many", _SERVICES)):
            plain, balanced = by_hand.container(), by_hand.container()
            paths[kind][BY_HAND] = plain.netns, server.address
            vip = _vip(services - 1)
            run(balanced.netns, "ip", "route", "add", vip, "via", server.address)
            (context.folder / kind).mkdir()
            asyncio.run(_balance(context.folder / kind, balanced.netns, server.address, services))
            paths[kind][OURS] = balanced.netns, vip
        time.sleep(LISTEN_S)
        flow, rounds = context.programs["flow"], context.count(9, 3)
        for name, samples, kind in (("vip.connect", rates, "few"), ("vip.connect.many", many, "many")):
            sides = {side: measure(flow, "connect", path, SERVE_PORT) for side, path in paths[kind].items()}
            yield interleave(samples, rounds, sides).reading(name, note="by hand: direct, without connection tracking")
        sides = {side: measure(flow, "ping", path, ECHO_PORT) for side, path in paths["many"].items()}
        yield interleave(rtts, rounds, sides).reading("vip.rtt")


async def _balance(folder: Path, place: str, target: str, services: int) -> None:
    """Tables in a namespace: each service has ten tasks, which are all the one server."""
    box = str(folder / "box")
    netns.hold(box, place, netns.inode_of(place))
    kernel = Kernel(str(folder))
    try:
        await kernel.apply({"balance": _plan(services, target)})
    finally:
        await kernel.close()
        netns.delete(box)


def _plan(services: int, target: str) -> Plan:
    board, balancer = Board(), Nftables()
    for service, task in itertools.product(range(services), range(_TASKS)):
        board.put(f"e{service}.{task}", Task(_backend(service), target, "", False))
    plan = balancer.base_plan("box", board.sizes)
    for service_id in board:
        for aim in board.aims(service_id, _OWN):
            plan |= balancer.aim_plan("box", aim)
    return plan


def updates(context: Context) -> Iterator[Reading]:
    """vip.update.few, vip.update, vip.fill, vip.memory"""
    few, many, fill, memory = Samples(), Samples(), Samples(), Samples()
    for name, services, samples in (("few", 10, few), ("many", _SERVICES, many)):
        node = context.folder / f"updates-{name}"
        (context.folder / f"updates-{name}.d").mkdir(parents=True)
        netns.create(str(node))
        try:
            with netns.inside(str(node)):
                asyncio.run(
                    _updates(context.folder / f"updates-{name}.d", services, context.count(200, 30), samples, fill)
                )
        finally:
            netns.delete(str(node))
    yield few.reading("vip.update.few", 1e3)
    yield many.reading("vip.update", 1e3)
    yield fill.reading(
        "vip.fill", 1e3, statistic=max, note=f"{_SERVICES} services of {_TASKS} tasks at a sandbox's joining"
    )
    boxes = context.count(_SANDBOXES, 10)
    memory.take(OURS, lambda: _held_mb(context.folder / "memory", boxes))
    yield memory.reading(
        "vip.memory", note=f"{boxes} sandboxes, {_SERVICES} services of {_TASKS} tasks: kernel and daemon"
    )


class _Member:
    """An engine and the kernel, without disk and gossip: what is decided is applied."""

    def __init__(self, folder: Path) -> None:
        self._kernel = Kernel(str(folder))
        self._engine = Engine(EngineSettings("bench"), Paths(), built_in(), random.Random(7), Node(), "seed")

    async def tell(self, message: Command | Event) -> None:
        """One message, carried out."""
        outcome = self._engine.handle(message, time.monotonic(), time.time())
        if outcome.plans:
            await self._kernel.apply(outcome.plans)
        self._engine.handle(Applied(outcome.operation), 0.0, 0.0)

    async def begin(self, boxes: int) -> None:
        """Be in the network, with addresses for so many sandboxes."""
        self._engine.restore([], 0.0, 0.0)
        await self._kernel.repair(self._engine.plans())
        await self.tell(DataPath(_OWN))
        await self.tell(InstallNetwork(_NETWORK))
        await self.tell(LeasesGranted(tuple(Lease(_ID, f"10.64.0.{n + 2}", "n", 1) for n in range(boxes))))

    async def box(self, number: int) -> None:
        """A sandbox more."""
        await self.tell(CreateSandbox(SandboxSettings(f"box{number}")))
        await self.tell(ConnectNetwork("sea", f"box{number}"))

    async def learn(self, services: int) -> None:
        """All tasks of so many services are ready, on other nodes."""
        told = [_names(service, task) for service in range(services) for task in range(_TASKS)]
        await self.tell(NamesSeen(_ID, tuple((one.endpoint_id, one) for one in told)))

    async def close(self) -> None:
        """Take everything away."""
        await self._kernel.repair({})
        await self._kernel.close()


async def _updates(folder: Path, services: int, changes: int, samples: Samples, fill: Samples) -> None:
    member = _Member(folder)
    try:
        await member.begin(2)
        await member.box(0)
        await member.learn(services)
        start = time.perf_counter()
        await member.box(1)
        fill.values.setdefault(OURS, []).append(time.perf_counter() - start)
        for number in range(changes):
            service = number % services
            gone = _names(service, 3).endpoint_id
            for event in (NamesSeen(_ID, ((gone, None),)), NamesSeen(_ID, ((gone, _names(service, 3)),))):
                start = time.perf_counter()
                await member.tell(event)
                samples.values.setdefault(OURS, []).append(time.perf_counter() - start)
    finally:
        await member.close()


def _held_mb(folder: Path, boxes: int) -> float:
    """Megabytes that all of it takes, from the kernel and from us."""
    (folder / "netns").mkdir(parents=True)
    node = folder / "node"
    netns.create(str(node))

    async def grow() -> float:
        member = _Member(folder / "netns")
        try:
            await member.begin(boxes)
            for number in range(boxes):
                await member.box(number)
            before = _taken_mb()
            await member.learn(_SERVICES)
            return _taken_mb() - before
        finally:
            await member.close()

    try:
        with netns.inside(str(node)):
            return asyncio.run(grow())
    finally:
        netns.delete(str(node))


def _taken_mb() -> float:
    """Slabs and per-processor memory of the kernel, and what we have resident."""
    lines = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
    kernel_kb = sum(int(words[1]) for words in lines if words[0] in ("Slab:", "Percpu:", "VmallocUsed:"))
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return kernel_kb / 1024 + pages * resource.getpagesize() / 2**20


def _backend(service: int) -> Backend:
    return Backend(f"svc{service}", (f"web{service}",), _vip(service))


def _vip(service: int) -> str:
    return f"10.65.{service >> 8}.{service & 255}"


def _names(service: int, task: int) -> PeerNames:
    number = service * _TASKS + task
    address = f"10.66.{number >> 8}.{number & 255}"
    return PeerNames(_ID, f"e{number}", (f"t{number}",), address, "", (), _backend(service))


MEASUREMENTS = (
    (("vip.connect", "vip.rtt"), connections),
    (("vip.update", "vip.fill", "vip.memory"), updates),
)
