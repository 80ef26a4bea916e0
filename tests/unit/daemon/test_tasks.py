"""The node's tasks on a real engine: kept, carried out, reported; over restarts, and after an end at any point."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.unit.engine.world import World

from fairlead.daemon.cluster import tasks as tasks_room
from fairlead.daemon.cluster.contract import Place
from fairlead.daemon.cluster.tasks import Tasks
from fairlead.daemon.cluster.tasks_output import READERS_MAX, Outputs, Telling
from fairlead.daemon.notices import Notices
from fairlead.engine.outcome import Run, Terminate
from fairlead.gossip.identity import Identity
from fairlead.model.cluster import NodeDescription
from fairlead.model.commands import Command, CreateContainer, RemoveContainer, StartContainer
from fairlead.model.container import Container, ContainerConfig
from fairlead.model.errors import Exhausted, Internal, NetError, NotFound, Unavailable
from fairlead.model.events import ContainerExited, ContainerFailed, ContainerRunning, Event
from fairlead.model.faults import Reach, pass_by
from fairlead.model.runspec import LogLine
from fairlead.model.service import Task, TaskSpec, TaskState, TaskStatus
from fairlead.model.session import LOG_WINDOW, Downward, LogChunk, LogEnd, LogMore, LogWish, NetworkGrant, Upward

PATIENCE_S = 60.0
ONE, TWO = "1" * 25, "2" * 25


class Ended(asyncio.CancelledError):
    """The daemon is no more."""


class Host:
    """A node whose processes run and end as they are told; ``missing`` images are not there, ``broken`` programs do not
    start."""

    def __init__(self) -> None:
        self.world = World()
        self.notices = Notices()
        self.lines: list[LogLine] = []
        self.asked: list[Command] = []

    @property
    def state(self) -> Any:
        return self.world.engine.state

    async def submit(self, command: Command) -> object:
        self.asked.append(command)
        await asyncio.sleep(0)
        if isinstance(command, CreateContainer) and command.config.image == "missing":
            raise NotFound("No such image: missing")
        return self.tell(command)

    def tell(self, message: Command | Event) -> object:
        outcome = self.world.tell(message)
        for notice in outcome.notices:
            self.notices.add(notice)
        for one in outcome.messages:
            if isinstance(one, Run) and one.spec.args == ("broken",):
                self.tell(ContainerFailed(one.spec.container_id, "no such file or directory", 127, 200.0))
                raise Internal("no such file or directory")
            if isinstance(one, Run):
                self.tell(ContainerRunning(one.spec.container_id, 4242, 4241, 200.0))
            if isinstance(one, Terminate):
                self.end(one.container_id, 143)
        return outcome.reply

    def end(self, container_id: str, code: int) -> None:
        self.tell(ContainerExited(container_id, code, 300.0))

    def of(self, task_id: str) -> Container | None:
        found = [one for one in self.state.containers.values() if one.task_id == task_id]
        assert len(found) <= 1, "a task has one container"
        return found[0] if found else None

    async def logs(
        self, container: str, *, follow: bool, tail: int | None, since: float | None
    ) -> AsyncIterator[LogLine]:
        for line in self.lines[-(tail or 0) :]:
            await asyncio.sleep(0)
            yield line


class Bed:
    """A node with tasks, that may be started anew."""

    def __init__(self, folder: Path) -> None:
        self.host = Host()
        self.place = Place("n" * 25, "c" * 25, str(folder), Identity(bytes(32)), NodeDescription("h1"))
        self.reports: dict[str, list[TaskStatus]] = {}
        self.tasks = self.fresh()

    def fresh(self, reach: Reach = pass_by) -> Tasks:
        return Tasks(self.place, self.host, self.report, reach)

    async def again(self, reach: Reach = pass_by) -> None:
        await self.tasks.close()
        self.tasks = self.fresh(reach)
        await self.tasks.start()

    def report(self) -> None:
        for task_id, status in self.tasks.unsaid():
            self.reports.setdefault(task_id, []).append(status)

    def states(self, task_id: str = ONE) -> list[str]:
        return [status.state.name for status in self.reports.get(task_id, [])]

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                if condition():
                    return
                await asyncio.sleep(0.001)

    async def reaches(self, state: TaskState, task_id: str = ONE) -> TaskStatus:
        await self.until(lambda: self.states(task_id)[-1:] == [state.name])
        return self.reports[task_id][-1]

    def files(self) -> list[str]:
        return sorted(path.name for path in (Path(self.place.folder) / "tasks").glob("*"))


Scenario = Callable[[Bed], Coroutine[Any, Any, None]]


@pytest.fixture(name="run")
def _run(tmp_path: Path) -> Callable[[Scenario], None]:
    def run(scenario: Scenario) -> None:
        async def session() -> None:
            bed = Bed(tmp_path)
            await bed.tasks.start()
            try:
                await scenario(bed)
            finally:
                await bed.tasks.close()

        asyncio.run(session())

    return run


Runs = Callable[[Scenario], None]


def task(task_id: str = ONE, desired: TaskState = TaskState.RUNNING, image: str = "host", *command: str) -> Task:
    spec = TaskSpec(ContainerConfig(image, command or ("true",)))
    status = TaskStatus(TaskState.ASSIGNED, 1.0, "scheduler assigned task to node")
    return Task(task_id, "s" * 25, "web", 1, 1.0, 1.0, spec, 1, node_id="n" * 25, desired=desired, status=status)


def test_a_task_is_run_stopped_and_forgotten(run: Runs) -> None:
    async def scenario(bed: Bed) -> None:
        await bed.tasks.assign([task()], (), full=True)
        assert bed.files() == [f"{ONE}.json"]
        running = await bed.reaches(TaskState.RUNNING)
        box = bed.host.of(ONE)
        assert box is not None
        assert (running.container_id, running.pid, box.name) == (box.id, 4242, f"web.1.{ONE}")
        assert bed.states() == ["ACCEPTED", "PREPARING", "READY", "STARTING", "RUNNING"]
        await bed.tasks.assign([task(desired=TaskState.SHUTDOWN)], (), full=False)
        assert (await bed.reaches(TaskState.SHUTDOWN)).exit_code == 143
        assert bed.host.of(ONE), "its output can be read still"
        await bed.tasks.assign([], (ONE,), full=False)
        await bed.until(lambda: not bed.files())
        assert bed.host.of(ONE) is None
        assert not bed.tasks.statuses()

    run(scenario)


def test_a_task_waits_at_ready(run: Runs) -> None:
    async def scenario(bed: Bed) -> None:
        await bed.tasks.assign([task(desired=TaskState.READY)], (), full=True)
        await bed.reaches(TaskState.READY)
        assert not any(isinstance(command, StartContainer) for command in bed.host.asked)
        await bed.tasks.assign([task()], (), full=False)
        await bed.reaches(TaskState.RUNNING)

    run(scenario)


def test_reasons_are_told(run: Runs) -> None:
    async def scenario(bed: Bed) -> None:
        await bed.tasks.assign([task(image="missing"), task(TWO, TaskState.RUNNING, "host", "broken")], (), full=True)
        assert (await bed.reaches(TaskState.REJECTED)).error == "No such image: missing"
        failed = await bed.reaches(TaskState.FAILED, TWO)
        assert failed.error == "starting container failed: no such file or directory"
        assert failed.exit_code == 127

    run(scenario)


def test_a_container_that_ends_or_goes_is_noticed(run: Runs) -> None:
    async def scenario(bed: Bed) -> None:
        await bed.tasks.assign([task(), task(TWO)], (), full=True)
        await bed.reaches(TaskState.RUNNING)
        await bed.reaches(TaskState.RUNNING, TWO)
        one, two = bed.host.of(ONE), bed.host.of(TWO)
        assert one is not None and two is not None
        bed.host.end(one.id, 1)
        assert (await bed.reaches(TaskState.FAILED)).error == "task: non-zero exit (1)"
        bed.host.tell(RemoveContainer(two.id, force=True))
        assert (await bed.reaches(TaskState.FAILED, TWO)).error == f"No such container: {two.id}"

    run(scenario)


def test_what_managers_do_not_name_any_more_goes(run: Runs) -> None:
    async def scenario(bed: Bed) -> None:
        await bed.tasks.assign([task(), task(TWO)], (), full=True)
        await bed.reaches(TaskState.RUNNING)
        await bed.reaches(TaskState.RUNNING, TWO)
        stray = await bed.host.submit(CreateContainer("stray", ContainerConfig("host"), "9" * 25))
        assert isinstance(stray, Container)
        await bed.again()
        assert bed.host.of("9" * 25), "without word of a manager nothing is taken away"
        await bed.tasks.assign([task(TWO)], (), full=True)
        await bed.until(lambda: bed.files() == [f"{TWO}.json"])
        await bed.until(lambda: bed.host.of("9" * 25) is None)
        assert bed.host.of(ONE) is None and bed.host.of(TWO)

    run(scenario)


def test_without_managers_a_restart_goes_on_with_what_is_on_disk(run: Runs) -> None:
    async def scenario(bed: Bed) -> None:
        await bed.tasks.assign([task(), task(TWO)], (), full=True)
        await bed.reaches(TaskState.RUNNING)
        await bed.reaches(TaskState.RUNNING, TWO)
        await bed.tasks.close()
        one, two = bed.host.of(ONE), bed.host.of(TWO)
        assert one is not None and two is not None
        bed.host.end(two.id, 7)
        await bed.again()
        await bed.until(lambda: dict(bed.tasks.statuses())[TWO].state == TaskState.FAILED)
        await bed.until(lambda: dict(bed.tasks.statuses())[ONE].state == TaskState.RUNNING)
        assert bed.host.of(ONE) == one, "it was not touched"
        await bed.again()
        assert dict(bed.tasks.statuses())[TWO].error == "task: non-zero exit (7)"
        await bed.tasks.leave()
        assert not bed.files()
        assert not bed.host.state.containers

    run(scenario)


@pytest.mark.parametrize("point", tasks_room.POINTS)
def test_an_end_of_the_daemon_at_any_point_changes_nothing_in_the_outcome(run: Runs, point: str) -> None:
    async def scenario(bed: Bed) -> None:
        ended = asyncio.Event()

        def reach(at: str) -> None:
            if at == point and not ended.is_set():
                ended.set()
                raise Ended

        async def wanted(tasks: list[Task], gone: tuple[str, ...], condition: Callable[[], object]) -> None:
            """Have managers want this, over an end on the way if there is one."""
            before = ended.is_set()
            try:
                await bed.tasks.assign(tasks, gone, full=False)
                await bed.until(lambda: condition() or ended.is_set() != before)
            except Ended:
                pass
            if ended.is_set() != before:
                await bed.again()
                await bed.tasks.assign(tasks, gone, full=False)
                await bed.until(condition)

        await bed.again(reach)
        await wanted([task()], (), lambda: dict(bed.tasks.statuses()).get(ONE, TaskStatus()).state == TaskState.RUNNING)
        over = [task(desired=TaskState.SHUTDOWN)]
        await wanted(over, (), lambda: dict(bed.tasks.statuses())[ONE].state == TaskState.SHUTDOWN)
        await wanted([], (ONE,), lambda: not bed.files() and not bed.tasks.statuses())
        assert ended.is_set(), f"nobody came by {point}"
        assert bed.host.of(ONE) is None
        made = [command for command in bed.host.asked if isinstance(command, CreateContainer)]
        assert len(made) == 1

    run(scenario)


def test_what_nobody_heard_is_told_again(run: Runs) -> None:
    async def scenario(bed: Bed) -> None:
        bed.report = lambda: None  # type: ignore[method-assign]
        await bed.again()
        await bed.tasks.assign([task()], (), full=True)
        await bed.until(lambda: dict(bed.tasks.statuses())[ONE].state == TaskState.RUNNING)
        assert bed.tasks.unsaid() == ()
        said = bed.tasks.statuses()
        bed.tasks.say_again(said)
        assert bed.tasks.unsaid() == said
        assert bed.tasks.unsaid() == ()
        await bed.tasks.assign([task()], (), full=True)  # of a manager that has begun anew and knows less
        assert bed.tasks.unsaid() == said
        await bed.tasks.assign([replace(task(), status=said[0][1])], (), full=True)
        assert bed.tasks.unsaid() == ()

    run(scenario)


# output


class Line:
    """A session whose manager's end is ``outputs``."""

    manager = ""

    def __init__(self, bed: Bed) -> None:
        self.telling = Telling(bed.tasks, self)
        self.there = True
        self.outputs = Outputs(lambda node_id: self.order if self.there else None)
        self.chunks: list[LogChunk] = []
        self.orders: list[Downward] = []

    def order(self, message: Downward) -> None:
        self.orders.append(message)
        assert isinstance(message, LogWish | LogMore | LogEnd)
        self.telling.order(message)

    async def send(self, message: Upward) -> None:
        assert isinstance(message, LogChunk)
        self.chunks.append(message)
        self.outputs.heard("n" * 25, message)

    async def ask(self, message: object) -> object:
        return NetworkGrant("")

    async def receive(self) -> None:
        return None

    async def close(self) -> None:
        await self.telling.close()


