"""daemon.* and cli.*: what the programs themselves cost."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from bench.context import BY_HAND, FAULTS, OURS, THEIRS, Context, Samples, interleave
from bench.engines import Engine
from bench.hosts import NotMeasured
from bench.report import Reading

_MS, _MB, _KB = 1e3, 1e-6, 1e-3
#: daemon.restart: containers, each in every network.
_CONTAINERS = 5
#: Time between two packets, in seconds: a gap of this length would be seen.
_PING_EVERY_S = 0.01
_SETTLE_S = 0.5
#: Seconds after which a command hangs.
_COMMAND_S = 20.0


def daemons(context: Context) -> Iterator[Reading]:
    """daemon.rss.*, daemon.start, daemon.restart"""
    idle, growth, start = Samples(), Samples(), Samples()
    with context.engines(idle) as engines:
        growth.why.update(idle.why)
        start.why.update(idle.why)
        for side, engine in engines.items():
            idle.take(side, lambda engine=engine: float(engine.memory_bytes()))  # type: ignore[misc]
            for _ in range(context.count(7, 2)):
                start.take(side, partial(_restart, engine))
        for side, engine in engines.items():
            networks = context.count(50, 15) if side == OURS else context.count(10, 4)
            growth.take(side, partial(_growth, engine, networks))
    yield idle.reading("daemon.rss.idle", _MB)
    yield growth.reading("daemon.rss.endpoint", _KB)
    yield start.reading("daemon.start", _MS)
    yield from _restarts(context)


def _restart(engine: Engine) -> float:
    engine.stop()
    return engine.start()


def _growth(engine: Engine, networks: int) -> float:
    """Bytes for each endpoint. The networks are there before; a first round fills what is kept for ever."""
    containers = [f"c{number}" for number in range(_CONTAINERS)]
    for name in containers:
        engine.container(name, "bridge")
    for number in range(networks + 1):
        engine.network(f"g{number}")
    for name in containers:
        engine.connect(f"g{networks}", name)
    time.sleep(_SETTLE_S)
    before = engine.memory_bytes()
    for number in range(networks):
        for name in containers:
            engine.connect(f"g{number}", name)
    time.sleep(_SETTLE_S)
    return (engine.memory_bytes() - before) / (networks * _CONTAINERS)


def _restarts(context: Context) -> Iterator[Reading]:
    """The daemon goes and comes while containers talk."""
    sizes = {OURS: context.count(100, 10), THEIRS: context.count(10, 0)}
    seconds, lost, notes = Samples(), Samples(), []
    with context.engines(seconds, peer=sizes[THEIRS] > 0) as engines:
        lost.why.update(seconds.why)
        for side, engine in engines.items():
            try:
                took, gone = _restart_under_load(engine, sizes[side])
            except FAULTS as fault:
                seconds.why[side] = str(fault)
                continue
            seconds.values[side], lost.values[side] = [took], [gone]
            notes.append(f"{side}: {sizes[side]} networks of {_CONTAINERS} endpoints")
    yield seconds.reading("daemon.restart", _MS, note="; ".join(notes))
    yield lost.reading("daemon.restart.lost", note=f"a packet every {_PING_EVERY_S * _MS:g} ms")


def _restart_under_load(engine: Engine, networks: int) -> tuple[float, float]:
    containers = [f"c{number}" for number in range(_CONTAINERS)]
    for name in containers:
        engine.container(name, "bridge")
    for number in range(networks):
        engine.network(f"r{number}")
        for name in containers:
            engine.connect(f"r{number}", name)
    ping = ["ping", "-n", "-q", "-i", str(_PING_EVERY_S), engine.address("c1", "r0")]
    command = ["nsenter", f"--net={engine.netns('c0')}", *ping]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as pinger:
        try:
            time.sleep(_SETTLE_S)
            took = _restart(engine)
            time.sleep(_SETTLE_S)
        finally:
            pinger.send_signal(2)
        said = pinger.communicate(timeout=10)[0]
    found = re.search(r"(\d+) packets transmitted, (\d+) received", said)
    if not found or int(found[2]) == 0:
        raise NotMeasured("the containers did not reach each other")
    # the last one may be under way when the counting ends
    return took, max(0.0, int(found[1]) - int(found[2]) - 1)


def commands(context: Context) -> Iterator[Reading]:
    """cli.start.*"""
    python, rounds = sys.executable, context.count(25, 9)
    ours = str(Path(python).parent / "fairlead")
    with ExitStack() as stack:
        listed, helped = Samples(), Samples()
        engines = stack.enter_context(context.engines(listed))
        helped.why.update(listed.why)
        programs = {OURS: [ours, "-H"], THEIRS: ["docker", "-H"]}
        lists: dict[str, Callable[[], float]] = {
            side: partial(_lasts, *programs[side], f"unix://{engine.socket}", "network", "ls")
            for side, engine in engines.items()
        }
        bare = {BY_HAND: partial(_lasts, python, "-c", "pass")}
        helps = {OURS: partial(_lasts, ours, "--help"), THEIRS: partial(_lasts, "docker", "--help")}
        interleave(Samples(), 1, {**lists, **bare})  # what is read for the first time is not measured
        yield interleave(listed, rounds, {**lists, **bare}).reading("cli.start.network_ls", _MS)
        yield interleave(helped, rounds, {**helps, **bare}).reading("cli.start.help", _MS)


def _lasts(*words: str) -> float:
    """Seconds until a command has ended."""
    start = time.perf_counter()
    try:
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=_COMMAND_S
        )
    except subprocess.TimeoutExpired:
        raise NotMeasured(f"{Path(words[0]).name} {words[-1]} did not end within {_COMMAND_S:g} s") from None
    took = time.perf_counter() - start
    if done.returncode:
        raise NotMeasured(f"{Path(words[0]).name} {words[-1]}: {done.stderr.strip()[-200:]}")
    return took
