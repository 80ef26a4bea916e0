"""What is to be done next about a task: what managers want of it, held against what the engine has for it.

Pure. A task comes one step further at a time, and each step is derived anew from what is there: so it does not matter
whether the daemon lived through the step before, or another one has taken over its container.

accepted -> preparing (the container is made) -> ready (waits until it is wanted running) -> starting (and not healthy
yet, where there is a health check) -> running -> complete, failed, shutdown; rejected, if its container cannot be made.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from fairlead.model.container import Container
from fairlead.model.service import ServicePort, Task, TaskState, TaskStatus

#: What a task's status says of it in each state (swarmkit: agent/exec/controller.go).
_WORDS = {
    TaskState.ACCEPTED: "accepted",
    TaskState.PREPARING: "preparing",
    TaskState.READY: "prepared",
    TaskState.STARTING: "starting",
    TaskState.RUNNING: "started",
    TaskState.COMPLETE: "finished",
    TaskState.SHUTDOWN: "shutdown",
}
#: Why an unhealthy task has ended (moby: daemon/cluster/executor/container/errors.go).
_UNHEALTHY = "dockerexec: unhealthy container"


@dataclass(frozen=True, slots=True)
class Assigned:
    """What a node keeps of a task: how managers told it, how far it has come here. One that is ``gone`` is theirs no more:
    whatever is left of it here goes too."""

    task: Task
    status: TaskStatus
    gone: bool = False

    @property
    def ending(self) -> bool:
        """Whether it is to be ended, or kept from beginning."""
        return self.gone or self.task.desired > TaskState.RUNNING

    @property
    def over(self) -> bool:
        """Whether it has ended, or never will begin."""
        return self.status.state > TaskState.RUNNING


@dataclass(frozen=True, slots=True)
class Say:
    """It has come so far."""

    status: TaskStatus


@dataclass(frozen=True, slots=True)
class Make:
    """Make its container."""


@dataclass(frozen=True, slots=True)
class Start:
    """Start its container."""

    container_id: str


@dataclass(frozen=True, slots=True)
class Stop:
    """Ask its container to end, and wait for that."""

    container_id: str


@dataclass(frozen=True, slots=True)
class Remove:
    """Forget its container."""

    container_id: str


@dataclass(frozen=True, slots=True)
class Drop:
    """Forget the task."""


Step = Say | Make | Start | Stop | Remove | Drop


def next_step(
    assigned: Assigned, container: Container | None, ports: tuple[ServicePort, ...], at: float
) -> Step | None:
    """The next thing to be done; None when something has to happen first. ``ports`` are those of the host that its
    container has, ``at`` is epoch seconds."""
    if assigned.gone or assigned.over:
        return _clear(assigned, container)
    if container is None:
        return _without(assigned, at)
    status = container.state.status
    if status in ("starting", "stopping"):
        return None
    if container.running:
        return _alive(assigned, container, ports, at)
    if status == "created":
        return _made(assigned, container, at)
    return Say(_ended(assigned, container))


def rejected(assigned: Assigned, reason: str, at: float) -> TaskStatus:
    """It cannot be begun here."""
    return replace(assigned.status, state=TaskState.REJECTED, at=at, error=reason)


def not_started(assigned: Assigned, reason: str, exit_code: int, at: float) -> TaskStatus:
    """Its container could not be started."""
    words = f"starting container failed: {reason}"
    return replace(assigned.status, state=TaskState.FAILED, at=at, error=words, exit_code=exit_code)


def _clear(assigned: Assigned, container: Container | None) -> Step | None:
    """Nothing of a task that is over runs; its container stays for those who look for its output, until it is gone."""
    if container is None:
        return Drop() if assigned.gone else None
    if container.state.status in ("starting", "stopping"):
        return None
    if container.running:
        return Stop(container.id)
    return Remove(container.id) if assigned.gone else None


def _without(assigned: Assigned, at: float) -> Step:
    """There is no container."""
    state = assigned.status.state
    if assigned.ending:
        return _say(assigned, TaskState.SHUTDOWN, at)
    if state >= TaskState.STARTING:
        error = f"No such container: {assigned.status.container_id or assigned.task.name}"
        return Say(replace(assigned.status, state=TaskState.FAILED, at=at, error=error, pid=0))
    if state < TaskState.ACCEPTED:
        return _say(assigned, TaskState.ACCEPTED, at)
    if state < TaskState.PREPARING:
        return _say(assigned, TaskState.PREPARING, at)
    return Make()


def _made(assigned: Assigned, container: Container, at: float) -> Step | None:
    """Its container was not started yet."""
    state = assigned.status.state
    if assigned.ending:
        return _say(assigned, TaskState.SHUTDOWN, at)
    if state < TaskState.READY:
        return _say(assigned, TaskState.READY, at, container.id)
    if assigned.task.desired < TaskState.RUNNING:
        return None
    if state < TaskState.STARTING:
        return _say(assigned, TaskState.STARTING, at, container.id)
    return Start(container.id)


def _alive(assigned: Assigned, container: Container, ports: tuple[ServicePort, ...], at: float) -> Step | None:
    """Its container runs. One that is unhealthy is ended, as if it had ended by itself."""
    health = container.state.health
    if assigned.ending or (health is not None and health.status == "unhealthy"):
        return Stop(container.id)
    status = assigned.status
    if status.state < TaskState.STARTING:
        return _say(assigned, TaskState.STARTING, at, container.id)
    if health is not None and health.status != "healthy":
        return None
    pid = container.state.pid
    if (status.state, status.pid, status.ports) == (TaskState.RUNNING, pid, ports):
        return None
    running = replace(status, pid=pid, ports=ports, container_id=container.id)
    return _say(replace(assigned, status=running), TaskState.RUNNING, container.state.started or at)


def _ended(assigned: Assigned, container: Container) -> TaskStatus:
    """Its container has ended: because that was asked for, or by itself, well or not."""
    state = container.state
    status = replace(
        assigned.status, at=state.finished, container_id=container.id, pid=0, exit_code=state.exit_code, ports=()
    )
    if assigned.ending and state.stopped:
        return replace(status, state=TaskState.SHUTDOWN, message=_WORDS[TaskState.SHUTDOWN])
    unhealthy = state.health is not None and state.health.status == "unhealthy"
    if not (state.exit_code or unhealthy):
        return replace(status, state=TaskState.COMPLETE, message=_WORDS[TaskState.COMPLETE])
    causes = [_UNHEALTHY] if unhealthy else ["out of memory"] if state.oom_killed else []
    if state.exit_code:
        causes.insert(0, f"task: non-zero exit ({state.exit_code})")
    return replace(status, state=TaskState.FAILED, error=": ".join(causes))


def _say(assigned: Assigned, state: TaskState, at: float, container_id: str = "") -> Say:
    known = assigned.status
    return Say(
        replace(
            known, state=state, at=at, message=_WORDS[state], container_id=container_id or known.container_id, error=""
        )
    )
