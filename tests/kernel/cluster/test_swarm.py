"""A node's place in a cluster through the front doors: the command line, Docker's clients, the port between nodes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.kernel.one_host.waiting import until

from fairlead.api.client import ApiError, Client
from fairlead.lab import daemons
from fairlead.lab.lab import Lab

#: Seconds that one command may take on a laden machine.
COMMAND_S = 60.0
#: Docker's clients that are to work: old and new.
CLIENTS = [path for path in ("/usr/bin/docker", "/usr/local/bin/docker") if Path(path).exists()]
#: Asks at the port between nodes with a host's own credentials: method, path; prints status and text.
_KNOCK = """
import http.client, ssl, sys
folder, address, method, path = sys.argv[1:5]
context = ssl.create_default_context(cafile=f"{folder}/swarm-root-ca.crt")
context.check_hostname = False
context.load_cert_chain(f"{folder}/swarm-node.crt", f"{folder}/swarm-node.key")
door = http.client.HTTPSConnection(address, 2377, context=context, timeout=20)
door.request(method, path)
answer = door.getresponse()
print(answer.status, answer.read().decode())
"""


class Fleet:
    """Hosts with daemons that are in no cluster."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.hosts = {host.name: host for host in lab.up(3)}

    def run(self, host: str, *command: str, text: str = "") -> subprocess.CompletedProcess[str]:
        """Run a program on a host."""
        entry = self.lab.entry(host, list(command), "/")
        return subprocess.run(
            entry.arguments,
            env=entry.environment,
            input=text,
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
            check=False,
        )

    def cli(self, host: str, *words: str, text: str = "") -> str:
        """What ``fairlead`` prints on a host; it must succeed."""
        done = self.run(host, sys.executable, "-m", "fairlead.cli.main", *words, text=text)
        assert done.returncode == 0, f"{host}$ fairlead {' '.join(words)}: {done.stdout}{done.stderr}"
        return done.stdout

    def begin_join(self, host: str, token: str) -> None:
        """Ask a host to join through h1, which does not answer, and go away when it has begun."""
        words = [sys.executable, "-m", "fairlead.cli.main", "swarm", "join", "--token", token, "198.18.0.11"]
        entry = self.lab.entry(host, words, "/")
        with subprocess.Popen(entry.arguments, env=entry.environment, stderr=subprocess.PIPE, text=True) as asking:
            try:
                # swarm waits for 20 s before it says that it will go on in the background
                until(lambda: self.place(host)["LocalNodeState"] == "pending", f"{host} is joining")
            finally:
                asking.kill()

    def refused(self, host: str, *words: str, text: str = "") -> str:
        """What it complains; it must fail."""
        done = self.run(host, sys.executable, "-m", "fairlead.cli.main", *words, text=text)
        assert done.returncode == 1, f"{host}$ fairlead {' '.join(words)}: {done.stdout}{done.stderr}"
        return done.stderr

    def api(self, host: str) -> Client:
        """A client of a host's daemon."""
        return Client(self.hosts[host].url)

    def place(self, host: str) -> dict[str, Any]:
        """The section ``Swarm`` of ``/info``."""
        info: Any = self.api(host).get("/info")
        return dict(info["Swarm"])

    def nodes(self, host: str = "h1") -> list[dict[str, Any]]:
        """The nodes as a manager lists them."""
        found: Any = self.api(host).get("/nodes")
        return list(found)

    def states(self, host: str = "h1") -> dict[str, str]:
        """State of each node by host name; of several of one name the last to come."""
        return {node["Description"]["Hostname"]: node["Status"]["State"] for node in self.nodes(host)}

    def node(self, name: str, host: str = "h1") -> dict[str, Any]:
        """A node as a manager knows it."""
        found: Any = self.api(host).get(f"/nodes/{name}")
        return dict(found)

    def token(self, role: str, host: str = "h1") -> str:
        """What lets a node in as ``worker`` or ``manager``."""
        cluster: Any = self.api(host).get("/swarm")
        return str(cluster["JoinTokens"][role.title()])

    def form(self, *workers: str) -> None:
        """A cluster of h1 and these workers, all ready."""
        listen = {"ListenAddr": "0.0.0.0:2377"}
        self.api("h1").post("/swarm/init", {**listen, "AdvertiseAddr": "198.18.0.11"})
        wish = {**listen, "RemoteAddrs": ["198.18.0.11:2377"], "JoinToken": self.token("worker")}
        for worker in workers:
            self.api(worker).post("/swarm/join", wish)
        self.ready("h1", *workers)

    def ready(self, *names: str) -> None:
        """Wait until the leader has heard of these nodes."""
        until(lambda: {name for name, state in self.states().items() if state == "ready"} >= set(names), "nodes ready")

    def disband(self) -> None:
        """Every host is in no cluster again."""
        for name in self.hosts:
            if not daemons.is_ready(self.hosts[name]):
                self.lab.start(name)
            if self.place(name)["LocalNodeState"] != "inactive":
                self.api(name).post("/swarm/leave", query={"force": True})

    def crash(self, host: str) -> None:
        """The daemon of a host dies at once."""
        self.lab.stop(host, signal.SIGKILL)

    def start_armed(self, host: str, point: str) -> subprocess.Popen[bytes]:
        """Start a host's daemon that ends itself at a fault point."""
        process = daemons.start(self.hosts[host], {**os.environ, "FAIRLEAD_FAULT": point})
        until(lambda: daemons.is_ready(self.hosts[host]) or process.poll() is not None, "the daemon answers")
        return process

    def knock(self, host: str, method: str, path: str, address: str = "198.18.0.11") -> tuple[int, str]:
        """Status and text of a call between nodes, with the host's own credentials."""
        folder = f"{self.hosts[host].state}/swarm/certificates"
        done = self.run(host, sys.executable, "-c", _KNOCK, folder, address, method, path)
        assert done.returncode == 0, done.stderr
        status, _, words = done.stdout.partition(" ")
        return int(status), words


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    found = Lab(str(tmp_path_factory.mktemp("swarm")), "lab", dict(os.environ))
    try:
        yield Fleet(found)
    finally:
        found.down()


