"""Published ports of services on one node: when it has an entry, who is led where, what is reached at a task, who answers whom."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.engine.test_cluster import ID, NETWORK, OTHER, VTEP
from tests.unit.engine.world import World

from fairlead.balance.ingress import BUCKETS, LINK, entry_mac
from fairlead.engine.outcome import PublishNames, Register, Wake
from fairlead.kernel.errno import HostPortInUse
from fairlead.model import options
from fairlead.model.backend import CLIENT_IP, ROUND_ROBIN, Backend, PublishedPort
from fairlead.model.cluster import ENTRY, Lease, Peer, PeerNames
from fairlead.model.commands import CreateContainer, InstallNetwork, RemoveSandbox
from fairlead.model.container import ContainerConfig
from fairlead.model.endpoint import EndpointSettings, PortRequest
from fairlead.model.errors import Forbidden, Internal, PortInUse
from fairlead.model.events import DataPath, EntryDue, HostChanged, LeasesGranted, LeasesRevoked, NamesSeen, PeersSeen
from fairlead.model.network import Pool
from fairlead.plan.objects import Address, Backends, Chain, Element, PortHold, Veth
from fairlead.plan.returns import ReturnPaths

SIX = Pool("p6", "fd00:1::/64", gateway="fd00:1::1")
INGRESS = replace(NETWORK, name="ingress", attachable=False, ipv6=True, pools=(*NETWORK.pools, SIX), ingress=True)
WEB = Backend("svc1", (), "10.0.1.200", "fd00:1::200", published=(PublishedPort("tcp", 8080, 80),))
TASK = "t" * 25
ENTRY_MAC, OTHER_MAC = entry_mac("10.0.1.7"), entry_mac("10.0.1.8")


class Node(World):
    """A node that knows the network of published ports."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.tell(DataPath(VTEP))
        self.tell(InstallNetwork(INGRESS))

    def lease(self, number: int, task_id: str) -> None:
        lease = Lease(ID, f"10.0.1.{number}", "n1", 1, ipv6=f"fd00:1::{number:x}", task_id=task_id)
        for message in self.tell(LeasesGranted((lease,))).messages:
            if isinstance(message, Wake):
                self.tell(message.event)

    def elsewhere(self, number: int, backend: Backend | None = WEB) -> None:
        names = PeerNames(ID, f"e{number}", (f"task{number}",), f"10.0.1.{number}", f"fd00:1::{number:x}", (), backend)
        self.tell(NamesSeen(ID, ((f"e{number}", names if backend else None),)))

    def serve(self, backend: Backend = WEB) -> str:
        """A task here, started; the name of its namespace."""
        self.lease(20, TASK)
        asked = EndpointSettings(ipv4="10.0.1.20", ipv6="fd00:1::14", backend=backend)
        config = ContainerConfig("host", ("true",), network_mode=ID, endpoints={ID: asked})
        self.tell(CreateContainer("one", config, TASK))
        self.start("one")
        container = self.engine.state.container("one")
        return next(box.netns for box in self.engine.state.sandboxes.values() if box.container_id == container.id)

    def of(self, kind: type, ns: str = "") -> list[object]:
        """What stands of a kind, in a namespace."""
        every = {item.key: item for plan in self.standing.values() for item in plan.values()}
        return [item for item in every.values() if isinstance(item, kind) and getattr(item, "ns", "") == ns]

    def entry(self) -> set[str]:
        """The addresses of the node's entry."""
        return {item.cidr for item in self.of(Address) if isinstance(item, Address) and item.link == LINK}

    def led(self) -> dict[str, tuple[str, ...]]:
        """Published port, and by which map -> where its connections go."""
        return {f"{one.index} {one.address}": one.targets for one in self.of(Backends) if isinstance(one, Backends)}


@pytest.fixture
def node() -> Node:
    return Node()


