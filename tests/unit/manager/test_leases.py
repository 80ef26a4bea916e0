"""Leases: exact addresses, reserves called back, what nodes remember, removed nodes."""

from __future__ import annotations

import pytest
from tests.sim.cluster_world import Villager, World

from fairlead.manager.decision import Stored
from fairlead.manager.manager import Manager
from fairlead.model.cluster import ClusterNetwork, Lease
from fairlead.model.cluster_commands import CreateClusterNetwork, RemoveNode, SessionOpened
from fairlead.model.commands import CreateNetwork
from fairlead.model.errors import Exhausted, Forbidden, Invalid
from fairlead.model.network import PoolRequest
from fairlead.model.session import Hello, LeaseReturn, LeaseWish, NetworkGrant, NetworkWish


@pytest.fixture
def world() -> World:
    made = World()
    made.found()
    return made


def _node(world: World, name: str, network: str = "web") -> Villager:
    node = world.join(name)
    node.say(NetworkWish(network))
    world.settle()
    return node


def _wish(node: Villager, network_id: str, **more: str) -> object:
    answer = node.say(LeaseWish(network_id, **more))  # type: ignore[arg-type]
    return answer


def test_an_exact_address_is_given(world: World) -> None:
    made = world.network("web", "10.9.0.0/24")
    node = _node(world, "w")
    answer = _wish(node, made.id, address="10.9.0.77")
    assert isinstance(answer, tuple)
    assert (answer[0].address, answer[0].node_id) == ("10.9.0.77", node.id)
    assert _wish(node, made.id, address="10.9.0.77") == answer  # the answer was lost, the node asks again


def test_an_exact_address_outside_or_of_the_network_itself_is_refused(world: World) -> None:
    made = world.network("web", "10.9.0.0/24")
    node = _node(world, "w")
    outside, gateway = _wish(node, made.id, address="10.8.0.7"), _wish(node, made.id, address="10.9.0.1")
    assert isinstance(outside, Invalid)
    assert "no configured subnet contains IP address 10.8.0.7" in str(outside)
    assert isinstance(gateway, Forbidden)
    assert str(gateway) == "Address already in use"


def test_exact_addresses_of_both_families_lie_in_one_segment(world: World) -> None:
    made = world.network("web", "10.9.0.0/24", "10.9.1.0/24", ipv6=True)
    node = _node(world, "w")
    second = made.network.pools[3].subnet.removesuffix("::/64")
    answer = _wish(node, made.id, ipv6=f"{second}::99")
    assert isinstance(answer, tuple)
    assert answer[0].ipv6 == f"{second}::99"
    assert answer[0].address.startswith("10.9.1.")
    both = _wish(node, made.id, address="10.9.1.50", ipv6=f"{second}::50")
    assert isinstance(both, tuple)
    assert (both[0].address, both[0].ipv6) == ("10.9.1.50", f"{second}::50")
    crossed = _wish(node, made.id, address="10.9.0.51", ipv6=f"{second}::51")
    assert isinstance(crossed, Invalid)
    assert _wish(node, made.id, ipv6=f"{second}::99") == answer


def test_an_address_in_use_elsewhere_is_refused(world: World) -> None:
    made = world.network("web", "10.9.0.0/24")
    node, other = _node(world, "w"), _node(world, "v")
    lease = other.free(made.id)[0]
    other.use(lease, "task")
    answer = _wish(node, made.id, address=lease.address)
    assert isinstance(answer, Forbidden)
    assert str(answer) == "Address already in use"


def test_an_address_in_anothers_reserve_is_called_back_and_given(world: World) -> None:
    made = world.network("web", "10.9.0.0/24")
    node, other = _node(world, "w"), _node(world, "v")
    lease = other.free(made.id)[0]
    ticket = _wish(node, made.id, address=lease.address)
    assert isinstance(ticket, str)
    world.settle()
    answer = world.answers[ticket]
    assert isinstance(answer, tuple)
    assert (answer[0].address, answer[0].node_id) == (lease.address, node.id)
    assert answer[0].generation > lease.generation
    assert lease.id in node.leases
    assert lease.id not in other.leases