@pytest.fixture
def fleet(lab: Fleet) -> Iterator[Fleet]:
    yield lab
    lab.disband()


def test_a_cluster_is_made_and_joined_as_docker_says_it(fleet: Fleet) -> None:
    said = fleet.cli("h1", "swarm", "init", "--advertise-addr", "eth0")
    node_id = fleet.place("h1")["NodeID"]
    assert said.startswith(f"Swarm initialized: current node ({node_id}) is now a manager.\n\n")
    command = next(line.split() for line in said.splitlines() if "swarm join --token" in line)
    assert command[-1] == "198.18.0.11:2377"
    for worker in ("h2", "h3"):
        assert fleet.cli(worker, *command[1:]) == "This node joined a swarm as a worker.\n"
    fleet.ready("h1", "h2", "h3")
    listed = fleet.cli("h1", "node", "ls").splitlines()
    assert listed[0].split() == "ID HOSTNAME STATUS AVAILABILITY MANAGER STATUS ENGINE VERSION".split()
    assert listed[1].split()[:6] == [node_id, "*", "h1", "Ready", "Active", "Leader"]
    assert [line.split()[1:4] for line in listed[2:]] == [["h2", "Ready", "Active"], ["h3", "Ready", "Active"]]
    assert fleet.node("h2")["Status"]["Addr"] == "198.18.0.12"
    place = fleet.place("h1")
    assert (place["LocalNodeState"], place["ControlAvailable"], place["Nodes"], place["Managers"]) == (
        "active",
        True,
        3,
        1,
    )
    assert fleet.place("h2")["RemoteManagers"] == [{"NodeID": node_id, "Addr": "198.18.0.11:2377"}]
    assert "already part of a swarm" in fleet.refused("h2", "swarm", "init")
    assert "Worker nodes can't be used to view or modify cluster state" in fleet.refused("h2", "node", "ls")


class Docker:
    """One of Docker's clients on the hosts of a fleet."""

    def __init__(self, fleet: Fleet, program: str) -> None:
        self._fleet, self._program = fleet, program

    def __call__(self, host: str, *words: str) -> str:
        """What it prints; it must succeed."""
        done = self._fleet.run(host, self._program, *words)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout


