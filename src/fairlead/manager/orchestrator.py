"""Orchestrator: makes the tasks that services want, and sees to all that follows from a change, a piece in each turn."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from fairlead.manager import ingress, networks, services, slots, tasks, updater
from fairlead.manager.core import Turn
from fairlead.manager.roster import Slot, slot_of
from fairlead.manager.scheduler import Choice
from fairlead.manager.state import Change
from fairlead.model.cluster import ClusterNetwork, ClusterNode, Lease
from fairlead.model.errors import NetError
from fairlead.model.events import Notice
from fairlead.model.service import GLOBAL, Service, Task, TaskState

_ASSIGNED = "scheduler assigned task to node"
_CONFIRMED = "scheduler confirmed task can run on preassigned node"


def follow(turn: Turn, changes: Iterable[Change]) -> None:
    """Note what a turn's changes mean for services, then do a piece of what is to be done."""
    work, changes = turn.core.work, tuple(changes)
    ingress.follow(turn, changes)
    for change in changes:
        if isinstance(change.before or change.after, ClusterNode):
            _node_changed(turn, change)
        elif isinstance(change.before, Lease) and change.after is None:
            _address_freed(turn, change.before.network_id)
        elif isinstance(change.after, ClusterNetwork) and change.before is not None:
            _address_freed(turn, change.id)  # it may have grown
    work.begin()
    work.ring(turn.now)
    tasks.hear(turn)
    while work.left > 0 and (work.services or work.slots):
        if work.services:
            service_id = next(iter(work.services))
            del work.services[service_id]
            _settle(turn, service_id)
            continue
        slot = next(iter(work.slots))
        del work.slots[slot]
        work.spend()
        slots.settle(turn, slot)
        updater.look(turn, slot)
        _forget_removed(turn, slot)
    while work.left > 0 and work.placing:
        service_id = next(iter(work.placing))
        if _place_tasks(turn, service_id):
            work.placing.pop(service_id, None)


def resume(turn: Turn) -> None:
    """A manager starts: look at everything once."""
    work = turn.core.work
    services.resume(turn)
    work.services.update(dict.fromkeys(turn.state.services))
    for task in turn.state.tasks.values():
        if task.over:
            if task.status.state in tasks.FAILURES:
                tasks.note_failure(turn, task)
        elif task.status.state < TaskState.ASSIGNED and task.desired <= TaskState.RUNNING:
            work.wait(task.service_id, task.id)
    for service_id in [*turn.state.services, *{task.service_id for task in turn.state.tasks.values()}]:
        work.slots.update(dict.fromkeys(turn.state.roster.slots_of(service_id)))


def _settle(turn: Turn, service_id: str) -> None:
    """Have as many slots as a service wants, then exchange what is not as it wants."""
    service = turn.state.services.get(service_id)
    if service is None:
        return
    work = turn.core.work
    work.short.pop(service_id, None)
    known = turn.state.roster.slots_of(service_id)
    if service.removing:
        work.runs.pop(service_id, None)
        work.slots.update(dict.fromkeys(known))
        if not known:
            services.forget(turn, service)
        return
    if not services.is_served(turn, service):
        service = _served(turn, service)
    if service.spec.mode == GLOBAL:
        nodes = [node for node in turn.state.nodes.values() if slots.may_start(service, node)]
        wanted: list[Slot] = [(service_id, 0, node.id) for node in nodes]
        is_done = _fill(turn, service, wanted)
        work.slots.update(dict.fromkeys(known))
    else:
        is_done = _scale(turn, service)
    if is_done:
        kept = [slot for slot in turn.state.roster.slots_of(service_id) if slots.is_kept(turn, slot)]
        updater.plan(turn, turn.state.services[service_id], kept)
    else:
        work.services[service_id] = None


def _served(turn: Turn, service: Service) -> Service:
    """With the ports and virtual addresses that it wants, as far as they are to be had now."""
    work, tried = turn.core.work, services.serve(turn, service)
    if tried != service:
        service = turn.put_service(tried)
    if service.pending:
        work.short[service.id] = None
    elif service.id in work.waiting:
        work.placing[service.id] = None
    return service


def _scale(turn: Turn, service: Service) -> bool:
    """Whether a replicated service has its slots now; if not it goes on in the next turn."""
    kept = [slot for slot in turn.state.roster.slots_of(service.id) if slots.is_kept(turn, slot)]
    missing = service.spec.replicas - len(kept)
    if missing > 0:
        taken = {slot[1] for slot in kept}
        numbers = (number for number in range(1, service.spec.replicas + len(kept) + 1) if number not in taken)
        return _fill(turn, service, [(service.id, next(numbers), "") for _ in range(missing)])
    for slot in _surplus(turn, kept, -missing):
        if not turn.core.work.spend():
            return False
        slots.dismiss(turn, slot)
        turn.core.work.slots[slot] = None
    return True


