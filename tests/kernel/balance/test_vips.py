"""Connections to the virtual address of a service reach its tasks from every node, and nobody's address is changed."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest
from tests.kernel.one_host.namespace import ANSWER_S
from tests.kernel.one_host.programs import echo
from tests.kernel.one_host.waiting import until
from tests.kernel.overlay.bed import Bed, Box, Member

from fairlead.balance.nftables import TABLE
from fairlead.model.backend import CLIENT_IP, ROUND_ROBIN, Backend
from fairlead.model.commands import ConnectNetwork
from fairlead.model.endpoint import EndpointSettings
from fairlead.model.network import Network
from fairlead.model.options import BALANCER, NFTABLES
from fairlead.model.sandbox import SandboxSettings

PORT = 7000
VIP4, VIP6 = "10.0.1.200", "fd00:1::c8"
TASKS = {"t1": "10.0.1.11", "t2": "10.0.1.12", "t3": "10.0.1.13"}
CLIENTS = {"c1": ("10.0.1.21", "fd00:1::15"), "c2": ("10.0.1.22", "fd00:1::16"), "c3": ("10.0.1.23", "fd00:1::17")}
#: Connections after which each of three tasks was reached: the chance of missing one is below 1e-10.
ENOUGH = 60


@dataclass
class Service:
    """Three nodes with a client and a task of service ``web`` on each, in one network of both families."""

    bed: Bed
    network: Network
    clients: dict[str, Box] = field(default_factory=dict)
    servers: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def member(self, name: str) -> Member:
        """Where a box is."""
        return self.bed.members[int(name[-1]) - 1]

    def join(self, name: str, number: int, backend: Backend | None = None) -> Box:
        """A box in the network, a task of the service with ``backend``."""
        member = self.member(name)
        lease = self.bed.lease(member, self.network, number)
        box = member.boxes.get(name) or member.box(name)
        aliases = ("web", "tasks.web") if backend else ()
        asked = EndpointSettings(ipv4=lease.address, aliases=aliases, backend=backend)
        member.ask("submit", ConnectNetwork(self.network.id, box.target, asked, SandboxSettings(name)))
        self.bed.spread()
        if name not in self.servers and backend is not None:
            program = echo(name, f"tcp:{PORT}", f"udp:{PORT}")
            self.servers[name] = subprocess.Popen(box.ns.command(*program))
            until(lambda: box.ns.reaches("127.0.0.1", PORT) and box.ns.reaches("::1", PORT), f"{name} listens")
        return box

    def leave(self, name: str) -> None:
        """A box leaves, its program goes on."""
        self.bed.disconnect(self.member(name), self.network, name)

    def tell(self, **what: object) -> None:
        """Have all tasks say something else of the service; ``t1=2`` is a weight."""
        weights = {name: int(str(what.pop(name, 1))) for name in TASKS}
        for name, address in TASKS.items():
            self.leave(name)
            self.join(name, int(address.rpartition(".")[2]), web(weight=weights[name], **what))

    def answers(self, client: str, address: str, proto: str = "tcp", count: int = ENOUGH) -> Counter[str]:
        """Who answered how often, and each time the client was seen with its own address."""
        ns = self.clients[client].ns
        ask = ns.tcp if proto == "tcp" else ns.udp
        said = [ask(address, PORT) for _ in range(count)]
        own = CLIENTS[client][":" in address]
        assert {seen for _, seen, _ in said} == {own}
        return Counter(tag for tag, _, _ in said)


def web(**more: object) -> Backend:
    """A place behind the service's addresses."""
    return Backend("svc1", ("web",), VIP4, VIP6, **more)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def balancer() -> str:
    """What the network asks for: another lane runs these tests with another."""
    return NFTABLES


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, balancer: str) -> Iterator[Service]:
    bed = Bed(tmp_path_factory.mktemp("b"), 3, v6=False)
    found = Service(bed, bed.network("blue", "10.0.1.0/24", "fd00:1::/64", **{BALANCER: balancer}))
    try:
        for name, (address, _) in CLIENTS.items():
            found.clients[name] = found.join(name, int(address.rpartition(".")[2]))
        for name, address in TASKS.items():
            found.join(name, int(address.rpartition(".")[2]), web())
        for name, client in found.clients.items():
            assert client.reaches(*TASKS.values()), name
        yield found
    finally:
        for server in found.servers.values():
            server.kill()
            server.wait()
        left = bed.close()
    assert not left, "\n".join(left)


@pytest.mark.parametrize("proto", ["tcp", "udp"])
@pytest.mark.parametrize("address", [VIP4, VIP6])
def test_each_client_reaches_each_task_and_is_seen_as_itself(service: Service, proto: str, address: str) -> None:
    for client in CLIENTS:
        assert service.answers(client, address, proto).keys() == TASKS.keys()


@pytest.mark.parametrize("proto", ["tcp", "udp"])
def test_a_task_reaches_its_own_service_itself_included(service: Service, proto: str) -> None:
    ns = service.bed.members[0].boxes["t1"].ns
    for vip, own in ((VIP4, "10.0.1.11"), (VIP6, "fd00:1::b")):
        said = [(ns.tcp if proto == "tcp" else ns.udp)(vip, PORT) for _ in range(ENOUGH)]
        assert {tag for tag, _, _ in said} == TASKS.keys()
        assert {seen for _, seen, _ in said} == {own}