def test_a_node_has_an_entry_in_its_own_namespace_while_it_is_leased_one(node: Node) -> None:
    assert not node.entry()
    node.lease(7, ENTRY)
    assert node.entry() == {"10.0.1.7/24", "fd00:1::7/64"}
    (pair,) = [item for plan in node.standing.values() for item in plan.values() if isinstance(item, Veth)]
    assert (pair.peer_ns, pair.peer, pair.peer_mac) == ("", LINK, ENTRY_MAC)
    with pytest.raises(Forbidden, match="the node's own"):
        node.tell(RemoveSandbox("ingress-sbox"))
    node.lease(7, "")
    assert not node.entry() and not node.engine.state.sandboxes
    assert all(not plan for owner, plan in node.standing.items() if owner.startswith(("endpoint:", "balance:")))


def test_an_entry_goes_with_its_lease_and_one_that_is_refused_is_tried_for_again(node: Node) -> None:
    node.lease(7, ENTRY)
    node.tell(LeasesRevoked((f"{ID}/10.0.1.7",)))
    assert not node.entry() and not node.engine.state.sandboxes
    lease = Lease(ID, "10.0.1.8", "n1", 2, ipv6="fd00:1::8", task_id=ENTRY)
    (wake,) = [one for one in node.tell(LeasesGranted((lease,))).messages if isinstance(one, Wake)]
    refused = node.tell(wake.event, Internal("no such device"))
    assert not node.entry() and not node.engine.state.sandboxes
    assert [one.event for one in refused.messages if isinstance(one, Wake)] == [EntryDue(ID)]
    node.tell(EntryDue(ID))
    assert node.entry() == {"10.0.1.8/24", "fd00:1::8/64"}


def test_published_ports_lead_to_ready_tasks_wherever_they_are(node: Node) -> None:
    node.serve()
    assert node.led() == {}, "no entry, no ports"
    node.end("one")
    node.lease(7, ENTRY)
    node.elsewhere(30)
    assert node.led() == {"mesh4 tcp . 8080": ("10.0.1.30 . 80",), "mesh6 tcp . 8080": ("fd00:1::1e . 80",)}
    node.start("one")
    assert node.led()["mesh4 tcp . 8080"] == ("10.0.1.30 . 80", "10.0.1.20 . 80")
    assert {(one.address, one.port) for one in node.of(PortHold) if isinstance(one, PortHold)} == {
        ("0.0.0.0", 8080),
        ("::", 8080),
    }
    node.elsewhere(30, None)
    node.end("one")
    assert node.led() == {}


def test_one_address_of_the_host_or_one_task_for_a_client_or_each_in_turn(node: Node) -> None:
    node.lease(7, ENTRY)
    node.elsewhere(30, replace(WEB, published=(PublishedPort("udp", 53, 53, "192.0.2.1"),)))
    assert node.led() == {}, "another node has it"
    (wake,) = node.tell(HostChanged(("192.0.2.0/24",), ("192.0.2.1/24",))).messages
    assert isinstance(wake, Wake)
    node.tell(wake.event)
    assert node.led() == {"mesh4_at 192.0.2.1 . udp . 53": ("10.0.1.30 . 53",)}
    sticky = replace(WEB, algorithm=CLIENT_IP, snat=True)
    node.elsewhere(30, sticky)
    node.elsewhere(31, sticky)
    targets = node.led()["mesh4 tcp . 8080"]
    assert len(targets) == BUCKETS and set(targets) == {"10.0.1.30 . 80", "10.0.1.31 . 80"}
    assert "10.0.1.30 . tcp . 80" in {
        one.element for one in node.of(Element) if isinstance(one, Element) and one.set == "mesh4_snat"
    }
    node.elsewhere(31, None)
    kept = node.led()["mesh4 tcp . 8080"]
    assert all(now == before for now, before in zip(kept, targets, strict=True) if before == "10.0.1.30 . 80")
    node.elsewhere(30, replace(WEB, algorithm=ROUND_ROBIN))
    assert "mesh4_by_turn_svc1_tcp_8080" in {one.name for one in node.of(Chain) if isinstance(one, Chain)}


