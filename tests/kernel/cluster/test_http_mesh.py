"""The HTTP mesh on three hosts: one port of every node, services behind it by host name, wherever their tasks are."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.kernel.cluster.bed import PROGRAM_S, SEA
from tests.kernel.cluster.services import HEALTH, Fleet, spec
from tests.kernel.http_mesh.certificates import pem
from tests.kernel.one_host.waiting import until

from fairlead.api.client import ApiError

#: Answers HTTP on the port ``argv[1]`` with who it is, and what it was asked with. Told to end, it ends when nobody has asked
#: for a while: what was sent before may still lie unread.
_SERVE = """
import http.server, json, os, signal, socket, sys, threading, time
asking, lock, last = set(), threading.Lock(), [0.0]
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        with lock:
            asking.add(self)
        try:
            self.answer()
        finally:
            with lock:
                asking.discard(self)
                last[0] = time.monotonic()
    def answer(self):
        said = {"host": os.uname().nodename, "path": self.path, "headers": {k.lower(): v for k, v in self.headers.items()}}
        body = json.dumps(said).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
    request_queue_size = 128
    daemon_threads = True
def end():
    last[0] = time.monotonic()
    while asking or time.monotonic() - last[0] < 1:
        time.sleep(0.05)
    os._exit(0)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=end).start())
Server(("::", int(sys.argv[1])), Handler).serve_forever()
"""
#: Asks for ``/`` of a host name at an address, ``rate`` times a second from four threads, in turn over connections that are
#: kept and such that are not, until its standard input ends; then says how often it was answered and what went wrong.
_LOAD = """
import http.client, json, sys, threading, time
address, name, rate, threads = sys.argv[1], sys.argv[2], float(sys.argv[3]), 4
over, answered, wrong = threading.Event(), [0] * threads, []
def ask(number):
    due, link = time.monotonic(), None
    while not over.is_set():
        try:
            link = link or http.client.HTTPConnection(address, 80, timeout=60)
            link.request("GET", "/", headers={"Host": name})
            reply = link.getresponse()
            reply.read()
            if reply.status == 200:
                answered[number] += 1
            else:
                wrong.append(reply.status)
            if number % 2 or reply.will_close:
                link.close()
                link = None
        except (OSError, http.client.HTTPException) as error:
            wrong.append(repr(error))
            link = None
        due = max(due + threads / rate, time.monotonic() - 1)
        over.wait(max(0.0, due - time.monotonic()))