def test_any_port_is_balanced_and_a_ping_is_answered_by_a_task(service: Service) -> None:
    client = service.clients["c1"].ns
    assert client.pings(VIP4) and client.pings(VIP6)
    with pytest.raises(ConnectionRefusedError):
        client.tcp(VIP4, 7999)


def test_the_name_leads_to_the_virtual_address_and_tasks_to_addresses(service: Service) -> None:
    for client in service.clients.values():
        assert client.resolve("web") == [VIP4] and client.resolve("web", "AAAA") == [VIP6]
        assert sorted(client.resolve("tasks.web")) == sorted(TASKS.values())
        assert client.resolve("t1") == ["10.0.1.11"]


def test_a_task_that_goes_gets_nothing_more_and_its_flows_move_at_once(service: Service) -> None:
    with service.clients["c1"].ns.socket(kind=socket.SOCK_DGRAM) as flow:
        flow.settimeout(ANSWER_S)
        flow.connect((VIP4, PORT))

        def who() -> str:
            flow.send(b"hello")
            return flow.recv(4096).decode().split()[0]

        first = who()
        assert {who() for _ in range(5)} == {first}
        number = int(TASKS[first].rpartition(".")[2])
        service.leave(first)
        try:
            for client in service.clients.values():
                assert TASKS[first] not in client.ns.run("nft", "list", "table", "inet", TABLE).stdout
            assert who() in TASKS.keys() - {first}
            for client in CLIENTS:
                assert service.answers(client, VIP4).keys() == TASKS.keys() - {first}
        finally:
            service.join(first, number, web())
    assert service.answers("c2", VIP6).keys() == TASKS.keys()


def test_what_a_task_gets_is_counted_where_it_arrives_and_changes_begin_nothing_anew(service: Service) -> None:
    def counted(name: str) -> int:
        found = service.bed.members[int(name[-1]) - 1].boxes[name].ns.run("nft", "list", "table", "inet", TABLE).stdout
        return sum(int(number) for number in re.findall(r"counter packets (\d+)", found))

    before = {name: counted(name) for name in TASKS}
    said = service.answers("c1", VIP4) + service.answers("c2", VIP6)
    assert {name: counted(name) - before[name] for name in TASKS} == dict(said)
    service.leave("t3")
    service.join("t3", 13, web())
    assert {name: counted(name) - before[name] for name in ("t1", "t2")} == {name: said[name] for name in ("t1", "t2")}


def test_a_connection_that_stands_stays_when_others_come_and_go(service: Service) -> None:
    with service.clients["c2"].ns.connected(VIP4, PORT) as client, client.makefile("r") as lines:
        who = lines.readline().split()[0]
        other = next(name for name in TASKS if name != who)
        service.leave(other)
        client.send(b"still\n")
        assert lines.readline() == "still\n"
        service.join(other, int(TASKS[other].rpartition(".")[2]), web())
        client.send(b"there\n")
        assert lines.readline() == "there\n"


def test_in_turn_means_each_as_often(service: Service) -> None:
    service.tell(algorithm=ROUND_ROBIN)
    try:
        assert service.answers("c1", VIP4, count=9) == dict.fromkeys(TASKS, 3)
        assert service.answers("c1", VIP6, count=9) == dict.fromkeys(TASKS, 3)
    finally:
        service.tell()


def test_affinity_keeps_each_client_at_one_task(service: Service) -> None:
    service.tell(algorithm=CLIENT_IP)
    try:
        for client in CLIENTS:
            (chosen,) = service.answers(client, VIP4, count=10)
            assert service.answers(client, VIP6, count=10).keys() == {chosen}
    finally:
        service.tell()


def test_weights_and_the_node_s_own_tasks(service: Service) -> None:
    service.tell(t1=0, t2=3, t3=1, algorithm=ROUND_ROBIN)
    assert service.answers("c1", VIP4, count=8) == {"t2": 6, "t3": 2}
    service.tell(prefer_local=True)
    try:
        for number in "123":
            assert service.answers(f"c{number}", VIP4, count=10) == {f"t{number}": 10}
        service.leave("t2")
        assert service.answers("c2", VIP4).keys() == {"t1", "t3"}
        service.join("t2", 12, web())
    finally:
        service.tell()


def test_nothing_is_left_of_a_service_without_tasks(service: Service) -> None:
    for name in TASKS:
        service.leave(name)
    try:
        for client in service.clients.values():
            assert VIP4 not in client.ns.run("nft", "list", "ruleset").stdout
            asked = ("dig", "@127.0.0.11", "+short", "+timeout=1", "+tries=1", "web")
            assert VIP4 not in client.ns.run(*asked, check=False).stdout
    finally:
        for name, address in TASKS.items():
            service.join(name, int(address.rpartition(".")[2]), web())


def test_a_killed_node_comes_back_and_balances(service: Service) -> None:
    """Tables are made anew from records; of the tasks elsewhere gossip tells again. Connections that stand go on."""
    member, connect = service.bed.members[0], service.clients["c1"].ns.connected
    with ExitStack() as stack:
        standing = [stack.enter_context(connect(VIP4, PORT)) for _ in range(6)]
        files = [stack.enter_context(one.makefile("r")) for one in standing]
        assert all(lines.readline() for lines in files)
        member.stop(signal.SIGKILL)
        assert service.answers("c1", VIP4).keys() == TASKS.keys(), "nobody is needed for what stands"
        member.start()
        service.bed.tell_all(member, service.network.id)
        assert service.answers("c1", VIP4).keys() == TASKS.keys()
        for one, lines in zip(standing, files, strict=True):
            one.send(b"still\n")
            assert lines.readline() == "still\n"