def lines(count: int) -> list[LogLine]:
    return [LogLine("stdout", f"{number}\n".encode(), "2026-11-21T12:00:00Z") for number in range(count)]


def test_output_comes_whole_and_no_faster_than_it_is_read(run: Runs) -> None:
    async def scenario(bed: Bed) -> None:
        await bed.tasks.assign([task()], (), full=True)
        await bed.reaches(TaskState.RUNNING)
        bed.host.lines = lines(20_000)
        line = Line(bed)
        read = line.outputs.read(task(), False, None, None)
        seen = [await anext(read)]
        await bed.until(lambda: len(line.chunks) == LOG_WINDOW)
        for _ in range(1000):
            await asyncio.sleep(0)
        assert len(line.chunks) == LOG_WINDOW, "nobody reads on"
        seen += [one async for one in read]
        assert seen == bed.host.lines
        assert not line.telling._told
        tail = [one async for one in line.outputs.read(task(), False, 3, None)]
        assert tail == bed.host.lines[-3:]

    run(scenario)


def test_who_reads_no_more_is_told_no_more(run: Runs) -> None:
    async def scenario(bed: Bed) -> None:
        await bed.tasks.assign([task()], (), full=True)
        await bed.reaches(TaskState.RUNNING)
        bed.host.lines = lines(20_000)
        line = Line(bed)
        read = line.outputs.read(task(), True, None, None)
        await anext(read)
        await read.aclose()  # type: ignore[attr-defined]
        assert isinstance(line.orders[-1], LogEnd)
        await bed.until(lambda: not line.telling._told)

    run(scenario)