def test_a_task_is_reached_at_its_ports_and_answers_by_the_entry_of_each_connection(node: Node) -> None:
    node.lease(7, ENTRY)
    ns = node.serve()
    rows = {(one.set, one.element) for one in node.of(Element, ns) if isinstance(one, Element)}
    assert {row for row in rows if row[0] == "exposed"} == {("exposed", "tcp . 80")}
    assert ("entries", ENTRY_MAC) in rows
    peer = Peer(ID, "x", "10.0.1.8/24", "fd00:1::8/64", OTHER_MAC, OTHER, 1)
    node.tell(PeersSeen(ID, (("x", peer),)))
    (paths,) = [one for one in node.of(ReturnPaths, ns) if isinstance(one, ReturnPaths)]
    assert {mac for _, mac in paths.ways} == {ENTRY_MAC, OTHER_MAC} and paths.ipv4 and paths.ipv6
    node.tell(PeersSeen(ID, (("x", None),)))
    (paths,) = [one for one in node.of(ReturnPaths, ns) if isinstance(one, ReturnPaths)]
    assert paths.ways == ((0x4D000107, ENTRY_MAC),)


def test_nobody_has_a_name_there_and_others_are_told_the_ports(node: Node) -> None:
    node.lease(7, ENTRY)
    node.serve()
    node.elsewhere(30)
    said = [message for outcome in node.outcomes for message in outcome.messages]
    assert not [message for message in said if isinstance(message, Register) and message.network_id == ID]
    (told,) = [message.names for message in said if isinstance(message, PublishNames)]
    assert told.backend == WEB and told.names == ("one",)


def test_a_port_that_a_program_has_stays_the_program_s_until_it_ends(node: Node) -> None:
    node.lease(7, ENTRY)
    names = PeerNames(ID, "e30", ("task30",), "10.0.1.30", "fd00:1::1e", (), WEB)
    refusal = HostPortInUse("address already in use", item=PortHold("tcp", "0.0.0.0", 8080), hint="")
    outcome = node.tell(NamesSeen(ID, (("e30", names),)), refusal)
    assert node.led() == {}
    assert [notice.action for notice in outcome.notices] == ["in use"]
    assert node.engine.unusable() == ["port 8080/tcp of a service is not answered by this node: address already in use"]
    (wake,) = [message for message in outcome.messages if isinstance(message, Wake)]
    assert wake.event == EntryDue(ID)
    node.tell(wake.event)
    assert "mesh4 tcp . 8080" in node.led() and not node.engine.unusable()


def test_a_container_cannot_take_a_port_that_a_service_has(node: Node) -> None:
    node.lease(7, ENTRY)
    node.elsewhere(30)
    with pytest.raises(PortInUse, match=r"Bind for 0\.0\.0\.0:8080 failed: port is already allocated"):
        node.run("mine", ports=(PortRequest("tcp", 80, host_port=8080),))


def test_a_subnet_that_the_host_uses_itself_is_not_reached_for(node: Node) -> None:
    node.tell(HostChanged(("10.0.1.0/24",), ("10.0.1.99/24",)))
    node.lease(7, ENTRY)
    assert not node.entry()
    assert [notice.action for outcome in node.outcomes for notice in outcome.notices if notice.type == "network"][
        -1
    ] == "unusable"
    node.tell(HostChanged(("10.0.0.0/8",), ()))
    node.tell(EntryDue(ID))
    assert node.entry(), "a way to somewhere larger is no hindrance"


def test_a_restart_finds_the_entry_again(node: Node) -> None:
    node.lease(7, ENTRY)
    again = Node.__new__(Node)
    World.__init__(again)
    records = [record for record in node.written.values() if record is not None]
    outcome = again.engine.restore(records, 1.0, 1.0)
    assert any(
        isinstance(item, Address) and item.link == LINK for plan in outcome.plans.values() for item in plan.values()
    )
    assert options.ENDPOINT_IFNAME in next(iter(again.engine.state.endpoints.values())).settings.driver_opts
