"""Work: what is still to be done for services, a bounded piece in each turn, and what is due by the clock.

Nothing of it is persisted: it follows from the records.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from heapq import heappop, heappush

from fairlead.manager.roster import Slot
from fairlead.model.service import TaskStatus

#: Tasks that one turn makes, gives to nodes or ends, a choice: with their leases about 300 KiB of a transaction's 1.5 MiB.
_TASKS_AT_ONCE = 100
#: Seconds for which room for tasks that wait is gathered before it is given out (swarmkit: debounce 50 ms).
_GATHER_S = 0.05


@dataclass(slots=True)
class Run:
    """An update that goes on: slots that are ``todo``, those that are ``busy`` being exchanged, those that are ``watched`` after
    it, and those that ``failed``."""

    todo: dict[Slot, None] = field(default_factory=dict)
    busy: dict[Slot, None] = field(default_factory=dict)
    watched: dict[Slot, None] = field(default_factory=dict)
    failed: dict[Slot, None] = field(default_factory=dict)

    def forget(self, slot: Slot) -> None:
        """The slot is no more."""
        for group in (self.todo, self.busy, self.watched, self.failed):
            group.pop(slot, None)


@dataclass(slots=True)
class Work:
    """Queues of services (ids) whose number of tasks or whose update is to be looked at, of slots, of tasks that wait for a
    node, and alarms of slots (monotonic seconds)."""

    services: dict[str, None] = field(default_factory=dict)
    slots: dict[Slot, None] = field(default_factory=dict)
    #: Service -> tasks without a node.
    waiting: dict[str, dict[str, None]] = field(default_factory=dict)
    #: Services of which waiting tasks are to be given out now.
    placing: dict[str, None] = field(default_factory=dict)
    runs: dict[str, Run] = field(default_factory=dict)
    #: Statuses told by nodes that had to be put off: (node id, task id, status).
    reports: deque[tuple[str, str, TaskStatus]] = field(default_factory=deque)
    #: (service, node) -> when tasks failed there (epoch seconds), oldest first.
    failures: dict[tuple[str, str], deque[float]] = field(default_factory=dict)
    #: Services for which a network has no virtual address left.
    short: dict[str, None] = field(default_factory=dict)
    left: int = _TASKS_AT_ONCE
    _alarms: dict[Slot, float] = field(default_factory=dict)
    _queue: list[tuple[float, Slot]] = field(default_factory=list)
    #: When room that became free is given out.
    _gathered: float | None = None

    def begin(self) -> None:
        """A new turn."""
        self.left = _TASKS_AT_ONCE

    def spend(self) -> bool:
        """Whether one task more can be dealt with in this turn."""
        self.left -= 1
        return self.left >= 0

    def at(self, slot: Slot, due: float) -> None:
        """Look at a slot again at ``due``, or before."""
        known = self._alarms.get(slot)
        if known is None or due < known:
            self._alarms[slot] = due
            heappush(self._queue, (due, slot))

    def room(self, now: float) -> None:
        """Something became free: those who wait are looked at soon."""
        if self.waiting and self._gathered is None:
            self._gathered = now + _GATHER_S

    def ring(self, now: float) -> None:
        """Put what is due into the queues."""
        while self._queue and self._queue[0][0] <= now:
            due, slot = heappop(self._queue)
            if self._alarms.get(slot) == due:
                del self._alarms[slot]
                self.slots[slot] = None
        if self._gathered is not None and self._gathered <= now:
            self._gathered = None
            self.placing.update(dict.fromkeys(self.waiting))

    def next(self, now: float) -> float | None:
        """When there is something to be done, None: nothing."""
        if self.services or self.slots or self.placing or self.reports:
            return now
        due = [self._queue[0][0]] if self._queue else []
        if self._gathered is not None:
            due.append(self._gathered)
        return min(due, default=None)

    def wait(self, service_id: str, task_id: str) -> None:
        """A task has no node yet."""
        self.waiting.setdefault(service_id, {})[task_id] = None
        self.placing[service_id] = None

    def waits_no_more(self, service_id: str, task_id: str) -> None:
        """A task has its node, or wants none."""
        tasks = self.waiting.get(service_id, {})
        tasks.pop(task_id, None)
        if not tasks:
            self.waiting.pop(service_id, None)
            self.placing.pop(service_id, None)
