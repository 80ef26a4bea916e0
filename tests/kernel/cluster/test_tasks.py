"""Tasks of services on three hosts: found by name from everywhere, heard at the manager, kept over ends of daemons."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tests.kernel.cluster.bed import Cluster
from tests.kernel.one_host.waiting import until

from fairlead.daemon.faults import VARIABLE
from fairlead.model.errors import NetError

#: Seconds that a new state of a service may take on a laden machine.
PATIENCE_S = 120.0
HOSTS = ("h1", "h2", "h3")
#: Answers at port 7000 with its host name, at 7001 with the addresses that it finds for its service. When it is told to
#: end, it asks the others for those and writes down what they say.
_SERVE = """
import os, signal, socket, threading
def found():
    return sorted({row[4][0] for row in socket.getaddrinfo("tasks.web", 7000, type=socket.SOCK_STREAM)})
def ask(address):
    with socket.create_connection((address, 7001), timeout=5) as link:
        return link.makefile().read()
def end(*_):
    for address in found():
        print("at the end", address, "finds", ask(address), flush=True)
    os._exit(0)
def serve(port, say):
    listener = socket.create_server(("", port), backlog=128)
    while True:
        client, _ = listener.accept()
        client.sendall(say().encode())
        client.close()
signal.signal(signal.SIGTERM, end)
threading.Thread(target=serve, args=(7001, lambda: " ".join(found())), daemon=True).start()
print("ready", os.uname().nodename, flush=True)
serve(7000, lambda: os.uname().nodename)
"""
#: Ends when it is told to.
_WAIT = "import os, signal; signal.signal(signal.SIGTERM, lambda *_: os._exit(0)); signal.pause()"
#: Reads what a host says at a port.
_READ = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=10) as link:
    print(link.makefile().read())
"""


