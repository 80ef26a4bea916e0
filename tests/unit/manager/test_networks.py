"""Networks of the cluster: what is allocated, what is refused, growth, removal."""

from __future__ import annotations

import pytest
from tests.sim.cluster_world import World

from fairlead.manager import forgetting, leases
from fairlead.manager.core import Turn
from fairlead.manager.networks import INGRESS
from fairlead.model import options
from fairlead.model.cluster import ClusterNetwork, NodeDescription
from fairlead.model.cluster_commands import (
    CancelTicket,
    CreateClusterNetwork,
    GrowNetwork,
    RemoveClusterNetwork,
    RemoveNode,
)
from fairlead.model.commands import CreateNetwork
from fairlead.model.errors import Conflict, Exhausted, Forbidden, Internal, Invalid, NetError
from fairlead.model.network import PoolRequest
from fairlead.model.session import RESTING, LeaseWish, Leaving, NetworkGrant, NetworkWish, StatusReport


@pytest.fixture
def world() -> World:
    made = World()
    made.found()
    return made


def _vnis(network: ClusterNetwork) -> list[int]:
    return [int(word) for word in network.network.options[options.VXLAN_IDS].split(",")]


def _subnets(network: ClusterNetwork) -> list[str]:
    return [pool.subnet for pool in network.network.pools]


def _create(world: World, name: str = "web", **more: object) -> ClusterNetwork:
    made = world.must(CreateClusterNetwork(CreateNetwork(name, "overlay", **more)))  # type: ignore[arg-type]
    assert isinstance(made, ClusterNetwork)
    return made


def test_a_new_cluster_has_the_ingress_network_with_the_first_subnet_and_vni(world: World) -> None:
    ingress = world.manager.state.network(INGRESS)
    assert ingress.ingress
    assert _subnets(ingress)[0] == "10.0.0.0/24" and ingress.network.ipv6
    assert _vnis(ingress) == [4096]


def test_subnets_are_first_fit_and_vnis_go_on(world: World) -> None:
    one, two = world.network("one"), world.network("two")
    assert (_subnets(one), _subnets(two)) == (["10.0.1.0/24"], ["10.0.2.0/24"])
    assert one.network.pools[0].gateway == "10.0.1.1"
    world.must(RemoveClusterNetwork("one"))
    three = world.network("three")
    assert _subnets(three) == ["10.0.1.0/24"]
    assert (_vnis(one), _vnis(two), _vnis(three)) == ([4097], [4098], [4099])


def test_vnis_go_on_after_a_restart_of_the_manager(world: World) -> None:
    one = world.network("one")
    world.must(RemoveClusterNetwork("one"))
    world.restart()
    assert _vnis(world.network("two"))[0] > _vnis(one)[0]


def test_automatic_subnets_avoid_what_nodes_report(world: World) -> None:
    node = world.join("w")
    node.say(StatusReport(NodeDescription("w", prefixes=("10.0.1.0/24", "10.0.2.7/32"))))
    assert _subnets(world.network("web")) == ["10.0.3.0/24"]


def test_several_subnets_ipv6_and_a_vni_for_each_segment(world: World) -> None:
    made = world.network("web", "10.9.0.0/24", "10.9.1.0/24", ipv6=True)
    v4, v6 = _subnets(made)[:2], _subnets(made)[2:]
    assert v4 == ["10.9.0.0/24", "10.9.1.0/24"]
    assert len(v6) == 2
    assert all(one.startswith("fd") and one.endswith("/64") for one in v6)
    assert _vnis(made) == [4097, 4098]
    assert [(a.subnet, b.subnet if b else "") for a, b in leases.segments(made)] == list(zip(v4, v6, strict=True))


def test_vnis_can_be_pinned_and_no_two_networks_have_one(world: World) -> None:
    one = world.network("one", "10.9.0.0/24", "10.9.1.0/24", options={options.VXLAN_IDS: "7000"})
    assert _vnis(one)[0] == 7000
    with pytest.raises(Forbidden, match=r"could not obtain vxlan id for pool 10\.9\.2\.0/24"):
        world.network("two", "10.9.2.0/24", options={options.VXLAN_IDS: "7000"})
    with pytest.raises(Invalid, match="invalid vxlan id value"):
        world.network("two", options={options.VXLAN_IDS: "70000000"})
    with pytest.raises(Invalid, match="2 vxlan ids are given for 1 subnets"):
        world.network("two", options={options.VXLAN_IDS: "7001,7002"})


def test_a_pinned_vni_is_left_out_when_others_are_chosen(world: World) -> None:
    world.network("one", options={options.VXLAN_IDS: "4098"})
    assert [_vnis(world.network(name)) for name in ("two", "three")] == [[4097], [4099]]


