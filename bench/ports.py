"""container.start, publish.*, port.*: containers that come and go, and the way in from outside."""

from __future__ import annotations

import itertools
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial

from bench.by_hand import ByHand, Namespace
from bench.context import BY_HAND, OURS, THEIRS, Context, Samples, interleave
from bench.engines import Engine
from bench.hosts import HOST_SIDE, NotMeasured
from bench.report import Reading
from bench.traffic import ECHO_PORT, SERVE_PORT, measure, serve

_MS = 1e3
_LISTEN_S = 0.3
#: Ports of the host: of the measured container, of its loopback row, and the first of the many.
_PORT, _PORT_AMONG_MANY, _PORT_LOOPBACK, _FIRST = 8080, 8081, 8082, 20_000
_MANY = 1000
_LOOPBACK = "127.0.0.1"

_BARE_MAP = """
table ip by_hand {
    map published { type inet_service : ipv4_addr . inet_service; }
    chain prerouting {
        type nat hook prerouting priority -100;
        fib daddr type local dnat ip to tcp dport map @published
    }
}
"""
_LOOPBACK_RULES = """
add chain ip by_hand output { type nat hook output priority -100; }
add rule ip by_hand output ip daddr 127.0.0.0/8 dnat ip to tcp dport map @published
add chain ip by_hand postrouting { type nat hook postrouting priority 100; }
add rule ip by_hand postrouting ip saddr 127.0.0.0/8 oifname "br0" masquerade
"""


@dataclass
class _Shares:
    """Starts and removals of containers of several kinds."""

    starts: dict[str, Samples] = field(default_factory=dict)
    removals: dict[str, Samples] = field(default_factory=dict)

    def cycle(self, engine: Engine, side: str, kind: str, network: str, ports: Mapping[int, int]) -> None:
        """One container comes and goes."""
        name = f"{kind}-cycle"
        start, removal = self.starts.setdefault(kind, Samples()), self.removals.setdefault(kind, Samples())
        if start.take(side, partial(engine.container, name, network, ports=ports)):
            removal.take(side, partial(engine.remove, name))

    def share(self, table: dict[str, Samples], kind: str, base: str) -> Samples:
        """By how much the median of one kind exceeds another's."""
        found = Samples(why=dict(table[kind].why))
        for side, values in table[kind].values.items():
            if values and (other := table[base].values.get(side)):
                found.values[side] = [statistics.median(values) - statistics.median(other)]
        return found


def ports(context: Context) -> Iterator[Reading]:
    """container.start, publish.1000.*, port.*"""
    with ExitStack() as stack:
        near, far, loopback = Samples(), Samples(), Samples()
        engines = stack.enter_context(context.engines(near))
        by_hand = stack.enter_context(context.by_hand())
        for samples in (far, loopback):
            samples.why.update(near.why)
        for engine in engines.values():
            engine.network("n")
        shares = _Shares()
        _cycles(context, engines, shares)
        yield shares.share(shares.starts, "net", "none").reading("container.start", _MS)
        yield from _from_outside(stack, context, engines, by_hand, near, loopback)
        yield from _among_many(stack, context, engines, by_hand, shares, far)


def _cycles(context: Context, engines: Mapping[str, Engine], shares: _Shares) -> None:
    """In turn; Docker takes three times as long, and needs fewer for its larger numbers."""
    for turn in range(context.count(16, 4)):
        for side, engine in engines.items():
            if side == OURS or turn < context.count(5, 2):
                shares.cycle(engine, side, "none", "none", {})
                shares.cycle(engine, side, "net", "n", {})


