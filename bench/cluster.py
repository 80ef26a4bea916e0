"""cluster.*: how long a cluster takes to form, and a name to be reached on another host."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial

from bench import swarms
from bench.allocation import allocations
from bench.context import FAULTS, OURS, THEIRS, Context, Samples, percentile
from bench.engines import Engine, Fairlead
from bench.hosts import NotMeasured
from bench.report import Reading
from bench.traffic import SERVE_PORT

_MILLI = 1e3
_HOSTS = 3
NETWORK = "sea"
#: Bytes of the head of each frame of a container's output (Docker Engine API, attach).
_FRAME_BYTES = 8
#: Seconds a name may take to be reached before we give up.
_REACHED_S = 20.0

#: Runs in a container's namespace: asks for a name and connects, again and again; says when both worked, by the clock
#: that all processes of a machine share. Arguments: name, port, seconds.
_PROBE = """
import socket, struct, sys, time
name, port, limit = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
question = struct.pack(">6H", 7, 0x100, 1, 0, 0, 0) + bytes([len(name)]) + name.encode() + b"\\0" + struct.pack(">2H", 1, 1)
end = time.monotonic() + limit
print("ready", flush=True)
while time.monotonic() < end:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        asked.settimeout(0.5)
        try:
            asked.sendto(question, ("127.0.0.11", 53))
            answer = asked.recv(512)
        except OSError:
            continue
    if struct.unpack_from(">H", answer, 6)[0]:
        with socket.socket() as reached:
            reached.settimeout(0.25)
            try:
                reached.connect((socket.inet_ntoa(answer[-4:]), port))
            except OSError:
                continue
        print(time.monotonic(), flush=True)
        break
    time.sleep(0.001)
"""


def clusters(context: Context) -> Iterator[Reading]:
    """cluster.form, cluster.name_visible"""
    with ExitStack() as stack:
        form, visible, started = Samples(), Samples(), Samples()
        kinds: tuple[tuple[str, type[Engine], int], ...] = (
            (OURS, Fairlead, context.count(100, 10)),
            (THEIRS, swarms.SwarmDocker, context.count(10, 3)),
        )
        for side, kind, rounds in kinds:
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
            except FAULTS as fault:
                for samples in (form, visible, started):
                    samples.why.setdefault(side, str(fault)[:300])
        yield form.reading("cluster.form")
        yield visible.reading("cluster.name_visible.p50", _MILLI)
        yield visible.reading("cluster.name_visible.p99", _MILLI, percentile(0.99))
        yield started.reading("cluster.name_visible.start", _MILLI)


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
    _, log = first.api.exchange("GET", f"/containers/{name}/logs?stdout=1", None)
    first.remove(name)
    called.append(float(said) - begun)
    return max(0.0, float(said) - float(log[_FRAME_BYTES:]))


MEASUREMENTS = (
    (("cluster.alloc",), allocations),
    (("cluster.form", "cluster.name_visible"), clusters),
)
