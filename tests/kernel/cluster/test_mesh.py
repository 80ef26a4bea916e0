"""Published ports on three hosts, one without a task: whoever comes, by whichever host, reaches a task and is seen as himself."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.kernel.cluster.bed import PROGRAM_S
from tests.kernel.cluster.services import HEALTH, Fleet, serve, spec, update
from tests.kernel.cluster.test_services_docker import Shell
from tests.kernel.one_host.programs import ECHO
from tests.kernel.one_host.waiting import until
from tests.unit.api.test_docker_client import CLIENTS

from fairlead.api.client import ApiError

#: Connections after which each of two tasks was reached: the chance of missing one is below 1e-11.
ENOUGH = 40
#: Asks each of ``argv[5:]`` at a port ``count`` times over ``proto`` who answers and how we look to it, a line for each answer,
#: ``nobody`` for none.
_ASK = """
import socket, sys
port, proto, count, patience, *hosts = sys.argv[1:]
kind = socket.SOCK_STREAM if proto == "tcp" else socket.SOCK_DGRAM
for host in hosts:
    for _ in range(int(count)):
        try:
            with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind) as link:
                link.settimeout(float(patience))
                link.connect((host, int(port)))
                if proto == "udp":
                    link.send(b"hello")
                print(host, link.getsockname()[0], link.recv(4096).decode().strip(), flush=True)
        except OSError as error:
            print(host, "nobody", error, flush=True)
"""
_GREET = ("/bin/sh", "-c", 'exec /usr/bin/python3 -ISc "$0" "$(hostname)" tcp:7000 udp:7000', ECHO)
#: Nanoseconds; the program does not listen to requests to end.
_HURRY = {"StopGracePeriod": 500_000_000}
#: The same for command lines, and all tasks exchanged at once.
_QUICK = ("--stop-grace-period", "500ms", "--update-parallelism", "0", "--update-monitor", "100ms")
#: Where tasks may run: the manager has none.
_TWO = {"Constraints": ["node.role == worker"]}
PORT = 8080
#: Asks hosts in turn who they are until its standard input ends; then says how often it was answered, and what went wrong.
_LOAD = """
import json, socket, sys, threading
port, *hosts = sys.argv[1:]
over, answered, wrong = threading.Event(), [], []
def ask(host):
    while not over.is_set():
        try:
            with socket.create_connection((host, int(port)), timeout=60) as link:
                said = link.recv(256)
            answered.append(said.decode()) if said else wrong.append("nothing was said by " + host)
        except OSError as error:
            wrong.append(f"{host}: {error!r}")
        over.wait(0.02)
asking = [threading.Thread(target=ask, args=(host,)) for host in hosts]
[one.start() for one in asking]
print("asking", flush=True)
sys.stdin.read()
over.set()
[one.join() for one in asking]
print(json.dumps([answered, wrong]))
"""


#: Connects to ``argv[1]`` at a port, and has every line of its input repeated by whoever is there.
_TALK = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=60) as link:
    link.recv(4096)
    for line in sys.stdin:
        link.sendall(line.encode())
        print(link.recv(4096).decode(), end="", flush=True)
"""


#: Asks ``argv[1]`` at a port from one UDP socket, again and again, until ``argv[3]`` answers, for a minute at most.
_FOLLOW = """
import socket, sys, time
end = time.monotonic() + 60
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
    link.settimeout(0.2)
    link.connect((sys.argv[1], int(sys.argv[2])))
    while time.monotonic() < end:
        try:
            link.send(b"hello")
            said = link.recv(4096).decode().split()[0]
        except OSError:
            continue
        print(said, flush=True)
        if said == sys.argv[3]:
            break
        time.sleep(0.05)
"""


def ports(*published: tuple[int, int, str], **more: Any) -> dict[str, Any]:
    """An EndpointSpec; (published, target, protocol)."""
    keys = ("PublishedPort", "TargetPort", "Protocol")
    return {"Ports": [{**dict(zip(keys, one, strict=True)), **more} for one in published]}


