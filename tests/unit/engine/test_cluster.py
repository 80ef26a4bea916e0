"""Networks of the cluster on one node: leases, peers, names, and what is told to others, in which order."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.engine.world import World, new_engine

from fairlead.engine.hearsay import NAMES_TTL_S
from fairlead.engine.holds import Held, Wanting
from fairlead.engine.outcome import (
    JoinScope,
    LeaveScope,
    Message,
    Outcome,
    Publish,
    PublishNames,
    Register,
    Retract,
    RetractNames,
    Run,
    Terminate,
    Unregister,
)
from fairlead.model import options
from fairlead.model.cluster import Lease, Peer, PeerNames
from fairlead.model.commands import (
    AlreadyThere,
    ConnectNetwork,
    CreateNetwork,
    DisconnectNetwork,
    InstallNetwork,
    RemoveNetwork,
    StartContainer,
    StopContainer,
    WithdrawNetwork,
)
from fairlead.model.endpoint import Endpoint, EndpointSettings, PortRequest
from fairlead.model.errors import Conflict, Forbidden, Internal, Invalid, NetError, Unavailable
from fairlead.model.events import (
    AddressForgotten,
    DataPath,
    HealthProbed,
    LeasesGranted,
    LeasesRevoked,
    NamesSeen,
    PeersComplete,
    PeersSeen,
)
from fairlead.model.health import HealthCheck
from fairlead.model.network import GATEWAY_BRIDGE, SWARM, Network, Pool
from fairlead.plan.objects import Exact, Fdb, Neighbour, Netns, Plan, Route, Veth, Vxlan

ID = "ab" * 32
NETWORK = Network(
    ID,
    "blue",
    "overlay",
    1.0,
    scope=SWARM,
    attachable=True,
    pools=(Pool("p", "10.0.1.0/24", gateway="10.0.1.1"),),
    options={options.VXLAN_IDS: "4097"},
)
VTEP, OTHER, THIRD = "192.0.2.1", "192.0.2.2", "192.0.2.3"


class Cluster(World):
    """A node in a cluster with one network known to it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.tell(DataPath(VTEP))
        self.tell(InstallNetwork(NETWORK))

    def grant(self, *numbers: int, generation: int = 1, network: str = ID) -> Outcome:
        leases = tuple(Lease(network, f"10.0.1.{number}", "n1", generation) for number in numbers)
        return self.tell(LeasesGranted(leases))

    def endpoint(self, container: str) -> Endpoint:
        identifier = self.engine.state.container(container).id
        found = self.engine.state.endpoints_of_container(identifier)
        return next(endpoint for endpoint in found if endpoint.network_id == ID)

    def see(self, number: int, vtep: str = OTHER, *, generation: int = 1, endpoint: str = "") -> Outcome:
        identifier = endpoint or f"e{number}"
        mac = f"02:00:00:00:00:{number:02x}"
        peer = Peer(ID, identifier, f"10.0.1.{number}/24", "", mac, vtep, generation)
        return self.tell(PeersSeen(ID, ((identifier, peer),)))

    def lose(self, endpoint: str) -> Outcome:
        return self.tell(PeersSeen(ID, ((endpoint, None),)))

    def remote(self) -> dict[str, str]:
        """Address -> node, as the plans have it."""
        plans = [plan for owner, plan in self.standing.items() if owner.startswith("peer:")]
        items = [item for plan in plans for item in plan.values()]
        nodes = {item.mac: item.remote for item in items if isinstance(item, Fdb)}
        return {item.address: nodes[item.mac] for item in items if isinstance(item, Neighbour)}

    def of(self, kind: type) -> list[object]:
        return [item for plan in self.standing.values() for item in plan.values() if isinstance(item, kind)]


@pytest.fixture
def world() -> Cluster:
    return Cluster()


def kinds(outcome: Outcome, *wanted: type) -> list[type]:
    return [type(message) for message in outcome.messages if isinstance(message, wanted)]


def first(outcome: Outcome, kind: type[Message]) -> Message:
    return next(message for message in outcome.messages if isinstance(message, kind))


# networks


def test_users_are_sent_to_the_managers(world: Cluster) -> None:
    for command in (CreateNetwork("red", "overlay"), CreateNetwork("red", scope=SWARM), RemoveNetwork("blue")):
        with pytest.raises(Unavailable, match="Worker nodes can't be used to view or modify cluster state"):
            world.tell(command)
    with pytest.raises(Unavailable, match='Use "docker swarm init" or "docker swarm join"'):
        World().tell(CreateNetwork("red", "overlay"))


