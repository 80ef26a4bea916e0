"""A whole node in one thread: the engine, a disk, a Linux and processes in memory, a clock by hand, and crashes.

Operations overlap as in the daemon: each waits its turn at each stage (disk, Linux, acts), and who decides later may be
persisted only after those before. Whatever happens is drawn from one seeded source, so that a seed is the whole story.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from typing import Any, TypeVar

import msgspec

from fairlead.drivers.contract import Node
from fairlead.drivers.registry import built_in
from fairlead.engine.engine import Engine
from fairlead.engine.holds import Held, Starting
from fairlead.engine.outcome import Discard, Message, Outcome, Release, Run, Signal, Terminate
from fairlead.kernel.reckoning import everything
from fairlead.model.commands import Command
from fairlead.model.container import Container
from fairlead.model.endpoint import Endpoint
from fairlead.model.errors import Internal, NetError
from fairlead.model.events import Applied, ContainerExited, ContainerFailed, ContainerRunning, Event, Failed
from fairlead.model.network import Network
from fairlead.model.sandbox import Sandbox
from fairlead.model.settings import DEFAULT_POOLS_V4, EngineSettings, Paths
from fairlead.model.state import Record
from fairlead.plan.objects import (
    Address,
    Bridge,
    Chain,
    Element,
    Key,
    Netns,
    Object,
    PortHold,
    Route,
    Set,
    Table,
    Veth,
)
from fairlead.testing.fake_kernel import FakeKernel

_R = TypeVar("_R")
#: Where an operation waits: in the order of decisions at the first two, at will at the last.
_STAGES = ("disk", "linux", "acts")
_TYPES: dict[str, type[Record]] = {
    "network": Network,
    "endpoint": Endpoint,
    "sandbox": Sandbox,
    "container": Container,
}
#: Objects that stand from when they are made until they are taken away.
_STATE = (Netns, PortHold, Bridge, Veth, Address, Route, Table, Set, Chain, Element)
Operation = Generator[str, None, None]


class Crash(Exception):
    """The machine's daemon is gone; disk, Linux and processes are as they were at this moment."""


