"""Health commands and restart policies, as decisions."""

from __future__ import annotations

import pytest
from tests.unit.engine.world import World

from fairlead.engine.outcome import Outcome, Probe, Wake
from fairlead.model.commands import PauseContainer, RemoveContainer, StopContainer, UpdateContainer
from fairlead.model.container import Container
from fairlead.model.errors import Conflict, Invalid
from fairlead.model.events import ContainerExited, HealthProbed, ProbeDue, RestartDue, RestartFailed
from fairlead.model.health import Health, HealthCheck, RestartPolicy
from fairlead.model.limits import Limits


def wakes(outcome: Outcome) -> list[Wake]:
    return [message for message in outcome.messages if isinstance(message, Wake)]


def container(world: World, name: str = "c") -> Container:
    return world.engine.state.container(name)


def health(world: World) -> Health:
    found = container(world).state.health
    assert found is not None
    return found


def answer(world: World, code: int, output: str = "") -> Outcome:
    box = container(world)
    return world.tell(HealthProbed(box.id, box.state.pid, world.now, world.now, code, output))


def asked(**more: object) -> World:
    world = World()
    world.run("c", health=HealthCheck(("true",), **more))  # type: ignore[arg-type]
    return world


def test_a_running_container_is_asked_after_an_interval() -> None:
    world = asked(interval_s=7.0, timeout_s=2.0)
    wake = next(wake for outcome in world.outcomes for wake in wakes(outcome))
    assert (wake.after_s, wake.event) == (7.0, ProbeDue(container(world).id, 4242))
    probe = world.tell(ProbeDue(container(world).id, 4242)).messages[0]
    assert probe == Probe(container(world).id, 4242, ("true",), 2.0)
    assert world.tell(ProbeDue(container(world).id, 1)).messages == (), "another run"


def test_failures_in_a_row_make_it_unhealthy_and_one_success_healthy() -> None:
    world = asked(retries=2)
    answer(world, 1)
    assert (health(world).status, health(world).failing_streak) == ("starting", 1)
    told = answer(world, 1)
    assert health(world).status == "unhealthy"
    assert [notice.action for notice in told.notices] == ["health_status: unhealthy"]
    answer(world, 0)
    assert (health(world).status, health(world).failing_streak) == ("healthy", 0)
    for _ in range(7):
        answer(world, 0, "x" * 5000)
    assert len(health(world).log) == 5
    assert len(health(world).log[-1].output) == 4096


def test_failures_in_the_start_period_do_not_count() -> None:
    world = asked(retries=1, start_period_s=1000.0, start_interval_s=0.5)
    later = answer(world, 1)
    assert (health(world).status, health(world).failing_streak) == ("starting", 0)
    assert wakes(later)[0].after_s == 0.5
    answer(world, 0)
    answer(world, 1)
    assert health(world).status == "unhealthy", "after a success they count"


def test_nobody_is_asked_who_has_no_command() -> None:
    world = World()
    world.run("c", health=HealthCheck())
    assert container(world).state.health is None


def restarting(policy: str, retries: int = 0) -> World:
    world = World()
    world.run("c", restart=RestartPolicy(policy, retries))
    return world


def end(world: World, code: int = 1, ran_s: float = 0.0) -> list[Wake]:
    box = container(world)
    outcome = world.tell(ContainerExited(box.id, code, box.state.started + ran_s))
    return wakes(outcome)


def again(world: World) -> None:
    world.start_due("c")


def test_the_wait_doubles_and_a_long_run_begins_anew() -> None:
    world = restarting("always")
    waits = []
    for _ in range(12):
        waits.append(end(world, 0)[0].after_s)
        assert container(world).state.status == "restarting"
        again(world)
        assert container(world).state.status == "running"
    assert waits[:3] == [0.1, 0.2, 0.4]
    assert waits[-1] == 60.0
    assert end(world, 0, ran_s=10.0)[0].after_s == 0.1
    assert container(world).state.restarts == 13


@pytest.mark.parametrize(
    ("policy", "code", "wanted"),
    [
        ("no", 1, False),
        ("on-failure", 1, True),
        ("on-failure", 0, False),
        ("always", 0, True),
        ("unless-stopped", 0, True),
    ],
)
def test_the_policy_decides(policy: str, code: int, wanted: bool) -> None:
    world = restarting(policy)
    assert bool(end(world, code)) == wanted
    assert container(world).state.status == ("restarting" if wanted else "exited")


def test_retries_are_bounded() -> None:
    world = restarting("on-failure", 2)
    for _ in range(2):
        assert end(world)
        again(world)
    assert end(world) == []
    assert container(world).state.status == "exited"


def test_a_stop_by_hand_wins_and_also_calls_off_a_start_that_was_put_off() -> None:
    world = restarting("always")
    world.tell(StopContainer("c"))
    assert end(world, 0) == []
    world = restarting("always")
    end(world)
    world.tell(StopContainer("c"))
    assert container(world).state.status == "exited"
    assert world.tell(RestartDue(container(world).id)).messages == ()


def test_a_restart_that_fails_is_the_last_one() -> None:
    world = restarting("always")
    end(world)
    world.tell(RestartFailed(container(world).id, "no address is left"))
    assert (container(world).state.status, container(world).state.error) == ("exited", "no address is left")


def test_removing_what_waits_needs_force() -> None:
    world = restarting("always")
    end(world)
    with pytest.raises(Conflict, match="container is restarting"):
        world.tell(RemoveContainer("c"))
    world.tell(RemoveContainer("c", force=True))
    assert world.engine.state.container_named("c") is None


def test_pause_and_update_are_checked() -> None:
    world = restarting("no")
    with pytest.raises(Conflict, match="is not paused"):
        world.tell(PauseContainer("c", resume=True))
    world.tell(PauseContainer("c"))
    with pytest.raises(Conflict, match="already paused"):
        world.tell(PauseContainer("c"))
    world.tell(UpdateContainer("c", Limits(memory_bytes=64 << 20), RestartPolicy("always")))
    assert container(world).config.limits.memory_bytes == 64 << 20
    with pytest.raises(Invalid, match="unknown policy"):
        world.tell(UpdateContainer("c", restart=RestartPolicy("sometimes")))
    with pytest.raises(Invalid, match="6MB"):
        world.tell(UpdateContainer("c", Limits(memory_bytes=1)))
