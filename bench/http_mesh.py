"""http.*: requests through a node's proxy, beside a HAProxy that somebody wrote the configuration of, and while it changes."""

from __future__ import annotations

import asyncio
import contextlib
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

from bench import http_cluster
from bench.context import BY_HAND, OURS, Context, Samples, interleave, percentile
from bench.hosts import NotMeasured
from bench.report import Reading
from fairlead.daemon.http_proxy import HttpProxy
from fairlead.mesh import labels
from fairlead.mesh.wish import Frontends, HttpService, HttpTask, Wish
from fairlead.model.errors import NetError
from fairlead.runtime.haproxy import connections_max

HOST = "shop.example"
_PORT, _BARE_PORT, _TASK_PORT = 80, 8080, 8000
_TASKS = tuple(f"127.0.3.{number}" for number in range(1, 6))
_SERVICES, _CHANGES = 200, 100
#: Seconds of one measurement, connections of it, and seconds until what was started answers.
_SLICE_S, _CONNECTIONS, _ANSWER_S = 2, 20, 30.0

_NGINX = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{
    access_log off; keepalive_requests 100000000;
    client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
    uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    server {{ listen {port}; location / {{ return 200 "ok"; }} }}
}}
"""
#: One host, the same tasks, and the log that Debian's configuration asks for.
_BARE = """
global
    maxconn {connections}
    log stdout format raw local0 info
defaults
    mode http
    log global
    option httplog
    timeout connect 5s
    timeout client 50s
    timeout server 50s
frontend main
    bind 127.0.0.1:{port}
    use_backend tasks if {{ req.hdr(host) -i {host} }}
backend tasks
    balance roundrobin
{servers}
"""


class _Node:
    """The proxy of one node, run by hand: calls are made to their end."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self._runner = stack.enter_context(asyncio.Runner())
        self._proxy = HttpProxy(folder)
        stack.callback(lambda: self._runner.run(self._proxy.stop()))

    def apply(self, *services: HttpService) -> None:
        """Have it do this."""
        try:
            self._runner.run(self._proxy.apply(Wish(Frontends(), services)))
        except NetError as fault:
            raise NotMeasured(str(fault)) from fault

    @property
    def reloads(self) -> int:
        """How often it was loaded anew."""
        return self._proxy.status().reloads


def service(name: str, host: str, tasks: tuple[str, ...] = _TASKS) -> HttpService:
    """A service with a route and ready tasks."""
    said = {"fairlead.http.host": host, "fairlead.http.port": str(_TASK_PORT)}
    return HttpService(f"id{name}", name, labels.parse(said, name), tuple(HttpTask(task) for task in tasks))


def requests(context: Context) -> Iterator[Reading]:
    """http.mesh, http.mesh.changes"""
    rates = Samples()
    with ExitStack() as stack:
        node = _prepare(stack, context)
        shop = service("shop", HOST)
        node.apply(shop)
        _bare(stack, context)
        sides = {OURS: partial(_rate, _PORT), BY_HAND: partial(_rate, _BARE_PORT)}
        for port in (_PORT, _BARE_PORT):
            _wait_for(port)
        note = f"{_CONNECTIONS} connections to five tasks; both write an access log"
        yield interleave(rates, context.count(9, 3), sides).reading("http.mesh", note=note)
        yield _changed(node, shop)


def live(context: Context) -> Iterator[Reading]:
    """http.mesh.live"""
    with ExitStack() as stack:
        node = _prepare(stack, context)
        crowd = [service(f"s{number:03}", f"s{number}.example") for number in range(_SERVICES)]
        node.apply(*crowd)
        _wait_for(_PORT)
        took = []
        for number in range(context.count(100, 20)):
            host = f"new{number}.example"
            crowd[number] = replace(crowd[number], routes=service("x", host).routes)
            begun = time.monotonic()
            node.apply(*crowd)
            if not _answers(_PORT, host):
                raise NotMeasured(f"{host} is not there after it was told")
            took.append((time.monotonic() - begun) * 1000)
        yield Reading("http.mesh.live", percentile(0.99)(took), note=f"p50 {percentile(0.5)(took):.1f} ms; one node")


