"""cluster.*: how long a cluster takes to form, and a name to be reached on another host."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial

from bench import swarms
from bench.allocation import allocations
from bench.asking import ASK
from bench.context import FAULTS, OURS, THEIRS, Context, Samples, percentile
from bench.engines import Engine, Fairlead
from bench.hosts import NotMeasured
from bench.report import Reading
from bench.services import services
from bench.traffic import SERVE_PORT

_MILLI = 1e3
_HOSTS = 3
NETWORK = "sea"
#: Bytes of the head of each frame of a container's output (Docker Engine API, attach).
_FRAME_BYTES = 8
#: Seconds a name may take to be reached before we give up, and to be gone after its host is.
_REACHED_S, _GONE_S = 20.0, 90.0

#: Runs in a container's namespace: asks for a name and connects, again and again; says when both worked, by the clock
#: that all processes of a machine share. Arguments: name, port, seconds.
_PROBE = f"""{ASK}
name, port, end = sys.argv[1], int(sys.argv[2]), time.monotonic() + float(sys.argv[3])
print("ready", flush=True)
while time.monotonic() < end:
    addresses = asked(name)
    if addresses and reached(addresses[0], port):
        print(time.monotonic(), flush=True)
        break
    time.sleep(0.001)
"""
#: The same: waits for a name, says so, and says when nobody has it any more.
_LOSS_PROBE = f"""{ASK}
name, end = sys.argv[1], time.monotonic() + float(sys.argv[2])
while not asked(name) and time.monotonic() < end:
    time.sleep(0.01)
print("ready", flush=True)
while time.monotonic() < end:
    if asked(name) == []:
        print(time.monotonic(), flush=True)
        break
    time.sleep(0.005)
"""


def clusters(context: Context) -> Iterator[Reading]:
    """cluster.form, cluster.name_visible, cluster.name_gone"""
    with ExitStack() as stack:
        form, visible, started, gone = Samples(), Samples(), Samples(), Samples()
        kinds: tuple[tuple[str, type[Engine], int, int], ...] = (
            (OURS, Fairlead, context.count(100, 10), context.count(8, 2)),
            (THEIRS, swarms.SwarmDocker, context.count(10, 3), context.count(2, 1)),
        )
        for side, kind, rounds, losses in kinds:
            try:
                swarm = swarms.Swarm(stack, kind, context.folder, context.programs, _HOSTS)
                form.take(side, swarm.form)
                if side in form.why:
                    raise NotMeasured(form.why[side])
                swarm.overlay(NETWORK)
                swarm.engines[2].container("watcher", NETWORK)
                for number in range(rounds):
                    called: list[float] = []
                    if not visible.take(side, partial(_visible, swarm, number, called)):
                        break
                    started.take(side, called.pop)
                swarm.engines[1].container("lost", NETWORK)
                for _ in range(losses):
                    gone.take(side, partial(_lost, swarm))
            except FAULTS as fault:
                for samples in (form, visible, started, gone):
                    samples.why.setdefault(side, str(fault)[:300])
        yield form.reading("cluster.form")
        yield visible.reading("cluster.name_visible.p50", _MILLI)
        yield visible.reading("cluster.name_visible.p99", _MILLI, percentile(0.99))
        yield started.reading("cluster.name_visible.start", _MILLI)
        yield gone.reading("cluster.name_gone")
        yield gone.reading("cluster.name_gone.worst", statistic=max)


def _visible(swarm: swarms.Swarm, number: int, called: list[float]) -> float:
    """Seconds from when a container's process on the first host listens until it is reached by name from the last;
    ``called`` gets the seconds since its start was asked for."""
    name, (first, *_, last) = f"w{number}", swarm.engines
    program = [sys.executable, "-c", _PROBE, name, SERVE_PORT, str(_REACHED_S)]
    enter = ["nsenter", f"--net={last.netns('watcher')}"]
    with subprocess.Popen([*enter, *program], stdout=subprocess.PIPE, text=True) as probe:
        assert probe.stdout is not None
        probe.stdout.readline()
        took = first.container(name, NETWORK, command=("/flow", "serve", SERVE_PORT))
        begun = time.monotonic() - took
        said = probe.stdout.read()
    if not said:
        raise NotMeasured(f"{name} was not reached within {_REACHED_S:.0f} s")
    listened = _listened(first, name)
    first.remove(name)
    called.append(float(said) - begun)
    return max(0.0, float(said) - listened)


def _listened(engine: Engine, name: str) -> float:
    """When a container's process listened, as it said itself; an engine may be slow to write down what it hears."""
    deadline = time.monotonic() + _REACHED_S
    while time.monotonic() < deadline:
        _, log = engine.api.exchange("GET", f"/containers/{name}/logs?stdout=1", None)
        if len(log) > _FRAME_BYTES:
            return float(log[_FRAME_BYTES:])
        time.sleep(0.01)
    raise NotMeasured(f"{name} said nothing within {_REACHED_S:.0f} s")


def _lost(swarm: swarms.Swarm) -> float:
    """Seconds from when a worker's host is gone from the underlay until its container's name is gone from the DNS of another
    worker. The host comes back."""
    host, last = swarm.engines[1].host, swarm.engines[-1]
    program = [sys.executable, "-c", _LOSS_PROBE, "lost", str(_GONE_S)]
    enter = ["nsenter", f"--net={last.netns('watcher')}"]
    with subprocess.Popen([*enter, *program], stdout=subprocess.PIPE, text=True) as probe:
        assert probe.stdout is not None
        probe.stdout.readline()
        time.sleep(random.uniform(1.0, 2.0))  # probes go round once a second: the host goes at any point of it
        host.run("ip", "link", "set", swarms.UNDERLAY_LINK, "down")
        try:
            begun = time.monotonic()
            said = probe.stdout.read()
        finally:
            host.run("ip", "link", "set", swarms.UNDERLAY_LINK, "up")
    if not said:
        raise NotMeasured(f"the name was still there after {_GONE_S:.0f} s")
    return float(said) - begun


MEASUREMENTS = (
    (("cluster.alloc",), allocations),
    (("cluster.form", "cluster.name_visible", "cluster.name_gone"), clusters),
    (("cluster.service_create",), services),
)
