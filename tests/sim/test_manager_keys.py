"""Shared keys in a cluster whose managers die and whose nodes come and go: nothing is sealed that a living node cannot open."""

from __future__ import annotations

import random

import pytest
from tests.sim.cluster_world import Villager, World

from fairlead.manager import keys
from fairlead.model.cluster_commands import RemoveNode
from fairlead.model.session import Heartbeat


def _can_all_open(world: World) -> None:
    """Whatever one living node seals with, every other living node opens. Nodes that have just come back do so once they
    have been told everything."""
    living = [one for one in world.nodes.values() if one.is_online and one.is_told]
    for purpose in ("gossip", "data"):
        primaries = {one.rings[purpose].primary for one in living}
        for node in living:
            held = {key.tag for key in node.rings[purpose].keys}
            assert primaries <= held, f"{node.description.hostname} has {held}, others seal with {primaries}"


def _settle_slowly(world: World, draw: random.Random) -> None:
    """Nodes read one message at a time in any order; after each, all can talk to each other."""
    while busy := [one for one in world.nodes.values() if one.inbox and one.is_online]:
        draw.choice(busy).read_one()
        _can_all_open(world)


def _primary(world: World) -> int:
    return world.manager.state.cluster.gossip_keys.primary


def _due(world: World) -> None:
    """Twelve hours pass, with heartbeats at the end, so that nobody seems down."""
    world.now += keys.ROTATION_S - 1
    for node in world.nodes.values():
        node.say(Heartbeat())
    world.beat(4)


def test_ten_rotations_and_a_node_that_misses_three_heals_itself() -> None:
    world, draw = World(3), random.Random(3)
    world.found()
    nodes = [world.join(f"w{index}") for index in range(4)]
    absent = nodes[1]
    seen = {_primary(world)}
    for rotation in range(10):
        if rotation == 3:
            absent.disconnect()
            world.beat(20)
        if rotation == 6:
            absent.connect()
            _settle_slowly(world, draw)
            assert absent.rings["gossip"] == world.manager.state.cluster.gossip_keys
        _due(world)
        _settle_slowly(world, draw)
        seen.add(_primary(world))
        for node in world.nodes.values():
            if node.is_online:
                assert node.rings["gossip"] == world.manager.state.cluster.gossip_keys
                assert len(node.rings["gossip"].keys) == 1
    assert len(seen) == 11


def test_no_key_is_primary_before_every_living_node_holds_it() -> None:
    world = World(4)
    world.found()
    slow, other = world.join("slow"), world.join("other")
    before = _primary(world)
    slow.does_keys = False
    _due(world)
    world.settle()
    assert len(other.rings["gossip"].keys) == 2
    for _ in range(20):
        world.beat(4)
        assert {other.rings["gossip"].primary, _primary(world)} == {before}
    assert world.manager.laggards() == (slow.id,)
    slow.does_keys = True
    slow.connect()
    world.settle()
    assert _primary(world) == max(key.tag for key in slow.rings["gossip"].keys) > before
    assert world.manager.laggards() == ()


def test_a_node_that_is_down_holds_nobody_up() -> None:
    world = World(5)
    world.found()
    gone = world.join("gone")
    before = _primary(world)
    gone.does_keys = False
    _due(world)
    gone.disconnect()
    world.beat(8)
    assert _primary(world) == before
    world.beat(12)
    assert _primary(world) > before


def test_rotation_is_due_by_the_clock_of_the_cluster_not_of_the_manager() -> None:
    world = World(6)
    manager = world.found()
    before = _primary(world)
    for _ in range(4):  # swarm's ticker starts afresh with each leader, so that it never rings
        world.now += keys.ROTATION_S / 4
        world.restart()
        manager.connect()
        world.settle()
    world.tick(1)
    world.settle()
    assert _primary(world) > before


def test_a_removed_node_never_learns_the_keys_that_are_used_after_it() -> None:
    world = World(7)
    world.found()
    node, _ = world.join("thief"), world.join("w")
    known = {key.secret for key in node.rings["gossip"].keys + node.rings["data"].keys}
    world.must(RemoveNode(node.id, force=True))
    world.remove(node)
    world.settle()
    cluster = world.manager.state.cluster
    assert known.isdisjoint(key.secret for key in cluster.gossip_keys.keys + cluster.data_keys.keys)


def test_a_removal_during_a_rotation_leads_to_a_key_that_the_removed_node_has_not() -> None:
    world, draw = World(8), random.Random(8)
    world.found()
    node, slow = world.join("thief"), world.join("slow")
    slow.does_keys = False
    _due(world)
    world.settle()
    known = {key.secret for key in node.rings["gossip"].keys}
    assert len(known) == 2
    world.must(RemoveNode(node.id, force=True))
    world.remove(node)
    slow.does_keys = True
    slow.connect()
    _settle_slowly(world, draw)
    assert known.isdisjoint(key.secret for key in world.manager.state.cluster.gossip_keys.keys)


@pytest.mark.parametrize("seed", range(20))
def test_random_schedules_of_rotations_with_crashes(seed: int) -> None:
    world, draw = World(seed), random.Random(seed)
    world.found()
    for index in range(4):
        world.join(f"w{index}")
    world.crash = lambda step: draw.randrange(120) == 0
    for index in range(60):
        _something(world, draw, index)
        for node in world.nodes.values():
            if not node.is_online and draw.randrange(3):
                node.connect()
        _settle_slowly(world, draw)
    world.crash = lambda step: False
    for node in world.nodes.values():
        node.connect()
    world.settle()
    world.beat(40)
    cluster = world.manager.state.cluster
    assert len(cluster.gossip_keys.keys) == 1
    for node in world.nodes.values():
        assert (node.rings["gossip"], node.rings["data"]) == (cluster.gossip_keys, cluster.data_keys)


def _something(world: World, draw: random.Random, index: int) -> None:
    workers = [one for one in world.nodes.values() if one.role == "worker"]
    match draw.randrange(6):
        case 0:
            world.now += keys.ROTATION_S
            _beat_all(world)
        case 1 if len(workers) > 2:
            _remove(world, draw.choice(workers))
        case 2 if len(workers) < 6:
            world.join(f"more{index}")
        case 3:
            draw.choice(workers).disconnect()
        case _:
            world.tick(draw.choice([1.0, 5.0]))
            _beat_all(world)


def _beat_all(world: World) -> None:
    for node in [*world.nodes.values()]:
        node.say(Heartbeat())
    world.tick(0)


def _remove(world: World, node: Villager) -> None:
    while node.id in world.manager.state.nodes:
        world.ask(RemoveNode(node.id, force=True))
    world.remove(node)