def published(
    name: str, command: Sequence[str], endpoint: dict[str, Any], replicas: int = 1, **more: Any
) -> dict[str, Any]:
    """A service in no other network."""
    found = spec(name, command, replicas, endpoint=endpoint, **more)
    del found["TaskTemplate"]["Networks"]
    return found


class Mesh(Fleet):
    """Three hosts, and who asks them."""

    def everywhere(self) -> list[str]:
        """All addresses of all hosts on the underlay."""
        return [address for host in self.hosts.values() for address in (host.address_v4, host.address_v6)]

    def on(self, host: str, *words: str) -> list[str]:
        """The lines that a program prints on a host."""
        entry = self.lab.entry(host, list(words), "/")
        return self._said(entry.arguments, entry.environment)

    def stranger(self, *words: str) -> list[str]:
        """So on the underlay, beside the hosts."""
        place = self.lab._layout.switch
        return self._said(["nsenter", f"--net={place.file('net')}", *words])

    def _said(self, words: Sequence[str], environment: dict[str, str] | None = None) -> list[str]:
        done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=PROGRAM_S, check=False)
        assert not done.returncode, done.stderr
        return done.stdout.splitlines()


def asking(
    *hosts: str, port: int = PORT, proto: str = "tcp", count: int = ENOUGH, patience_s: float = 20.0
) -> list[str]:
    """The program that asks hosts."""
    return ["/usr/bin/python3", "-c", _ASK, str(port), proto, str(count), str(patience_s), *hosts]


def seen_as_himself(said: Sequence[str], tasks: set[str], *, hosts: Sequence[str]) -> None:
    """Each host was answered by each task, who named the client's own address."""
    rows = [line.split() for line in said]
    assert not [row for row in rows if row[1] == "nobody"], said
    assert [row for row in rows if row[1] != row[3]] == []
    for host in hosts:
        assert {row[2] for row in rows if row[0] == host} == tasks


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    found = Mesh(tmp_path_factory.mktemp("mesh"), 3)
    try:
        wanted = published(
            "web",
            _GREET,
            ports((PORT, 7000, "tcp"), (PORT, 7000, "udp")),
            2,
            container={"Hostname": "s{{.Task.Slot}}", **_HURRY},
            placement=_TWO,
        )
        found.create(wanted)
        found.settled("web", 2)
        until(lambda: _answered(found, 2), "every host answers", 60)
        yield found
    finally:
        found.close()


def _answered(mesh: Mesh, tasks: int, port: int = PORT) -> bool:
    """Whether each address of each host is answered by so many tasks."""
    hosts = mesh.everywhere()
    rows = [line.split() for line in mesh.stranger(*asking(*hosts, port=port, count=12, patience_s=1.0))]
    if any(row[1] == "nobody" for row in rows):
        return False
    return all(len({row[2] for row in rows if row[0] == host}) == tasks for host in hosts)


@pytest.mark.parametrize("proto", ["tcp", "udp"])
def test_every_host_answers_a_stranger_who_is_seen_as_himself(mesh: Mesh, proto: str) -> None:
    hosts = mesh.everywhere()
    seen_as_himself(mesh.stranger(*asking(*hosts, proto=proto)), {"s1", "s2"}, hosts=hosts)


def test_a_host_of_the_cluster_is_seen_as_itself(mesh: Mesh) -> None:
    hosts = mesh.everywhere()
    for host in ("h1", "h2"):
        seen_as_himself(mesh.on(host, *asking(*hosts)), {"s1", "s2"}, hosts=hosts)
        seen_as_himself(mesh.on(host, *asking(*hosts, proto="udp", count=8)), {"s1", "s2"}, hosts=[])


def test_loopback_is_answered(mesh: Mesh) -> None:
    for proto in ("tcp", "udp"):
        said = Counter(line.split()[2] for line in mesh.on("h1", *asking("127.0.0.1", proto=proto)))
        assert said.keys() == {"s1", "s2"}
    (refused,) = mesh.on("h1", *asking("::1", count=1))
    assert "nobody" in refused and "refused" in refused