class Tasks:
    """One service ``web`` of a cluster, and what is seen of it."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def create(self, *flags: str, replicas: int = 3, text: str = _SERVE) -> None:
        """Make it, of tasks that run a Python program."""
        program = ["/usr/bin/python3", "-c", text]
        given = ["--name", "web", "--network", "name=lake,alias=pond", "--endpoint-mode", "dnsrr"]
        given += ["--replicas", str(replicas), *flags]
        self.cluster.cli("h1", "service", "create", "-d", "--restart-delay", "100ms", *given, "host", *program)

    def rows(self) -> list[dict[str, Any]]:
        """Its tasks, as the manager has them."""
        found: Any = self.cluster.api("h1").get("/tasks", query={"filters": '{"service":{"web":true}}'})
        return sorted(found, key=lambda task: task["Slot"])

    def runs(self, count: int = 3) -> list[dict[str, Any]]:
        """Wait until so many run, and no others are to."""

        def settled() -> list[dict[str, Any]]:
            wanted = [task for task in self.rows() if task["DesiredState"] == "running"]
            running = [task for task in wanted if task["Status"]["State"] == "running"]
            return wanted if len(running) == len(wanted) == count else []

        return until(settled, f"{count} tasks run: {self.rows()}", PATIENCE_S)

    def host(self, task: dict[str, Any]) -> str:
        """The lab host that a task is on."""
        found: Any = self.cluster.api("h1").get(f"/nodes/{task['NodeID']}")
        return str(found["Description"]["Hostname"])

    def state(self, task_id: str) -> dict[str, Any]:
        """How a task is."""
        found: Any = self.cluster.api("h1").get(f"/tasks/{task_id}")
        return dict(found["Status"])

    def find(self, asker: dict[str, Any], name: str = "web") -> set[str]:
        """The addresses that a task finds for a name."""
        return set(self.cluster.resolve(self.host(asker), _name(asker), name))

    def kill(self, task: dict[str, Any]) -> None:
        """Its process dies."""
        os.kill(task["Status"]["ContainerStatus"]["PID"], signal.SIGKILL)

    def left(self) -> list[str]:
        """Containers of it on any host."""
        return [row["Names"][0] for host in HOSTS for row in self._containers(host)]

    def _containers(self, host: str) -> list[dict[str, Any]]:
        found: Any = self.cluster.api(host).get("/containers/json", query={"all": True})
        return [row for row in found if row["Names"][0].startswith("/web.")]


def _name(task: dict[str, Any]) -> str:
    return f"web.{task['Slot']}.{task['ID']}"


def _address(task: dict[str, Any]) -> str:
    return str(task["NetworksAttachments"][0]["Addresses"][0]).partition("/")[0]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    found = Cluster(tmp_path_factory.mktemp("tasks"), 3)
    try:
        found.cli("h1", "network", "create", "-d", "overlay", "lake")
        yield found
    finally:
        found.close()


@pytest.fixture
def web(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Tasks]:
    """The service with three tasks, one on each host; nothing of it is left afterwards."""
    tasks = Tasks(cluster)
    tasks.create("--replicas-max-per-node", "2")
    try:
        yield tasks
    finally:
        cluster.cli("h1", "service", "rm", "web")
        until(lambda: not tasks.left(), "no container of the service is left", PATIENCE_S)


def test_tasks_are_found_by_name_from_every_host(web: Tasks) -> None:
    """A network that single containers may not join; tasks find each other there by all names that Docker gives them."""
    tasks = web.runs()
    assert {web.host(task) for task in tasks} == set(HOSTS)
    addresses = {_address(task) for task in tasks}
    assert len(addresses) == 3
    for asker in tasks:
        for name in ("web", "tasks.web", "pond", "tasks.pond", "web.lake"):
            until(lambda asker=asker, name=name: web.find(asker, name) == addresses, f"{name} from everywhere")  # type: ignore[misc]
        for task in tasks:
            short = task["Status"]["ContainerStatus"]["ContainerID"][:12]
            assert web.find(asker, _name(task)) == web.find(asker, short) == {_address(task)}
            pointer = web.cluster.run_inside(web.host(asker), _name(asker), "dig", "+short", "-x", _address(task))
            assert pointer.removesuffix(".") == f"{_name(task)}.lake"
            said = web.cluster.who(web.host(asker), _name(asker), _address(task))
            assert said == short, "its host name is its short id, and it answers at its address"
    place = web.host(tasks[0]), _name(tasks[0])
    orders = {tuple(web.cluster.resolve(*place, "web")) for _ in range(16)}
    assert len(orders) > 1, "in any order"


def test_output_is_read_at_the_manager_and_commands_run_where_the_task_is(web: Tasks) -> None:
    tasks = web.runs()

    def heard() -> bool:
        said = web.cluster.cli("h1", "service", "logs", "web")
        return all(f"ready {task['Status']['ContainerStatus']['ContainerID'][:12]}" in said for task in tasks)

    until(heard, "the output of all three hosts comes to the manager")
    for task in tasks:
        assert web.cluster.cli(web.host(task), "exec", _name(task), "echo", "here") == "here"
        found: Any = web.cluster.api(web.host(task)).get("/containers/json", query={"filters": '{"is-task":["true"]}'})
        assert f"/{_name(task)}" in {name for row in found for name in row["Names"]}
    labels = web.cluster.inspect(web.host(tasks[0]), _name(tasks[0]))["Config"]["Labels"]
    assert labels["com.docker.swarm.task.id"] == tasks[0]["ID"]
    assert labels["com.docker.swarm.service.name"] == "web"


def test_a_task_that_dies_is_replaced_and_its_end_is_told(web: Tasks) -> None:
    tasks = web.runs()
    dying = next(task for task in tasks if web.host(task) == "h2")
    asker = next(task for task in tasks if web.host(task) == "h3")
    web.kill(dying)
    until(lambda: web.state(dying["ID"])["State"] == "failed", "the manager hears of it")
    status = web.state(dying["ID"])
    assert status["Err"] == "task: non-zero exit (137)"
    assert status["ContainerStatus"]["ExitCode"] == 137
    again = web.runs()
    assert dying["ID"] not in {task["ID"] for task in again}
    assert {task["Slot"] for task in again} == {1, 2, 3}
    until(lambda: web.find(asker) == {_address(task) for task in again}, "names follow")


def test_before_a_task_is_told_to_end_every_host_knows_that_it_is_not_to_be_found(web: Tasks) -> None:
    """No packet is sent to who is about to stop: the others' answers are without it when the signal comes (moby 30321)."""
    tasks = web.runs()
    leaving = next(task for task in tasks if web.host(task) == "h3")
    others = {_address(task) for task in tasks} - {_address(leaving)}
    for asker in tasks:
        until(lambda asker=asker: len(web.find(asker)) == 3, "all know all")  # type: ignore[misc]
    web.cluster.cli("h1", "node", "update", "--availability", "drain", "h3")
    try:
        until(lambda: web.state(leaving["ID"])["State"] == "shutdown", "the task of the drained node is stopped")
        said = [line.split() for line in web.cluster.cli("h3", "logs", _name(leaving)).splitlines()]
        told = {words[3]: set(words[5:]) for words in said if words[:3] == ["at", "the", "end"]}
        assert others <= told.keys(), said
        assert all(_address(leaving) not in addresses for addresses in told.values()), said
        assert {web.host(task) for task in web.runs()} == {"h1", "h2"}
    finally:
        web.cluster.cli("h1", "node", "update", "--availability", "active", "h3")