class SimNode:
    """``disk`` holds what was written, ``linux`` what stands, ``processes`` container ids and whether they run."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.now = 100.0
        self.disk: dict[tuple[str, str], bytes] = {}
        self.linux = FakeKernel()
        self.processes: dict[str, bool] = {}
        self.refusals = 0.0
        self.crashes = 0.0
        self.answers: list[object] = []
        self._start()

    # What the world does.

    def ask(self, command: Command) -> None:
        """A command comes in; its operation waits to go on."""
        self._begin(lambda: self._decided(command))

    def end_process(self, container_id: str) -> None:
        """A container's first process ends, and the daemon learns of it."""
        if self.processes.get(container_id):
            self.processes[container_id] = False
            self._tell(ContainerExited(container_id, 0, self.now))

    def work(self, steps: int) -> None:
        """Let some operations go on by a step; raises ``Crash``."""
        for _ in range(steps):
            ready = [operation for operation in self._operations if self._may_go_on(operation)]
            if not ready:
                return
            self._go_on(self.chance.choice(ready))

    def settle(self) -> None:
        """Let everything come to its end; raises ``Crash``."""
        while self._operations:
            self.work(1)

    def restart(self) -> None:
        """The daemon is killed wherever it is, and started again."""
        stands = {key: item for key, item in self.linux.objects.items() if not isinstance(item, PortHold)}
        self.linux = FakeKernel()
        self.linux.objects = stands
        self._start()

    # What it does then.

    def _start(self) -> None:
        self._operations: list[Operation] = []
        self._at: dict[int, str] = {}
        self._under_way: set[int] = set()
        self._queues: dict[str, deque[Operation]] = {stage: deque() for stage in _STAGES}
        self.engine = new_engine(self.chance.randrange(1 << 30))
        outcome = self.engine.restore(self.load(), self.now, self.now)
        self._write(outcome)
        run(self.linux.repair(self.engine.plans()))
        for container in list(self.engine.state.containers.values()):
            self._take_up(container)
        for known in list(self.processes):
            if known not in self.engine.state.containers:
                del self.processes[known]
        for message in outcome.messages:
            self._act(message)

    def _take_up(self, container: Container) -> None:
        alive = self.processes.get(container.id, False)
        if container.state.status == "starting":
            if alive:
                self._tell(ContainerRunning(container.id, 10, 9, self.now))
            else:
                self._tell(ContainerFailed(container.id, "the daemon ended", 128, self.now))
        elif container.running and not alive:
            self._tell(ContainerExited(container.id, 0, self.now))

    def _decided(self, message: Command | Event) -> Outcome:
        self.now += 0.5
        outcome = self.engine.handle(message, self.now, self.now)
        if isinstance(message, Applied | Failed):
            self._under_way.discard(message.operation)
        return outcome

    def _tell(self, event: Event) -> None:
        self._begin(lambda: self._decided(event))

    def _begin(self, decide: Callable[[], Outcome]) -> None:
        operation = self._answer(decide)
        self._operations.append(operation)
        self._go_on(operation)

    def _answer(self, decide: Callable[[], Outcome]) -> Operation:
        """Decide when nothing under way is in the way, and carry out."""
        while True:
            try:
                outcome = decide()
            except Held as held:
                self._under_way.add(held.operation)
                while held.operation in self._under_way:
                    yield f"until {held.operation}"
            except Starting as starting:
                while self._is_starting(starting.container_id):
                    yield f"started {starting.container_id}"
            else:
                yield from self._carry(outcome)
                return

    def _is_starting(self, container_id: str) -> bool:
        container = self.engine.state.containers.get(container_id)
        return container is not None and container.state.status == "starting"

    def _may_go_on(self, operation: Operation) -> bool:
        stage = self._at[id(operation)]
        if stage.startswith("started "):
            return not self._is_starting(stage.removeprefix("started "))
        if stage.startswith("until "):
            return int(stage.removeprefix("until ")) not in self._under_way
        return stage == "acts" or self._queues[stage][0] is operation

    def _go_on(self, operation: Operation) -> None:
        before = self._at.pop(id(operation), "")
        if before in self._queues:
            self._queues[before].remove(operation)
        try:
            stage = next(operation)
        except StopIteration:
            self._operations.remove(operation)
        except NetError as error:
            self._operations.remove(operation)
            self.answers.append(error)
        else:
            self._at[id(operation)] = stage
            if stage in self._queues:
                self._queues[stage].append(operation)

    def _carry(self, outcome: Outcome) -> Operation:
        """As the daemon's carrier: persist, apply, act."""
        yield "disk"
        self._may_crash()
        self._write(outcome)
        self._may_crash()
        yield "linux"
        try:
            self._apply(outcome)
        except NetError as error:
            self._may_crash()
            yield from self._carry(self._decided(Failed(outcome.operation, error)))
            return
        self._may_crash()
        self._decided(Applied(outcome.operation))
        for message in outcome.messages:
            yield "acts"
            self._may_crash()
            self._act(message)
        if outcome.error is not None:
            raise outcome.error
        self.answers.append(outcome.reply)

    def _apply(self, outcome: Outcome) -> None:
        undoing = outcome.operation == 0
        if outcome.repair:
            run(self.linux.repair(self.engine.plans()))
        if not undoing and outcome.plans and self.chance.random() < self.refusals:
            raise Internal("refused")
        run(self.linux.apply(outcome.plans))

    def _act(self, message: Message) -> None:
        match message:
            case Run():
                self._run(message.spec.container_id)
            case Terminate() | Signal():
                self.end_process(message.container_id)
            case Release():
                assert not self.processes.get(message.container_id), "what runs must not be released"
            case Discard():
                self.processes.pop(message.container_id, None)
            case _:
                pass

    def _run(self, container_id: str) -> None:
        if self.chance.random() < 0.1:
            self._tell(ContainerFailed(container_id, "no such command", 127, self.now))
            return
        self.processes[container_id] = True
        self._may_crash()
        self._tell(ContainerRunning(container_id, 10, 9, self.now))

    def _may_crash(self) -> None:
        if self.chance.random() < self.crashes:
            raise Crash

    # Disk.

    def load(self) -> list[Record]:
        """What was written, as it is read."""
        return [msgspec.json.decode(data, type=_TYPES[kind]) for (kind, _), data in self.disk.items()]

    def _write(self, outcome: Outcome) -> None:
        for change in outcome.changes:
            if change.after is None:
                self.disk.pop((change.kind, change.id), None)
            else:
                self.disk[change.kind, change.id] = msgspec.json.encode(change.after)

    # What must hold when nothing is under way.

    def check(self) -> None:
        """Disk, records, addresses, Linux and processes agree, and nothing has two owners."""
        state = self.engine.state
        tables = (state.networks, state.endpoints, state.sandboxes, state.containers)
        records: dict[str, Record] = {key: value for table in tables for key, value in table.items()}
        assert {record.id: record for record in self.load()} == records, "the disk says what the engine knows"
        planned = everything(self.engine.plans())
        there, wanted = standing(self.linux.objects), standing(planned)
        wrong = {
            key: (there.get(key), wanted.get(key)) for key in there.keys() | wanted if there.get(key) != wanted.get(key)
        }
        assert wrong == {}, "Linux is what the records mean (what stands, what should)"
        self._check_owners()
        for container in state.containers.values():
            assert container.state.status not in ("starting", "stopping"), container
            assert container.running == self.processes.get(container.id, False), container

    def check_restart(self) -> None:
        """A restart would change nothing, mean the same, and give out the same addresses."""
        again = new_engine(1)
        outcome = again.restore(self.load(), self.now, self.now)
        assert outcome.changes == (), "a restart changes nothing"
        assert everything(again.plans()) == everything(self.engine.plans()), "a restart means the same"
        self._check_usage(again)

    def _check_owners(self) -> None:
        state = self.engine.state
        held = [(e.network_id, cidr) for e in state.endpoints.values() for cidr in (e.ipv4, e.ipv6) if cidr]
        assert len(held) == len(set(held)), "an address has one owner"
        for records in (state.networks, state.containers):
            names = [record.name for record in records.values()]  # type: ignore[attr-defined]
            assert len(names) == len(set(names)), "a name has one owner"
        ports = [
            (binding.proto, binding.host_port, binding.host_ip)
            for endpoint in state.endpoints.values()
            for binding in endpoint.bindings
        ]
        assert len(ports) == len(set(ports)), "a host port has one owner"
        for endpoint in state.endpoints.values():
            assert endpoint.network_id in state.networks
            assert endpoint.id in state.sandboxes[endpoint.sandbox_id].endpoints
        for sandbox in state.sandboxes.values():
            assert set(sandbox.endpoints) <= set(state.endpoints)
            assert state.containers[sandbox.container_id].running, "only what lives has a plan"

    def _check_usage(self, again: Engine) -> None:
        for network in self.engine.state.networks.values():
            for pool in network.pools:
                used = self.engine.core.ipam.usage(pool.id)[0]
                assert used == again.core.ipam.usage(pool.id)[0], f"addresses in use of {network.name}"


def new_engine(seed: int) -> Engine:
    """An engine that remembers nothing yet."""
    return Engine(EngineSettings("host1", DEFAULT_POOLS_V4), Paths(), built_in(), random.Random(seed), Node(), "seed")


def standing(objects: dict[Key, Object]) -> dict[Key, Object]:
    """Without settings and acts, which are no state."""
    return {key: item for key, item in objects.items() if isinstance(item, _STATE)}


def run(work: Coroutine[Any, Any, _R]) -> _R:
    """The result of a coroutine that never waits."""
    try:
        work.send(None)
    except StopIteration as done:
        result: _R = done.value
        return result
    raise AssertionError("the fake waits for something")
