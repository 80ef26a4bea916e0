"""Services under random schedules: whatever happens in whatever order, nothing is twice, and in the end all is as wanted."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from tests.sim.service_world import BROKEN, REFUSED, ServiceWorld, Worker, rule, spec

from fairlead.model.cluster import ACTIVE, DRAIN, PAUSE
from fairlead.model.cluster_commands import CreateService, RemoveService, UpdateNode, UpdateService
from fairlead.model.errors import NetError
from fairlead.model.service import (
    CONTINUE,
    GLOBAL,
    ROLLBACK,
    START_FIRST,
    STOP_FIRST,
    Placement,
    Restart,
    ServiceSpec,
    TaskState,
)
from fairlead.model.service import PAUSE as HALT

#: Schedules of a run; more with the variable FAIRLEAD_SCHEDULES.
SCHEDULES = int(os.environ.get("FAIRLEAD_SCHEDULES", "1000"))
#: They are run in so many tests, so that one that fails says which seeds.
_PARTS = 20
_NAMES = ("web", "api", "all")


class _Schedule:
    """One world and what happens in it."""

    def __init__(self, seed: int, nodes: int, replicas: int) -> None:
        self.dice = random.Random(seed)
        self.world = ServiceWorld.of(nodes, seed)
        self.world.network("sea", "10.9.0.0/24")
        self.replicas = replicas
        self.prefers_start_first = self.dice.random() < 0.3
        for name in _NAMES:
            if self.dice.random() < 0.8:
                self.world.create(self.wish(name, is_good=True))
        self.world.still()
        self.world.crash = lambda step: self.dice.random() < 0.004
        self.acts: list[Callable[[], object]] = [
            *[self.work] * 12,
            *[self.time] * 3,
            *[self.change] * 3,
            self.create,
            self.remove,
            self.back,
            self.kill,
            self.cut,
            self.die,
            self.join_again,
            self.availability,
            self.disturb,
        ]

    def run(self, steps: int) -> None:
        """So many things happen, then all is well again."""
        world = self.world
        for _ in range(steps):
            self.dice.choice(self.acts)()
            world.settle()
            world.check()
        world.crash = lambda step: False
        for node in world.workers():
            if not node.is_online:
                node.connect()
            record = world.manager.state.nodes[node.id]
            if record.spec.availability == PAUSE or record.description.hostname == "n1":
                world.must(UpdateNode(node.id, replace(record.spec, availability=ACTIVE)))
        for name in _NAMES:
            service = world.manager.state.service_named(name)
            if service is not None and service.spec.task.container.command in (BROKEN, REFUSED):
                world.must(UpdateService(name, self.wish(name, is_good=True)))
        world.go(180, step=12.0)
        world.check()
        world.check_end()

    def wish(self, name: str, *, is_good: bool = False) -> ServiceSpec:
        """A random spec."""
        dice = self.dice
        command = ("one",) if is_good else dice.choice([("one",), ("two",), ("two",), BROKEN, REFUSED])
        change = rule(
            parallelism=dice.choice([0, 1, 2]),
            delay_s=dice.choice([0.0, 2.0]),
            monitor_s=dice.choice([0.0, 4.0]),
            failure_action=CONTINUE if is_good else dice.choice([ROLLBACK, HALT, HALT]),
            order=START_FIRST if self.prefers_start_first else STOP_FIRST,
        )
        return spec(
            name,
            dice.randint(0 if not is_good else 1, self.replicas),
            *command,
            network=dice.choice(["", "sea"]),
            mode=GLOBAL if name == "all" else "replicated",
            update=change,
            restart=Restart(delay_s=dice.choice([0.5, 3.0])),
            placement=Placement(("node.hostname!=n9",) if dice.random() < 0.2 else ()),
        )

    def create(self) -> None:
        self.world.ask(CreateService(self.wish(self.dice.choice(_NAMES))))

    def change(self) -> None:
        name = self.dice.choice(_NAMES)
        self.world.ask(UpdateService(name, self.wish(name)))

    def remove(self) -> None:
        if self.dice.random() < 0.3:
            self.world.ask(RemoveService(self.dice.choice(_NAMES)))

    def back(self) -> None:
        self.world.ask(UpdateService(self.dice.choice(_NAMES), rollback=True))

    def work(self) -> None:
        """Nodes do some of what they have to do."""
        due = [(node, one) for node in self.world.workers() if node.is_online for one in node.due()]
        for node, task_id in self.dice.sample(due, min(len(due), 1 + self.replicas // 2)):
            if node.is_online and task_id in node.tasks:
                node.work(task_id)

    def time(self) -> None:
        if self.dice.random() < 0.5:
            self.world.come_back()
        self.world.beat(self.dice.choice([0.1, 1.0, 4.0]))

    def kill(self) -> None:
        running = [(node, one) for node in self.world.workers() if node.is_online for one in node.running]
        if running:
            node, task_id = self.dice.choice(running)
            node.kill(task_id)

    def _someone(self) -> Worker:
        return self.dice.choice(self.world.workers())

    def cut(self) -> None:
        self._someone().disconnect()
        if self.dice.random() < 0.3:
            self.world.beat(16)  # long enough to be down

    def die(self) -> None:
        self._someone().die()

    def join_again(self) -> None:
        node = self._someone()
        if not node.is_online:
            node.connect()

    def availability(self) -> None:
        node = self.world.manager.state.nodes[self._someone().id]
        if node.description.hostname != "m":
            availability = self.dice.choice([ACTIVE, ACTIVE, PAUSE, DRAIN])
            self.world.ask(UpdateNode(node.id, replace(node.spec, availability=availability)))

    def disturb(self) -> None:
        """Another manager writes a record that is about to be written."""
        records = [stored.record for stored in self.world.disk.records.values()]
        self.world.disk.disturb(self.dice.choice(records))


@pytest.mark.parametrize("part", range(_PARTS))
def test_small_worlds(part: int) -> None:
    for seed in range(part, SCHEDULES, _PARTS):
        try:
            _Schedule(seed, nodes=2 + seed % 3, replicas=4).run(25)
        except (AssertionError, NetError, KeyError) as error:
            raise AssertionError(f"seed {seed}") from error


def test_fifty_nodes_and_two_thousand_tasks() -> None:
    world = ServiceWorld.of(50)
    for number in range(20):
        world.create(spec(f"s{number}", 100))
    world.go()
    world.check()
    world.check_end()
    assert sum(len(node.running) for node in world.workers()) == 2000
    most, least = (pick(len(node.running) for node in world.workers() if node.running) for pick in (max, min))
    assert most - least <= 20
    for node in world.workers()[1:6]:
        node.die()
    world.go(20, step=10)
    world.check()
    assert sum(1 for task in world.manager.state.tasks.values() if task.status.state == TaskState.RUNNING) >= 2000
    assert sum(len(node.running) for node in world.workers()) == 2000
