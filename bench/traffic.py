"""bridge.c2c.*: packets between two containers of a network."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial

from bench.context import BY_HAND, Context, Samples, interleave
from bench.hosts import background, run
from bench.report import Reading

_GIGA = 1e-9
ECHO_PORT, SERVE_PORT = "7000", "7001"
#: Seconds for servers to listen.
LISTEN_S = 0.3
#: One measurement of flow, in milliseconds, and of iperf3, in seconds.
SLICE_MS, _STREAM_S = "600", "1"

#: Where to measure from, and the address to measure to.
Path = tuple[str, str]


def between_containers(context: Context) -> Iterator[Reading]:
    """bridge.c2c.*"""
    with ExitStack() as stack:
        throughput, rtt, rate = Samples(), Samples(), Samples()
        engines = stack.enter_context(context.engines(throughput))
        by_hand = stack.enter_context(context.by_hand())
        paths: dict[str, Path] = {}
        servers: list[str] = []
        for side, engine in engines.items():
            engine.network("n")
            for name in ("one", "two"):
                engine.container(name, "n")
            paths[side] = engine.netns("one"), engine.address("two", "n")
            servers.append(engine.netns("two"))
        first, second = by_hand.container(), by_hand.container()
        paths[BY_HAND] = first.netns, second.address
        servers.append(second.netns)
        for netns in servers:
            serve(stack, context, netns)
            stack.enter_context(background(netns, "iperf3", "-s"))
        time.sleep(LISTEN_S)
        rtt.why.update(throughput.why)
        rate.why.update(throughput.why)
        rounds = context.count(7, 2)
        flow = context.programs["flow"]
        streams = {side: partial(stream, *path) for side, path in paths.items()}
        yield interleave(throughput, rounds, streams).reading("bridge.c2c.throughput", _GIGA)
        pings = {side: measure(flow, "ping", path, ECHO_PORT) for side, path in paths.items()}
        yield interleave(rtt, rounds, pings).reading("bridge.c2c.rtt")
        rushes = {side: measure(flow, "connect", path, SERVE_PORT) for side, path in paths.items()}
        yield interleave(rate, rounds, rushes).reading("bridge.c2c.connections")


def serve(stack: ExitStack, context: Context, netns: str) -> None:
    """Echo and short connections are answered in a namespace."""
    flow = context.programs["flow"]
    stack.enter_context(background(netns, flow, "echo", ECHO_PORT))
    stack.enter_context(background(netns, flow, "serve", SERVE_PORT))


def measure(flow: str, kind: str, path: Path, port: str) -> Callable[[], float]:
    """A side: one slice of a measurement of flow.c."""
    netns, address = path
    return lambda: float(run(netns, flow, kind, address, port, SLICE_MS))


def stream(netns: str, address: str) -> float:
    """A side: bits a second that arrived."""
    said = json.loads(run(netns, "iperf3", "-c", address, "-t", _STREAM_S, "-J"))
    return float(said["end"]["sum_received"]["bits_per_second"])