def test_a_daemon_that_dies_leaves_its_tasks_alone(web: Tasks) -> None:
    before = web.runs()
    task = next(task for task in before if web.host(task) == "h2")
    web.cluster.kill_daemon("h2")
    web.cluster.start_daemon("h2")
    until(lambda: set(web.cluster.nodes().values()) == {"ready"}, "all nodes are ready again", PATIENCE_S)
    after = web.runs()
    assert [one["ID"] for one in after] == [one["ID"] for one in before]
    box = web.cluster.inspect("h2", _name(task))
    assert box["State"]["Pid"] == task["Status"]["ContainerStatus"]["PID"]
    for asker in after:
        until(lambda asker=asker: len(web.find(asker)) == 3, "names are back")  # type: ignore[misc]


def test_without_a_manager_a_death_is_noticed_and_told_later(web: Tasks) -> None:
    tasks = web.runs()
    dying = next(task for task in tasks if web.host(task) == "h2")
    asker = next(task for task in tasks if web.host(task) == "h3")
    place = web.host(asker), _name(asker)
    web.cluster.kill_daemon("h1")
    web.kill(dying)
    until(lambda: _address(dying) not in web.cluster.resolve(*place, "web"), "its name goes without a manager")
    web.cluster.kill_daemon("h2")
    web.cluster.start_daemon("h2")
    web.cluster.start_daemon("h1")
    until(lambda: web.state(dying["ID"])["State"] == "failed", "the manager hears of it after all", PATIENCE_S)
    assert web.state(dying["ID"])["Err"] == "task: non-zero exit (137)"
    assert dying["ID"] not in {task["ID"] for task in web.runs()}


def _armed(cluster: Cluster, host: str, point: str) -> None:
    """In place of a host's daemon run one that ends when it comes by a point, maybe before it answers."""
    with suppress(NetError):
        cluster.lab.stop(host, signal.SIGKILL)
    environment = cluster.lab._environment
    environment[VARIABLE] = point
    try:
        with suppress(NetError):
            cluster.lab.start(host)
    finally:
        del environment[VARIABLE]


def _ended(cluster: Cluster, host: str, point: str) -> None:
    until(
        lambda: next(one for one in cluster.lab.status() if one.host.name == host).pid == 0,
        f"the daemon ends at {point}",
        PATIENCE_S,
    )


def test_daemons_that_end_in_the_middle_of_everything_lose_nothing(cluster: Cluster) -> None:
    """A task's host has a daemon that dies at one point, then one that dies at the next: it is run once, ended once, and
    nothing is left of it."""
    web = Tasks(cluster)
    _armed(cluster, "h2", "tasks.kept")
    web.create("--constraint", "node.hostname==h2", replicas=1, text=_WAIT)
    try:
        _ended(cluster, "h2", "tasks.kept")
        for point in ("tasks.made", "tasks.started"):
            _armed(cluster, "h2", point)
            _ended(cluster, "h2", point)
        _armed(cluster, "h2", "tasks.ended")
        task = web.runs(1)[0]
        assert [one["ID"] for one in web.rows()] == [task["ID"]], "it is the first one still"
        assert web.left() == [f"/{_name(task)}"]
        cluster.cli("h1", "service", "scale", "-d", "web=0")
        _ended(cluster, "h2", "tasks.ended")
        _armed(cluster, "h2", "tasks.removed")
        _ended(cluster, "h2", "tasks.removed")
        cluster.start_daemon("h2")
        until(lambda: not web.rows(), "the manager knows that it has ended", PATIENCE_S)
        assert not web.left()
        files = Path(cluster.hosts["h2"].state) / "swarm" / "tasks"
        until(lambda: not list(files.iterdir()), "nothing is kept of it")
    finally:
        with suppress(NetError):
            cluster.lab.start("h2")
        cluster.cli("h1", "service", "rm", "web")
        until(lambda: not web.left(), "no container is left", PATIENCE_S)
        until(lambda: set(cluster.nodes().values()) == {"ready"}, "all nodes are ready again", PATIENCE_S)