@pytest.mark.parametrize("program", CLIENTS)
def test_dockers_own_clients_make_a_cluster_and_leave_it(fleet: Fleet, program: str) -> None:
    run = Docker(fleet, program)
    assert "is now a manager" in run("h1", "swarm", "init", "--advertise-addr", "198.18.0.11")
    token = run("h1", "swarm", "join-token", "-q", "worker").strip()
    assert run("h2", "swarm", "join", "--token", token, "198.18.0.11:2377") == "This node joined a swarm as a worker.\n"
    fleet.ready("h1", "h2")
    assert "Leader" in run("h1", "node", "ls")
    network = run("h1", "network", "create", "-d", "overlay", "--attachable", "blue").strip()
    assert json.loads(run("h1", "network", "inspect", "blue"))[0]["Id"] == network
    assert "swarm" in run("h1", "network", "ls", "--filter", "name=blue")
    assert "blue" not in run("h2", "network", "ls")
    assert run("h1", "network", "rm", "blue") == "blue\n"
    assert run("h2", "swarm", "leave") == "Node left the swarm.\n"
    until(lambda: fleet.states()["h2"] == "down", "h2 is down")
    assert run("h1", "node", "rm", "h2") == "h2\n"
    assert run("h1", "swarm", "leave", "--force") == "Node left the swarm.\n"
    assert fleet.place("h1")["LocalNodeState"] == "inactive"


def test_dockers_own_client_changes_nodes_and_the_cluster(fleet: Fleet) -> None:
    run = Docker(fleet, CLIENTS[-1])
    fleet.form("h2")
    assert json.loads(run("h1", "node", "inspect", "self"))[0]["ManagerStatus"]["Leader"] is True
    assert run("h1", "node", "update", "--availability", "drain", "--label-add", "rack=7", "h2") == "h2\n"
    assert fleet.node("h2")["Spec"] == {"Name": "", "Labels": {"rack": "7"}, "Role": "worker", "Availability": "drain"}
    assert run("h1", "node", "ls", "--filter", "node.label=rack=7", "-q").split() == [fleet.node("h2")["ID"]]
    run("h1", "node", "ps", "h2")
    run("h1", "swarm", "update", "--cert-expiry", "1000h", "--task-history-limit", "3")
    cluster: Any = fleet.api("h1").get("/swarm")
    assert cluster["Spec"]["CAConfig"]["NodeCertExpiry"] == 1000 * 3600 * 10**9
    assert "BEGIN CERTIFICATE" in run("h1", "swarm", "ca", "--rotate")
    assert run("h1", "node", "promote", "h2") == "Node h2 promoted to a manager in the swarm.\n"
    until(lambda: fleet.place("h2")["ControlAvailable"], "h2 is a manager")
    assert run("h1", "node", "demote", "h2") == "Manager h2 demoted in the swarm.\n"
    until(lambda: not fleet.place("h2")["ControlAvailable"], "h2 is a worker")


def test_rotated_tokens_let_nobody_in_and_touch_no_member(fleet: Fleet) -> None:
    fleet.form("h2")
    former = fleet.token("worker")
    said = fleet.cli("h1", "swarm", "join-token", "--rotate", "worker")
    assert said.startswith("Successfully rotated worker join token.")
    assert former not in said
    assert "A valid join token is necessary" in fleet.refused("h3", "swarm", "join", "--token", former, "198.18.0.11")
    assert fleet.place("h3")["LocalNodeState"] == "inactive"
    assert not Path(f"{fleet.hosts['h3'].state}/swarm/state.json").exists()
    fleet.cli("h3", "swarm", "join", "--token", fleet.token("worker"), "198.18.0.11")
    fleet.ready("h1", "h2", "h3")


def test_wrong_tokens_are_refused_clearly_and_change_nothing(fleet: Fleet) -> None:
    fleet.form()
    token = fleet.token("worker")
    assert "token" in fleet.refused("h2", "swarm", "join", "--token", "nonsense", "198.18.0.11")
    fleet.cli("h3", "swarm", "init", "--advertise-addr", "eth0")
    other = fleet.token("worker", "h3")
    assert "fingerprint" in fleet.refused("h2", "swarm", "join", "--token", other, "198.18.0.11").lower()
    assert "fingerprint" in fleet.refused("h2", "swarm", "join", "--token", token, "198.18.0.13").lower()
    assert fleet.place("h2")["LocalNodeState"] == "inactive"
    assert set(fleet.states()) == {"h1"}
    assert fleet.cli("h2", "swarm", "join", "--token", token, "198.18.0.11").endswith("as a worker.\n")


