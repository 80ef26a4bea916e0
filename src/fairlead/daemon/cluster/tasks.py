"""The tasks of this node: what managers assigned, kept on disk, carried out step by step, and reported.

Each task has a file, written before anything is done for it, so the node goes on with its tasks without managers and over
restarts; how far one has come is seen from its container. ``tasks_life`` says what is next, this module does it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from fairlead.daemon.cluster import keepsake, tasks_life, tasks_shape
from fairlead.daemon.cluster.contract import Place
from fairlead.daemon.cluster.tasks_life import Assigned, Drop, Make, Remove, Say, Start, Step, Stop
from fairlead.model.commands import Command, CreateContainer, RemoveContainer, StartContainer, StopContainer
from fairlead.model.container import Container
from fairlead.model.errors import Internal, NetError, NotFound
from fairlead.model.events import Notice
from fairlead.model.faults import Reach, pass_by
from fairlead.model.runspec import LogLine
from fairlead.model.service import Task, TaskState, TaskStatus
from fairlead.model.state import State

log = logging.getLogger(__name__)

#: Where the tasks are kept, in the node's folder of the cluster.
FOLDER = "tasks"
#: Fault points: assigned tasks are on disk; a container was made, started, has ended, was removed, and nobody knows yet.
POINTS = ("tasks.kept", "tasks.made", "tasks.started", "tasks.ended", "tasks.removed")
#: Seconds until a step that failed for no reason of the task's is tried again.
_AGAIN_S = 1.0

Statuses = tuple[tuple[str, TaskStatus], ...]


class Listing(Protocol):
    """What happens on the node."""

    def subscribe(self, since: float | None) -> AsyncIterator[Notice]:
        """Notices from this call on; ends when the listener is too far behind."""


class Host(Protocol):
    """The node, as its tasks need it."""

    @property
    def state(self) -> State:
        """The records, to read."""

    @property
    def notices(self) -> Listing:
        """What happens."""

    async def submit(self, command: Command) -> object:
        """Carry a command out; its answer, or ``NetError``."""

    def logs(self, container: str, *, follow: bool, tail: int | None, since: float | None) -> AsyncIterator[LogLine]:
        """Output of a container; with ``follow`` until it ends."""


class Tasks:
    """One of a member. ``news`` is called when there is something to report."""

    def __init__(self, place: Place, host: Host, news: Callable[[], None], reach: Reach = pass_by) -> None:
        self._place = place
        self._host = host
        self._news = news
        self._reach = reach
        self._folder = Path(place.folder) / FOLDER
        self._assigned: dict[str, Assigned] = {}
        self._containers: dict[str, str] = {}
        self._task_of: dict[str, str] = {}
        self._unsaid: dict[str, None] = {}
        self._works: dict[str, asyncio.Task[None]] = {}
        self._again: set[str] = set()
        #: One writes at a time: what the disk has of a task is what was decided last.
        self._writing = asyncio.Lock()
        self._listening: asyncio.Task[None] | None = None
        self._moved: dict[str, asyncio.Event] = {}

    async def start(self) -> None:
        """Go on with what is on disk."""
        for one in await asyncio.to_thread(_read_all, self._folder):
            self._assigned[one.task.id] = one
        for container in self._host.state.containers.values():
            if container.task_id:
                self._bind(container.task_id, container.id)
        notices = self._host.notices.subscribe(None)
        self._listening = asyncio.get_running_loop().create_task(self._listen(notices))
        self._touch_all()

    async def close(self) -> None:
        """End; containers run on."""
        works = list(self._works.values())
        for work in (*works, *filter(None, (self._listening,))):
            work.cancel()
        await asyncio.gather(*works, *filter(None, (self._listening,)), return_exceptions=True)

    async def leave(self) -> None:
        """The node leaves its cluster: kill and remove every task's container, and forget the tasks. Raises ``NetError``."""
        await self.close()
        for container_id in list(self._containers.values()):
            with suppress(NotFound):
                await self._host.submit(RemoveContainer(container_id, force=True, volumes=True))
        await asyncio.to_thread(_remove_all, self._folder)
        self._assigned.clear()

    async def assign(self, tasks: Iterable[Task], gone: Collection[str], *, full: bool) -> None:
        """Managers want these tasks like this, and those that are ``gone`` no more; with ``full`` none but these. Returns
        when that is on disk. Raises ``Internal``."""
        told = {task.id: task for task in tasks}
        async with self._writing:
            fresh = {name: self._merged(task) for name, task in told.items()}
            going = (self._assigned.keys() - told.keys()) if full else set(gone)
            for name in going & self._assigned.keys():
                fresh[name] = replace(self._assigned[name], gone=True)
            changed = {name: one for name, one in fresh.items() if self._assigned.get(name) != one}
            await asyncio.to_thread(self._keep, changed.values())
            self._reach("tasks.kept")
            for name, one in changed.items():
                known = self._assigned.get(name)
                # what it has come to meanwhile stands
                further = known is not None and known.status.state > one.status.state
                self._assigned[name] = replace(one, status=known.status) if known and further else one
                self._touch(name)
        if full:
            behind = {
                name: None for name, task in told.items() if self._assigned[name].status.state > task.status.state
            }
            if behind:  # a manager that has begun anew may have lost what it was told
                self._unsaid.update(behind)
                self._news()
            for name in self._containers.keys() - self._assigned.keys() - self._works.keys():
                self._spawn(name, self._remove_orphan(name))

    def statuses(self) -> Statuses:
        """How all tasks are; none of them has to be reported before it changes."""
        self._unsaid.clear()
        return tuple((name, one.status) for name, one in self._assigned.items() if not one.gone)

    def unsaid(self) -> Statuses:
        """How those are that have changed since it was last told."""
        changed, self._unsaid = self._unsaid, {}
        return tuple((name, self._assigned[name].status) for name in changed if name in self._assigned)

    def say_again(self, statuses: Statuses) -> None:
        """Nobody heard these."""
        self._unsaid.update((name, None) for name, _ in statuses)

    async def output(
        self, task_id: str, *, follow: bool, tail: int | None, since: float | None
    ) -> AsyncIterator[LogLine]:
        """What a task has written; with ``follow`` until it ends, also when it is still to begin. Nothing for one that never
        ran. Raises ``NotFound``."""
        while follow and self._is_to_begin(task_id):
            await self._moved.setdefault(task_id, asyncio.Event()).wait()
        if task_id not in self._assigned:
            raise NotFound(f"task {task_id} is not on this node")
        container_id = self._containers.get(task_id)
        if container_id is not None and container_id in self._host.state.containers:
            async for line in self._host.logs(container_id, follow=follow, tail=tail, since=since):
                yield line

    def _is_to_begin(self, task_id: str) -> bool:
        one = self._assigned.get(task_id)
        container = self._container(task_id)
        begun = container is not None and (container.running or container.state.finished > 0)
        return one is not None and not one.over and not one.gone and not begun

    def _merged(self, task: Task) -> Assigned:
        known = self._assigned.get(task.id)
        if known is None or known.status.state < task.status.state:
            return Assigned(task, task.status)
        return Assigned(task, known.status)

    def _keep(self, changed: Iterable[Assigned]) -> None:
        for one in changed:
            keepsake.write_value(self._folder / f"{one.task.id}.json", one)

    def _container(self, task_id: str) -> Container | None:
        return self._host.state.containers.get(self._containers.get(task_id, ""))

    def _bind(self, task_id: str, container_id: str) -> None:
        self._unbind(task_id)
        self._containers[task_id] = container_id
        self._task_of[container_id] = task_id

    def _unbind(self, task_id: str) -> None:
        self._task_of.pop(self._containers.pop(task_id, ""), None)

    async def _listen(self, notices: AsyncIterator[Notice]) -> None:
        """Look at a task again whenever something happens to its container."""
        while True:
            async for notice in notices:
                if notice.type == "container" and (name := self._task_of.get(notice.id)) is not None:
                    self._touch(name)
            notices = self._host.notices.subscribe(None)
            self._touch_all()

    def _touch_all(self) -> None:
        for name in self._assigned:
            self._touch(name)

    def _touch(self, task_id: str) -> None:
        if task_id not in self._assigned:
            return
        self._again.add(task_id)
        if task_id not in self._works:
            self._spawn(task_id, self._work(task_id))

    def _spawn(self, task_id: str, work: Coroutine[object, object, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._works[task_id] = task
        task.add_done_callback(lambda _: work.close())  # called off before its first turn, it would never be awaited

    async def _work(self, task_id: str) -> None:
        """Bring a task as far as it can come now."""
        try:
            while task_id in self._again:
                self._again.discard(task_id)
                while (step := self._next(task_id)) is not None:
                    await self._try(task_id, step)
        finally:
            del self._works[task_id]

    def _next(self, task_id: str) -> Step | None:
        one = self._assigned.get(task_id)
        if one is None:
            return None
        container = self._container(task_id)
        bindings = [
            binding
            for endpoint in (self._host.state.endpoints_of_container(container.id) if container else ())
            for binding in endpoint.bindings
        ]
        return tasks_life.next_step(one, container, tasks_shape.given_ports(bindings), time.time())

    async def _try(self, task_id: str, step: Step) -> None:
        """Do a step. What fails for no reason of the task's is tried again."""
        try:
            await self._carry(task_id, step)
        except NetError as error:
            log.error("task %s: %s: %s", task_id, type(step).__name__, error)
            await asyncio.sleep(_AGAIN_S)
        except Exception:  # a supervisor: the other tasks go on, and this one is not forgotten
            log.exception("a step of task %s met a fault", task_id)
            await asyncio.sleep(_AGAIN_S)

    async def _carry(self, task_id: str, step: Step) -> None:
        match step:
            case Say():
                await self._say(task_id, step.status)
            case Make():
                await self._make(task_id)
            case Start():
                await self._start(task_id, step.container_id)
            case Stop():
                with suppress(NotFound):
                    await self._host.submit(StopContainer(step.container_id))
            case Remove():
                await self._remove(task_id, step.container_id)
            case Drop():
                async with self._writing:
                    if not self._assigned[task_id].gone:
                        return  # a manager has named it again
                    await asyncio.to_thread((self._folder / f"{task_id}.json").unlink, missing_ok=True)
                    self._assigned.pop(task_id, None)
                self._unbind(task_id)
                self._stir(task_id)

    async def _say(self, task_id: str, status: TaskStatus) -> None:
        """It has come further. That it is over is kept; anything before is seen from its container."""
        if status.state > TaskState.RUNNING:
            self._reach("tasks.ended")
            async with self._writing:
                one = replace(self._assigned[task_id], status=status)
                await asyncio.to_thread(self._keep, (one,))
                self._assigned[task_id] = one
        else:
            self._assigned[task_id] = replace(self._assigned[task_id], status=status)
        self._unsaid[task_id] = None
        self._stir(task_id)
        self._news()

    async def _make(self, task_id: str) -> None:
        task = self._assigned[task_id].task
        try:
            config = tasks_shape.container_of(task, self._place.node_id, self._place.description.hostname)
            made = await self._host.submit(CreateContainer(task.name, config, task_id))
        except NetError as error:
            await self._say(task_id, tasks_life.rejected(self._assigned[task_id], error.message, time.time()))
            return
        if not isinstance(made, Container):
            raise Internal(f"{CreateContainer.__name__} was answered with {type(made).__name__}")
        self._reach("tasks.made")
        self._bind(task_id, made.id)

    async def _start(self, task_id: str, container_id: str) -> None:
        try:
            await self._host.submit(StartContainer(container_id))
        except NetError as error:
            container = self._container(task_id)
            code = container.state.exit_code if container is not None else 0
            one = self._assigned[task_id]
            await self._say(task_id, tasks_life.not_started(one, error.message, code, time.time()))
            return
        self._reach("tasks.started")

    async def _remove(self, task_id: str, container_id: str) -> None:
        with suppress(NotFound):
            await self._host.submit(RemoveContainer(container_id, volumes=True))
        self._reach("tasks.removed")
        self._unbind(task_id)

    async def _remove_orphan(self, task_id: str) -> None:
        """End and remove the container of a task that nobody knows."""
        container_id = self._containers[task_id]
        log.warning("container %s is of a task that is assigned no more: it is removed", container_id[:12])
        try:
            with suppress(NotFound):
                await self._host.submit(StopContainer(container_id))
                await self._host.submit(RemoveContainer(container_id, force=True, volumes=True))
            self._unbind(task_id)
        except NetError as error:
            log.error("the container of task %s stays: %s", task_id, error)
        finally:
            del self._works[task_id]

    def _stir(self, task_id: str) -> None:
        """Whoever waits for a task looks again."""
        waited = self._moved.pop(task_id, None)
        if waited is not None:
            waited.set()


def _read_all(folder: Path) -> list[Assigned]:
    found = []
    for path in sorted(folder.glob("*.json")):
        one = keepsake.read_value(path, Assigned)
        if one is None:
            log.error("%s is damaged: a manager will tell anew what was in it", path)
        else:
            found.append(one)
    return found


def _remove_all(folder: Path) -> None:
    for path in folder.glob("*"):
        path.unlink(missing_ok=True)