def test_a_network_is_installed_once_grows_and_is_withdrawn(world: Cluster) -> None:
    assert not world.tell(InstallNetwork(NETWORK)).changes
    world.grant(10)
    world.run("ann", "blue")
    more = Pool("q", "10.0.2.0/24", gateway="10.0.2.1")
    world.tell(InstallNetwork(replace(NETWORK, pools=(*NETWORK.pools, more), options={options.VXLAN_IDS: "4097,4098"})))
    assert len(world.of(Vxlan)) == 2
    assert [route.destination for route in world.of(Route) if isinstance(route, Route) and route.via == "10.0.1.1"] == [
        "10.0.2.0/24"
    ]
    with pytest.raises(Forbidden, match="has active endpoints"):
        world.tell(WithdrawNetwork(ID))
    world.end("ann")
    world.tell(WithdrawNetwork(ID))
    assert not world.engine.state.leases
    assert world.tell(WithdrawNetwork(ID)).reply == AlreadyThere()
    world.check()


def test_what_cannot_be_installed_is_refused_with_nothing_changed(world: Cluster) -> None:
    world.network("green")
    for network, error in (
        (replace(NETWORK, id="cd" * 32, name="green"), Conflict),
        (replace(NETWORK, id="cd" * 32, name="red"), Forbidden),  # the same VXLAN number
        (replace(NETWORK, id="cd" * 32, name="red", options={options.VXLAN_IDS: "x"}), Invalid),
        (replace(NETWORK, id="cd" * 32, name="red", driver="bridge"), Invalid),
    ):
        with pytest.raises(error):
            world.tell(InstallNetwork(network))
    world.check()


def test_single_containers_join_attachable_networks_only(world: Cluster) -> None:
    world.tell(InstallNetwork(replace(NETWORK, attachable=False)))
    world.grant(10)
    world.container("ann", "blue")
    with pytest.raises(Forbidden, match="network blue not manually attachable"):
        world.start("ann")


# leases


def test_without_a_lease_the_engine_wants_one_and_changes_nothing(world: Cluster) -> None:
    world.container("ann", "blue")
    with pytest.raises(Wanting) as caught:
        world.start("ann")
    assert (caught.value.network_id, caught.value.count, caught.value.address) == (ID, 1, "")
    world.check()
    assert not world.engine.state.sandboxes
    world.grant(10)
    world.start("ann")
    assert world.address("ann", "blue") == "10.0.1.10/24"
    world.check()


def test_an_address_by_number_is_wanted_by_number_and_kept_from_others(world: Cluster) -> None:
    world.container("ann", "blue", hostname="ann")
    asked = EndpointSettings(ipv4="10.0.1.20")
    world.tell(ConnectNetwork("blue", "ann", asked))
    world.container("bob", "blue")
    world.container("cat")
    world.tell(ConnectNetwork("blue", "cat", asked))
    world.grant(20)
    with pytest.raises(Wanting) as caught:
        world.start("bob")  # the only free one is the one that cat asks for
    assert not caught.value.address
    world.start("cat")
    assert world.address("cat", "blue") == "10.0.1.20/24"
    world.container("dan")
    world.tell(ConnectNetwork("blue", "dan", asked))
    with pytest.raises(Forbidden, match="Address already in use") as refused:
        world.start("dan")
    assert "cat has 10.0.1.20" in refused.value.hint


def test_a_used_address_rests_until_everybody_forgot_it(world: Cluster) -> None:
    world.grant(10, generation=7)
    world.run("ann", "blue")
    endpoint = world.endpoint("ann").id
    outcome = world.end("ann")
    assert Retract(ID, endpoint, f"{ID}/10.0.1.10", 7) in outcome.messages
    with pytest.raises(Wanting):
        world.start("ann")
    world.tell(AddressForgotten(f"{ID}/10.0.1.10", 6))  # an earlier lease
    with pytest.raises(Wanting):
        world.start("ann")
    world.tell(AddressForgotten(f"{ID}/10.0.1.10", 7))
    world.start("ann")
    world.tell(AddressForgotten(f"{ID}/10.0.1.10", 7))  # in use again
    assert world.engine.state.leases[f"{ID}/10.0.1.10"].holder == world.endpoint("ann").id
    world.check()


def test_who_asks_by_number_need_not_wait_for_others_to_forget(world: Cluster) -> None:
    world.grant(20)
    world.container("ann")
    world.tell(ConnectNetwork("blue", "ann", EndpointSettings(ipv4="10.0.1.20")))
    world.start("ann")
    world.end("ann")
    world.start("ann")
    assert world.address("ann", "blue") == "10.0.1.20/24"