def test_a_workers_credentials_are_a_workers(fleet: Fleet) -> None:
    fleet.form("h2")
    for method, path in (("GET", "/api/nodes"), ("GET", "/api/swarm"), ("POST", "/api/networks/create")):
        status, words = fleet.knock("h2", method, path)
        assert status == 403, words
    assert fleet.knock("h1", "GET", "/api/nodes")[0] == 200
    assert fleet.knock("h1", "GET", "/api/containers/json")[0] == 404  # managers are not root of each other's hosts
    assert fleet.knock("h2", "GET", "/nowhere")[0] == 404


def test_a_certificate_of_another_cluster_opens_nothing(fleet: Fleet) -> None:
    fleet.form()
    fleet.cli("h3", "swarm", "init", "--advertise-addr", "eth0")
    mine, theirs = (Path(f"{fleet.hosts[name].state}/swarm/certificates") for name in ("h1", "h3"))
    mixed = theirs.parent / "mixed"
    shutil.copytree(theirs, mixed)
    shutil.copy(mine / "swarm-root-ca.crt", mixed)
    done = fleet.run("h3", sys.executable, "-c", _KNOCK, str(mixed), "198.18.0.11", "GET", "/api/nodes")
    shutil.rmtree(mixed)
    assert done.returncode != 0
    assert "closed connection without response" in done.stderr


def test_a_removed_node_is_out_at_once(fleet: Fleet) -> None:
    fleet.form("h2", "h3")
    fleet.cli("h1", "network", "create", "-d", "overlay", "--attachable", "blue")
    refused = fleet.refused("h1", "node", "rm", "h3")
    assert "is not down and can't be removed" in refused
    assert fleet.cli("h1", "node", "rm", "--force", "h3") == "h3\n"
    assert fleet.knock("h3", "POST", "/session")[0] == 403
    until(lambda: fleet.place("h3")["LocalNodeState"] == "error", "h3 knows that it is out")
    assert "removed" in fleet.place("h3")["Error"]
    assert set(fleet.states()) == {"h1", "h2"}
    fleet.crash("h3")
    fleet.lab.start("h3")
    assert fleet.place("h3")["LocalNodeState"] == "error"
    fleet.cli("h3", "swarm", "leave", "--force")
    fleet.cli("h3", "swarm", "join", "--token", fleet.token("worker"), "198.18.0.11")
    fleet.ready("h1", "h2", "h3")


def test_the_root_is_replaced_under_open_sessions(fleet: Fleet) -> None:
    fleet.form("h2", "h3")
    former, token = fleet.cli("h1", "swarm", "ca"), fleet.token("worker")
    renewed = fleet.cli("h1", "swarm", "ca", "--rotate")
    assert renewed.startswith("-----BEGIN CERTIFICATE-----")
    assert renewed != former
    assert fleet.token("worker") != token
    for name in ("h1", "h2", "h3"):
        assert fleet.node(name)["Description"]["TLSInfo"]["TrustRoot"] == renewed
        root = Path(f"{fleet.hosts[name].state}/swarm/certificates/swarm-root-ca.crt")
        until(lambda root=root: root.read_text().strip() == renewed.strip(), f"{name} trusts the new root alone")
    fleet.ready("h1", "h2", "h3")
    assert fleet.knock("h2", "GET", "/api/nodes")[0] == 403  # its new certificate is believed, and is a worker's
    for host in ("h1", "h2"):
        fleet.crash(host)
        fleet.lab.start(host)
    fleet.ready("h1", "h2", "h3")


def test_autolock_keeps_a_manager_closed_after_a_restart(fleet: Fleet) -> None:
    fleet.form("h2")
    said = fleet.cli("h1", "swarm", "update", "--autolock")
    key = next(line.strip() for line in said.splitlines() if line.strip().startswith("SWMKEY-1-"))
    certificates = Path(f"{fleet.hosts['h1'].state}/swarm/certificates")
    until(lambda: "SEALED" in (certificates / "swarm-node.key").read_text(), "the key is sealed")
    fleet.crash("h1")
    fleet.lab.start("h1")
    assert fleet.place("h1")["LocalNodeState"] == "locked"
    assert "Swarm is encrypted and needs to be unlocked" in fleet.refused("h1", "node", "ls")
    wrong = "SWMKEY-1-" + key.removeprefix("SWMKEY-1-")[::-1]
    fleet.refused("h1", "swarm", "unlock", text=f"{wrong}\n")
    assert fleet.place("h1")["LocalNodeState"] == "locked"
    fleet.cli("h1", "swarm", "unlock", text=f"{key}\n")
    fleet.ready("h1", "h2")
    assert key in fleet.cli("h1", "swarm", "unlock-key")
    fresh = fleet.cli("h1", "swarm", "unlock-key", "--rotate")
    assert key not in fresh
    fleet.crash("h1")
    fleet.lab.start("h1")
    fleet.refused("h1", "swarm", "unlock", text=f"{key}\n")
    key = next(line.strip() for line in fresh.splitlines() if line.strip().startswith("SWMKEY-1-"))
    fleet.cli("h1", "swarm", "unlock", text=f"{key}\n")
    fleet.cli("h1", "swarm", "update", "--no-autolock")
    until(lambda: "SEALED" not in (certificates / "swarm-node.key").read_text(), "the key is open")
    fleet.crash("h1")
    fleet.lab.start("h1")
    fleet.ready("h1", "h2")