def _changed(node: _Node, shop: HttpService) -> Reading:
    """Requests that failed while services came, went and were scaled, and every tenth time all was loaded anew."""
    asking = subprocess.Popen(_wrk(_PORT, seconds=12), stdout=subprocess.PIPE, text=True)
    try:
        for number in range(_CHANGES):
            others = [service(f"o{one}", f"o{one}.example", _TASKS[:one]) for one in range(number % 5)]
            node.apply(replace(shop, tasks=shop.tasks[number % 4 :]), *others, _sticky(number))
            time.sleep(0.05)
        said, _ = asking.communicate(timeout=60)
    finally:
        asking.kill()
        asking.wait()
    asked = _count(r"(\d+) requests in", said)
    note = f"{asked:,.0f} requests, {_CHANGES} changes, {node.reloads} reloads"
    return Reading("http.mesh.changes", _failures(said), note=note)


def _sticky(number: int) -> HttpService:
    """A service whose cookie has another name each tenth time, for which there is no back end yet."""
    said = {"fairlead.http.host": "sticky.example", "fairlead.http.sticky": f"cookie{number // 10}"}
    return HttpService("idsticky", "sticky", labels.parse(said, "sticky"), (HttpTask(_TASKS[0]),))


def _prepare(stack: ExitStack, context: Context) -> _Node:
    """Tasks, and a proxy that nothing was said to."""
    folder = Path(stack.enter_context(_folder(context)))
    (folder / "nginx.conf").write_text(_NGINX.format(folder=folder, port=_TASK_PORT))
    _start(stack, ["nginx", "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf")])
    _wait_for(_TASK_PORT)
    return _Node(stack, folder / "mesh")


@contextlib.contextmanager
def _folder(context: Context) -> Iterator[str]:
    folder = context.folder / f"http-mesh-{time.monotonic_ns()}"
    folder.mkdir()
    yield str(folder)


def _bare(stack: ExitStack, context: Context) -> None:
    servers = "\n".join(f"    server t{number} {task}:{_TASK_PORT}" for number, task in enumerate(_TASKS))
    path = context.folder / "bare.cfg"
    path.write_text(_BARE.format(port=_BARE_PORT, host=HOST, servers=servers, connections=connections_max()))
    log = stack.enter_context((context.folder / "bare.log").open("ab"))
    _start(stack, ["haproxy", "-db", "-f", str(path)], stdout=log.fileno())


def _start(stack: ExitStack, command: list[str], stdout: int = subprocess.DEVNULL) -> None:
    try:
        # A session of its own is a group of its own for Linux' scheduler, as the proxy has it.
        started = subprocess.Popen(command, stdout=stdout, stderr=subprocess.DEVNULL, start_new_session=True)
    except OSError as fault:
        raise NotMeasured(f"{command[0]}: {fault.strerror}") from fault
    stack.callback(started.wait)
    stack.callback(started.terminate)


def _wrk(port: int, seconds: int = _SLICE_S) -> list[str]:
    words = ["wrk", "-t1", f"-c{_CONNECTIONS}", f"-d{seconds}s", "-H", f"Host: {HOST}"]
    return [*words, f"http://127.0.0.1:{port}/"]


def _rate(port: int) -> float:
    said = subprocess.run(_wrk(port), capture_output=True, text=True, check=True, timeout=60).stdout
    if _failures(said):
        raise NotMeasured(f"{_failures(said):.0f} requests failed")
    return _count(r"Requests/sec:\s*([\d.]+)", said)


def _count(pattern: str, said: str) -> float:
    """A number in what wrk says."""
    found = re.search(pattern, said)
    if found is None:
        raise NotMeasured("wrk gave no number")
    return float(found[1])


def _failures(said: str) -> float:
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", said)
    strange = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    return float(sum(map(int, errors.groups())) if errors else 0) + float(strange[1] if strange else 0)


def _answers(port: int, host: str) -> bool:
    words = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-H", f"Host: {host}", f"http://127.0.0.1:{port}/"]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=60).stdout == "200"


def _wait_for(port: int) -> None:
    """Until somebody listens."""
    deadline = time.monotonic() + _ANSWER_S
    while subprocess.run(["curl", "-s", f"http://127.0.0.1:{port}/"], capture_output=True, check=False).returncode:
        if time.monotonic() > deadline:
            raise NotMeasured(f"nobody answers at port {port}")
        time.sleep(0.05)


MEASUREMENTS = (
    (("http.mesh", "http.mesh.changes"), requests),
    (("http.mesh.live",), live),
    *http_cluster.MEASUREMENTS,
)