def test_idle_leases_are_given_back_and_held_ones_only_when_taken(world: Cluster) -> None:
    world.grant(10, 11)
    world.run("ann", "blue")
    ids = (f"{ID}/10.0.1.10", f"{ID}/10.0.1.11")
    outcome = world.tell(LeasesRevoked(ids, idle=True))
    assert [lease.id for lease in outcome.reply] == [ids[1]]  # type: ignore[attr-defined]
    outcome = world.tell(LeasesRevoked(ids))
    assert [lease.id for lease in outcome.reply] == [ids[0]]  # type: ignore[attr-defined]
    state = world.engine.state
    assert not state.leases and state.container("ann").running
    assert not state.endpoints_of_container(state.container("ann").id)
    world.check()


def test_a_later_lease_of_a_held_address_is_told_to_the_others(world: Cluster) -> None:
    world.grant(10)
    world.run("ann", "blue")
    assert not world.grant(10).messages  # the same again
    said = first(world.grant(10, generation=5), Publish)
    assert isinstance(said, Publish) and said.peer.generation == 5
    assert not world.grant(10, generation=4).changes


def test_an_operation_that_fails_gives_its_lease_back(world: Cluster) -> None:
    world.grant(10)
    world.container("ann", "blue")
    with pytest.raises(NetError):
        raise world.tell(StartContainer("ann"), Internal("no")).error or AssertionError
    assert not world.engine.state.leases[f"{ID}/10.0.1.10"].holder
    world.check()


# what is told to others


def test_where_it_is_is_told_before_its_process_starts_and_its_names_when_it_runs(world: Cluster) -> None:
    world.grant(10)
    world.container("ann", "blue")
    outcome = world.start("ann")
    told = (JoinScope, Publish, PublishNames, Register, Run)
    assert kinds(outcome, *told) == [JoinScope, Publish, Run]
    running = world.outcomes[-1]
    assert kinds(running, *told) == [Register, PublishNames]
    said = first(outcome, Publish)
    endpoint = world.endpoint("ann")
    assert isinstance(said, Publish)
    assert said.peer == Peer(ID, endpoint.id, "10.0.1.10/24", "", endpoint.mac, VTEP, 1)


def test_names_wait_for_health_and_go_with_it(world: Cluster) -> None:
    world.grant(10)
    check = HealthCheck(command=("true",), retries=1)
    world.run("ann", "blue", health=check)
    assert not kinds(world.outcomes[-1], PublishNames)
    container = world.engine.state.container("ann")

    def probe(code: int) -> Outcome:
        return world.tell(HealthProbed(container.id, container.state.pid, 1.0, 2.0, code, ""))

    assert kinds(probe(0), PublishNames, Register) == [Register, PublishNames]
    assert not kinds(probe(0), PublishNames)
    assert kinds(probe(1), RetractNames, Unregister) == [RetractNames, Unregister]


def test_names_go_before_the_process_is_told_to_stop_and_the_place_after_it(world: Cluster) -> None:
    world.grant(10)
    world.run("ann", "blue")
    stopping = world.tell(StopContainer("ann"))
    assert kinds(stopping, RetractNames, Unregister, Terminate) == [RetractNames, Unregister, Terminate]
    ended = world.end("ann")
    assert kinds(ended, RetractNames, Retract, LeaveScope) == [RetractNames, Retract, LeaveScope]


def test_only_the_first_and_the_last_endpoint_join_and_leave(world: Cluster) -> None:
    world.grant(10, 11)
    world.run("ann", "blue")
    world.container("bob", "blue")
    assert not kinds(world.start("bob"), JoinScope)
    assert not kinds(world.end("ann"), LeaveScope)
    assert world.of(Vxlan)
    assert kinds(world.end("bob"), LeaveScope)
    assert not world.of(Vxlan) and not [item for item in world.of(Netns) if str(item.name).startswith("ov-")]  # type: ignore[attr-defined]


def test_nobody_joins_a_network_that_is_just_being_taken_away(world: Cluster) -> None:
    world.grant(10, 11)
    world.run("ann", "blue")
    world.run("bob")
    ann = world.engine.state.container("ann").id
    engine = world.engine
    leaving = engine.handle(DisconnectNetwork("blue", ann), 900.0, 900.0)
    with pytest.raises(Held) as held:
        engine.handle(ConnectNetwork("blue", "bob"), 901.0, 901.0)
    assert held.value.operation == leaving.operation


