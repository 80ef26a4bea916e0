"""Slots: each keeps one task running. What is done for one follows from its tasks alone, so it may be looked at at any time.

A slot is *kept* as long as one of its tasks is not ordered away (REMOVE). A kept slot without a task that is to run has come to
its end by its restart rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fairlead.manager import constraints, tasks
from fairlead.manager.core import Turn
from fairlead.manager.roster import Slot
from fairlead.manager.scheduler import fits
from fairlead.model.cluster import ACTIVE, DOWN, DRAIN, ClusterNode
from fairlead.model.service import ANY, GLOBAL, ON_FAILURE, Service, Task, TaskSpec, TaskState

#: Seconds beyond its grace period for which a replacement waits for the end of the task before it (swarmkit: 1 minute, grace
#: period or not; ours never overlaps with a task that only uses its grace period).
_STOP_WAIT_S = 60.0
#: Seconds after which a node that is down is not waited for any more: its tasks are over, their addresses free (swarmkit:
#: defaultNodeDownPeriod).
ORPHANED_S = 86400.0


def is_kept(turn: Turn, slot: Slot) -> bool:
    """Whether the slot counts among those that the service has."""
    return any(task.desired != TaskState.REMOVE for task in turn.state.roster.in_slot(slot).values())


def alive(known: Sequence[Task]) -> list[Task]:
    """Those that are to run, oldest first."""
    return [task for task in known if task.desired <= TaskState.RUNNING]


def is_current(turn: Turn, service: Service, task: Task) -> bool:
    """Whether a task is what the service wants now. Other placement rules alone make no other task, if its node fits them;
    all else of what tasks are made of does (swarmkit: dirty)."""
    if (task.ports, task.endpoint_mode) != (service.ports, service.spec.endpoint_mode):
        return False
    return _is_like(turn, task, service.spec.task)


def _is_like(turn: Turn, task: Task, wanted: TaskSpec) -> bool:
    if task.spec is wanted or task.spec == wanted:
        return True
    if replace(task.spec, placement=wanted.placement) != wanted:
        return False
    node = turn.state.nodes.get(task.node_id)
    if node is None:
        return bool(task.node_id)  # one that has no node yet is looked for one by the new rules
    return constraints.admits(node, wanted.placement.constraints)


def settle(turn: Turn, slot: Slot) -> None:
    """Do what is to be done for a slot now, and be called again when more is due."""
    service = turn.state.services.get(slot[0])
    for task in tasks.in_order(turn, slot):
        if task.node_id and not task.over and task.status.state >= TaskState.ASSIGNED:
            _give_up(turn, slot, task)
    known = tasks.in_order(turn, slot)
    if service is None or service.removing or not _is_wanted(turn, service, slot, known):
        dismiss(turn, slot)
        return
    _replace(turn, service, slot, known)
    known = tasks.in_order(turn, slot)
    _thin_out(turn, service, known)
    _start(turn, slot)
    _forget_old(turn, slot)


def _give_up(turn: Turn, slot: Slot, task: Task) -> None:
    """End a task whose node is gone, or down for so long that it may never come back; or look again when it will be."""
    node = turn.state.nodes.get(task.node_id)
    if node is None:
        tasks.end(turn, task, TaskState.ORPHANED, "the node was removed from the cluster")
    elif node.state == DOWN:
        left_s = (node.down_since or node.updated) + ORPHANED_S - turn.at
        if left_s <= 0:
            tasks.end(turn, task, TaskState.ORPHANED, "the node has been down for a day")
        else:
            turn.core.work.at(slot, turn.now + left_s)


def dismiss(turn: Turn, slot: Slot) -> None:
    """The slot is not wanted any more."""
    for task in tasks.in_order(turn, slot):
        leaving = tasks.order(turn, task, TaskState.REMOVE)
        if leaving.over:
            tasks.drop(turn, leaving)


def may_start(service: Service, node: ClusterNode) -> bool:
    """Whether a global service begins to run on a node."""
    return _may_stay(service, node) and node.spec.availability == ACTIVE


def _may_stay(service: Service, node: ClusterNode | None) -> bool:
    if node is None or node.state == DOWN or node.spec.availability == DRAIN:
        return False
    return constraints.admits(node, service.spec.task.placement.constraints)


def _is_wanted(turn: Turn, service: Service, slot: Slot, known: Sequence[Task]) -> bool:
    if service.spec.mode != GLOBAL:
        return any(task.desired != TaskState.REMOVE for task in known)
    return _may_stay(service, turn.state.nodes.get(slot[2]))


def _replace(turn: Turn, service: Service, slot: Slot, known: Sequence[Task]) -> None:
    """Order those away that have ended or lost their node, and have another in their place."""
    lost, last = [], None
    for task in alive(known):
        if not task.over and _has_lost_node(turn, task):
            lost.append(task)
        elif not task.over:
            continue
        elif (
            task.not_before > turn.at
        ):  # it failed to prepare before its time: its successor waits as long as it had to
            turn.core.work.at(slot, turn.now + task.not_before - turn.at)
            continue
        last = tasks.order(turn, task, TaskState.SHUTDOWN)
    staying = alive(tasks.in_order(turn, slot))
    if last is None or any(is_current(turn, service, task) for task in staying):
        return
    if staying and not is_current(turn, service, last):
        return  # the one that is to be exchanged goes on, and it is not time for its successor
    if _has_restart(turn, last):
        rule = last.spec.restart
        delay_s = 0.0 if last in lost or not last.over else rule.delay_s
        tasks.make(turn, service, slot, delay_s=delay_s, restarts=_restarts(turn, service, last), at_once=bool(staying))


def _has_lost_node(turn: Turn, task: Task) -> bool:
    """Whether its node is down, gone, or to be emptied; or does not fit any more."""
    if not task.node_id or task.status.state < TaskState.ASSIGNED:
        return False
    node = turn.state.nodes.get(task.node_id)
    if node is None or node.state == DOWN or node.spec.availability == DRAIN:
        return True
    return not fits(task, node)


def _has_restart(turn: Turn, task: Task) -> bool:
    """Whether another follows a task that has ended or lost its node (swarmkit: shouldRestart)."""
    rule = task.spec.restart
    if rule.condition != ANY and (rule.condition != ON_FAILURE or task.status.state == TaskState.COMPLETE):
        return False
    return not rule.max_attempts or len(_counted(turn, task)) < rule.max_attempts


def _counted(turn: Turn, task: Task) -> tuple[float, ...]:
    rule = task.spec.restart
    return tuple(at for at in task.restarts if not rule.window_s or at > turn.at - rule.window_s)


def _restarts(turn: Turn, service: Service, task: Task) -> tuple[float, ...]:
    if not task.spec.restart.max_attempts or not is_current(turn, service, task):
        return ()
    counted = _counted(turn, task)
    return (*counted, turn.at) if task.over else counted


def _thin_out(turn: Turn, service: Service, known: Sequence[Task]) -> None:
    """End those that another has taken over from."""
    standing = [task for task in alive(known) if not task.over]
    current = [task for task in standing if is_current(turn, service, task)]
    if len(standing) < 2:
        return
    best = max(current or standing, key=lambda task: (task.status.state, task.created))
    for task in standing:
        if task is best:
            continue
        if task in current or best.status.state == TaskState.RUNNING or task.status.state < TaskState.RUNNING:
            tasks.order(turn, task, TaskState.SHUTDOWN)


def _start(turn: Turn, slot: Slot) -> None:
    """Let run what waits for its time, or for the end of the one before it."""
    known = tasks.in_order(turn, slot)
    for task in alive(known):
        if task.desired != TaskState.READY or task.over:
            continue
        due = task.not_before
        for other in known:
            if other.desired > TaskState.RUNNING and not other.over and not tasks.is_away(turn, other):
                grace_s = other.spec.container.stop_timeout_s + _STOP_WAIT_S
                due = max(due, task.created + grace_s)
        if due <= turn.at:
            tasks.order(turn, task, TaskState.RUNNING)
        else:
            turn.core.work.at(slot, turn.now + due - turn.at)


def _forget_old(turn: Turn, slot: Slot) -> None:
    """Keep so many ended tasks as the cluster's history wants, and one if no other keeps the slot."""
    limit = turn.state.cluster.spec.task_history
    ended = []
    for task in tasks.in_order(turn, slot):
        if task.over and task.desired == TaskState.REMOVE:
            tasks.drop(turn, task)
        elif task.over and task.desired > TaskState.RUNNING:
            ended.append(task)
    if limit >= 0:
        for task in ended[: max(0, len(ended) - max(limit, 1))]:
            tasks.drop(turn, task)