def test_a_refused_network_leaves_nothing_behind(world: World) -> None:
    before = (world.manager.core.ipam, world.manager.core.vnis)
    with pytest.raises(NetError):
        world.network("two", "10.9.2.0/24", "10.9.3.0/24", options={options.VXLAN_IDS: "7001,4096"})
    assert (world.manager.core.ipam, world.manager.core.vnis) == before
    assert world.manager.state.network_named("two") is None
    assert _subnets(world.network("two", "10.9.2.0/24")) == ["10.9.2.0/24"]


def test_the_mtu_fits_every_node(world: World) -> None:
    world.join("w", mtu=1400)
    assert world.network("web").network.options[options.MTU] == "1350"
    assert world.network("own", options={options.MTU: "1200"}).network.options[options.MTU] == "1200"
    node = world.join("v6")
    node.say(StatusReport(NodeDescription("v6", data_path="2001:db8::1", mtu=1500)))
    assert world.network("outer6").network.options[options.MTU] == "1330"


def test_a_node_with_a_small_mtu_is_told_of(world: World) -> None:
    world.network("web")
    world.join("w", mtu=1280)
    assert "network mtu" in world.notices


def test_names_are_unique_and_predefined_ones_are_taken(world: World) -> None:
    world.network("web")
    with pytest.raises(Conflict, match="network with name web already exists"):
        world.network("web")
    with pytest.raises(Forbidden, match="operation is not permitted on predefined bridge network"):
        world.network("bridge")


def test_subnets_do_not_overlap(world: World) -> None:
    world.network("web", "10.9.0.0/16")
    with pytest.raises(Forbidden, match="Pool overlaps with other one on this address space"):
        world.network("two", "10.9.1.0/24")
    with pytest.raises(Forbidden, match="Pool overlaps"):
        pools = (PoolRequest("10.8.0.0/24", "10.8.0.0/25"), PoolRequest("10.8.0.0/24", "10.8.0.128/25"))
        _create(world, "three", pools=pools)


def test_what_the_driver_cannot_be_is_refused(world: World) -> None:
    with pytest.raises(Invalid, match="IPv4 cannot be disabled in a Swarm scoped network"):
        _create(world, ipv4=False, ipv6=True)
    with pytest.raises(Invalid, match="unsupported network driver bridge"):
        world.must(CreateClusterNetwork(CreateNetwork("web", "bridge")))
    with pytest.raises(Conflict, match=r"ingress network \(.*\) is already present"):
        world.must(CreateClusterNetwork(CreateNetwork("again", "overlay"), ingress=True))
    world.must(RemoveClusterNetwork(INGRESS))
    with pytest.raises(Invalid, match="ingress network cannot be attachable"):
        world.must(CreateClusterNetwork(CreateNetwork("again", "overlay", attachable=True), ingress=True))


def test_sec_01_encryption_is_refused_when_the_manager_s_node_cannot(world: World) -> None:
    before = dict(world.manager.state.networks)
    with pytest.raises(
        Invalid, match="cannot create the encrypted network web: its version of Fairlead has no"
    ) as caught:
        _create(world, options={"encrypted": ""})
    assert "leave out --opt encrypted" in caught.value.hint
    assert dict(world.manager.state.networks) == before
    with pytest.raises(Invalid, match="failed to parse encrypted value: maybe"):
        _create(world, options={"encrypted": "maybe"})
    _create(world, "clear", options={"encrypted": "false"})


def test_the_kernel_s_balancer_is_refused_when_the_manager_s_node_has_none(world: World) -> None:
    before = dict(world.manager.state.networks)
    with pytest.raises(Invalid, match=r"cannot create network web with fairlead\.lb=ipvs: its version") as caught:
        _create(world, options={options.BALANCER: "ipvs"})
    assert "leave out --opt fairlead.lb" in caught.value.hint
    with pytest.raises(Invalid, match=r"failed to parse fairlead\.lb value: haproxy"):
        _create(world, options={options.BALANCER: "haproxy"})
    assert dict(world.manager.state.networks) == before
    (manager,) = world.nodes.values()
    manager.say(StatusReport(NodeDescription("m", no_ipvs="")))
    assert _create(world, options={options.BALANCER: "ipvs"}).network.options[options.BALANCER] == "ipvs"
    _create(world, "plain", options={options.BALANCER: "nftables"})


@pytest.mark.parametrize(("data_path", "mtu"), [("192.0.2.1", "1416"), ("2001:db8::1", "1396")])
def test_the_mtu_of_an_encrypted_network_leaves_room_for_it(world: World, data_path: str, mtu: str) -> None:
    (manager,) = world.nodes.values()
    manager.say(StatusReport(NodeDescription("m", data_path=data_path, no_encryption="")))
    made = _create(world, options={"encrypted": ""}).network.options
    assert (made["encrypted"], made[options.MTU]) == ("", mtu)