asking = [threading.Thread(target=ask, args=(number,)) for number in range(threads)]
[one.start() for one in asking]
sys.stdin.read()
over.set()
[one.join() for one in asking]
print(json.dumps([sum(answered), wrong]))
"""
#: Requests a second of that load: enough that a gap of some milliseconds is met.
RATE = 200
#: A task may take long to end, which it does at once: until then a busy machine may tell all nodes. A signal that comes before
#: its program knows what to do then ends it, which process 1 would not hear.
_CALM = {"StopGracePeriod": 60 * 10**9, "Init": True}


def web(name: str, replicas: int = 1, port: int = 80, **more: Any) -> dict[str, Any]:
    """A service that answers HTTP; ``labels`` are its own."""
    labels = more.pop("labels", None) or {"fairlead.http.host": f"{name}.test"}
    command = ("/usr/bin/python3", "-c", _SERVE, str(port))
    health = HEALTH | {"Test": ["CMD", "/bin/bash", "-c", f"exec 3<>/dev/tcp/127.0.0.1/{port}"]}
    return {**spec(name, command, replicas, container={**_CALM, "Healthcheck": health}, **more), "Labels": labels}


class Meshed(Fleet):
    """Hosts with a mesh, and who asks them."""

    def on(self, host: str, *words: str) -> str:
        """What a program prints on a host, in its network."""
        entry = self.lab.entry(host, list(words), "/")
        done = subprocess.run(
            entry.arguments, env=entry.environment, capture_output=True, text=True, timeout=PROGRAM_S, check=False
        )
        return done.stdout

    def ask(self, host: str, address: str, name: str, *flags: str, path: str = "/") -> dict[str, Any]:
        """What a service says by the mesh to who asks for ``name`` at an address; ``code`` is the HTTP status."""
        form = '\n{"code": "%{http_code}", "local": "%{local_ip}"}'
        words = ("curl", "-s", "--max-time", "20", "-H", f"Host: {name}", "-w", form, *flags, f"http://{address}{path}")
        body, _, status = self.on(host, *words).rpartition("\n")
        try:
            said = json.loads(body)
        except ValueError:
            said = {"text": body}
        seen = json.loads(status or '{"code": "0"}')
        return {**said, **seen, "code": int(seen["code"])}

    def code(self, host: str, name: str) -> int:
        """The status with which a host's own mesh answers for a name."""
        return int(self.ask(host, "127.0.0.1", name)["code"])

    def answers(self, name: str, code: int = 200) -> None:
        """Wait until every host's mesh answers for a name in this way."""
        until(lambda: [self.code(host, name) for host in self.hosts] == [code] * len(self.hosts), f"{name}: {code}")

    def relabel(self, name: str, labels: dict[str, str]) -> None:
        """Give a service other labels."""
        self.change(name, {**self.service(name)["Spec"], "Labels": labels})

    def mesh(self, host: str) -> dict[str, Any]:
        """How a host has the mesh."""
        found: Any = self.api(host).get("/fairlead/http-mesh")
        return dict(found)

    def ready(self, host: str, name: str) -> int:
        """How many tasks a host's mesh has for a name."""
        return sum(one["Tasks"] for one in self.mesh(host)["Routes"] if one["Host"] == name)

    def pids(self) -> dict[str, int]:
        """The process of each host's proxy."""
        return {host: self.mesh(host)["Proxy"]["Pid"] for host in self.hosts}

    @contextmanager
    def load(self, host: str, name: str) -> Iterator[list[Any]]:
        """Somebody on a host asks for a name all the time; what came of it, once it has ended: [answered, what went wrong]."""
        entry = self.lab.entry(host, ["/usr/bin/python3", "-c", _LOAD, "127.0.0.1", name, str(RATE)], "/")
        asking = subprocess.Popen(
            entry.arguments, env=entry.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        found: list[Any] = []
        try:
            yield found
            found += json.loads(asking.communicate("", timeout=PROGRAM_S * 2)[0])
        finally:
            asking.kill()
            asking.wait()


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Meshed]:
    found = Meshed(tmp_path_factory.mktemp("mesh"), 3)
    try:
        found.network()
        said = found.cli("h1", "http-mesh", "enable")
        assert "has port 80 and 443 (TLS) of every node" in said
        for host in found.hosts:
            until(lambda host=host: found.mesh(host)["Proxy"]["Running"], f"a proxy on {host}")  # type: ignore[misc]
        yield found
    finally:
        found.close()


def test_services_share_one_port_of_every_node_by_host_name(fleet: Meshed) -> None:
    fleet.create(web("shop", 3))
    fleet.create(
        web("blog", 1, 8080, labels={"com.docker.ucp.mesh.http": "external_route=http://blog.test,internal_port=8080"})
    )
    tasks = {fleet.settled(name, count)[0]["ServiceID"]: name for name, count in (("shop", 3), ("blog", 1))}
    assert len(tasks) == 2
    fleet.answers("shop.test")
    fleet.answers("blog.test")
    place = {host: layout.address_v4 for host, layout in fleet.hosts.items()}
    for asker in fleet.hosts:
        for asked, address in place.items():
            said = fleet.ask(asker, address, "blog.test")
            assert said["code"] == 200, said
            assert said["headers"]["x-forwarded-for"] == said["local"], "the task learns who asks, and the truth of it"
            if asker != asked:
                assert said["local"] == place[asker]
    until(
        lambda: len({fleet.ask("h2", place["h1"], "shop.test").get("host") for _ in range(6)}) == 3,
        "requests go round all tasks, wherever they are",
    )
    forged = fleet.ask("h3", place["h1"], "shop.test", "-H", "X-Forwarded-For: 203.0.113.9")
    assert forged["headers"]["x-forwarded-for"] == place["h3"]
    missing = fleet.ask("h2", place["h3"], "nobody.test")
    assert missing["code"] == 404 and "nobody.test" in missing["text"]