def test_a_container_is_seen_with_its_own_address(mesh: Mesh) -> None:
    for host in ("h1", "h2"):
        mesh.start(host, "asks", "bridge")
        own = mesh.address(host, "asks", "bridge")
        here = mesh.hosts[host].address_v4
        said = mesh.run_inside(host, "asks", *asking(here)).splitlines()
        seen_as_himself(said, {"s1", "s2"}, hosts=[here])
        assert {line.split()[3] for line in said} == {own}
        # on the way to another host it has the address of its own, as everywhere
        away = mesh.run_inside(host, "asks", *asking(mesh.hosts["h3"].address_v4, count=4)).splitlines()
        assert {line.split()[3] for line in away} == {here}
        mesh.remove(host, "asks")


def test_only_published_ports_are_reached_in_the_network_of_ports(mesh: Mesh) -> None:
    task = mesh.wanted("web")[0]
    networks = {one["Network"]["Spec"]["Name"]: one["Addresses"] for one in task["NetworksAttachments"]}
    (address, *_) = [text.partition("/")[0] for text in networks["ingress"]]
    entry = mesh.where(task)
    assert "nobody" not in mesh.on(entry, *asking(address, port=7000, count=1))[0]
    assert "nobody" in mesh.on(entry, *asking(address, port=22, count=1, patience_s=0.5))[0]


def test_inspect_shows_the_ports_and_the_address_in_ingress(mesh: Mesh) -> None:
    endpoint = mesh.service("web")["Endpoint"]
    assert {(one["PublishedPort"], one["TargetPort"], one["PublishMode"]) for one in endpoint["Ports"]} == {
        (PORT, 7000, "ingress")
    }
    network: Any = mesh.api("h1").get("/networks/ingress")
    assert network["Ingress"] and network["Id"] in {vip["NetworkID"] for vip in endpoint["VirtualIPs"]}
    assert f"*:{PORT}->7000/tcp" in mesh.cli("h1", "service", "ls")


def test_a_port_is_one_services_only(mesh: Mesh) -> None:
    for more in ({}, {"PublishMode": "host"}):
        with pytest.raises(ApiError, match="port '8080' is already in use by service"):
            mesh.create(published("other", _GREET, ports((PORT, 80, "tcp"), **more)))
    refusal = mesh.cli("h2", "run", "-d", "-p", f"{PORT}:80", "host", "sleep", "100", ok=False)
    assert "port is already allocated" in refusal


def test_datagrams_of_a_task_that_goes_move_to_another(mesh: Mesh) -> None:
    place, host = mesh.lab._layout.switch, mesh.hosts["h1"].address_v4
    ask = ["nsenter", f"--net={place.file('net')}", "/usr/bin/python3", "-c", _FOLLOW, host, str(PORT)]
    # sockets enough that one is led to the task that goes
    every = [subprocess.Popen([*ask, "s1"], stdout=subprocess.PIPE, text=True) for _ in range(24)]
    firsts = [one.stdout.readline().strip() if one.stdout else "" for one in every]
    assert set(firsts) == {"s1", "s2"}
    mesh.scale("web", 1)
    try:
        lasts = [
            (first, *one.communicate(timeout=PROGRAM_S + 30)[0].split())[-1]
            for first, one in zip(firsts, every, strict=True)
        ]
        assert set(lasts) == {"s1"}
    finally:
        mesh.scale("web", 2)
        mesh.settled("web", 2)
        until(lambda: _answered(mesh, 2), "every host answers", 60)


def test_snat_is_for_who_wants_it(mesh: Mesh) -> None:
    wanted = published("plain", _GREET, ports((8081, 7000, "tcp")), container=_HURRY, placement=_TWO)
    wanted["Labels"] = {"fairlead.ingress.snat": "true"}
    mesh.create(wanted)
    mesh.settled("plain", 1)
    until(lambda: _answered(mesh, 1, 8081), "the other service answers", 60)
    hosts = [one.address_v4 for one in mesh.hosts.values()]
    seen = {line.split()[0]: line.split()[3] for line in mesh.stranger(*asking(*hosts, port=8081, count=1))}
    assert len(set(seen.values())) == 3 and all(address.startswith("10.") for address in seen.values())
    mesh.remove_service("plain")
    (gone,) = mesh.stranger(*asking(hosts[0], port=8081, count=1))
    assert "nobody" in gone


