"""http.mesh.cluster: from the request for another label until the proxy of every host leads by it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from bench import swarms
from bench.context import Context, percentile
from bench.engines import Engine, Fairlead
from bench.hosts import NotMeasured
from bench.report import Reading
from bench.traffic import SERVE_PORT

NETWORK = "lake"
_HOSTS, _SERVICES, _LABOURED, _TASKS = 3, 200, 6, 5
#: Seconds until all that was asked for stands; milliseconds in a second.
_READY_S, _MILLI = 120.0, 1e3

#: Runs on a host: for each name that it reads asks the host's proxy for it, again and again, until that knows the name (who has
#: no task is answered with 503, who is unknown with 404); then says when, by the clock that all processes of a machine share.
_PROBE = """
import http.client, sys, time
for line in sys.stdin:
    name, link = line.strip(), None
    while True:
        try:
            link = link or http.client.HTTPConnection("127.0.0.1", 80, timeout=10)
            link.request("GET", "/", headers={"Host": name})
            reply = link.getresponse()
            reply.read()
            if reply.status != 404:
                break
        except (OSError, http.client.HTTPException):
            link = None
        time.sleep(0.003)
    print(time.monotonic(), flush=True)
"""


def cluster(context: Context) -> Iterator[Reading]:
    """http.mesh.cluster"""
    with ExitStack() as stack:
        folder = context.folder / "http-cluster"
        folder.mkdir()
        swarm = swarms.Swarm(stack, Fairlead, folder, context.programs, _HOSTS)
        swarm.form()
        swarm.overlay(NETWORK)
        first = swarm.engines[0]
        first.api.call("POST", "/fairlead/http-mesh")
        for number in range(_SERVICES):
            first.api.call("POST", "/services/create", _wanted(number, first.image()))
        _await(swarm)
        probes = [_probe(stack, engine) for engine in swarm.engines]
        took = [_change(first, probes, number) * _MILLI for number in range(context.count(200, 40))]
        note = f"p50 {percentile(0.5)(took):.0f} ms; {_HOSTS} hosts, {_SERVICES} services, {_LABOURED * _TASKS} tasks"
        yield Reading("http.mesh.cluster", percentile(0.99)(took), note=note)


def _wanted(number: int, image: str, host: str = "") -> dict[str, object]:
    words = {"Image": image, "Command": ["/flow", "serve", SERVE_PORT], "StopSignal": "SIGKILL"}
    return {
        "Name": f"s{number}",
        "Labels": {"fairlead.http.host": host or f"s{number}.test", "fairlead.http.port": SERVE_PORT},
        "TaskTemplate": {"ContainerSpec": words, "Networks": [{"Target": NETWORK}]},
        "Mode": {"Replicated": {"Replicas": _TASKS if number < _LABOURED else 0}},
    }


def _await(swarm: swarms.Swarm) -> None:
    """Until each host's proxy has all routes and tasks."""
    deadline = time.monotonic() + _READY_S
    for engine in swarm.engines:
        while True:
            found: Any = engine.api.call("GET", "/fairlead/http-mesh")
            tasks = sum(route["Tasks"] for route in found["Routes"])
            if (len(found["Routes"]), tasks) == (_SERVICES, _LABOURED * _TASKS) and found["Proxy"]["Running"]:
                break
            if time.monotonic() > deadline:
                raise NotMeasured(
                    f"{len(found['Routes'])} routes, {tasks} tasks after {_READY_S:.0f} s: {found['Warnings']}"
                )
            time.sleep(0.1)


def _probe(stack: ExitStack, engine: Engine) -> subprocess.Popen[str]:
    command = ["nsenter", f"--net={engine.host.netns}", sys.executable, "-c", _PROBE]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    stack.callback(process.communicate)
    stack.callback(process.kill)
    return process


def _change(first: Engine, probes: list[subprocess.Popen[str]], number: int) -> float:
    """Seconds from the request until the last host's proxy leads by another label of a service."""
    chosen = number % _SERVICES
    host = f"change{number}.test"
    for probe in probes:
        assert probe.stdin is not None
        probe.stdin.write(f"{host}\n")
        probe.stdin.flush()
    found: Any = first.api.call("GET", f"/services/s{chosen}")
    wanted = _wanted(chosen, first.image(), host)
    begun = time.monotonic()
    first.api.call("POST", f"/services/s{chosen}/update?version={found['Version']['Index']}", wanted)
    ends = []
    for probe in probes:
        assert probe.stdout is not None
        ends.append(float(probe.stdout.readline()))
    return max(ends) - begun


MEASUREMENTS = ((("http.mesh.cluster",), cluster),)
