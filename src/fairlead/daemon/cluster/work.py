"""Services and tasks as the API reads them where this node leads (``api.contract_services.Work``)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping

from fairlead.manager.state import State
from fairlead.model.errors import Ambiguous, NotFound
from fairlead.model.runspec import LogLine
from fairlead.model.service import Service, Task

#: Where a task's output comes from: (task, follow, tail, since) as ``Work.logs`` has them.
LogSource = Callable[[Task, bool, int | None, float | None], AsyncIterator[LogLine]]


class ClusterWork:
    """Reads the brain's records."""

    def __init__(self, state: State, log_source: LogSource) -> None:
        self._state = state
        self._log_source = log_source

    @property
    def services(self) -> Mapping[str, Service]:
        """Services by id, also those whose last tasks are being ended."""
        return self._state.services

    @property
    def tasks(self) -> Mapping[str, Task]:
        """Tasks by id, also those that have ended and are remembered."""
        return self._state.tasks

    def service(self, ref: str) -> Service:
        """A service by id, name or the beginning of an id; raises ``NotFound`` or ``Ambiguous``."""
        return self._state.service(ref)

    def task(self, ref: str) -> Task:
        """A task by id or the beginning of one; raises ``NotFound`` or ``Ambiguous``."""
        known = self._state.tasks.get(ref)
        found = [known] if known else [task for key, task in self._state.tasks.items() if ref and key.startswith(ref)]
        if not found:
            raise NotFound(f"task {ref} not found", hint="`fairlead service ps SERVICE` lists the tasks of a service")
        if len(found) > 1:
            raise Ambiguous(f"task {ref} is ambiguous ({len(found)} matches found)", hint="give more of the id")
        return found[0]

    def tasks_of(self, service_id: str) -> Iterable[Task]:
        """The tasks of a service, old ones too."""
        return self._state.roster.of_service(service_id).values()

    def logs(self, task: Task, *, follow: bool, tail: int | None, since: float | None) -> AsyncIterator[LogLine]:
        """What a task has written, wherever it runs."""
        return self._log_source(task, follow, tail, since)