def test_a_program_of_a_host_keeps_its_port(mesh: Mesh) -> None:
    listening = "import socket; s = socket.create_server(('', 8082)); print('now', flush=True); c, _ = s.accept(); c.send(b'mine x')"
    entry = mesh.lab.entry("h2", ["/usr/bin/python3", "-c", listening], "/")
    others = [mesh.hosts[name].address_v4 for name in ("h1", "h3")]

    def others_answer() -> bool:
        said = mesh.stranger(*asking(*others, port=8082, count=1, patience_s=1.0))
        return not [line for line in said if "nobody" in line]

    def is_told() -> bool:
        found: Any = mesh.api("h2").get("/info")
        return "port 8082/tcp of a service is not answered by this node" in str(found.get("Warnings"))

    with subprocess.Popen(entry.arguments, env=entry.environment, stdout=subprocess.PIPE, text=True) as program:
        try:
            assert program.stdout is not None and program.stdout.readline() == "now\n"
            mesh.create(published("late", _GREET, ports((8082, 7000, "tcp")), container=_HURRY, placement=_TWO))
            mesh.settled("late", 1)
            until(others_answer, "the other hosts answer", 60)
            until(is_told, "the host says why it does not", 60)
            (said,) = mesh.stranger(*asking(mesh.hosts["h2"].address_v4, port=8082, count=1))
            assert said.split()[2] == "mine"
        finally:
            program.kill()
    mesh.remove_service("late")


def test_a_port_may_be_of_one_address_only(mesh: Mesh) -> None:
    here, there = mesh.hosts["h1"].address_v4, mesh.hosts["h3"].address_v4
    options = (
        *_QUICK,
        "--publish",
        f"published=8084,target=7000,host_ip={here}",
        "--constraint",
        "node.role == worker",
    )
    mesh.cli("h1", "service", "create", "--detach", "--name", "bound", *options, "host", *_GREET)
    mesh.settled("bound", 1)

    def answers() -> bool:
        return "nobody" not in mesh.stranger(*asking(here, port=8084, count=1, patience_s=1.0))[0]

    until(answers, "the one address answers", 60)
    assert "refused" in mesh.stranger(*asking(there, port=8084, count=1))[0]
    mesh.remove_service("bound")


@pytest.mark.skipif(not CLIENTS, reason="no docker client is installed: apt install docker.io")
def test_docker_s_client_publishes_scales_and_shows(mesh: Mesh) -> None:
    shell = Shell(CLIENTS[-1], mesh.hosts["h1"].url, Path(mesh.hosts["h1"].root))
    shell(
        "service",
        "create",
        "--detach",
        *_QUICK,
        "--name",
        "shop",
        "-p",
        "8090:7000",
        "--replicas",
        "1",
        "host",
        *_GREET,
    )
    mesh.settled("shop", 1)
    until(lambda: _answered(mesh, 1, 8090), "every host answers", 60)
    shell("service", "scale", "--detach", "shop=3")
    mesh.settled("shop", 3)
    until(lambda: _answered(mesh, 3, 8090), "every host answers with each task", 60)
    ingress = shell("network", "inspect", "--format", "{{.Id}}", "ingress").strip()
    assert ingress in shell("service", "inspect", "--format", "{{.Endpoint.VirtualIPs}}", "shop")
    assert "*:8090->7000/tcp" in shell("service", "ls")
    assert "ingress" in shell("service", "inspect", "--pretty", "shop")
    shell("service", "update", "--detach", "--publish-rm", "8090:7000", "--publish-add", "8091:7000", "shop")
    mesh.settled("shop", 3, state="completed")
    until(lambda: _answered(mesh, 3, 8091), "every host answers at the other port", 60)
    assert "refused" in mesh.stranger(*asking(mesh.hosts["h1"].address_v4, port=8090, count=1))[0]
    shell("service", "rm", "shop")