def test_only_attachable_networks_are_joined(world: World) -> None:
    node = world.join("w")
    _create(world, "services")
    refused = node.say(NetworkWish("services"))
    assert isinstance(refused, Forbidden)
    assert "not manually attachable" in str(refused)


def test_a_live_network_grows_and_its_nodes_are_told(world: World) -> None:
    node = world.join("w")
    made = world.network("web", "10.9.0.0/29")
    node.say(NetworkWish("web"))
    node.say(LeaseWish(made.id, 5))
    world.settle()
    assert "network exhausted" in world.notices
    assert "web has used up 10.9.0.0/29" not in world.manager.state.network("web").pending  # Docker's words
    assert world.manager.state.network("web").pending == "no available addresses on this pool"
    assert isinstance(node.say(LeaseWish(made.id, 6)), Exhausted)
    grown = world.must(GrowNetwork("web", (PoolRequest("10.9.1.0/29"), PoolRequest())))
    assert isinstance(grown, ClusterNetwork)
    assert _subnets(grown) == ["10.9.0.0/29", "10.9.1.0/29", "10.0.1.0/24"]
    assert _vnis(grown) == [4097, 4098, 4099]
    assert grown.pending == ""
    given = node.say(LeaseWish(made.id, 6))
    world.settle()
    assert isinstance(given, tuple)
    assert given[0].address == "10.9.1.2"
    assert set(node.networks) == {made.id}


def test_growth_with_ipv6_and_a_stale_version(world: World) -> None:
    made = world.network("web", "10.9.0.0/24", ipv6=True)
    grown = world.must(GrowNetwork("web", (PoolRequest("10.9.1.0/24"),), version=made.version))
    assert isinstance(grown, ClusterNetwork)
    assert len(leases.segments(grown)) == 2
    assert all(pool6 is not None for _, pool6 in leases.segments(grown))
    with pytest.raises(Internal, match="update out of sequence"):
        world.must(GrowNetwork("web", (PoolRequest(),), version=made.version))


def test_an_unused_network_goes_at_once(world: World) -> None:
    made = world.network("web")
    assert world.must(RemoveClusterNetwork("web")) == made
    assert world.manager.state.network_named("web") is None


def test_a_network_in_use_stays(world: World) -> None:
    node = world.join("w")
    made = world.network("web")
    node.say(NetworkWish("web"))
    world.settle()
    node.use(node.free(made.id)[0], "task1")
    ticket = world.must(RemoveClusterNetwork("web"))
    assert not world.manager.state.networks[made.id].removing  # others go on using it
    world.settle()
    answer = world.answers[str(ticket)]
    assert isinstance(answer, Invalid)
    assert str(answer).endswith(f"network {made.id} is in use by task task1")


def test_who_removes_a_container_and_then_its_network_is_not_refused(world: World) -> None:
    node = world.join("w")
    made = world.network("web")
    node.say(NetworkWish("web"))
    world.settle()
    lease = node.free(made.id)[0]
    node.use(lease, "task1")
    node.used[lease.id] = RESTING  # the node's word of it is under way
    ticket = str(world.must(RemoveClusterNetwork("web")))
    world.settle()
    assert ticket not in world.answers
    assert [one.id for one in node.leases.values()] == [lease.id]
    node.give_back(lease)
    world.settle()
    assert isinstance(world.answers[ticket], ClusterNetwork)
    assert made.id not in world.manager.state.networks


def test_a_removed_nodes_containers_do_not_keep_a_network(world: World) -> None:
    node, silent = world.join("w"), world.join("v")
    world.network("web")
    node.say(NetworkWish("web"))
    world.settle()
    node.use(next(iter(node.leases.values())), "task1")
    silent.disconnect()
    world.must(RemoveNode(node.id, force=True))
    assert list(world.manager.state.places.of(node.id))
    assert isinstance(world.must(RemoveClusterNetwork("web")), ClusterNetwork)
    world.beat(40)
    assert world.manager.state.leases == {}


def test_reserves_are_called_back_before_a_network_goes(world: World) -> None:
    node, other = world.join("w"), world.join("v")
    made = world.network("web")
    for one in (node, other):
        one.say(NetworkWish("web"))
    world.settle()
    ticket = world.must(RemoveClusterNetwork("web"))
    assert isinstance(ticket, str)
    assert isinstance(node.say(NetworkWish("web")), Conflict)
    world.settle()
    answered = world.answers[ticket]
    assert isinstance(answered, ClusterNetwork)
    assert answered.id == made.id
    assert made.id not in world.manager.state.networks
    assert (node.networks, node.leases) == ({}, {})


