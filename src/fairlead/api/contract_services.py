"""What the API needs to know of a cluster's services and their tasks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Protocol

from fairlead.model.runspec import LogLine
from fairlead.model.service import Service, Task


class Work(Protocol):
    """Services and tasks as the leader has them; to read. Changes are commands to the brain."""

    @property
    def services(self) -> Mapping[str, Service]:
        """Services by id, also those whose last tasks are being ended."""

    @property
    def tasks(self) -> Mapping[str, Task]:
        """Tasks by id, also those that have ended and are remembered."""

    def service(self, ref: str) -> Service:
        """A service by id, name or the beginning of an id; raises ``NotFound`` or ``Ambiguous``."""

    def task(self, ref: str) -> Task:
        """A task by id or the beginning of one; raises ``NotFound`` or ``Ambiguous``."""

    def tasks_of(self, service_id: str) -> Iterable[Task]:
        """The tasks of a service, old ones too."""

    def logs(self, task: Task, *, follow: bool, tail: int | None, since: float | None) -> AsyncIterator[LogLine]:
        """What a task has written, wherever it runs, as ``Node.logs``; raises ``Unavailable`` when its node is not
        there."""
