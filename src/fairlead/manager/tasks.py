"""Tasks: made, ordered to another state, heard of, ended; and the addresses that they take with them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import replace

from fairlead.manager import forgetting, ingress, leases
from fairlead.manager.core import Turn
from fairlead.manager.roster import Slot, slot_of
from fairlead.manager.scheduler import FAILURES_MAX, FAILURES_S
from fairlead.model import codes
from fairlead.model.backend import MARKS
from fairlead.model.cluster import DOWN, ClusterNode, Lease
from fairlead.model.errors import Exhausted, NetError
from fairlead.model.service import VIP, Service, ServiceNetwork, Task, TaskAddress, TaskState, TaskStatus
from fairlead.model.session import RESTING
from fairlead.pki.ids import new_cluster_id

#: Ends that say that something went wrong.
FAILURES = (TaskState.FAILED, TaskState.REJECTED)
#: States that a node tells.
_FIRST, _LAST = TaskState.ACCEPTED, TaskState.REJECTED
#: Least distance, in seconds, between the making of two tasks of a slot, so that their order is never in doubt.
_APART_S = 1e-6


def in_order(turn: Turn, slot: Slot) -> list[Task]:
    """The tasks of a slot, oldest first."""
    return sorted(turn.state.roster.in_slot(slot).values(), key=lambda task: task.created)


def make(
    turn: Turn,
    service: Service,
    slot: Slot,
    *,
    delay_s: float = 0.0,
    restarts: tuple[float, ...] = (),
    at_once: bool = False,
) -> Task:
    """A new task of a slot. It waits at READY while another of the slot has not ended, unless it is to run ``at_once``, and
    for ``delay_s``."""
    others = in_order(turn, slot)
    has_to_wait = delay_s > 0 or (not at_once and any(not task.over for task in others))
    task = Task(
        id=new_cluster_id(turn.core.chance),
        service_id=service.id,
        service_name=service.spec.name,
        slot=slot[1],
        created=max(turn.at, others[-1].created + _APART_S) if others else turn.at,
        updated=turn.at,
        spec=service.spec.task,
        spec_version=service.spec_version,
        ports=service.ports,
        node_id=slot[2],
        desired=TaskState.READY if has_to_wait else TaskState.RUNNING,
        status=TaskStatus(TaskState.PENDING, turn.at, "pending task scheduling"),
        endpoint_mode=service.spec.endpoint_mode,
        not_before=turn.at + delay_s if delay_s else 0.0,
        restarts=restarts,
    )
    turn.state.put(task)
    turn.core.work.wait(service.id, task.id)
    turn.core.work.slots[slot] = None
    return task


def put(turn: Turn, task: Task) -> Task:
    """Store a changed task under its next version; nothing if it is as it was."""
    if task == turn.state.tasks.get(task.id):
        return task
    changed = replace(task, version=task.version + 1, updated=turn.at)
    turn.state.put(changed)
    return changed


def order(turn: Turn, task: Task, desired: TaskState) -> Task:
    """Want a task to be in another state. One that no node has ends at once when it is to end."""
    if desired > TaskState.RUNNING and not task.over and task.status.state < TaskState.ASSIGNED:
        status = TaskStatus(TaskState.SHUTDOWN, turn.at, "shutdown", task.status.error)
        turn.core.work.waits_no_more(task.service_id, task.id)
        return put(turn, replace(task, desired=desired, status=status))
    return put(turn, replace(task, desired=desired))


def drop(turn: Turn, task: Task) -> None:
    """Forget a task."""
    turn.core.work.waits_no_more(task.service_id, task.id)
    turn.state.drop(task)


def end(turn: Turn, task: Task, state: TaskState, message: str, error: str = "") -> Task:
    """A task has ended, or cannot go on: what it took is free."""
    status = replace(task.status, state=state, at=turn.at, message=message, error=error)
    ended = put(turn, replace(task, status=status))
    _ended(turn, ended)
    return ended


def is_away(turn: Turn, task: Task) -> bool:
    """Whether the task's node cannot be asked: it is down or gone."""
    node = turn.state.nodes.get(task.node_id)
    return bool(task.node_id) and (node is None or node.state == DOWN)


def reported(turn: Turn, node_id: str, statuses: Iterable[tuple[str, TaskStatus]]) -> None:
    """A node has told how its tasks are; what is too much for one turn is put off."""
    turn.core.work.reports.extend((node_id, task_id, status) for task_id, status in statuses)


def hear(turn: Turn) -> None:
    """Take up what nodes have told."""
    work = turn.core.work
    while work.reports and work.spend():
        _hear(turn, *work.reports.popleft())


