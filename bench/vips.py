"""vip.service.connect: connections to a real service's address, beside Docker's swarm, which needs a kernel with ip_vs."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench import swarms
from bench.context import BY_HAND, FAULTS, OURS, THEIRS, Context, Samples, interleave
from bench.engines import Engine, Fairlead
from bench.hosts import NotMeasured, run
from bench.report import Reading
from bench.traffic import SERVE_PORT, measure

_HOSTS, _REPLICAS = 2, 4
NETWORK, SERVICE = "lake", "web"
#: Seconds until all tasks run and the virtual address answers: under emulation an engine takes a minute for the first.
_ANSWER_S = 300.0
_LOOK_S = 0.2


def services(context: Context) -> Iterator[Reading]:
    """vip.service.connect"""
    rates = Samples()
    with ExitStack() as stack:
        paths: dict[str, tuple[str, str]] = {}
        kinds: tuple[tuple[str, type[Engine]], ...] = ((OURS, Fairlead), (THEIRS, swarms.SwarmDocker))
        for side, kind in kinds:
            folder = context.folder / f"vips-{side}"
            folder.mkdir()
            try:
                if side == THEIRS:
                    _need_ip_vs()
                netns, address, task = _service(context, swarms.Swarm(stack, kind, folder, context.programs, _HOSTS))
            except FAULTS as fault:
                rates.why[side] = " ".join(str(fault).split())[:300]
                continue
            paths[side] = netns, address
            paths.setdefault(BY_HAND, (netns, task))
        flow = context.programs["flow"]
        sides = {side: measure(flow, "connect", path, SERVE_PORT) for side, path in paths.items()}
        note = f"{_REPLICAS} tasks on {_HOSTS} hosts; by hand: straight to one of our tasks"
        yield interleave(rates, context.count(7, 3), sides).reading("vip.service.connect", note=note)


def _need_ip_vs() -> None:
    """Docker's virtual addresses are the kernel's IP virtual server."""
    subprocess.run(["modprobe", "-q", "ip_vs"], check=False)
    if not Path("/proc/net/ip_vs").exists():
        raise NotMeasured("this kernel has no ip_vs; ./run bench balancing --vm measures on one that has")


def _service(context: Context, swarm: swarms.Swarm) -> tuple[str, str, str]:
    """Where a client is, the service's virtual address, and the address of one of its tasks; all of them answer."""
    swarm.form()
    swarm.overlay(NETWORK)
    first = swarm.engines[0]
    words = {"Image": first.image(), "Command": ["/flow", "serve", SERVE_PORT], "StopSignal": "SIGKILL"}
    task = {"ContainerSpec": words, "Networks": [{"Target": NETWORK}]}
    wanted = {"Name": SERVICE, "TaskTemplate": task, "Mode": {"Replicated": {"Replicas": _REPLICAS}}}
    first.api.call("POST", "/services/create", wanted)
    first.container("client", NETWORK)
    deadline = time.monotonic() + _ANSWER_S
    while len(addresses := _running(first)) < _REPLICAS:
        if time.monotonic() > deadline:
            raise NotMeasured(f"{len(addresses)} of {_REPLICAS} tasks run after {_ANSWER_S:.0f} s")
        time.sleep(_LOOK_S)
    found: Any = first.api.call("GET", f"/services/{SERVICE}")
    vip = found["Endpoint"]["VirtualIPs"][0]["Addr"].partition("/")[0]
    netns = first.netns("client")
    _wait_answer(context, netns, vip, deadline)
    return netns, vip, addresses[0]


def _running(engine: Engine) -> list[str]:
    """Addresses of the tasks that run."""
    tasks: Any = engine.api.call("GET", "/tasks")
    states = [one for one in tasks if one["Status"]["State"] == "running"]
    return [one["NetworksAttachments"][0]["Addresses"][0].partition("/")[0] for one in states]


def _wait_answer(context: Context, netns: str, address: str, deadline: float) -> None:
    while True:
        try:
            run(netns, context.programs["flow"], "connect", address, SERVE_PORT, "1")
            return
        except NotMeasured as fault:
            if time.monotonic() > deadline:
                raise NotMeasured(f"the virtual address does not answer: {fault}") from None
        time.sleep(_LOOK_S)


MEASUREMENTS = ((("vip.service.connect",), services),)
