"""Updater: exchanges the tasks of a service, a few at a time, and watches how the new ones do (swarmkit: update).

How far it is follows from the tasks and from ``update_status``; a manager that starts goes on where the one before ended.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from fairlead.manager import slots, tasks
from fairlead.manager.core import Turn
from fairlead.manager.roster import Slot
from fairlead.manager.work import Run
from fairlead.model.service import (
    CONTINUE,
    ROLLBACK,
    START_FIRST,
    Service,
    Task,
    TaskState,
    UpdateRule,
    UpdateStatus,
)

UPDATING, PAUSED, COMPLETED = "updating", "paused", "completed"
ROLLBACK_STARTED, ROLLBACK_PAUSED, ROLLBACK_COMPLETED = "rollback_started", "rollback_paused", "rollback_completed"
#: A task is watched at least so many seconds longer than the delay between two (swarmkit).
_MONITOR_MORE_S = 1.0
#: Ends that speak against a new task when they come early (swarmkit: failure or early termination).
_EARLY_ENDS = (TaskState.COMPLETE, TaskState.FAILED, TaskState.REJECTED)


def plan(turn: Turn, service: Service, kept: Iterable[Slot]) -> None:
    """Find what of a service is to be exchanged, and how far that is."""
    work = turn.core.work
    work.runs.pop(service.id, None)
    status = service.update_status
    if service.removing or (status is not None and status.state in (PAUSED, ROLLBACK_PAUSED)):
        return
    run, kept = Run(), sorted(kept, key=lambda slot: (_runs(turn, slot), slot))
    is_going_on = status is not None and status.state in (UPDATING, ROLLBACK_STARTED)
    for slot in kept:
        _place(turn, service, run, slot, is_going_on=is_going_on)
        if len(slots.alive(tasks.in_order(turn, slot))) > 1:
            work.slots[slot] = None  # what an update before this one left in the middle
    if not run.todo and not is_going_on:
        return
    if not is_going_on:
        service = _state(turn, service, UPDATING, "update in progress")
    work.runs[service.id] = run
    advance(turn, service)


def look(turn: Turn, slot: Slot) -> None:
    """Something of a slot has changed, or its time has come."""
    service, run = turn.state.services.get(slot[0]), turn.core.work.runs.get(slot[0])
    if service is None or run is None:
        return
    if slot in run.busy or slot in run.watched:
        run.busy.pop(slot, None)
        run.watched.pop(slot, None)
        if slots.is_kept(turn, slot):
            _place(turn, service, run, slot, is_going_on=True)
    elif not slots.is_kept(turn, slot):
        run.forget(slot)
    advance(turn, service)


def advance(turn: Turn, service: Service) -> None:
    """Exchange as many as the rule allows now, stop if too many failed, or come to the end."""
    work, rule = turn.core.work, _rule(service)
    run = work.runs[service.id]
    if _is_too_much(turn, service, run, rule):
        return
    while run.todo and (not rule.parallelism or len(run.busy) < rule.parallelism):
        if not work.spend():
            work.services[service.id] = None
            return
        slot = next(iter(run.todo))
        del run.todo[slot]
        if slots.is_kept(turn, slot):
            _exchange(turn, service, slot, rule)
            _place(turn, service, run, slot, is_going_on=True)
            if slot in run.failed and _is_too_much(turn, service, run, rule):
                return
    if not (run.todo or run.busy or run.watched):
        del work.runs[service.id]
        is_rollback = service.update_status is not None and service.update_status.state == ROLLBACK_STARTED
        word = "rollback completed" if is_rollback else "update completed"
        _state(turn, service, ROLLBACK_COMPLETED if is_rollback else COMPLETED, word)


def roll_back(turn: Turn, service: Service, message: str, *, manually: bool) -> Service:
    """Go back to the spec before. By hand the present one takes its place, so that it can be gone back to."""
    assert service.previous is not None
    back = replace(
        service,
        spec=service.previous,
        previous=service.spec if manually else None,
        spec_version=service.spec_version + 1,
        update_status=None,
    )
    return _state(turn, back, ROLLBACK_STARTED, message)


def _rule(service: Service) -> UpdateRule:
    is_back = service.update_status is not None and service.update_status.state.startswith("rollback")
    return service.spec.rollback if is_back else service.spec.update


def _runs(turn: Turn, slot: Slot) -> bool:
    return any(
        task.status.state == TaskState.RUNNING and task.desired <= TaskState.RUNNING
        for task in turn.state.roster.in_slot(slot).values()
    )


def _place(turn: Turn, service: Service, run: Run, slot: Slot, *, is_going_on: bool) -> None:
    """Find out in which stage a slot is. One that was made since the service was updated has no part in it."""
    rule = _rule(service)
    watch_s = max(rule.monitor_s, rule.delay_s + _MONITOR_MORE_S)
    known = tasks.in_order(turn, slot)
    ours = [task for task in known if task.spec_version == service.spec_version]
    if len(ours) == len(known):
        return
    has_failed = any(_ended_early(task, watch_s) for task in ours)
    if has_failed and is_going_on:
        run.failed[slot] = None
        return
    standing = slots.alive(known) or known[-1:]
    current = [task for task in standing if slots.is_current(turn, service, task)]
    if not current:
        run.todo[slot] = None
    elif current[-1] not in ours or not is_going_on:
        return  # it was right before the update
    elif not current[-1].over and current[-1].status.state < TaskState.RUNNING:
        run.busy[slot] = None
    else:
        _watch(turn, run, slot, current[-1], rule.delay_s, watch_s)


def _watch(turn: Turn, run: Run, slot: Slot, task: Task, delay_s: float, watch_s: float) -> None:
    since = task.ran or task.status.at
    if turn.at < since + watch_s and not task.over:
        run.watched[slot] = None
    if turn.at < since + delay_s and not task.over:
        run.busy[slot] = None
    for due in (since + delay_s, since + watch_s):
        if turn.at < due:
            turn.core.work.at(slot, turn.now + due - turn.at)
            return


def _ended_early(task: Task, watch_s: float) -> bool:
    return task.status.state in _EARLY_ENDS and (not task.ran or task.status.at - task.ran <= watch_s)


def _exchange(turn: Turn, service: Service, slot: Slot, rule: UpdateRule) -> None:
    """Put a new task beside the present one (start-first), or in its place."""
    known = slots.alive(tasks.in_order(turn, slot))
    if any(slots.is_current(turn, service, task) for task in known):
        return
    is_first = rule.order == START_FIRST
    for task in known:
        if not is_first or task.status.state != TaskState.RUNNING:
            tasks.order(turn, task, TaskState.SHUTDOWN)
    tasks.make(turn, service, slot, at_once=is_first)


def _is_too_much(turn: Turn, service: Service, run: Run, rule: UpdateRule) -> bool:
    """Whether more failed than the rule bears; then the update ends here."""
    total = max(1, len(turn.state.roster.slots_of(service.id)))
    if rule.failure_action == CONTINUE or not run.failed or len(run.failed) / total <= rule.max_failure_ratio:
        return False
    del turn.core.work.runs[service.id]
    slot = next(reversed(run.failed))
    failed = [task for task in tasks.in_order(turn, slot) if task.status.state in _EARLY_ENDS]
    culprit = failed[-1].id if failed else ""
    is_back = service.update_status is not None and service.update_status.state == ROLLBACK_STARTED
    if rule.failure_action == ROLLBACK and not is_back and service.previous is not None:
        text = f"update rolled back due to failure or early termination of task {culprit}"
        roll_back(turn, service, text, manually=False)
        turn.core.work.services[service.id] = None
        return True
    what = "rollback" if is_back else "update"
    text = f"{what} paused due to failure or early termination of task {culprit}"
    _state(turn, service, ROLLBACK_PAUSED if is_back else PAUSED, text)
    return True


def _state(turn: Turn, service: Service, state: str, message: str) -> Service:
    """Record how the update goes, and tell it."""
    before = service.update_status
    is_over = state in (COMPLETED, ROLLBACK_COMPLETED)
    started = turn.at if before is None else before.started
    status = UpdateStatus(state, started, turn.at if is_over else 0.0, message)
    changed = turn.put_service(replace(service, update_status=status))
    turn.tell_service(
        "update", changed, **{"updatestate.old": before.state if before else "", "updatestate.new": state}
    )
    return changed
