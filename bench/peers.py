"""overlay.peers: how long a node takes to know where the endpoints of other nodes are, from gossip's word to Linux."""

from __future__ import annotations

import asyncio
import random
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from bench.context import BY_HAND, OURS, Context, Samples
from bench.report import Reading
from fairlead.drivers.contract import Node
from fairlead.drivers.registry import built_in
from fairlead.engine.engine import Engine
from fairlead.kernel import netns
from fairlead.kernel.apply import Kernel
from fairlead.model import options
from fairlead.model.cluster import Lease, Peer
from fairlead.model.commands import Command, ConnectNetwork, CreateSandbox, InstallNetwork
from fairlead.model.events import Applied, DataPath, Event, LeasesGranted, PeersSeen
from fairlead.model.network import SWARM, Network, Pool
from fairlead.model.sandbox import SandboxSettings
from fairlead.model.settings import EngineSettings, Paths

_PEERS = 10_000
_ID = "ab" * 32
_NETWORK = Network(
    _ID,
    "sea",
    "overlay",
    0.0,
    scope=SWARM,
    attachable=True,
    pools=(Pool("p", "10.64.0.0/16", gateway="10.64.0.1"),),
    options={options.VXLAN_IDS: "4097"},
)
#: The numbers of the peers' addresses begin here; the node's own endpoint has a smaller one.
_FIRST = 256
_OWN, _OTHERS = "127.0.0.2", ("192.0.2.2", "192.0.2.3")


class _Member:
    """An engine and the kernel, without disk and gossip: what is decided is applied."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._engine = Engine(EngineSettings("bench"), Paths(), built_in(), random.Random(7), Node(), "seed")

    async def tell(self, message: Command | Event) -> None:
        """One message, carried out."""
        outcome = self._engine.handle(message, time.monotonic(), time.time())
        if outcome.plans:
            await self._kernel.apply(outcome.plans)
        self._engine.handle(Applied(outcome.operation), 0.0, 0.0)

    async def join(self) -> None:
        """Be in the network, with one endpoint."""
        self._engine.restore([], 0.0, 0.0)
        await self._kernel.repair(self._engine.plans())
        for message in (
            DataPath(_OWN),
            InstallNetwork(_NETWORK),
            LeasesGranted((Lease(_ID, "10.64.0.2", "n", 1),)),
            CreateSandbox(SandboxSettings("box")),
            ConnectNetwork("sea", "box"),
        ):
            await self.tell(message)

    async def close(self) -> None:
        """Take everything away."""
        await self._kernel.repair({})
        await self._kernel.close()


def peers(context: Context) -> Iterator[Reading]:
    """overlay.peers.10000, overlay.peers.change"""
    learned, changed = Samples(), Samples()
    folder = context.folder / "peers"
    for number in range(context.count(5, 2)):
        node = folder / f"node{number}"
        (folder / f"netns{number}").mkdir(parents=True)
        netns.create(str(node))
        try:
            with netns.inside(str(node)):
                learned.take(BY_HAND, _by_hand)
                took_s, changes_s = asyncio.run(_ours(folder / f"netns{number}", context.count(50, 10)))
        finally:
            netns.delete(str(node))
        learned.values.setdefault(OURS, []).append(took_s)
        changed.values.setdefault(OURS, []).extend(changes_s)
    yield learned.reading("overlay.peers.10000", 1e3, note="by hand: two entries each, with `bridge` and `ip -batch`")
    yield changed.reading("overlay.peers.change", 1e3)


async def _ours(sandboxes: Path, changes: int) -> tuple[float, list[float]]:
    """Seconds for all of them, and for each of some that move to another node."""
    member = _Member(Kernel(str(sandboxes)))
    try:
        await member.join()
        told = tuple((f"e{number}", _peer(number)) for number in range(_FIRST, _FIRST + _PEERS))
        start = time.perf_counter()
        await member.tell(PeersSeen(_ID, told))
        took_s, moves_s = time.perf_counter() - start, []
        for identifier, peer in told[:changes]:
            start = time.perf_counter()
            await member.tell(PeersSeen(_ID, ((identifier, replace(peer, vtep=_OTHERS[1], generation=2)),)))
            moves_s.append(time.perf_counter() - start)
        return took_s, moves_s
    finally:
        await member.close()


def _peer(number: int) -> Peer:
    return Peer(_ID, f"e{number}", f"10.64.{number >> 8}.{number & 255}/16", "", _mac(number), _OTHERS[0], 1)


def _mac(number: int) -> str:
    return f"02:42:0a:40:{number >> 8:02x}:{number & 255:02x}"


def _by_hand() -> float:
    """The entries that a tunnel needs, made with the usual programs in one batch each; seconds."""
    _run("ip", "link", "add", "by-hand", "type", "vxlan", "id", "9", "dstport", "4790", "local", _OWN, "nolearning")
    _run("ip", "link", "set", "by-hand", "up")
    numbers = range(_FIRST, _FIRST + _PEERS)
    ways = "".join(f"fdb replace {_mac(n)} dev by-hand dst {_OTHERS[0]} self permanent\n" for n in numbers)
    neighbours = "".join(
        f"neighbour replace 10.64.{n >> 8}.{n & 255} dev by-hand lladdr {_mac(n)} nud permanent\n" for n in numbers
    )
    start = time.perf_counter()
    _run("bridge", "-batch", "-", text=ways)
    _run("ip", "-batch", "-", text=neighbours)
    took_s = time.perf_counter() - start
    _run("ip", "link", "del", "by-hand")
    return took_s


def _run(*words: str, text: str = "") -> None:
    subprocess.run(words, input=text, check=True, text=True, capture_output=True, timeout=60)
