"""The allocator under long random schedules in which managers die between any two steps."""

from __future__ import annotations

import random

import pytest
from tests.sim.cluster_world import Crashed, Villager, World

from fairlead.model.cluster_commands import GrowNetwork, RemoveClusterNetwork, RemoveNode
from fairlead.model.errors import NetError
from fairlead.model.network import PoolRequest
from fairlead.model.session import Heartbeat, LeaseWish, NetworkWish

#: One in so many transactions meets another writer.
_CONFLICTS = 900


class Schedule:
    """What nodes and people do, drawn from a seed. ``operations`` counts what concerns addresses; one in ``crash_in`` of the
    manager's steps is its last, after one in ``seldom_in`` something happens to a node or network."""

    def __init__(self, seed: int, *, crash_in: int, seldom_in: int, nodes: int = 6) -> None:
        self.draw = random.Random(seed)
        self.world = World(seed)
        self.world.found()
        for index in range(nodes):
            self.world.join(f"w{index}")
        self.networks = [
            self.world.network("one", "10.64.0.0/25").id,
            self.world.network("two", "10.65.0.0/26", ipv6=True).id,
            self.world.network("small", "10.66.0.0/27").id,
        ]
        self.joined = nodes
        self.operations = self.removed_nodes = self.removed_networks = 0
        self.seldom_in = seldom_in
        self.world.crash = lambda step: self.draw.randrange(crash_in) == 0

    def run(self, operations: int) -> None:
        """So many operations with addresses."""
        while self.operations < operations:
            node = self.draw.choice([*self.world.nodes.values()])
            if not node.is_online:
                node.connect()
            self._act(node)
            if self.draw.randrange(_CONFLICTS) == 0 and self.world.manager.state.leases:
                self.world.disk.disturb(self.draw.choice([*self.world.manager.state.leases.values()]))
            if self.draw.randrange(3) == 0:
                node.read()
            if self.draw.randrange(self.seldom_in) == 0:
                self._seldom(node)
        self.world.crash = lambda step: False

    def _act(self, node: Villager) -> None:
        network_id = self.draw.choice(self.networks)
        free = node.free(network_id)
        mine = [one for one in node.used if one.startswith(network_id)]
        self.operations += 1
        match self.draw.randrange(8):
            case 0 if network_id not in node.networks:
                node.say(NetworkWish(network_id))
            case 1 | 2 if network_id in node.networks and len(free) < 2:
                total = sum(1 for one in node.leases.values() if one.network_id == network_id)
                node.say(LeaseWish(network_id, total + 4 - len(free)))
            case 3 if network_id in node.networks and self.draw.randrange(4) == 0:
                network = self.world.manager.state.networks[network_id].network
                first = network.pools[0].subnet.rpartition(".")[0]
                node.say(LeaseWish(network_id, address=f"{first}.{self.draw.randrange(1, 31)}"))
            case 4 | 5 if free:
                node.use(self.draw.choice(free), "task")
            case 6 if mine:
                node.unuse(node.leases[self.draw.choice(mine)])
            case 7 if len(free) > 2 or self.draw.randrange(12) == 0:
                for lease in free[: self.draw.randrange(1, 4)]:
                    node.give_back(lease)
            case _:
                node.repeat()
                node.say(Heartbeat())
                self.operations -= 1

    def _seldom(self, node: Villager) -> None:
        world = self.world
        match self.draw.randrange(6):
            case 0:
                node.disconnect()
            case 1:
                world.tick(1.0)
            case 2:
                world.beat(20.0)
            case 3 if len(world.nodes) > 4 and node.role == "worker":
                self._remove(node)
            case 4 if len(world.nodes) < 9:
                self.joined += 1
                world.join(f"w{self.joined}")
            case 5:
                self._renew_network()

    def _remove(self, node: Villager) -> None:
        while node.id in self.world.manager.state.nodes:
            self.world.ask(RemoveNode(node.id, force=True))
        self.removed_nodes += 1
        self.world.remove(node)

    def _renew_network(self) -> None:
        """Try to remove a network, which works when nobody uses it; make it again if it did."""
        world, index = self.world, self.draw.randrange(len(self.networks))
        if self.draw.randrange(2):
            for node in world.nodes.values():
                for lease in [node.leases[one] for one in node.used if one.startswith(self.networks[index])]:
                    node.unuse(lease)
        world.ask(RemoveClusterNetwork(self.networks[index]))
        world.settle()
        world.tick(11.0)
        world.settle()
        if self.networks[index] not in world.manager.state.networks:
            self.removed_networks += 1
            self.networks[index] = world.network(f"again{self.operations}", f"10.6{7 + index}.0.0/26").id

    def end(self) -> None:
        """Everything comes to rest; then what nodes believe and what the records say must be the same."""
        world = self.world
        for _ in range(3):
            for node in [*world.nodes.values()]:
                if not node.is_online:
                    node.connect()
                node.repeat()
            world.settle()
            world.beat(40.0)
        told = {lease.id: node.id for node in world.nodes.values() for lease in node.leases.values()}
        kept = {lease.id: lease.node_id for lease in world.manager.state.leases.values()}
        assert told == kept

    def empty(self) -> None:
        """Nodes give everything back; then nothing may be left of it anywhere."""
        world = self.world
        for node in [*world.nodes.values()]:
            for lease in [*node.leases.values()]:
                node.give_back(lease)
        world.settle()
        assert world.manager.state.leases == {}
        assert not [key for key in world.disk.records if key[0] == "lease"]
        for network in world.manager.state.networks.values():
            fresh = 3  # the network's own address, its gateway, broadcast
            for one in world.manager.usage(network.id, world.at).subnets:
                assert one.used == (2 if ":" in one.subnet else fresh), network.network.name