def test_a_reserve_whose_node_is_silent_is_not_waited_for_for_ever(world: World) -> None:
    made = world.network("web", "10.9.0.0/24")
    node, other = _node(world, "w"), _node(world, "v")
    lease = other.free(made.id)[0]
    other.disconnect()
    ticket = _wish(node, made.id, address=lease.address)
    world.tick(10.5)
    answer = world.answers[str(ticket)]
    assert isinstance(answer, Forbidden)
    assert "node v" in answer.hint


def test_a_wish_is_a_level_so_asking_twice_gives_once(world: World) -> None:
    made = world.network("web", "10.9.0.0/24")
    node = _node(world, "w")
    first, again = node.say(LeaseWish(made.id, 6)), node.say(LeaseWish(made.id, 6))
    assert isinstance(first, tuple)
    assert (len(first), again) == (2, ())


def test_nobody_has_leases_of_a_network_he_takes_no_part_in(world: World) -> None:
    made = world.network("web", "10.9.0.0/24")
    node = world.join("w")
    answer = node.say(LeaseWish(made.id, 4))
    assert isinstance(answer, Forbidden)
    assert node.leases == {}


def test_nobody_starves_beside_a_reserve(world: World) -> None:
    """Where nothing is left, an address that lies idle elsewhere comes back for who needs one now; not for a reserve."""
    made = world.network("web", "10.9.0.0/29")
    other = _node(world, "v")
    other.say(LeaseWish(made.id, 5))
    node = world.join("w")
    ticket = node.say(NetworkWish("web"))
    world.settle()
    assert isinstance(world.answers[str(ticket)], NetworkGrant)
    assert (len(node.free(made.id)), len(other.free(made.id))) == (1, 4)
    assert isinstance(node.say(LeaseWish(made.id, 2)), Exhausted)
    ticket = node.say(LeaseWish(made.id, 2, needed=True))
    world.settle()
    assert isinstance(world.answers[str(ticket)], tuple)
    assert (len(node.free(made.id)), len(other.free(made.id))) == (2, 3)


def test_what_is_left_is_given_even_if_it_is_less(world: World) -> None:
    made = world.network("web", "10.9.0.0/29")
    node = _node(world, "w")
    given = node.say(LeaseWish(made.id, 20))
    assert isinstance(given, tuple)
    assert len(given) == 1
    assert isinstance(node.say(LeaseWish(made.id, 20)), Exhausted)


def test_a_return_of_an_older_lease_frees_nothing(world: World) -> None:
    made = world.network("web", "10.9.0.0/24")
    node = _node(world, "w")
    lease = node.free(made.id)[0]
    node.say(LeaseReturn(((lease.id, lease.generation - 1),)))
    world.settle()
    assert lease.id in world.manager.state.leases
    assert lease.id in node.leases


def test_nobody_returns_what_another_has(world: World) -> None:
    made = world.network("web", "10.9.0.0/24")
    node, other = _node(world, "w"), _node(world, "v")
    lease = other.free(made.id)[0]
    node.say(LeaseReturn(((lease.id, lease.generation),)))
    assert world.manager.state.leases[lease.id].node_id == other.id


def test_generations_grow_over_restarts(world: World) -> None:
    made = world.network("web", "10.9.0.0/24")
    node = _node(world, "w")
    highest = max(lease.generation for lease in node.leases.values())
    lease = node.free(made.id)[0]
    node.give_back(lease)
    world.restart()
    node.connect()
    node.repeat()
    world.settle()
    given = node.say(LeaseWish(made.id, 4))
    assert isinstance(given, tuple)
    assert given[0].generation > highest