def test_another_manager_passes_on_to_the_leader(fleet: Fleet) -> None:
    fleet.form("h2")
    assert fleet.cli("h3", "swarm", "join", "--token", fleet.token("manager"), "198.18.0.11").endswith(
        "as a manager.\n"
    )
    fleet.ready("h1", "h2", "h3")
    until(lambda: "Reachable" in fleet.cli("h3", "node", "ls"), "h3 is a manager")
    status = {node["Description"]["Hostname"]: node.get("ManagerStatus") for node in fleet.nodes("h3")}
    assert (status["h1"]["Leader"], status["h2"], status["h3"]["Reachability"]) == (True, None, "reachable")
    network = fleet.cli("h3", "network", "create", "-d", "overlay", "--attachable", "blue").strip()
    for host in ("h1", "h3"):
        assert fleet.cli(host, "network", "ls", "-q", "--no-trunc", "--filter", "name=blue").strip() == network
        shown: Any = fleet.api(host).get("/networks/blue")
        assert (shown["Id"], shown["Scope"], shown["Attachable"]) == (network, "swarm", True)
    assert fleet.refused("h3", "network", "create", "-d", "overlay", "blue").startswith("Error: ")
    token = fleet.token("worker", "h3")
    assert fleet.cli("h3", "swarm", "join-token", "worker").rstrip().endswith("198.18.0.13:2377")
    fleet.cli("h2", "swarm", "leave")
    fleet.cli("h2", "swarm", "join", "--token", token, "198.18.0.13")
    until(lambda: list(fleet.states("h3").values()).count("ready") >= 2, "h2 has joined through h3")
    fleet.cli("h3", "network", "rm", "blue")
    assert "This command" not in fleet.cli("h3", "node", "demote", "h3")
    until(lambda: not fleet.place("h3")["ControlAvailable"], "h3 is a worker")
    assert "Worker nodes can't" in fleet.refused("h3", "node", "ls")


def test_leaving_tells_what_is_lost(fleet: Fleet) -> None:
    fleet.form()
    assert "Removing the last manager erases all current state of the swarm" in fleet.refused("h1", "swarm", "leave")
    assert fleet.cli("h1", "swarm", "leave", "--force") == "Node left the swarm.\n"
    assert "This node is not part of a swarm" in fleet.refused("h1", "swarm", "leave")
    assert not Path(f"{fleet.hosts['h1'].state}/swarm").exists()
    with socket.socket() as probe:
        probe.settimeout(1.0)
    done = fleet.run("h2", "bash", "-c", "exec 3<>/dev/tcp/198.18.0.11/2377")
    assert done.returncode != 0, "the port between nodes is open though there is no cluster"


def test_addresses_that_are_none_are_refused_before_anything_is_made(fleet: Fleet) -> None:
    for flags, words in (
        (("--advertise-addr", "0.0.0.0"), "advertise address must be a non-zero IP address or network interface"),
        (("--advertise-addr", "nowhere0"), "advertise address must be a non-zero IP address or network interface"),
        (("--listen-addr", "nowhere0"), "listen address must be an IP address or network interface"),
        (
            ("--advertise-addr", "eth0", "--data-path-addr", "0.0.0.0"),
            "data path address must be a non-zero IP address",
        ),
        (("--advertise-addr", "eth0", "--listen-addr", "203.0.113.1:2377"), "cannot listen at 203.0.113.1"),
    ):
        assert words in fleet.refused("h1", "swarm", "init", *flags)
        assert fleet.place("h1")["LocalNodeState"] == "inactive"
    assert not Path(f"{fleet.hosts['h1'].state}/swarm").exists()