def test_after_a_restart_everything_is_told_again(world: Cluster) -> None:
    world.grant(10, 11)
    world.run("ann", "blue")
    world.run("bob", "blue")
    gone = world.endpoint("bob").id
    world.end("bob")
    fresh = new_engine()
    fresh.handle(DataPath(VTEP), 1.0, 1.0)
    outcome = fresh.restore(world.written.values(), 1.0, 1.0)
    told = (JoinScope, Publish, PublishNames, Retract)
    assert kinds(outcome, *told) == [JoinScope, Publish, Retract, PublishNames]
    assert Retract(ID, gone, f"{ID}/10.0.1.11", 1) in outcome.messages
    assert {owner: plan for owner, plan in outcome.plans.items() if plan} == {
        owner: plan for owner, plan in world.standing.items() if plan
    }


def test_a_new_data_path_makes_tunnels_anew_and_is_told(world: Cluster) -> None:
    world.grant(10)
    world.run("ann", "blue")
    world.see(20)
    outcome = world.tell(DataPath(THIRD, 4790, 1400))
    (tunnel,) = world.of(Vxlan)
    assert isinstance(tunnel, Vxlan)
    assert (tunnel.local, tunnel.port, tunnel.mtu) == (THIRD, 4790, 1350)
    said = first(outcome, Publish)
    assert isinstance(said, Publish) and said.peer.vtep == THIRD
    assert any(isinstance(item, Veth) and item.mtu == 1350 for item in world.of(Veth))
    world.check()


# what others tell


def test_a_peer_is_one_small_plan_and_only_changes_cost(world: Cluster) -> None:
    world.grant(10)
    world.run("ann", "blue")
    outcome = world.see(20)
    assert list(outcome.plans) == [f"peer:{ID}:10.0.1.20"]
    assert world.remote() == {"10.0.1.20": OTHER}
    assert not world.see(20).plans
    assert list(world.see(20, THIRD).plans) == [f"peer:{ID}:10.0.1.20"]
    assert world.remote() == {"10.0.1.20": THIRD}
    world.lose("e20")
    assert world.remote() == {}
    world.check()


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_of_two_claims_the_later_lease_is_right_in_whatever_order_they_come(
    world: Cluster, order: tuple[int, int]
) -> None:
    world.grant(10)
    world.run("ann", "blue")
    nodes = {1: OTHER, 2: THIRD}
    for generation in order:
        world.see(20, nodes[generation], generation=generation, endpoint=f"g{generation}")
    assert world.remote() == {"10.0.1.20": THIRD}
    world.lose("g2")
    assert world.remote() == {"10.0.1.20": OTHER}
    world.check()


def test_an_address_of_this_node_is_not_elsewhere(world: Cluster) -> None:
    """A claim by an earlier lease counts no more; by a later one it does."""
    world.grant(10)
    world.run("ann", "blue")
    world.see(11, generation=3)
    assert world.remote() == {"10.0.1.11": OTHER}
    world.grant(11, generation=4)
    world.run("bob", "blue")
    assert world.address("bob", "blue") == "10.0.1.11/24"
    assert world.remote() == {}
    world.see(11, THIRD, generation=9, endpoint="later")
    assert world.remote() == {"10.0.1.11": THIRD}
    world.check()


def test_both_addresses_of_a_peer_stand_and_fall_together(world: Cluster) -> None:
    six = Pool("s", "fd00:1::/64", gateway="fd00:1::1")
    world.tell(InstallNetwork(replace(NETWORK, ipv6=True, pools=(*NETWORK.pools, six))))
    world.tell(LeasesGranted((Lease(ID, "10.0.1.10", "n1", 1, ipv6="fd00:1::a"),)))
    world.run("ann", "blue")
    assert world.endpoint("ann").ipv6 == "fd00:1::a/64"
    peer = Peer(ID, "e", "10.0.1.20/24", "fd00:1::14/64", "02:00:00:00:00:14", OTHER, 1)
    world.tell(PeersSeen(ID, (("e", peer),)))
    assert world.remote() == {"10.0.1.20": OTHER, "fd00:1::14": OTHER}
    later = replace(peer, endpoint_id="f", ipv6="fd00:1::15/64", vtep=THIRD, generation=2)
    world.tell(PeersSeen(ID, (("f", later),)))
    assert world.remote() == {"10.0.1.20": THIRD, "fd00:1::15": THIRD}
    world.lose("f")
    assert world.remote() == {"10.0.1.20": OTHER, "fd00:1::14": OTHER}
    world.check()


