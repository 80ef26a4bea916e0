"""Starting containers again by their policy (moby: restartmanager/restartmanager.go)."""

from __future__ import annotations

from dataclasses import replace

from fairlead.engine.core import Turn
from fairlead.engine.outcome import Wake
from fairlead.model.container import Container
from fairlead.model.events import RestartDue, RestartFailed

#: Seconds that the first restart is put off, the longest, and the run that makes the next one a first one again
#: (Docker: defaultTimeout, maxRestartTimeout, 10 s).
BACKOFF_S_MIN, BACKOFF_S_MAX, LONG_RUN_S = 0.1, 60.0, 10.0


def plan(turn: Turn, container: Container) -> bool:
    """Decide about a container that has just ended and is recorded as such: put off its start and say True, or leave
    it ended."""
    state = container.state
    if not _wanted(container):
        return False
    ran_s = state.finished - state.started
    backoff_s = BACKOFF_S_MIN
    if state.backoff_s and ran_s < LONG_RUN_S:
        backoff_s = min(2 * state.backoff_s, BACKOFF_S_MAX)
    waiting = replace(state, status="restarting", restarts=state.restarts + 1, backoff_s=backoff_s)
    turn.state.put(replace(container, state=waiting))
    turn.say(Wake(f"restart:{container.id}", backoff_s, RestartDue(container.id)))
    return True


def resume(turn: Turn, container: Container) -> None:
    """At the daemon's start: what waited goes on waiting; what its policy wants to run is started (Docker starts
    ``always`` even if it was stopped by hand)."""
    state = container.state
    if state.status == "exited" and state.started and container.config.restart.name == "always":
        container = replace(container, state=replace(state, status="restarting", stopped=False))
        turn.state.put(container)
    if container.state.status == "restarting":
        turn.say(Wake(f"restart:{container.id}", BACKOFF_S_MIN, RestartDue(container.id)))


def call_off(turn: Turn, container: Container) -> None:
    """Somebody wants it ended: the restart that was put off will find nothing to do."""
    turn.state.put(replace(container, state=replace(container.state, status="exited", stopped=True)))


def failed(turn: Turn, event: RestartFailed) -> None:
    """It could not be started again: it stays ended, and says why."""
    container = turn.state.containers.get(event.container_id)
    if container is not None and container.state.status == "restarting":
        state = replace(container.state, status="exited", error=event.message)
        turn.state.put(replace(container, state=state))


def _wanted(container: Container) -> bool:
    state, policy = container.state, container.config.restart
    if state.stopped or policy.name == "no":
        return False
    if policy.name == "on-failure":
        return state.exit_code != 0 and (policy.retries == 0 or state.restarts < policy.retries)
    return True