def test_ipv6_clients_are_served_and_seen(fleet: Meshed) -> None:
    said = fleet.ask("h2", "[::1]", "shop.test")
    assert (said["code"], said["headers"]["x-forwarded-for"]) == (200, "::1")


def test_labels_are_followed_on_all_hosts_and_wrong_ones_are_refused(fleet: Meshed) -> None:
    pids = fleet.pids()
    fleet.relabel("blog", {"fairlead.http.host": "log.test,www.log.test", "fairlead.http.port": "8080"})
    fleet.answers("www.log.test")
    fleet.answers("blog.test", 404)
    fleet.relabel("blog", {})
    fleet.answers("log.test", 404)
    fleet.relabel(
        "blog", {"fairlead.http.host": "shop.test", "fairlead.http.path": "/log", "fairlead.http.port": "8080"}
    )
    until(lambda: fleet.ask("h3", "127.0.0.1", "shop.test", path="/log/1").get("path") == "/log/1", "a path of its own")
    with pytest.raises(ApiError) as caught:
        fleet.create(web("copy", labels={"fairlead.http.host": "shop.test"}))
    assert caught.value.status == 409 and "shop" in str(caught.value) and "copy" in str(caught.value)
    with pytest.raises(ApiError) as caught:
        fleet.create(web("wrong", labels={"fairlead.http.hots": "x.test"}))
    assert caught.value.status == 400
    assert fleet.pids() == pids, "no proxy was started anew for it"
    assert "shop.test" in fleet.cli("h2", "http-mesh", "status")


def test_a_service_without_ready_tasks_is_told_apart_from_none(fleet: Meshed) -> None:
    fleet.create(web("empty", 0))
    fleet.answers("empty.test", 503)
    fleet.scale("empty", 1)
    fleet.answers("empty.test")
    fleet.remove_service("empty")
    fleet.answers("empty.test", 404)


def test_the_mesh_joins_networks_that_containers_may_not_and_leaves_them(fleet: Meshed) -> None:
    """Nobody is restarted for it; the network can go when its services do."""
    fleet.cli("h1", "network", "create", "-d", "overlay", "lake")
    pids = fleet.pids()
    wanted = web("deep", 2, endpoint={"Mode": "dnsrr"})
    wanted["TaskTemplate"]["Networks"] = [{"Target": "lake"}]
    fleet.create(wanted)
    fleet.answers("deep.test")
    assert all("lake" in {one["Name"] for one in fleet.mesh(host)["Networks"]} for host in fleet.hosts)
    fleet.remove_service("deep")
    fleet.cli("h1", "network", "rm", "lake")
    assert fleet.pids() == pids


def test_nobody_loses_a_request_while_services_are_scaled_and_changed(fleet: Meshed) -> None:
    again = {"fairlead.http.retry": "true"}  # of what a busy machine does not read before its task ends
    fleet.create(web("busy", 2, labels={"fairlead.http.host": "busy.test", **again}))
    fleet.answers("busy.test")
    reloads = {host: fleet.mesh(host)["Proxy"]["Reloads"] for host in fleet.hosts}
    with fleet.load("h1", "busy.test") as first, fleet.load("h3", "busy.test") as second:
        for replicas in (4, 1, 2):
            fleet.scale("busy", replicas)
            fleet.settled("busy", replicas)
        for number in range(3):
            fleet.relabel("busy", {"fairlead.http.host": f"busy.test,other{number}.test", **again})
            fleet.answers(f"other{number}.test")
        wanted = fleet.service("busy")["Spec"]
        wanted["TaskTemplate"]["ForceUpdate"] = 1
        wanted["UpdateConfig"]["Order"] = "start-first"
        fleet.change("busy", wanted)
        fleet.settled("busy", 2, state="completed")
    for answered, wrong in (first, second):
        assert wrong == [] and answered > RATE
    assert reloads == {host: fleet.mesh(host)["Proxy"]["Reloads"] for host in fleet.hosts}
    fleet.remove_service("busy")