def test_a_join_that_nobody_answers_goes_on_over_a_restart(fleet: Fleet) -> None:
    fleet.form()
    token = fleet.token("worker")
    fleet.lab.stop("h1")
    fleet.begin_join("h2", token)
    fleet.crash("h2")
    fleet.lab.start("h2")
    assert fleet.place("h2")["LocalNodeState"] == "pending"
    fleet.lab.start("h1")
    fleet.ready("h1", "h2")


@pytest.mark.parametrize("point", ["membership.founded", "membership.kept"])
def test_a_crash_in_init_leaves_a_cluster_or_none(fleet: Fleet, point: str) -> None:
    fleet.lab.stop("h1")
    process = fleet.start_armed("h1", point)
    assert fleet.run(
        "h1", sys.executable, "-m", "fairlead.cli.main", "swarm", "init", "--advertise-addr", "eth0"
    ).returncode
    assert process.wait(COMMAND_S) == -signal.SIGKILL
    fleet.lab.start("h1")
    if point == "membership.kept":
        fleet.ready("h1")
    else:
        assert fleet.place("h1")["LocalNodeState"] == "inactive"
        fleet.form("h2")


@pytest.mark.parametrize("point", ["membership.admitted", "membership.kept"])
def test_a_crash_in_a_join_is_made_good(fleet: Fleet, point: str) -> None:
    fleet.form()
    token = fleet.token("worker")
    fleet.lab.stop("h2")
    process = fleet.start_armed("h2", point)
    fleet.run("h2", sys.executable, "-m", "fairlead.cli.main", "swarm", "join", "--token", token, "198.18.0.11")
    assert process.wait(COMMAND_S) == -signal.SIGKILL
    fleet.lab.start("h2")
    fleet.ready("h1", "h2")


@pytest.mark.parametrize("point", ["cluster.written", "managing.pushed"])
def test_a_crash_of_the_leader_in_a_change_leaves_the_old_or_the_new(fleet: Fleet, point: str) -> None:
    fleet.form("h2")
    former = fleet.token("worker")
    fleet.lab.stop("h1")
    process = fleet.start_armed("h1", f"{point}:9")
    with pytest.raises(ApiError):
        while True:
            known: Any = fleet.api("h1").get("/swarm")
            query = {"version": known["Version"]["Index"], "rotateWorkerToken": True}
            fleet.api("h1").post("/swarm/update", known["Spec"], query)
    assert process.wait(COMMAND_S) == -signal.SIGKILL
    fleet.lab.start("h1")
    fleet.ready("h1", "h2")
    token = fleet.token("worker")
    assert token != former
    fleet.cli("h3", "swarm", "join", "--token", token, "198.18.0.11")


def test_happenings_of_the_cluster_are_events_of_its_scope(fleet: Fleet) -> None:
    fleet.form("h2")
    fleet.cli("h1", "network", "create", "-d", "overlay", "blue")
    fleet.cli("h1", "network", "rm", "blue")
    query = {"since": "1", "until": f"{time.time():.6f}", "filters": json.dumps({"scope": ["swarm"]})}
    with fleet.api("h1").open("GET", "/events", query) as reply:
        events = [json.loads(line) for line in reply.lines()]
    node = fleet.node("h2")["ID"]
    assert ("node", "create", node) in {(event["Type"], event["Action"], event["Actor"]["ID"]) for event in events}
    assert {("network", "create"), ("network", "remove")} <= {(event["Type"], event["Action"]) for event in events}
    assert {event["scope"] for event in events} == {"swarm"}


def test_a_join_under_way_can_be_given_up(fleet: Fleet) -> None:
    fleet.form()
    token = fleet.token("worker")
    fleet.cli("h1", "swarm", "leave", "--force")
    fleet.begin_join("h2", token)
    assert fleet.cli("h2", "swarm", "leave") == "Node left the swarm.\n"
    assert fleet.place("h2")["LocalNodeState"] == "inactive"


def test_no_secret_was_ever_logged(fleet: Fleet) -> None:
    """Of all that the tests before had the daemons do (security.md, rule 9)."""
    for host in fleet.hosts.values():
        text = Path(host.log).read_text(errors="replace")
        assert "ready" in text
        for secret in ("SWMTKN-1-", "SWMKEY-1-", "PRIVATE KEY"):
            assert secret not in text
