"""Whether containers are healthy: when to ask, and what the answers mean (moby: daemon/health.go)."""

from __future__ import annotations

from dataclasses import replace

from fairlead.engine import presence
from fairlead.engine.core import Turn
from fairlead.engine.outcome import Probe, Wake
from fairlead.model.container import Container
from fairlead.model.events import HealthProbed, ProbeDue
from fairlead.model.health import (
    INTERVAL_S,
    RETRIES,
    START_INTERVAL_S,
    TIMEOUT_S,
    Health,
    HealthCheck,
    HealthResult,
)

#: Answers kept, and characters of each (Docker: maxLogEntries, maxOutputLen).
LOG_MAX, OUTPUT_MAX = 5, 4096


def begin(turn: Turn, container: Container) -> None:
    """The container runs: nothing is known, and the first question is due after an interval."""
    check = _check(container)
    if check is not None:
        turn.state.put(replace(container, state=replace(container.state, health=Health())))
        resume(turn, turn.state.containers[container.id])


def resume(turn: Turn, container: Container) -> None:
    """Ask on: after a daemon's restart what is known stays."""
    check = _check(container)
    if check is not None:
        event = ProbeDue(container.id, container.state.pid)
        turn.say(Wake(f"health:{container.id}", _interval_s(turn, container, check), event))


def due(turn: Turn, event: ProbeDue) -> None:
    """Ask now, if it is still the same run; a paused container is asked later."""
    container = turn.state.containers.get(event.container_id)
    check = _check(container) if container is not None else None
    if container is None or check is None or not container.running or container.state.pid != event.pid:
        return
    if container.state.status == "paused":
        resume(turn, container)
    else:
        turn.say(Probe(container.id, event.pid, check.words, check.timeout_s or TIMEOUT_S))


def probed(turn: Turn, event: HealthProbed) -> None:
    """An answer: success ends every streak of failures; failures count once the start period is over, or once there
    was a success; as many as ``retries`` in a row make the container unhealthy."""
    container = turn.state.containers.get(event.container_id)
    check = _check(container) if container is not None else None
    if container is None or check is None or not container.running or container.state.pid != event.pid:
        return
    before = container.state.health or Health()
    result = HealthResult(event.start, event.end, event.exit_code, event.output[:OUTPUT_MAX])
    status, streak = before.status, before.failing_streak
    if event.exit_code == 0:
        status, streak = "healthy", 0
    elif before.status != "starting" or event.start - container.state.started >= check.start_period_s:
        streak += 1
        status = "unhealthy" if streak >= (check.retries or RETRIES) else status
    after = Health(status, streak, (*before.log, result)[-LOG_MAX:])
    changed = replace(container, state=replace(container.state, health=after))
    turn.state.put(changed)
    if status != before.status:
        turn.tell_container(f"health_status: {status}", changed)
        presence.follow(turn, changed)
    resume(turn, changed)


def _check(container: Container) -> HealthCheck | None:
    check = container.config.health
    return check if check is not None and check.command else None


def _interval_s(turn: Turn, container: Container, check: HealthCheck) -> float:
    """Asked more often while the container may still be starting."""
    health = container.state.health
    young = turn.at - container.state.started < check.start_period_s
    if young and (health is None or health.status == "starting"):
        return check.start_interval_s or START_INTERVAL_S
    return check.interval_s or INTERVAL_S