def test_rolling_update_and_drain_lose_no_request(mesh: Mesh) -> None:
    wanted = published(
        "busy",
        serve(linger_s=0.1),
        ports((8083, 7000, "tcp")),
        3,
        container={"Healthcheck": HEALTH, "Env": ["R=1"], "StopGracePeriod": 20_000_000_000},
        update=update(parallelism=1, Order="start-first"),
    )
    mesh.create(wanted)
    mesh.settled("busy", 3)
    hosts = [one.address_v4 for one in mesh.hosts.values()]

    def answers() -> bool:
        said = mesh.stranger("/usr/bin/python3", "-c", _WHO, "8083", *hosts)
        return len(said) == 3

    until(answers, "every host answers", 60)
    place = mesh.lab._layout.switch
    words = ["nsenter", f"--net={place.file('net')}", "/usr/bin/python3", "-c", _LOAD, "8083", *hosts]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as load:
        assert load.stdout is not None and load.stdout.readline() == "asking\n"
        changed = mesh.service("busy")["Spec"]
        changed["TaskTemplate"]["ContainerSpec"]["Env"] = ["R=2"]
        mesh.change("busy", changed)
        mesh.settled("busy", 3, state="completed")
        mesh.cli("h1", "node", "update", "--availability", "drain", "h2")
        until(lambda: "busy" not in {one.service for one in mesh.held("h2")}, "h2 is drained", 120)
        mesh.settled("busy", 3, state="completed")
        answered, wrong = json.loads(load.communicate("", timeout=PROGRAM_S)[0])
    mesh.cli("h1", "node", "update", "--availability", "active", "h2")
    assert not wrong and len(answered) > 10
    mesh.remove_service("busy")


_WHO = """
import socket, sys
port, *hosts = sys.argv[1:]
for host in hosts:
    try:
        with socket.create_connection((host, int(port)), timeout=2) as link:
            print(link.recv(256).decode())
    except OSError:
        pass
"""


def test_without_managers_it_goes_on(mesh: Mesh) -> None:
    until(lambda: _answered(mesh, 2), "every host answers", 60)
    mesh.kill_daemon("h1")
    try:
        hosts = mesh.everywhere()
        seen_as_himself(mesh.stranger(*asking(*hosts)), {"s1", "s2"}, hosts=hosts)
    finally:
        mesh.start_daemon("h1")


def test_connections_outlive_a_daemon_and_a_flush_of_rules(mesh: Mesh) -> None:
    until(lambda: _answered(mesh, 2), "every host answers", 60)
    place = mesh.lab._layout.switch
    words = [
        "nsenter",
        f"--net={place.file('net')}",
        "/usr/bin/python3",
        "-c",
        _TALK,
        mesh.hosts["h2"].address_v4,
        str(PORT),
    ]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as talk:
        assert talk.stdin is not None and talk.stdout is not None

        def answers(word: str) -> bool:
            assert talk.stdin is not None and talk.stdout is not None
            print(word, file=talk.stdin, flush=True)
            return talk.stdout.readline() == f"{word}\n"

        assert answers("first")
        mesh.on("h2", "nft", "flush", "ruleset")
        assert answers("flushed")
        mesh.kill_daemon("h2")
        assert answers("killed")
        mesh.start_daemon("h2")
        assert answers("restarted")
        talk.stdin.close()
        assert talk.wait(PROGRAM_S) == 0
    until(lambda: _answered(mesh, 2), "every host answers", 60)


def test_without_published_ports_nothing_of_it_is_left(mesh: Mesh) -> None:
    mesh.remove_service("web")
    for host in mesh.hosts:
        until(lambda host=host: not _links(mesh, host), f"{host} has no entry", 60)  # type: ignore[misc]
    (gone,) = mesh.stranger(*asking(mesh.hosts["h3"].address_v4, count=1))
    assert "refused" in gone


def _links(mesh: Mesh, host: str) -> list[str]:
    return [line for line in mesh.on(host, "ip", "-o", "link") if "fairlead_in" in line]