def _from_outside(
    stack: ExitStack,
    context: Context,
    engines: Mapping[str, Engine],
    by_hand: ByHand,
    near: Samples,
    loopback: Samples,
) -> Iterator[Reading]:
    published = {_PORT: int(SERVE_PORT), _PORT_LOOPBACK: int(ECHO_PORT)}
    for engine in engines.values():
        engine.container("web", "n", ports=published)
        serve(stack, context, engine.netns("web"))
    target = by_hand.container()
    serve(stack, context, target.netns)
    _nft(by_hand, _BARE_MAP)
    _publish_by_hand(by_hand, target, published)
    time.sleep(_LISTEN_S)
    rounds = context.count(9, 3)
    yield interleave(near, rounds, _rushes(context, engines, by_hand, _PORT)).reading("port.ext.1")
    by_hand.host.run("sysctl", "-qw", "net.ipv4.conf.br0.route_localnet=1")
    _nft(by_hand, _LOOPBACK_RULES)
    flow, hosts = context.programs["flow"], _hosts(engines, by_hand)
    pings = {side: measure(flow, "ping", (netns, _LOOPBACK), str(_PORT_LOOPBACK)) for side, netns in hosts.items()}
    yield interleave(loopback, rounds, pings).reading("port.loopback", note="peer: through its proxy")


def _among_many(
    stack: ExitStack,
    context: Context,
    engines: Mapping[str, Engine],
    by_hand: ByHand,
    shares: _Shares,
    far: Samples,
) -> Iterator[Reading]:
    """The many are published before the one that is measured: where rules are searched in order, that matters."""
    counts = {OURS: _MANY, THEIRS: context.count(400, 40)}
    for _ in range(context.count(4, 2)):
        shares.cycle(engines[OURS], OURS, "many", "n", _many(_MANY))
    started = shares.starts["many"]
    for side, engine in engines.items():
        started.take(side, partial(engine.container, "many", "n", ports=_many(counts[side])))
    target = by_hand.container()
    started.take(BY_HAND, partial(_publish_by_hand, by_hand, target, _many(_MANY)))
    shares.starts["net"].values[BY_HAND] = [0.0]
    for engine in engines.values():
        engine.container("late", "n", ports={_PORT_AMONG_MANY: int(SERVE_PORT)})
        serve(stack, context, engine.netns("late"))
    _publish_by_hand(by_hand, target, {_PORT_AMONG_MANY: int(SERVE_PORT)})
    serve(stack, context, target.netns)
    time.sleep(_LISTEN_S)
    sides = _rushes(context, engines, by_hand, _PORT_AMONG_MANY)
    note = "" if counts[THEIRS] == _MANY else f"peer: {counts[THEIRS]} ports"
    yield interleave(far, context.count(9, 3), sides).reading("port.ext.1000", note=note)
    removed = shares.removals["many"]
    for side, engine in engines.items():
        removed.take(side, partial(engine.remove, "many"))
    yield shares.share(shares.starts, "many", "net").reading("publish.1000.start", _MS, note=note)
    yield shares.share(shares.removals, "many", "net").reading("publish.1000.remove", _MS, note=note)


def _many(count: int) -> dict[int, int]:
    return {_FIRST + number: _FIRST + number for number in range(count)}


def _hosts(engines: Mapping[str, Engine], by_hand: ByHand) -> dict[str, str]:
    return {**{side: engine.host.netns for side, engine in engines.items()}, BY_HAND: by_hand.host.netns}


def _rushes(
    context: Context, engines: Mapping[str, Engine], by_hand: ByHand, port: int
) -> dict[str, Callable[[], float]]:
    """Short connections from each host's neighbour."""
    hosts = itertools.chain(((side, engine.host) for side, engine in engines.items()), [(BY_HAND, by_hand.host)])
    flow = context.programs["flow"]
    return {side: measure(flow, "connect", (host.neighbour().netns, HOST_SIDE), str(port)) for side, host in hosts}


def _publish_by_hand(by_hand: ByHand, target: Namespace, ports: Mapping[int, int]) -> float:
    """One transaction; seconds."""
    elements = ", ".join(f"{outer} : {target.address} . {inner}" for outer, inner in ports.items())
    return _nft(by_hand, f"add element ip by_hand published {{ {elements} }}")


def _nft(by_hand: ByHand, script: str) -> float:
    start = time.perf_counter()
    command = ["nsenter", f"--net={by_hand.host.netns}", "nft", "-f", "-"]
    done = subprocess.run(command, input=script, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotMeasured(f"nft: {done.stderr.strip()[:200]}")
    return time.perf_counter() - start
