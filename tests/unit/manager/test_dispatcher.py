"""What each node is told: only what concerns it, in order, with nothing of others' secrets."""

from __future__ import annotations

import pytest
from tests.sim.cluster_world import Villager, World

from fairlead.manager import keys
from fairlead.model.cluster_commands import GrowNetwork, NodeSaid
from fairlead.model.network import PoolRequest
from fairlead.model.session import Assignments, Heartbeat, LeaseWish, NetworkWish, Resync


@pytest.fixture
def world() -> World:
    made = World()
    made.found()
    return made


def _told(node: Villager) -> list[Assignments]:
    return [message for _, message in node.inbox if isinstance(message, Assignments)]


def test_the_first_assignments_are_everything(world: World) -> None:
    node = world.join("w")
    node.connect()
    (full,) = _told(node)
    assert full.full
    assert full.keys is not None
    assert full.node is not None
    assert full.settings is not None
    assert full.settings.cluster_id == world.manager.state.cluster.id


def test_a_change_is_told_to_those_whom_it_concerns(world: World) -> None:
    node, other = world.join("w"), world.join("v")
    made = world.network("web")
    assert (_told(node), _told(other)) == ([], [])  # nobody takes part yet
    node.say(NetworkWish("web"))
    (first,) = _told(node)
    assert [one.network.id for one in first.networks] == [made.id]
    assert len(first.leases) == 4
    world.settle()
    world.must(GrowNetwork("web", (PoolRequest(),)))
    (second,) = _told(node)
    assert len(second.networks[0].network.pools) == 2
    assert second.leases == ()
    node.say(LeaseWish(made.id, 5))
    (third,) = _told(node)[1:]
    assert (third.networks, len(third.leases)) == ((), 1)
    assert third.applies_to == second.results_in
    assert _told(other) == []


def test_heartbeats_write_and_tell_nothing(world: World) -> None:
    node = world.join("w")
    decision = world.manager.handle(NodeSaid(node.id, node.session, Heartbeat()), world.now, world.at)
    assert (decision.writes, decision.pushes, decision.notices) == ((), (), ())


def test_a_gap_leads_to_everything_anew(world: World) -> None:
    node = world.join("w")
    made = world.network("web")
    node.say(NetworkWish("web"))
    node.inbox.clear()  # lost on the way
    node.say(LeaseWish(made.id, 5))
    node.read_one()  # notices the gap, asks
    (full,) = _told(node)
    assert full.full
    world.settle()
    assert len(node.leases) == 5
    node.say(Resync())
    assert [one.full for one in _told(node)] == [True]


def test_sec_only_nodes_that_take_part_are_given_a_networks_keys(world: World) -> None:
    node, other = world.join("w"), world.join("v")
    made = world.network("web")
    secret = world.network("secret")
    node.say(NetworkWish("web"))
    other.say(NetworkWish("secret"))
    world.settle()
    for one in (node, other):
        one.connect()
    world.settle()
    assert world.secrets_told == {made.id: {node.id}, secret.id: {other.id}}
    mine, theirs = node.networks[made.id], other.networks[secret.id]
    shared = world.manager.state.cluster.gossip_keys
    assert [key.tag for key in mine.keys] == [key.tag for key in shared.keys]
    secrets = [one.keys[0].secret for one in (mine, theirs, shared)]
    assert len(set(secrets)) == 3


def test_a_networks_keys_change_with_the_clusters(world: World) -> None:
    node = world.join("w")
    made = world.network("web")
    node.say(NetworkWish("web"))
    world.settle()
    before = node.networks[made.id]
    world.now += keys.ROTATION_S
    node.say(Heartbeat())
    world.beat(8)
    after = node.networks[made.id]
    assert after.primary == world.manager.state.cluster.gossip_keys.primary > before.primary
    assert after.keys[0].secret != before.keys[0].secret


def test_what_an_ended_session_says_is_nothing(world: World) -> None:
    node = world.join("w")
    made = world.network("web")
    old = node.session
    node.connect()
    world.must(NodeSaid(node.id, old, NetworkWish("web")))
    assert world.manager.state.networks_of(node.id) == ()
    assert made.id in world.manager.state.networks
