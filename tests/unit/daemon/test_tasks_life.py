"""What comes next for a task: every state, every wish, and whatever a crash may have left of its container."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fairlead.daemon.cluster import tasks_life
from fairlead.daemon.cluster.tasks_life import Assigned, Drop, Make, Remove, Say, Start, Step, Stop, next_step
from fairlead.model.container import Container, ContainerConfig, ContainerState
from fairlead.model.health import Health
from fairlead.model.service import ServicePort, Task, TaskSpec, TaskState, TaskStatus

AT = 50.0
CONTAINER = "c" * 64
TASK = Task(
    "t" * 25, "s" * 25, "web", 3, 1.0, 1.0, TaskSpec(ContainerConfig("host")), 1, node_id="n" * 25,
    status=TaskStatus(TaskState.ASSIGNED, 2.0, "scheduler assigned task to node"),
)  # fmt: skip


def assigned(
    state: TaskState = TaskState.ASSIGNED, desired: TaskState = TaskState.RUNNING, *, gone: bool = False, **more: object
) -> Assigned:
    status = replace(TASK.status, state=state, **more)  # type: ignore[arg-type]
    return Assigned(replace(TASK, desired=desired), status, gone)


def container(status: str = "running", **more: object) -> Container:
    state = ContainerState(status, started=10.0 if status != "created" else 0.0, **more)  # type: ignore[arg-type]
    return Container(CONTAINER, TASK.name, 5.0, ContainerConfig("host"), state, TASK.id)


def step(one: Assigned, box: Container | None = None, ports: tuple[ServicePort, ...] = ()) -> Step | None:
    return next_step(one, box, ports, AT)


def said(found: Step | None) -> TaskStatus:
    assert isinstance(found, Say)
    return found.status


def test_a_task_comes_to_run_step_by_step() -> None:
    one, seen = assigned(), []
    while isinstance(found := step(one), Say):
        one = replace(one, status=found.status)
        seen.append((found.status.state, found.status.message))
    assert found == Make()
    made = container("created")
    while isinstance(found := step(one, made), Say):
        one = replace(one, status=found.status)
        seen.append((found.status.state, found.status.message))
    assert found == Start(CONTAINER)
    assert step(one, container("starting")) is None
    running = said(step(one, container("running", pid=77), (ServicePort(80, 8080),)))
    seen.append((running.state, running.message))
    assert (running.pid, running.container_id, running.at) == (77, CONTAINER, 10.0)
    assert running.ports == (ServicePort(80, 8080),)
    assert step(replace(one, status=running), container("running", pid=77), (ServicePort(80, 8080),)) is None
    assert seen == [
        (TaskState.ACCEPTED, "accepted"),
        (TaskState.PREPARING, "preparing"),
        (TaskState.READY, "prepared"),
        (TaskState.STARTING, "starting"),
        (TaskState.RUNNING, "started"),
    ]


def test_it_waits_at_ready_until_it_is_wanted_running() -> None:
    made = container("created")
    assert step(assigned(TaskState.READY, TaskState.READY), made) is None
    assert said(step(assigned(TaskState.READY, TaskState.RUNNING), made)).state == TaskState.STARTING


def test_with_a_health_check_it_runs_once_it_is_healthy() -> None:
    one = assigned(TaskState.STARTING)
    assert step(one, container(health=Health("starting"))) is None
    assert said(step(one, container(health=Health("healthy")))).state == TaskState.RUNNING
    assert step(one, container(health=Health("unhealthy"))) == Stop(CONTAINER)
    assert step(assigned(TaskState.RUNNING), container(health=Health("unhealthy"))) == Stop(CONTAINER)


@pytest.mark.parametrize(
    ("state", "error"),
    [
        ({"exit_code": 1}, "task: non-zero exit (1)"),
        ({"exit_code": 137, "oom_killed": True}, "task: non-zero exit (137): out of memory"),
        (
            {"exit_code": 143, "health": Health("unhealthy"), "stopped": True},
            "task: non-zero exit (143): dockerexec: unhealthy container",
        ),
        ({"exit_code": 0, "health": Health("unhealthy"), "stopped": True}, "dockerexec: unhealthy container"),
    ],
)
def test_what_ends_by_itself_and_not_well_has_failed(state: dict[str, object], error: str) -> None:
    ended = said(step(assigned(TaskState.RUNNING, pid=7), container("exited", finished=30.0, **state)))
    assert (ended.state, ended.error, ended.at, ended.pid) == (TaskState.FAILED, error, 30.0, 0)
    assert ended.exit_code == state["exit_code"]


def test_what_ends_by_itself_and_well_is_complete() -> None:
    ended = said(step(assigned(TaskState.RUNNING), container("exited", finished=30.0)))
    assert (ended.state, ended.message, ended.error) == (TaskState.COMPLETE, "finished", "")


@pytest.mark.parametrize("desired", [TaskState.SHUTDOWN, TaskState.REMOVE])
def test_what_is_to_end_is_stopped_whatever_it_has_come_to(desired: TaskState) -> None:
    assert said(step(assigned(TaskState.ASSIGNED, desired))).state == TaskState.SHUTDOWN
    assert said(step(assigned(TaskState.READY, desired), container("created"))).state == TaskState.SHUTDOWN
    assert step(assigned(TaskState.STARTING, desired), container("starting")) is None
    assert step(assigned(TaskState.STARTING, desired), container("running")) == Stop(CONTAINER)
    assert step(assigned(TaskState.RUNNING, desired), container("paused")) == Stop(CONTAINER)
    assert step(assigned(TaskState.RUNNING, desired), container("stopping")) is None
    stopped = container("exited", exit_code=137, finished=30.0, stopped=True)
    over = said(step(assigned(TaskState.RUNNING, desired), stopped))
    assert (over.state, over.message, over.exit_code, over.error) == (TaskState.SHUTDOWN, "shutdown", 137, "")
    by_itself = container("exited", exit_code=3, finished=30.0)
    assert said(step(assigned(TaskState.RUNNING, desired), by_itself)).state == TaskState.FAILED


def test_its_container_stays_until_it_is_gone() -> None:
    ended = container("exited", finished=30.0)
    assert step(assigned(TaskState.SHUTDOWN, TaskState.SHUTDOWN), ended) is None
    assert step(assigned(TaskState.SHUTDOWN, TaskState.SHUTDOWN, gone=True), ended) == Remove(CONTAINER)
    assert step(assigned(TaskState.SHUTDOWN, TaskState.SHUTDOWN, gone=True)) == Drop()
    assert step(assigned(TaskState.RUNNING, gone=True), container()) == Stop(CONTAINER)
    assert step(assigned(TaskState.RUNNING, gone=True), container("stopping")) is None
    assert step(assigned(TaskState.READY, gone=True), container("created")) == Remove(CONTAINER)
    assert step(assigned(TaskState.ACCEPTED, gone=True)) == Drop()


def test_what_is_over_runs_no_more_though_somebody_started_it_by_hand() -> None:
    assert step(assigned(TaskState.FAILED), container()) == Stop(CONTAINER)
    assert step(assigned(TaskState.FAILED), container("exited")) is None
    assert step(assigned(TaskState.FAILED)) is None


def test_a_container_that_a_crash_left_is_taken_over() -> None:
    one = assigned(TaskState.ASSIGNED)  # all that the disk knows
    assert said(step(one, container("created"))).state == TaskState.READY
    first = said(step(one, container("running", pid=5)))
    assert first.state == TaskState.STARTING
    assert said(step(replace(one, status=first), container("running", pid=5))).state == TaskState.RUNNING
    assert said(step(one, container("exited", exit_code=2, finished=9.0))).error == "task: non-zero exit (2)"


def test_a_container_that_was_removed_by_hand_is_made_again_only_before_it_ran() -> None:
    assert step(assigned(TaskState.READY, container_id=CONTAINER)) == Make()
    lost = said(step(assigned(TaskState.RUNNING, container_id=CONTAINER)))
    assert (lost.state, lost.error) == (TaskState.FAILED, f"No such container: {CONTAINER}")
    assert (
        said(step(assigned(TaskState.RUNNING, TaskState.SHUTDOWN, container_id=CONTAINER))).state == TaskState.SHUTDOWN
    )


def test_what_cannot_be_made_is_rejected_and_what_cannot_start_has_failed() -> None:
    no = tasks_life.rejected(assigned(TaskState.PREPARING), "No such image: nix:latest", AT)
    assert (no.state, no.error) == (TaskState.REJECTED, "No such image: nix:latest")
    not_begun = tasks_life.not_started(assigned(TaskState.STARTING), "no such file", 127, AT)
    assert (not_begun.state, not_begun.exit_code) == (TaskState.FAILED, 127)
    assert not_begun.error == "starting container failed: no such file"