def test_a_reserve_taken_into_use_meanwhile_keeps_the_network(world: World) -> None:
    node = world.join("w")
    made = world.network("web")
    node.say(NetworkWish("web"))
    world.settle()
    node.used[node.free(made.id)[0].id] = "late"  # its report is under way when the network is to go
    ticket = world.must(RemoveClusterNetwork("web"))
    node.use(node.leases[next(iter(node.used))], "late")
    world.settle()
    assert "is in use by task late" in str(world.answers[str(ticket)])
    assert not world.manager.state.networks[made.id].removing
    assert node.removing == set()


def test_a_node_that_does_not_answer_keeps_the_network_for_a_time_only(world: World) -> None:
    node = world.join("w")
    made = world.network("web")
    node.say(NetworkWish("web"))
    node.disconnect()
    ticket = world.must(RemoveClusterNetwork("web"))
    world.tick(10.5)
    answer = world.answers[str(ticket)]
    assert isinstance(answer, Forbidden)
    assert "node w" in answer.hint
    assert not world.manager.state.networks[made.id].removing
    world.tick(10)
    with pytest.raises(Forbidden):
        world.must(RemoveClusterNetwork("web"))
    world.must(RemoveNode(node.id))
    assert world.must(RemoveClusterNetwork("web"))
    world.tick(1)
    assert world.manager.state.leases == {}


def test_who_waited_may_go(world: World) -> None:
    node = world.join("w")
    made = world.network("web")
    node.say(NetworkWish("web"))
    node.disconnect()
    ticket = world.must(RemoveClusterNetwork("web"))
    world.must(CancelTicket(str(ticket)))
    assert not world.manager.state.networks[made.id].removing


def test_usage_and_forecast(world: World) -> None:
    node = world.join("w")
    made = world.network("web", "10.9.0.0/24")
    node.say(NetworkWish("web"))
    world.settle()
    node.use(node.free(made.id)[0], "task")
    used = world.manager.usage(made.id, world.at)
    assert (used.in_use, used.reserved, used.resting, used.left) == (1, 3, 0, 249)
    assert (used.subnets[0].subnet, used.subnets[0].used) == ("10.9.0.0/24", 7)
    assert used.exhausted_at is None
    world.beat(3600)
    node.say(LeaseWish(made.id, 54))
    soon = world.manager.usage(made.id, world.at).exhausted_at
    assert soon is not None
    assert soon - world.at == pytest.approx(199 / 50 * 3600, rel=0.05)


def test_one_address_balances_a_network_and_services_have_theirs_for_life(world: World) -> None:
    made = world.network("web", "10.9.0.0/24")
    turn = Turn(world.manager.core, world.now, world.at)
    assert leases.balancer(turn, made) == leases.balancer(turn, made)
    vip = leases.shared(turn, made, f"{leases.SERVICE}s1")
    assert vip == leases.shared(turn, made, f"{leases.SERVICE}s1")
    assert vip.address != leases.balancer(turn, made).address
    assert vip.node_id == ""
    with pytest.raises(Invalid, match="is in use by service s1"):
        world.must(RemoveClusterNetwork("web"))


def test_a_virtual_address_rests_until_all_have_forgotten_it(world: World) -> None:
    node = world.join("w")
    made = world.network("web", "10.9.0.0/24")
    core = world.manager.core
    turn = Turn(core, world.now, world.at)
    vip = leases.shared(turn, made, f"{leases.SERVICE}s1")
    forgetting.rest(turn, vip)
    assert [one.subject for one in turn.forgets] == [vip.id]
    again = leases.shared(turn, made, f"{leases.SERVICE}s1")
    assert again.address != vip.address
    for one in world.nodes:
        forgetting.confirmed(turn, one, [turn.forgets[0].id])
    forgetting.sweep(turn)
    assert vip.id not in world.manager.state.leases
    assert node.id in world.nodes


def test_the_last_lease_returned_ends_taking_part(world: World) -> None:
    node = world.join("w")
    made = world.network("web")
    assert node.say(NetworkWish("web")) == NetworkGrant(made.id)
    world.settle()
    assert len(node.leases) == leases.RESERVE
    for lease in [*node.leases.values()]:
        node.give_back(lease)
    world.settle()
    assert node.networks == {}
    assert world.manager.state.networks_of(node.id) == ()


def test_a_node_that_leaves_is_down_at_once(world: World) -> None:
    node = world.join("w")
    node.say(Leaving())
    assert world.manager.state.nodes[node.id].state == "down"