def _fill(turn: Turn, service: Service, wanted: Iterable[Slot]) -> bool:
    for slot in wanted:
        if slots.is_kept(turn, slot):
            continue
        if not turn.core.work.spend():
            return False
        tasks.make(turn, service, slot)
    return True


def _surplus(turn: Turn, kept: list[Slot], count: int) -> list[Slot]:
    """The slots to give up: those that do not run, then from the nodes with most tasks of the service, highest first."""
    nodes: dict[str, list[Slot]] = {}
    idle: list[Slot] = []
    for slot in sorted(kept):
        running = [
            task
            for task in slots.alive(tasks.in_order(turn, slot))
            if task.status.state == TaskState.RUNNING and not tasks.is_away(turn, task)
        ]
        if running:
            nodes.setdefault(running[-1].node_id, []).append(slot)
        else:
            idle.append(slot)
    found = idle[::-1][:count]
    while len(found) < count:
        fullest = max(nodes.values(), key=lambda there: (len(there), there[-1]))
        found.append(fullest.pop())
        nodes = {node_id: there for node_id, there in nodes.items() if there}
    return found


def _forget_removed(turn: Turn, slot: Slot) -> None:
    service = turn.state.services.get(slot[0])
    if service is not None and service.removing and not turn.state.roster.of_service(service.id):
        services.forget(turn, service)


def _node_changed(turn: Turn, change: Change) -> None:
    before, after = change.before, change.after
    if isinstance(before, ClusterNode) and isinstance(after, ClusterNode) and _matters(before) == _matters(after):
        return
    work = turn.core.work
    for task in turn.state.roster.on_node(change.id).values():
        work.slots[slot_of(task)] = None
    for service in turn.state.services.values():
        if service.spec.mode == GLOBAL and not service.removing:
            work.services[service.id] = None
    work.placing.update(dict.fromkeys(work.waiting))


def _matters(node: ClusterNode) -> object:
    """What of a node decides which tasks it may have."""
    there = node.description
    facts = (there.hostname, there.os, there.architecture, there.labels, there.nano_cpus, there.memory_bytes)
    return node.state, node.spec, node.address, facts, there.no_encryption


def _address_freed(turn: Turn, network_id: str) -> None:
    work = turn.core.work
    work.room(turn.now)
    if network_id in turn.state.networks:
        work.services.update(work.short)


def _place_tasks(turn: Turn, service_id: str) -> bool:
    """Give a service's waiting tasks to nodes; answers whether all were looked at."""
    work = turn.core.work
    choices: dict[int, Choice] = {}
    for task_id in [*work.waiting.get(service_id, ())]:
        task = turn.state.tasks.get(task_id)
        if task is None or task.desired > TaskState.RUNNING:
            work.waits_no_more(service_id, task_id)
            continue
        if work.left <= 0:
            return False
        _place_task(turn, task, choices)
    return True


def _place_task(turn: Turn, task: Task, choices: dict[int, Choice]) -> None:
    encrypted = any(networks.is_encrypted(turn, one.network) for one in task.spec.networks)
    if task.node_id:
        node = turn.state.nodes.get(task.node_id)
        choice = Choice(task, [node] if node is not None else [], turn.state.roster, {}, encrypted=encrypted)
    else:
        if task.spec_version not in choices:
            failures = tasks.failures_of_late(turn, task.service_id)
            nodes = turn.state.nodes.values()
            choices[task.spec_version] = Choice(task, nodes, turn.state.roster, failures, encrypted=encrypted)
        choice = choices[task.spec_version]
    service = turn.state.services.get(task.service_id)
    if service is not None and service.pending:
        _say_pending(turn, task, service.pending)
        return
    node_id = choice.best()
    if not node_id:
        _say_pending(turn, task, choice.why_not())
        return
    try:
        tasks.give(turn, task, turn.state.nodes[node_id], _CONFIRMED if task.node_id else _ASSIGNED)
    except NetError as error:
        choice.put_back(node_id, was_given=False)
        _say_pending(turn, task, f"{error.message}: {error.hint}" if error.hint else error.message)
        return
    turn.core.work.spend()
    choice.put_back(node_id, was_given=True)


def _say_pending(turn: Turn, task: Task, why: str) -> None:
    """Say why a task waits: in its status, and as an event."""
    if task.status.error == why:
        return  # costs nothing, so that those who wait are gone through in one turn
    turn.core.work.spend()
    tasks.put(turn, replace(task, status=replace(task.status, error=why)))
    attributes = {"name": task.name, "service": task.service_id, "reason": why}
    turn.notices.append(Notice("task", "pending", task.id, attributes, turn.at, "swarm"))
