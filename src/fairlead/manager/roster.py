"""Roster: the tasks by service, slot and node, looked up at constant cost."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TypeVar

from fairlead.manager.loads import Load
from fairlead.model.service import Task

_K = TypeVar("_K", bound=Hashable)
#: Where tasks follow each other: (service id, slot, node id). In mode replicated the node id is empty, in mode global the slot is 0.
Slot = tuple[str, int, str]
_NOTHING: Mapping[str, Task] = {}
_UNLOADED = Load()


def slot_of(task: Task) -> Slot:
    """The slot that a task is of."""
    return task.service_id, task.slot, "" if task.slot else task.node_id


class Roster:
    """Tasks, each to be found from all sides."""

    def __init__(self) -> None:
        self._services: dict[str, dict[str, Task]] = {}
        self._slots: dict[Slot, dict[str, Task]] = {}
        self._nodes: dict[str, dict[str, Task]] = {}
        self._slots_of: dict[str, dict[Slot, None]] = {}
        self._loads: dict[str, Load] = {}

    def add(self, task: Task) -> None:
        """Take in a task."""
        slot = slot_of(task)
        self._services.setdefault(task.service_id, {})[task.id] = task
        self._slots.setdefault(slot, {})[task.id] = task
        self._slots_of.setdefault(task.service_id, {})[slot] = None
        if task.node_id:
            self._nodes.setdefault(task.node_id, {})[task.id] = task
            self._loads.setdefault(task.node_id, Load()).add(task, 1)

    def discard(self, task: Task) -> None:
        """Take a task out, as it was taken in."""
        slot = slot_of(task)
        _discard(self._services, task.service_id, task.id)
        _discard(self._slots, slot, task.id)
        if slot not in self._slots:
            slots = self._slots_of[task.service_id]
            del slots[slot]
            if not slots:
                del self._slots_of[task.service_id]
        if task.node_id:
            _discard(self._nodes, task.node_id, task.id)
            self._loads[task.node_id].add(task, -1)
            if task.node_id not in self._nodes:
                del self._loads[task.node_id]

    def of_service(self, service_id: str) -> Mapping[str, Task]:
        """The tasks of a service by id, old ones too."""
        return self._services.get(service_id, _NOTHING)

    def slots_of(self, service_id: str) -> tuple[Slot, ...]:
        """The slots in which a service has or had tasks."""
        return tuple(self._slots_of.get(service_id, ()))

    def in_slot(self, slot: Slot) -> Mapping[str, Task]:
        """The tasks of a slot by id, old ones too."""
        return self._slots.get(slot, _NOTHING)

    def on_node(self, node_id: str) -> Mapping[str, Task]:
        """The tasks that a node was given, by id, ended ones too."""
        return self._nodes.get(node_id, _NOTHING)

    def load(self, node_id: str) -> Load:
        """What the tasks of a node take of it; to read."""
        return self._loads.get(node_id, _UNLOADED)


def _discard(groups: dict[_K, dict[str, Task]], owner: _K, member: str) -> None:
    del groups[owner][member]
    if not groups[owner]:
        del groups[owner]
