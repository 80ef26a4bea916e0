"""Services in one thread: the cluster's world, whose nodes also run tasks on a kernel of make-believe.

A container of a node lives on when its session or the manager dies, and ends with its node. What every node runs is watched from
outside: nothing may have the address of another, no slot may run twice beyond what is allowed.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from tests.sim.cluster_world import Villager, World

from fairlead.manager.roster import slot_of
from fairlead.model.cluster import DOWN, DRAIN, ENTRY, ClusterNode
from fairlead.model.cluster_commands import CreateService, RemoveService, UpdateNode, UpdateService
from fairlead.model.container import ContainerConfig
from fairlead.model.service import (
    GLOBAL,
    START_FIRST,
    Restart,
    Service,
    ServiceNetwork,
    ServiceSpec,
    Task,
    TaskSpec,
    TaskState,
    TaskStatus,
    UpdateRule,
)
from fairlead.model.session import RESTING, Assignments, TaskReport

#: Commands of containers that do not do well.
BROKEN, REFUSED, BRIEF = ("false",), ("no such program",), ("true",)
_STEPS = (
    TaskState.ACCEPTED,
    TaskState.PREPARING,
    TaskState.READY,
    TaskState.STARTING,
    TaskState.RUNNING,
)


class Worker(Villager):
    """A node that runs tasks."""

    def __init__(self, *what: object) -> None:
        super().__init__(*what)  # type: ignore[arg-type]
        self.tasks: dict[str, Task] = {}
        self.states: dict[str, TaskStatus] = {}
        self.running: dict[str, Task] = {}
        #: Cut off on purpose; who is not opens another session by himself.
        self.is_cut = False
        #: Whether containers end when they are told to.
        self.does_stop = True

    def connect(self) -> None:
        """Open a session."""
        self.is_cut = False
        super().connect()

    def disconnect(self) -> None:
        """Be cut off."""
        self.is_cut = True
        super().disconnect()

    def _assigned(self, said: Assignments) -> None:
        if said.full or said.applies_to == self.sequence:
            self.tasks.update((task.id, task) for task in said.tasks)
            for task_id in (*said.tasks_gone, *(set(self.tasks) - {one.id for one in said.tasks} if said.full else ())):
                self._forget(task_id)
            self._hold(said)
        super()._assigned(said)
        if said.full:
            self.say(TaskReport(tuple(self.states.items())))

    def _hold(self, said: Assignments) -> None:
        for lease in said.leases:
            if lease.holder in self.tasks and self.states.get(lease.holder, TaskStatus()).state <= TaskState.RUNNING:
                self.used[lease.id] = _endpoint(lease.holder)

    def _forget(self, task_id: str) -> None:
        self._end(task_id)
        self.tasks.pop(task_id, None)
        self.states.pop(task_id, None)

    def _end(self, task_id: str) -> None:
        self.running.pop(task_id, None)
        for lease_id in [one for one, holder in self.used.items() if holder == _endpoint(task_id)]:
            del self.used[lease_id]

    def _tell(self, task_id: str, state: TaskState, error: str = "") -> None:
        self.states[task_id] = TaskStatus(state, self.world.at, state.name.lower(), error)
        if state > TaskState.RUNNING:
            self._end(task_id)
        self.say(TaskReport(((task_id, self.states[task_id]),)))

    def due(self) -> list[str]:
        """Tasks with which something is to be done."""
        return [one for one in self.tasks if self._next(one) is not None]

    def work(self, task_id: str) -> None:
        """Do the next thing with a task."""
        state = self._next(task_id)
        if state is None:
            return
        if state == TaskState.RUNNING:
            self.running[task_id] = self.tasks[task_id]
            for place in self.tasks[task_id].addresses:
                lease_id = f"{place.network_id}/{place.ipv4.partition('/')[0]}"
                assert self.used.get(lease_id) == _endpoint(task_id), f"{lease_id} is not leased for {task_id}"
        self._tell(task_id, state, "it ends badly" if state in (TaskState.FAILED, TaskState.REJECTED) else "")

    def kill(self, task_id: str) -> None:
        """A container dies."""
        if task_id in self.running:
            self._tell(task_id, TaskState.FAILED, "killed")

    def _next(self, task_id: str) -> TaskState | None:
        task = self.tasks[task_id]
        state = self.states.get(task_id, TaskStatus(TaskState.ASSIGNED)).state
        if state > TaskState.RUNNING:
            return None
        if task.desired > TaskState.RUNNING:
            return TaskState.SHUTDOWN if self.does_stop else None
        command = task.spec.container.command
        if state == TaskState.RUNNING:
            return {BROKEN: TaskState.FAILED, BRIEF: TaskState.COMPLETE}.get(command)
        if state == TaskState.PREPARING and command == REFUSED:
            return TaskState.REJECTED
        if state == TaskState.READY and task.desired < TaskState.RUNNING:
            return None
        return next(step for step in _STEPS if step > state)

    def die(self) -> None:
        """The machine stops: no container is left, the daemon comes back with its records."""
        self.disconnect()
        for task_id in [*self.running]:
            self.states[task_id] = TaskStatus(TaskState.FAILED, self.world.at, "failed", "the node was restarted")
            self._end(task_id)


def spec(name: str = "web", replicas: int = 1, *command: str, network: str = "", **more: object) -> ServiceSpec:
    """A service; keywords of ``ServiceSpec``, and ``restart``, ``placement``, ``reservations``, ``addresses`` of its tasks."""
    own = {key: more.pop(key) for key in ("restart", "placement", "reservations", "force") if key in more}
    addresses = tuple(more.pop("addresses", ()))  # type: ignore[call-overload]
    networks = (ServiceNetwork(network, addresses=addresses),) if network else ()
    task = TaskSpec(ContainerConfig("host", command=command or ("sleep",)), networks=networks, **own)  # type: ignore[arg-type]
    return ServiceSpec(name, task, replicas=replicas, **more)  # type: ignore[arg-type]


class ServiceWorld(World):
    """A cluster that runs services."""

    kind = Worker

    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed)
        #: Tasks that may run beside their successors, and services whose tasks may.
        self.unreached: set[str] = set()
        self.started_first: set[str] = set()

    @classmethod
    def of(cls, nodes: int, seed: int = 0) -> ServiceWorld:
        """A cluster of so many workers beside its manager, which runs no tasks."""
        world = cls(seed)
        manager = world.found()
        record = world.manager.state.nodes[manager.id]
        world.must(UpdateNode(manager.id, replace(record.spec, availability=DRAIN)))
        for number in range(nodes):
            world.join(f"n{number + 1}", nano_cpus=4_000_000_000, memory_bytes=1 << 32)
        return world

    def worker(self, name: str) -> Worker:
        """The node of a name."""
        node = self.nodes[self.manager.state.node(name).id]
        assert isinstance(node, Worker)
        return node

    def workers(self) -> list[Worker]:
        """All nodes."""
        return [node for node in self.nodes.values() if isinstance(node, Worker)]

    def create(self, wanted: ServiceSpec) -> Service:
        """Make a service and let the brain do all that it can at once."""
        made = self.must(CreateService(wanted))
        assert isinstance(made, Service)
        self.tick()
        return made

    def update(self, name: str, wanted: ServiceSpec | None = None, **more: object) -> Service:
        """Change a service."""
        made = self.must(UpdateService(name, wanted, **more))  # type: ignore[arg-type]
        assert isinstance(made, Service)
        self.tick()
        return made

    def remove_service(self, name: str) -> None:
        """Remove a service."""
        self.must(RemoveService(name))
        self.tick()

    def availability(self, name: str, availability: str) -> None:
        """Activate, pause or drain a node."""
        node = self.manager.state.node(name)
        self.must(UpdateNode(node.id, replace(node.spec, availability=availability)))
        self.tick()

    def service(self, name: str = "web") -> Service:
        """The service of a name."""
        return self.manager.state.service(name)

    def tasks(self, name: str = "web") -> list[Task]:
        """All tasks of a service, by slot and age."""
        known = self.manager.state.roster.of_service(self.service(name).id).values()
        return sorted(known, key=lambda task: (task.slot, task.created))

    def live(self, name: str = "web") -> list[Task]:
        """Those that are to run."""
        return [task for task in self.tasks(name) if task.desired <= TaskState.RUNNING]

    def running(self, name: str = "web") -> list[Task]:
        """Those that run on a kernel of a node that can be reached."""
        service = self.service(name)
        found = [task for node in self.workers() for task in node.running.values() if task.service_id == service.id]
        return sorted(found, key=lambda task: task.slot)

    def go(self, seconds: float = 0.0, *, step: float = 1.0) -> None:
        """Let every node do all that it has to do, then so much time go by, and so on."""
        end = self.now + seconds
        while True:
            self.still()
            if self.now >= end - 1e-6:
                return
            self.beat(min(step, end - self.now))

    def still(self) -> None:
        """Until nobody has anything to do."""
        for _ in range(2000):
            self.come_back()
            self.tick()
            self.settle()
            due = [(node, task_id) for node in self.workers() if node.is_online for task_id in node.due()]
            for node, task_id in due:
                if task_id in node.tasks:
                    node.work(task_id)
            if not due and self.manager.core.work.next(self.now) != self.now:
                return
        raise AssertionError("it never comes to rest")

    def come_back(self) -> None:
        """Who has lost its session, and is not cut off, opens another."""
        for node in self.workers():
            if not (node.is_online or node.is_cut or node.is_out):
                node.connect()

    def _excuse(self) -> None:
        """Note what may run beside its successor: what ran where the manager could not reach it, and what was started first."""
        for node in self.workers():
            if self.manager.state.nodes[node.id].state == DOWN:
                self.unreached.update(node.running)
        for service in self.manager.state.services.values():
            if START_FIRST in (service.spec.update.order, service.spec.rollback.order):
                self.started_first.add(service.id)

    def check(self) -> None:
        """What is always so."""
        self._excuse()
        state = self.manager.state
        given: Counter[tuple[str, str]] = Counter()
        wanted: Counter[tuple[str, int, str]] = Counter()
        for task in state.tasks.values():
            if not task.over:
                given.update((place.network_id, place.ipv4) for place in task.addresses)
            if task.desired == TaskState.RUNNING and not task.over:
                wanted[slot_of(task)] += 1
        assert not [one for one, count in given.items() if count > 1], "an address is two tasks'"
        for slot, count in wanted.items():
            service = state.services.get(slot[0])
            is_beside = service is not None and START_FIRST in (service.spec.update.order, service.spec.rollback.order)
            assert count <= 1 + is_beside, f"slot {slot} is wanted {count} times"
        self._check_kernels()

    def _check_kernels(self) -> None:
        """Nothing runs with an address that is another's, nor twice but where nodes cannot be reached."""
        addresses: dict[tuple[str, str], str] = {}
        slots: Counter[tuple[str, int, str]] = Counter()
        for node in self.workers():
            for task in node.running.values():
                for place in task.addresses:
                    other = addresses.setdefault((place.network_id, place.ipv4), task.id)
                    assert other == task.id, f"{place.ipv4} runs twice"
                if task.id not in self.unreached and task.service_id not in self.started_first:
                    slots[slot_of(task)] += 1
        assert not [slot for slot, count in slots.items() if count > 1], "a slot runs twice"

    def check_end(self) -> None:
        """What is so when nothing is left to be done: exactly what is wanted runs."""
        state = self.manager.state
        runs = Counter(task.service_id for node in self.workers() for task in node.running.values())
        for service in state.services.values():
            assert not service.removing, f"{service.spec.name} is not gone"
            wanted = service.spec.replicas
            if service.spec.mode == GLOBAL:
                wanted = sum(1 for node in state.nodes.values() if _serves(node))
            assert runs.pop(service.id, 0) == wanted, f"{service.spec.name} does not run as often as wanted"
        assert not runs, "orphans run"
        for node in self.workers():
            orphans = [one for one in node.running if state.tasks[one].desired != TaskState.RUNNING]
            assert not orphans, f"{orphans} run and should not"
            drained = state.nodes[node.id].spec.availability == DRAIN
            assert not (drained and node.running), f"{node.description.hostname} is drained and not empty"
        living = {task.id for task in state.tasks.values() if not task.over}
        others = {"", RESTING, ENTRY, *(f"service:{one}" for one in state.services)}
        strangers = {lease.holder for lease in state.leases.values()} - living - others
        assert not strangers, f"{strangers} have addresses"


def _endpoint(task_id: str) -> str:
    """What a node calls the holder of a task's lease."""
    return f"endpoint of {task_id}"


def _serves(node: ClusterNode) -> bool:
    return node.state != DOWN and node.spec.availability != DRAIN


def rule(**more: object) -> UpdateRule:
    """An update rule."""
    return UpdateRule(**more)  # type: ignore[arg-type]


def quick() -> Restart:
    """Restarts without delay."""
    return Restart(delay_s=0.0)