def test_whoever_follows_waits_for_the_beginning(run: Runs) -> None:
    async def scenario(bed: Bed) -> None:
        await bed.tasks.assign([task(desired=TaskState.READY)], (), full=True)
        await bed.reaches(TaskState.READY)
        line = Line(bed)
        bed.host.lines = lines(2)
        read = asyncio.ensure_future(_all(line.outputs.read(task(), True, None, None)))
        await bed.until(lambda: line.telling._told)
        await bed.tasks.assign([task()], (), full=False)
        assert await asyncio.wait_for(read, PATIENCE_S) == bed.host.lines

    run(scenario)


async def _all(source: AsyncIterator[LogLine]) -> list[LogLine]:
    return [line async for line in source]


def test_why_there_is_no_output_is_told(run: Runs) -> None:
    async def scenario(bed: Bed) -> None:
        line = Line(bed)
        with pytest.raises(NetError, match="is not on this node"):
            await _all(line.outputs.read(task(), False, None, None))
        assert await _all(line.outputs.read(replace(task(), node_id=""), False, None, None)) == []
        line.there = False
        with pytest.raises(Unavailable, match=r"incomplete log stream.* node n+ is not available"):
            await _all(line.outputs.read(task(), False, None, None))
        line.there = True
        await bed.tasks.assign([task(desired=TaskState.READY)], (), full=True)
        read = asyncio.ensure_future(_all(line.outputs.read(task(), True, None, None)))
        await bed.until(lambda: line.telling._told)
        line.outputs.ended("other")
        line.outputs.ended("n" * 25)
        with pytest.raises(Unavailable, match="incomplete log stream"):
            await read

    run(scenario)


def test_a_node_that_tells_more_than_asked_or_of_others_output_is_not_heard(run: Runs) -> None:
    async def scenario(bed: Bed) -> None:
        outputs = Outputs(lambda node_id: lambda message: None)
        read = asyncio.ensure_future(_all(outputs.read(task(), True, None, None)))
        await asyncio.sleep(0)
        outputs.heard("other", LogChunk("1", tuple(lines(1)), last=True))
        for _ in range(LOG_WINDOW + 2):
            outputs.heard("n" * 25, LogChunk("1", tuple(lines(1))))
        with pytest.raises(Unavailable, match="tells more than it was asked for"):
            await read
        waiting = [asyncio.ensure_future(_all(outputs.read(task(), True, None, None))) for _ in range(READERS_MAX)]
        await asyncio.sleep(0)
        with pytest.raises(Exhausted):
            await _all(outputs.read(task(), True, None, None))
        for one in waiting:
            one.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    run(scenario)