def _hear(turn: Turn, node_id: str, task_id: str, status: TaskStatus) -> None:
    task = turn.state.tasks.get(task_id)
    if task is None or task.node_id != node_id:
        turn.unknown.setdefault(node_id, []).append(task_id)
        return
    known = task.status
    if task.over or status.state < known.state or not _FIRST <= status.state <= _LAST:
        return
    is_same = status.state == known.state
    heard = replace(status, at=known.at if is_same else turn.at)
    ran = turn.at if status.state == TaskState.RUNNING and not task.ran else task.ran
    changed = put(turn, replace(task, status=heard, ran=ran))
    if changed.over:
        _ended(turn, changed)
    if not is_same:
        turn.core.work.slots[slot_of(task)] = None


def _ended(turn: Turn, task: Task) -> None:
    core = turn.core
    for lease in _leases(turn, task):
        if task.status.state == TaskState.ORPHANED and lease.node_id in turn.state.nodes:
            # its node cannot be asked for it: all others forget who had it, and its own later word has an old generation
            forgetting.rest(turn, replace(lease, node_id="", holder=RESTING))
            continue
        turn.state.put(replace(lease, holder=RESTING))
        if lease.node_id in turn.state.nodes:  # of one that was removed all is being forgotten anyway
            turn.recalls.setdefault(lease.node_id, []).append(lease.id)
    if task.status.state in FAILURES:
        note_failure(turn, task)
    core.work.slots[slot_of(task)] = None
    core.work.room(turn.now)


def note_failure(turn: Turn, task: Task) -> None:
    """A task has failed: other nodes are preferred for a while if that happens often."""
    kept = turn.core.work.failures.setdefault((task.service_id, task.node_id), deque(maxlen=FAILURES_MAX))
    kept.append(task.status.at)


def failures_of_late(turn: Turn, service_id: str) -> dict[str, int]:
    """Node -> how many tasks of a service failed there in the last minutes."""
    found: dict[str, int] = {}
    failures = turn.core.work.failures
    for node_id in turn.state.nodes if failures else ():
        kept = failures.get((service_id, node_id))
        if kept is not None:
            found[node_id] = sum(1 for at in kept if at > turn.at - FAILURES_S)
    return found


def give(turn: Turn, task: Task, node: ClusterNode, message: str) -> Task:
    """Give a task to a node, with its addresses; raises ``NetError`` when one cannot be had, and then nothing is given."""
    given: list[Lease] = []
    try:
        for wanted in _places(turn, task):
            lease = _address(turn, task, node, wanted)
            if lease is not None:
                given.append(lease)
    except NetError:
        for lease in given:
            leases.free(turn, lease)
        raise
    status = TaskStatus(TaskState.ASSIGNED, turn.at, message)
    addresses = tuple(_place(turn, lease) for lease in given)
    turn.core.work.waits_no_more(task.service_id, task.id)
    service = turn.state.services.get(task.service_id)
    vips = service.vips if service is not None and task.endpoint_mode == VIP else ()
    labels = service.spec.labels if service is not None else {}
    balancing = {key: value for key, value in labels.items() if key.startswith(MARKS)}
    given_task = replace(task, node_id=node.id, status=status, addresses=addresses, vips=vips, balancing=balancing)
    return put(turn, given_task)


def _places(turn: Turn, task: Task) -> tuple[ServiceNetwork, ...]:
    """The task's places in networks: those that it asks for, and the one that its published ports need."""
    network = ingress.of(turn) if ingress.publishes(task.ports) else None
    return (*task.spec.networks, ServiceNetwork(network.id)) if network is not None else task.spec.networks


def _address(turn: Turn, task: Task, node: ClusterNode, wanted: ServiceNetwork) -> Lease | None:
    """A lease of one of the task's networks, None for networks of the node itself."""
    network = turn.state.networks.get(wanted.network)
    if network is None:
        return None
    if wanted.addresses and task.slot:
        return leases.grant_fixed(turn, network, node.id, _fixed(wanted.addresses, task), task.id)
    for former in reversed(in_order(turn, slot_of(task))):
        for place in former.addresses:
            address = place.ipv4.partition("/")[0]
            if place.network_id == network.id and leases.is_free(turn, network, address):
                return leases.grant(turn, network, node.id, address=address, holder=task.id)
    return leases.grant(turn, network, node.id, holder=task.id)


def _fixed(addresses: tuple[str, ...], task: Task) -> str:
    if task.slot > len(addresses):
        raise Exhausted(
            f"no address is left for slot {task.slot}",
            hint=f"{len(addresses)} addresses were named for the service's tasks: name more, or scale it down",
            code=codes.ADDRESSES_EXHAUSTED,
        )
    return addresses[task.slot - 1]


def _place(turn: Turn, lease: Lease) -> TaskAddress:
    v4, v6 = leases.with_lengths(turn.state.networks[lease.network_id], lease)
    return TaskAddress(lease.network_id, v4, v6, lease.generation)


def _leases(turn: Turn, task: Task) -> Iterable[Lease]:
    """The leases that a task has still."""
    for place in task.addresses:
        lease = turn.state.leases.get(f"{place.network_id}/{place.ipv4.partition('/')[0]}")
        if lease is not None and lease.generation == place.generation and lease.holder == task.id:
            yield lease
