"""overlay.*: packets between containers of two hosts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial

from bench import swarms
from bench.context import BY_HAND, FAULTS, OURS, THEIRS, Context, Samples, interleave
from bench.engines import Engine, Fairlead
from bench.hosts import background
from bench.peers import peers
from bench.report import Reading
from bench.traffic import ECHO_PORT, LISTEN_S, SERVE_PORT, Path, measure, serve, stream

_GIGA = 1e-9
NETWORK = "sea"


def between_hosts(context: Context) -> Iterator[Reading]:
    """overlay.throughput, overlay.rtt, overlay.connections"""
    with ExitStack() as stack:
        throughput, rtt, rate = Samples(), Samples(), Samples()
        first, second = swarms.by_hand(stack, context.programs)
        paths: dict[str, Path] = {BY_HAND: (first.netns, second.address)}
        servers = [second.netns]
        kinds: tuple[tuple[str, type[Engine]], ...] = ((OURS, Fairlead), (THEIRS, swarms.SwarmDocker))
        for side, kind in kinds:
            try:
                path, server = _pair(stack, context, kind)
            except FAULTS as fault:
                reason = " ".join(str(fault).split())[:300]
                for samples in (throughput, rtt, rate):
                    samples.why[side] = reason
                continue
            paths[side] = path
            servers.append(server)
        for netns in servers:
            serve(stack, context, netns)
            stack.enter_context(background(netns, "iperf3", "-s"))
        time.sleep(LISTEN_S)
        rounds = context.count(7, 2)
        flow = context.programs["flow"]
        streams = {side: partial(stream, *path) for side, path in paths.items()}
        yield interleave(throughput, rounds, streams).reading("overlay.throughput", _GIGA)
        pings = {side: measure(flow, "ping", path, ECHO_PORT) for side, path in paths.items()}
        yield interleave(rtt, rounds, pings).reading("overlay.rtt")
        rushes = {side: measure(flow, "connect", path, SERVE_PORT) for side, path in paths.items()}
        yield interleave(rate, rounds, rushes).reading("overlay.connections")


def _pair(stack: ExitStack, context: Context, kind: type[Engine]) -> tuple[Path, str]:
    """A cluster of two hosts with a container on each: from where to where is measured, and where is answered."""
    swarm = swarms.Swarm(stack, kind, context.folder, context.programs, 2)
    swarm.form()
    swarm.overlay(NETWORK)
    one, two = swarm.engines
    two.container("two", NETWORK)
    one.container("one", NETWORK)
    return (one.netns("one"), two.address("two", NETWORK)), two.netns("two")


MEASUREMENTS = (
    (("overlay.throughput", "overlay.rtt", "overlay.connections"), between_hosts),
    (("overlay.peers.10000", "overlay.peers.change"), peers),
)