def test_only_the_healthy_are_found_and_the_unhealthy_are_replaced(cluster: Cluster) -> None:
    web = Tasks(cluster)
    check = ["--health-cmd", "test -e /tmp/well", "--health-interval", "200ms", "--health-retries", "2"]
    check += ["--stop-grace-period", "1s"]  # the one that is just starting does not hear yet
    web.create(*check, "--health-start-period", "60s", "--health-start-interval", "100ms", replicas=1, text=_WAIT)
    try:
        starting = until(
            lambda: [task for task in web.rows() if task["Status"]["State"] == "starting"], "it starts", PATIENCE_S
        )[0]
        host, name = web.host(starting), _name(starting)
        until(lambda: cluster.inspect(host, name)["State"]["Running"], "its process runs", PATIENCE_S)
        assert cluster.resolve(host, name, "web") == [], "it is not healthy yet"
        cluster.cli(host, "exec", name, "touch", "/tmp/well")
        task = web.runs(1)[0]
        until(lambda: cluster.resolve(host, name, "web") == [_address(task)], "it is found")
        cluster.cli(host, "exec", name, "rm", "/tmp/well")
        until(lambda: web.state(task["ID"])["State"] == "failed", "it is ended", PATIENCE_S)
        assert "dockerexec: unhealthy container" in web.state(task["ID"])["Err"]
    finally:
        cluster.cli("h1", "service", "rm", "web")
        until(lambda: not web.left(), "no container is left", PATIENCE_S)


def test_a_port_of_the_host_leads_to_the_task_and_all_is_given_back_in_the_end(cluster: Cluster) -> None:
    """A published port of one host, templates, a volume; and when the service is gone its network can go too."""
    cluster.cli("h1", "network", "create", "-d", "overlay", "pool")
    web = Tasks(cluster)
    flags = ["--network", "pool", "--constraint", "node.hostname==h2", "--hostname", "{{.Service.Name}}-{{.Task.Slot}}"]
    flags += ["--publish", "published=7070,target=7000,mode=host", "--env", "WHERE={{.Node.Hostname}}"]
    web.create(*flags, replicas=1)
    try:
        task = web.runs(1)[0]
        asked = cluster.lab.entry("h1", ["/usr/bin/python3", "-c", _READ, "h2", "7070"], "/")

        def answers() -> str:
            done = subprocess.run(asked.arguments, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
            return done.stdout.strip()

        until(lambda: answers() == "web-1", "another host reaches it by the port of its host")
        given = task["Status"]["PortStatus"]["Ports"]
        assert [(port["PublishedPort"], port["TargetPort"]) for port in given] == [(7070, 7000)]
        assert cluster.cli("h2", "exec", _name(task), "printenv", "WHERE") == "h2"
    finally:
        cluster.cli("h1", "service", "rm", "web")
        until(lambda: not web.left(), "no container is left", PATIENCE_S)
    cluster.cli("h1", "network", "rm", "pool")
    for host in HOSTS:
        until(lambda host=host: "pool" not in cluster.cli(host, "network", "ls"), f"{host} knows the network no more")  # type: ignore[misc]


def test_what_cannot_run_says_why(cluster: Cluster) -> None:
    for image, command, state, error in (
        ("nothere", ["true"], "rejected", "No such image: nothere"),
        ("host", ["/no/such/program"], "failed", "starting container failed: "),
        ("host", ["/bin/sh", "-c", "exit 3"], "failed", "task: non-zero exit (3)"),
    ):
        flags = ["--detach", "--name", "web", "--restart-condition", "none"]
        cluster.cli("h1", "service", "create", *flags, image, *command)
        web = Tasks(cluster)
        try:
            ended = until(
                lambda web=web, state=state: [one for one in web.rows() if one["Status"]["State"] == state],  # type: ignore[misc]
                f"{image} {command} ends as {state}",
                PATIENCE_S,
            )
            assert ended[0]["Status"]["Err"].startswith(error)
        finally:
            cluster.cli("h1", "service", "rm", "web")
            until(lambda web=web: not web.left(), "no container is left", PATIENCE_S)  # type: ignore[misc]


def test_a_node_that_leaves_takes_its_tasks_with_it(cluster: Cluster) -> None:
    """Nothing of the cluster is left on it, and the others do its work. The last test: the node does not come back."""
    web = Tasks(cluster)
    web.create(text=_WAIT)
    web.runs()
    cluster.cli("h3", "swarm", "leave")
    listed: Any = cluster.api("h3").get("/containers/json", query={"all": True})
    assert listed == []
    assert "lake" not in cluster.cli("h3", "network", "ls")
    assert "h3" not in {web.host(task) for task in web.runs()}
    cluster.cli("h1", "service", "rm", "web")
    until(lambda: not web.left(), "no container is left", PATIENCE_S)