def test_it_goes_on_without_managers_and_over_a_daemon_s_restart(fleet: Meshed) -> None:
    fleet.relabel("blog", {})
    pids = fleet.pids()
    fleet.kill_daemon("h1")
    try:
        with fleet.load("h2", "shop.test") as found:
            fleet.kill_daemon("h2")
            time.sleep(0.5)  # the load goes on meanwhile
            fleet.start_daemon("h2")
            until(lambda: fleet.mesh("h2")["Proxy"]["Pid"] == pids["h2"], "the same proxy as before on h2")
            until(lambda: fleet.ready("h2", "shop.test") >= 2, "the tasks of living daemons are known again")
        assert found[1] == [] and found[0] > 0
        assert fleet.code("h1", "shop.test") == 200, "the proxy of a dead daemon goes on"
    finally:
        fleet.start_daemon("h1")
    until(lambda: fleet.pids() == pids, "the same proxies as before")


def test_a_proxy_that_dies_is_there_again(fleet: Meshed) -> None:
    pid = fleet.pids()["h3"]
    os.kill(pid, signal.SIGKILL)
    until(lambda: fleet.pids()["h3"] not in (0, pid), "another proxy")
    fleet.answers("shop.test")


def test_a_port_that_is_taken_is_told_and_had_when_it_is_free(fleet: Meshed) -> None:
    """Everywhere else the mesh moves; there it stays where it was for so long."""
    entry = fleet.lab.entry("h2", ["/usr/bin/python3", "-m", "http.server", "8090"], "/")
    holder = subprocess.Popen(
        entry.arguments, env=entry.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        until(lambda: fleet.ask("h2", "127.0.0.1:8090", "x")["code"], "the port is taken")
        fleet.cli("h1", "http-mesh", "enable", "--port", "8090")
        for host in ("h1", "h3"):
            until(lambda host=host: fleet.ask(host, "127.0.0.1:8090", "shop.test")["code"] == 200, host)  # type: ignore[misc]
        until(lambda: "8090" in str(fleet.mesh("h2")["Warnings"]), "the warning")
        assert fleet.code("h2", "shop.test") == 200
    finally:
        holder.kill()
        holder.wait()
    until(lambda: fleet.ask("h2", "127.0.0.1:8090", "shop.test")["code"] == 200, "the port is had")
    until(lambda: not fleet.mesh("h2")["Warnings"], "all is well")
    fleet.cli("h1", "http-mesh", "enable")
    fleet.answers("shop.test")


def test_certificates_come_from_a_folder_that_is_followed(fleet: Meshed, tmp_path: Path) -> None:
    fleet.cli("h1", "http-mesh", "enable", "--certs", str(tmp_path))
    place = fleet.hosts["h2"].address_v4

    def shown(name: str) -> str:
        words = ("curl", "-sv", "--max-time", "20", "--cacert", str(tmp_path / f"{name}.pem"))
        reply = ("--resolve", f"{name}:443:{place}", "-o", "/dev/null", "-w", "%{http_code}", f"https://{name}/")
        return fleet.on("h3", *words, *reply)

    for name in ("shop.test", "blog.test"):
        fresh = tmp_path / f".{name}"
        fresh.write_text(pem(name))
        fresh.rename(tmp_path / f"{name}.pem")
        until(lambda name=name: shown(name) in ("200", "404"), f"a certificate for {name}")  # type: ignore[misc]
    assert shown("shop.test") == "200"


def test_disabled_it_leaves_nothing(fleet: Meshed) -> None:
    """The last test: the mesh is off from here on."""
    fleet.remove_service("blog")
    fleet.remove_service("shop")
    pids = fleet.pids()
    assert "the node's own" in fleet.cli("h2", "sandbox", "rm", "fairlead-http", ok=False)
    assert "is off" in fleet.cli("h1", "http-mesh", "disable")
    for host in fleet.hosts:
        until(lambda host=host: not fleet.cli(host, "sandbox", "ls", "-q"), f"no sandbox on {host}")  # type: ignore[misc]
        until(lambda host=host: fleet.code(host, "shop.test") == 0, f"no answer on {host}")  # type: ignore[misc]
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids.values()), "no proxy")
    fleet.cli("h1", "network", "rm", "fairlead-http", SEA)