def test_peers_cost_nothing_where_nobody_is_in_the_network(world: Cluster) -> None:
    assert not world.see(20).plans
    world.grant(10)
    world.run("ann", "blue")  # joined anew: gossip tells it again
    assert world.remote() == {}
    world.see(20)
    world.see(21)
    world.end("ann")
    assert world.remote() == {}
    world.check()


@pytest.mark.parametrize(
    "change",
    [
        {"ipv4": "10.0.1.1/24"},
        {"ipv4": "10.0.9.9/24"},
        {"ipv4": "x"},
        {"ipv4": ""},
        {"mac": "ff:ff:ff:ff:ff:ff"},
        {"mac": ""},
        {"vtep": ""},
        {"vtep": VTEP},
        {"vtep": "127.0.0.1"},
        {"vtep": "224.0.0.1"},
        {"vtep": "fd00::1"},
        {"network_id": "x"},
        {"endpoint_id": "x"},
    ],
)
def test_a_record_that_makes_no_sense_is_nobody(world: Cluster, change: dict[str, str]) -> None:
    world.grant(10)
    world.run("ann", "blue")
    peer = Peer(ID, "e", "10.0.1.20/24", "", "02:00:00:00:00:14", OTHER, 1)
    world.tell(PeersSeen(ID, (("e", replace(peer, **change)),)))
    assert world.remote() == {}
    world.tell(PeersSeen("unknown", (("e", peer),)))
    world.check()


def test_when_all_is_told_what_else_linux_knows_goes(world: Cluster) -> None:
    world.grant(10)
    world.run("ann", "blue")
    assert not world.of(Exact)
    world.tell(PeersComplete(ID))
    assert world.of(Exact)
    world.check()


def test_names_of_peers_resolve_and_those_of_our_own_are_ours(world: Cluster) -> None:
    world.grant(10)
    world.run("ann", "blue")
    names = PeerNames(ID, "e", ("bob", "not a name", "web"), "10.0.1.20/24", "")
    outcome = world.tell(NamesSeen(ID, (("e", names), (world.endpoint("ann").id, names))))
    assert outcome.messages == (Register(ID, "blue", "e", ("bob", "web"), "10.0.1.20", "", NAMES_TTL_S),)
    assert world.tell(NamesSeen(ID, (("e", None), ("f", None)))).messages == (Unregister(ID, "e"),)
    assert not world.tell(NamesSeen(ID, (("g", replace(names, ipv4="10.9.9.9/24")),))).messages
    world.tell(NamesSeen(ID, (("e", names),)))
    assert Unregister(ID, "e") in world.end("ann").messages


# the way out


def leading_out(world: Cluster, container: str) -> list[Endpoint]:
    identifier = world.engine.state.container(container).id
    return [one for one in world.engine.state.endpoints_of_container(identifier) if one.leads_out]


def test_the_gateway_bridge_leads_out_while_nothing_else_does(world: Cluster) -> None:
    world.grant(10)
    world.network("green")
    world.container("ann", "blue", ports=(PortRequest("tcp", 80, host_port=8080),))
    world.start("ann")
    (endpoint,) = leading_out(world, "ann")
    assert [binding.host_port for binding in endpoint.bindings] == [8080, 8080] or endpoint.bindings[
        0
    ].host_port == 8080
    assert world.engine.state.network(GATEWAY_BRIDGE).options[options.BRIDGE_ICC] == "false"
    assert endpoint.dns_names == ()
    world.connect("green", "ann")
    assert not leading_out(world, "ann")
    green = next(e for e in world.engine.state.endpoints.values() if e.network_id != ID)
    assert green.bindings[0].host_port == 8080
    world.tell(DisconnectNetwork("green", "ann"))
    (endpoint,) = leading_out(world, "ann")
    assert endpoint.bindings[0].host_port == 8080
    world.tell(DisconnectNetwork("blue", "ann"))
    assert not leading_out(world, "ann")
    world.check()


def test_an_internal_network_needs_no_way_out(world: Cluster) -> None:
    world.tell(InstallNetwork(replace(NETWORK, internal=True)))
    world.grant(10)
    world.run("ann", "blue")
    assert not leading_out(world, "ann")
    assert world.engine.state.network_named(GATEWAY_BRIDGE) is None


def test_a_plan_is_nothing_for_a_node_in_no_cluster() -> None:
    world = World()
    world.tell(InstallNetwork(NETWORK))
    world.tell(LeasesGranted((Lease(ID, "10.0.1.10", "n1", 1),)))
    world.container("ann", "blue")
    with pytest.raises(Unavailable, match="spans a cluster, and this node is in none"):
        world.start("ann")
    assert all(isinstance(plan, Plan) for plan in world.standing.values())
