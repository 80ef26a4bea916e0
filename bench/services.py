"""cluster.service_create: from a service's creation until all its tasks are reached by name, beside bare containers."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from bench import swarms
from bench.asking import ASK
from bench.context import BY_HAND, FAULTS, OURS, THEIRS, Context, Samples
from bench.engines import Engine, Fairlead
from bench.hosts import Host, NotMeasured
from bench.report import Reading
from bench.traffic import SERVE_PORT

_HOSTS, _REPLICAS = 3, 30
NETWORK = "lake"
_SERVICE = "many"
#: Seconds until all must be reached, and until all must be gone again.
_REACHED_S = 45.0
_GONE_S = 45.0
_LOOK_S = 0.02

#: Runs in a container's namespace: asks for a name and connects to each address that is answered, until ``count`` were
#: reached; says when, by the clock that all processes of a machine share. Arguments: name, port, count, seconds.
_PROBE = f"""{ASK}
name, port, count, end = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), time.monotonic() + float(sys.argv[4])
found = set()
print("ready", flush=True)
while len(found) < count and time.monotonic() < end:
    found |= {{address for address in set(asked(name, 0.05) or ()) - found if reached(address, port)}}
    time.sleep(0.005)
print(time.monotonic() if len(found) == count else f"only {{len(found)}}", flush=True)
"""


def services(context: Context) -> Iterator[Reading]:
    """cluster.service_create"""
    samples = Samples()
    rounds = context.count(3, 1)
    with ExitStack() as stack:
        sides: dict[str, swarms.Swarm] = {}
        kinds: tuple[tuple[str, type[Engine]], ...] = ((OURS, Fairlead), (THEIRS, swarms.SwarmDocker))
        for side, kind in kinds:
            folder = context.folder / f"services-{side}"
            folder.mkdir()
            try:
                swarm = swarms.Swarm(stack, kind, folder, context.programs, _HOSTS)
                swarm.form()
                swarm.overlay(NETWORK)
                swarm.engines[-1].container("asker", NETWORK)
                sides[side] = swarm
            except FAULTS as fault:
                samples.why[side] = str(fault)[:300]
        bare = Bare(context, stack)
        for number in range(rounds):
            samples.take(BY_HAND, partial(bare.start, number))
            for side, swarm in sides.items():
                samples.take(side, partial(created, swarm, number))
        yield samples.reading("cluster.service_create")


def created(swarm: swarms.Swarm, number: int) -> float:
    """Seconds from the request until every task was reached by name from the last host. The service goes again."""
    first, last = swarm.engines[0], swarm.engines[-1]
    name = f"{_SERVICE}{number}"
    program = [sys.executable, "-c", _PROBE, f"tasks.{name}", SERVE_PORT, str(_REPLICAS), str(_REACHED_S)]
    with subprocess.Popen(
        ["nsenter", f"--net={last.netns('asker')}", *program], stdout=subprocess.PIPE, text=True
    ) as probe:
        assert probe.stdout is not None
        probe.stdout.readline()
        begun = time.monotonic()
        first.api.call("POST", "/services/create", _wanted(name, first.image()))
        said = probe.stdout.read().strip()
    try:
        return float(said) - begun
    except ValueError:
        raise NotMeasured(f"{said or 'none'} of {_REPLICAS} tasks reached in {_REACHED_S:.0f} s") from None
    finally:
        first.api.call("DELETE", f"/services/{name}")
        _gone(swarm)


def _wanted(name: str, image: str) -> dict[str, object]:
    words = {"Image": image, "Command": ["/flow", "serve", SERVE_PORT], "StopSignal": "SIGKILL"}
    task = {"ContainerSpec": words, "Networks": [{"Target": NETWORK}]}
    return {"Name": name, "TaskTemplate": task, "Mode": {"Replicated": {"Replicas": _REPLICAS}}}


def _gone(swarm: swarms.Swarm) -> None:
    deadline = time.monotonic() + _GONE_S
    while time.monotonic() < deadline:
        left: list[Any] = []
        for engine in swarm.engines:
            found: Any = engine.api.call("GET", "/containers/json?all=1")
            left += [one for one in found if "com.docker.swarm.task.id" in one["Labels"]]
        if not left:
            return
        time.sleep(_LOOK_S)
    raise NotMeasured(f"{len(left)} containers are left after {_GONE_S:.0f} s")


class Bare:
    """Containers by ``runc run`` alone, with no network but loopback, on as many hosts: one after the other on each."""

    def __init__(self, context: Context, stack: ExitStack) -> None:
        self._hosts = [Host(f"bare-{number}", context.programs) for number in range(_HOSTS)]
        for host in self._hosts:
            stack.callback(host.close)
        self._bundle = context.folder / "bare"
        rootfs = self._bundle / "rootfs"
        rootfs.mkdir(parents=True)
        (rootfs / "flow").write_bytes(Path(context.programs["flow"]).read_bytes())
        (rootfs / "flow").chmod(0o755)
        subprocess.run(["runc", "spec"], cwd=self._bundle, check=True)
        file = self._bundle / "config.json"
        spec = json.loads(file.read_text())
        spec["process"] |= {"terminal": False, "args": ["/flow", "serve", SERVE_PORT]}
        file.write_text(json.dumps(spec))

    def start(self, number: int) -> float:
        """Seconds for all of them."""
        names = [f"fairlead-bare-{number}-{place}" for place in range(_REPLICAS)]
        shares = [(host, names[place::_HOSTS]) for place, host in enumerate(self._hosts)]
        try:
            begun = time.perf_counter()
            with ThreadPoolExecutor(max_workers=_HOSTS) as pool:
                list(pool.map(lambda share: self._run(*share), shares))
            return time.perf_counter() - begun
        finally:
            for host, own in shares:
                for name in own:
                    command = host.command(["runc", "--root", "/run/bare", "delete", "--force", name])
                    subprocess.run(command, stderr=subprocess.DEVNULL, check=False)

    def _run(self, host: Host, names: list[str]) -> None:
        for name in names:
            words = ["runc", "--root", "/run/bare", "run", "--detach", "--bundle", str(self._bundle), name]
            done = subprocess.run(
                host.command(words),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=False,
            )
            if done.returncode:
                raise NotMeasured(f"runc run ended with {done.returncode}")
