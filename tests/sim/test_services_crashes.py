"""A manager that dies at any step of what it does for a service: the end is the same."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.sim.service_world import BROKEN, ServiceWorld, rule, spec

from fairlead.model.cluster_commands import CreateService, RemoveService, UpdateService
from fairlead.model.errors import NetError
from fairlead.model.service import ROLLBACK, START_FIRST, Restart, ServicePort, ServiceSpec

Step = Callable[[ServiceWorld], object]
_FAST = Restart(delay_s=1)


def _first(command: str = "one", replicas: int = 3, **more: object) -> ServiceSpec:
    return spec("web", replicas, command, network="sea", ports=(ServicePort(80),), restart=_FAST, **more)


def _asked(world: ServiceWorld, command: CreateService | UpdateService | RemoveService) -> None:
    """Ask as a client does that asks again when the answer was lost: what was done already is refused then."""
    before = world.crashes
    try:
        world.must(command)
    except NetError:
        assert world.crashes > before


def _create(world: ServiceWorld) -> None:
    _asked(world, CreateService(_first()))


def _change(wanted: ServiceSpec | None = None, *, rollback: bool = False) -> Step:
    def change(world: ServiceWorld) -> None:
        _asked(world, UpdateService("web", wanted, world.service().version, rollback))

    return change


def _remove(world: ServiceWorld) -> None:
    _asked(world, RemoveService("web"))


_BROKEN_UPDATE = _change(spec("web", 3, *BROKEN, network="sea", restart=_FAST, update=rule(failure_action=ROLLBACK)))
_SCENES: dict[str, tuple[tuple[Step, ...], Step]] = {
    "create": ((), _create),
    "scale up": ((_create,), _change(_first(replicas=5))),
    "scale down": ((_create,), _change(_first(replicas=1))),
    "update": ((_create,), _change(_first("two"))),
    "update, start first": ((_create,), _change(_first("two", update=rule(order=START_FIRST, parallelism=2)))),
    "a broken update rolled back": ((_create,), _BROKEN_UPDATE),
    "rollback": ((_create, _change(_first("two", 4))), _change(rollback=True)),
    "remove": ((_create,), _remove),
}


def _end(world: ServiceWorld) -> object:
    """What a user sees when all is done."""
    world.go(40, step=2.0)
    world.check()
    world.check_end()
    if world.manager.state.service_named("web") is None:
        return sorted(world.manager.state.services), {lease.holder for lease in world.manager.state.leases.values()} - {
            ""
        }
    service = world.service()
    return (
        sorted((task.slot, task.spec, task.ports) for task in world.running()),
        service.spec,
        service.previous,
        service.ports,
        [vip.address for vip in service.vips],
        service.update_status and (service.update_status.state, service.update_status.message.partition(" of task")[0]),
    )


def _played(scene: str, crash_at: int) -> tuple[object, int]:
    before, step = _SCENES[scene]
    world = ServiceWorld.of(2)
    world.network("sea", "10.9.0.0/24")
    for prior in before:
        prior(world)
        world.go(20, step=2.0)
    steps = 0

    def crash(name: str) -> bool:
        nonlocal steps
        steps += 1
        return steps == crash_at

    world.crash = crash
    step(world)
    end = _end(world)
    assert world.crashes == (0 < crash_at <= steps)
    return end, steps


@pytest.mark.parametrize("scene", _SCENES)
def test_a_crash_at_any_step_leads_to_the_same_end(scene: str) -> None:
    wanted, steps = _played(scene, 0)
    busy = min(steps, 150)
    for crash_at in [*range(1, 30), *range(30, busy, 9)]:
        if crash_at <= busy:
            assert _played(scene, crash_at)[0] == wanted, f"crash at step {crash_at} of {steps}"