def test_100_000_operations_with_crashes_hold_nothing_twice_and_leak_nothing() -> None:
    schedule = Schedule(1, crash_in=8_000, seldom_in=400)
    schedule.run(100_000)
    assert schedule.world.crashes > 50
    assert schedule.removed_nodes > 10
    assert schedule.removed_networks > 5
    schedule.end()
    schedule.empty()


@pytest.mark.parametrize("seed", range(2, 10))
def test_random_schedules(seed: int) -> None:
    schedule = Schedule(seed, crash_in=300, seldom_in=30, nodes=4)
    schedule.run(1_000)
    schedule.end()
    schedule.empty()


class _CrashAt:
    """A crash at one step, counted from now."""

    def __init__(self, step: int) -> None:
        self.left = step

    def __call__(self, step: str) -> bool:
        self.left -= 1
        return self.left == 0


@pytest.mark.parametrize("first", range(1, 61, 10))
def test_a_crash_at_each_step_of_a_short_life_changes_nothing_in_the_end(first: int) -> None:
    for step in range(first, first + 10):
        world = World(7)
        manager, node, other = world.found(), world.join("a"), world.join("b")
        network = world.network("web", "10.64.0.0/28")
        world.crash = _CrashAt(step)
        _live(world, node, other, network.id)
        world.crash = lambda step: False
        world.beat(40.0)
        for one in (manager, node, other):
            if not one.is_online:
                one.connect()
        world.settle()
        told = {lease.id: one.id for one in (manager, node, other) for lease in one.leases.values()}
        assert told == {lease.id: lease.node_id for lease in world.manager.state.leases.values()}
        used = world.manager.usage(network.id, world.at).subnets[0].used
        assert used == 3 + len(told)


def _live(world: World, node: Villager, other: Villager, network_id: str) -> None:
    """Ask, use, give back, from two nodes, until all of it has worked once."""
    for one in (node, other):
        while not one.free(network_id):
            if not one.is_online:
                one.connect()
            one.say(NetworkWish(network_id))
            world.settle()
    node.use(node.free(network_id)[0], "task")
    for lease in other.free(network_id)[:2]:
        other.give_back(lease)
    for _ in range(3):
        for one in (node, other):
            if not one.is_online:
                one.connect()
            one.repeat()
            world.settle()
    try:
        world.must(GrowNetwork(network_id, (PoolRequest("10.64.1.0/28"),)))
    except (NetError, Crashed) as error:  # a crash after it was persisted: it is there
        assert "overlaps" in str(error)
    world.settle()
    for lease in [one for one in node.leases.values() if one.id not in node.used]:
        node.give_back(lease)
    world.settle()