def test_what_a_node_holds_is_taken_over_if_the_records_are_older(world: World) -> None:
    made = world.network("web", "10.9.0.0/24")
    node = world.join("w")
    old = dict(world.disk.records)
    node.say(NetworkWish("web"))
    world.settle()
    node.use(node.free(made.id)[0], "task")
    world.disk.records = old
    world.restart()
    node.connect()
    world.settle()
    assert len(node.leases) == 4
    held = world.manager.state.leases
    assert {one: lease.generation for one, lease in held.items()} == {
        one: lease.generation for one, lease in node.leases.items()
    }
    assert [lease.holder for lease in held.values() if lease.holder] == ["task"]
    given = node.say(LeaseWish(made.id, 5))
    assert isinstance(given, tuple)
    assert given[0].generation > max(lease.generation for lease in node.leases.values())


def test_sec_a_node_cannot_make_up_leases_of_networks_that_nobody_may_join(world: World) -> None:
    request = CreateNetwork("services", "overlay", pools=(PoolRequest("10.9.0.0/24"),))
    made = world.must(CreateClusterNetwork(request))
    assert isinstance(made, ClusterNetwork)
    node = world.join("w")
    claimed = Lease(made.id, "10.9.0.9", node.id, 7)
    node.session = world.next_session()
    world.must(SessionOpened(node.id, node.session, Hello(node.description, leases=(claimed,)), "worker"))
    world.settle()
    assert world.manager.state.leases == {}
    assert world.secrets_told == {}


def test_sec_made_up_generations_wear_nothing_out(world: World) -> None:
    made = world.network("web", "10.9.0.0/24")
    node = world.join("w")
    for generation in (-1, 0, 2**62):
        claimed = Lease(made.id, "10.9.0.9", node.id, generation)
        node.session = world.next_session()
        world.must(SessionOpened(node.id, node.session, Hello(node.description, leases=(claimed,)), "worker"))
        assert world.manager.state.leases == {}


def test_a_removed_nodes_addresses_are_free_only_when_all_living_have_forgotten(world: World) -> None:
    made = world.network("web", "10.9.0.0/28")
    node, other, lost = _node(world, "w"), _node(world, "v"), _node(world, "x")
    lost.use(lost.free(made.id)[0], "task")
    world.must(RemoveNode(lost.id, force=True))
    for one in (node, world.nodes[next(iter(world.nodes))]):
        one.read()  # they forget, `other` has not read it yet
    assert list(world.manager.state.places.of(lost.id))
    assert world.manager.usage(made.id, world.at).resting == 4
    assert isinstance(node.say(LeaseWish(made.id, 6)), tuple)  # the last ones
    assert isinstance(node.say(LeaseWish(made.id, 7)), Exhausted)
    other.read()
    world.tick(0)
    given = node.say(LeaseWish(made.id, 7))
    assert isinstance(given, tuple)
    assert given[0].id in lost.leases


def test_a_node_that_is_down_is_not_waited_for(world: World) -> None:
    made = world.network("web", "10.9.0.0/24")
    _node(world, "w")
    silent, lost = _node(world, "v"), _node(world, "x")
    silent.disconnect()
    world.must(RemoveNode(lost.id, force=True))
    world.settle()
    assert list(world.manager.state.places.of(lost.id))
    world.beat(40)
    assert not list(world.manager.state.places.of(lost.id))
    assert made.id in world.manager.state.networks


def test_forgetting_goes_on_after_a_restart(world: World) -> None:
    world.network("web", "10.9.0.0/24")
    node, lost = _node(world, "w"), _node(world, "x")
    world.must(RemoveNode(lost.id, force=True))
    world.restart()
    assert list(world.manager.state.places.of(lost.id))
    for one in [one for one in world.nodes.values() if one is not lost]:
        one.connect()
    world.settle()
    world.tick(0)
    assert not list(world.manager.state.places.of(lost.id))
    assert len(node.leases) == 4


def test_a_record_that_makes_no_sense_hinders_nobody(world: World) -> None:
    made = world.network("web", "10.9.0.0/24")
    _node(world, "w")
    wrong = Lease(made.id, "10.7.0.1", "nobody", 1)
    stored = [*world.disk.records.values(), Stored(wrong, 1)]
    decision = Manager(world.chance).restore(stored, world.now, world.at)
    assert [(one.type, one.action, one.id) for one in decision.notices] == [("lease", "unusable", wrong.id)]
