"""Updates of services: pace, order, watch, failures, and the way back."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.sim.service_world import BROKEN, REFUSED, ServiceWorld, quick, rule, spec

from fairlead.model.cluster_commands import UpdateNode
from fairlead.model.service import (
    CONTINUE,
    DNSRR,
    PAUSE,
    ROLLBACK,
    START_FIRST,
    Placement,
    Restart,
    ServicePort,
    TaskState,
)


@pytest.fixture
def world() -> ServiceWorld:
    return ServiceWorld.of(3)


def _state(world: ServiceWorld) -> str:
    status = world.service().update_status
    return status.state if status is not None else ""


def _of(world: ServiceWorld, command: str) -> int:
    return sum(1 for task in world.running() if task.spec.container.command == (command,))


def test_one_after_the_other_is_exchanged_with_the_delay_between(world: ServiceWorld) -> None:
    world.create(spec("web", 3, "one"))
    world.go()
    world.update("web", spec("web", 3, "two", update=rule(delay_s=10, monitor_s=2)))
    assert _state(world) == "updating"
    world.go()
    assert (_of(world, "one"), _of(world, "two")) == (2, 1)
    world.go(9)
    assert _of(world, "two") == 1
    world.go(2)
    assert _of(world, "two") == 2
    world.go(11)
    assert _of(world, "two") == 3
    assert _state(world) == "updating"
    world.go(12)
    assert _state(world) == "completed"
    status = world.service().update_status
    assert status is not None
    assert (status.message, status.completed > status.started) == ("update completed", True)
    world.check_end()


def test_stop_first_never_runs_two_of_a_slot_and_start_first_never_none(world: ServiceWorld) -> None:
    world.create(spec("web", 2, "one"))
    world.go()
    seen = []

    def watch() -> None:
        world.check()
        seen.append(len(world.running()))

    _steps(world, spec("web", 2, "two"), watch)
    assert (min(seen), max(seen)) == (1, 2)
    seen.clear()
    _steps(world, spec("web", 2, "three", update=rule(order=START_FIRST, monitor_s=0)), watch)
    assert (min(seen), max(seen)) == (2, 3)
    assert _of(world, "three") == 2


def _steps(world: ServiceWorld, wanted: object, watch: object) -> None:
    world.update("web", wanted)  # type: ignore[arg-type]
    for _ in range(40):
        world.beat(1)
        for node in world.workers():
            for task_id in node.due():
                if task_id in node.tasks:
                    node.work(task_id)
                    watch()  # type: ignore[operator]
                    world.settle()


def test_parallelism_bounds_how_many_are_exchanged_at_once(world: ServiceWorld) -> None:
    world.create(spec("web", 7, "one"))
    world.go()
    world.update("web", spec("web", 7, "two", update=rule(parallelism=3)))
    assert sum(1 for task in world.live() if task.spec.container.command == ("two",)) == 3
    world.update("web", spec("web", 7, "three", update=rule(parallelism=0)))
    assert sum(1 for task in world.live() if task.spec.container.command == ("three",)) == 7
    world.go(10)
    assert _of(world, "three") == 7
    assert _state(world) == "completed"


@pytest.mark.parametrize("command", [BROKEN, REFUSED])
def test_a_failing_update_pauses_and_the_old_tasks_go_on(world: ServiceWorld, command: tuple[str, ...]) -> None:
    world.create(spec("web", 3, "one"))
    world.go()
    world.update("web", spec("web", 3, *command, update=rule(delay_s=2)))
    world.go(12)
    assert _state(world) == "paused"
    assert _of(world, "one") == 2
    status = world.service().update_status
    assert status is not None
    failed = [task.id for task in world.tasks() if task.status.state in (TaskState.FAILED, TaskState.REJECTED)]
    assert any(status.message == f"update paused due to failure or early termination of task {one}" for one in failed)
    assert next(task.status.error for task in world.tasks() if task.id in failed) == "it ends badly"
    world.update("web", spec("web", 3, "two"))
    world.go(60)
    assert (_state(world), _of(world, "two")) == ("completed", 3)
    world.check_end()


def test_a_failing_update_goes_back_by_itself(world: ServiceWorld) -> None:
    world.create(spec("web", 3, "one", restart=quick()))
    world.go()
    world.update("web", spec("web", 4, *BROKEN, update=rule(failure_action=ROLLBACK), restart=Restart(delay_s=1)))
    world.go(60)
    assert (_state(world), _of(world, "one")) == ("rollback_completed", 3)
    assert world.service().spec.replicas == 3
    with pytest.raises(Exception, match="does not have a previous spec"):
        world.update("web", rollback=True)
    world.check_end()


def test_ports_and_networks_go_back_too_and_a_port_that_is_taken_by_then_is_waited_for(world: ServiceWorld) -> None:
    sea, lake = world.network("sea"), world.network("lake")
    world.create(spec("web", 2, "one", network="sea", ports=(ServicePort(80, 8080),)))
    world.go()
    broken = spec("web", 2, *BROKEN, network="lake", ports=(ServicePort(80, 9090),), restart=Restart(delay_s=1))
    world.update("web", replace(broken, update=rule(failure_action=ROLLBACK, delay_s=5)))
    ingress = world.manager.state.network("ingress")
    assert {vip.network_id for vip in world.service().vips} == {lake.id, ingress.id}
    taker = world.create(spec("taker", 1, ports=(ServicePort(80, 8080),)))
    world.go(20)
    assert world.service().pending.endswith(f"port '8080' is already in use by service '{taker.id}' as an ingress port")
    assert {task.status.error for task in world.live() if not task.node_id} == {world.service().pending}
    world.remove_service("taker")
    world.go(40)
    assert {vip.network_id for vip in world.service().vips} == {sea.id, ingress.id}
    assert world.service().ports == (ServicePort(80, 8080),)
    assert (_state(world), _of(world, "one")) == ("rollback_completed", 2)
    world.check_end()


def test_a_rollback_that_fails_is_paused(world: ServiceWorld) -> None:
    world.create(spec("web", 2, *BROKEN, restart=Restart(delay_s=300), rollback=rule(delay_s=2)))
    world.go()
    world.update("web", spec("web", 2, "two", restart=Restart(delay_s=300)))
    world.go(20)
    assert _state(world) == "completed"
    world.update("web", rollback=True)
    world.go(20)
    assert _state(world) == "rollback_paused"
    assert _of(world, "two") == 1


def test_failures_below_the_ratio_are_borne_and_continue_bears_all(world: ServiceWorld) -> None:
    world.create(spec("web", 4, "one", restart=quick()))
    world.go()
    forced = replace(world.service().spec, update=rule(max_failure_ratio=0.3, monitor_s=5))
    world.update("web", replace(forced, task=replace(forced.task, force=1)))
    world.go()
    (first,) = [task for task in world.running() if task.spec.force == 1 and task.slot == 1] or world.running()[:1]
    next(node for node in world.workers() if first.id in node.running).kill(first.id)
    world.go(60)
    assert _state(world) == "completed"
    world.update("web", spec("web", 4, *BROKEN, update=rule(failure_action=CONTINUE), restart=Restart(delay_s=300)))
    world.go(60)
    assert (_state(world), len(world.running())) == ("completed", 0)


def test_by_hand_there_and_back(world: ServiceWorld) -> None:
    first = world.create(spec("web", 2, "one"))
    world.go()
    world.update("web", spec("web", 3, "two"))
    world.go(30)
    back = world.update("web", rollback=True)
    assert (back.spec, back.update_status and back.update_status.state) == (first.spec, "rollback_started")
    world.go(30)
    assert (_state(world), _of(world, "one")) == ("rollback_completed", 2)
    world.update("web", rollback=True)
    world.go(30)
    assert _of(world, "two") == 3


def test_going_back_in_the_middle_leaves_alone_what_was_not_exchanged_yet(world: ServiceWorld) -> None:
    world.create(spec("web", 3, "one"))
    world.go()
    before = {task.id for task in world.running()}
    world.update("web", spec("web", 3, "two", update=rule(delay_s=100)))
    world.go(1)
    world.update("web", rollback=True)
    world.go(30)
    assert len(before & {task.id for task in world.running()}) == 2
    assert (_state(world), _of(world, "one")) == ("rollback_completed", 3)


@pytest.mark.parametrize(
    ("change", "restarts"),
    [
        ({"replicas": 3}, False),
        ({"labels": {"a": "b"}}, False),
        ({"update": rule(parallelism=2)}, False),
        ({"placement": Placement(("node.hostname!=nobody",))}, False),
        ({"placement": Placement(("node.hostname==n1",))}, True),
        ({"force": 1}, True),
        ({"restart": Restart(delay_s=1)}, True),
        ({"ports": (ServicePort(80, 8080),)}, True),
        ({"endpoint_mode": DNSRR}, True),
    ],
)
def test_which_changes_restart_tasks(world: ServiceWorld, change: dict[str, object], restarts: bool) -> None:
    world.create(spec(replicas=2))
    world.go()
    before = {task.id for task in world.running()}
    world.update("web", spec(**({"replicas": 2} | change)))  # type: ignore[arg-type]
    world.go(30)
    after = {task.id for task in world.running()}
    assert (not before <= after) == restarts
    assert (_state(world) == "completed") == restarts
    world.check_end()


def test_a_label_that_a_node_loses_moves_its_tasks(world: ServiceWorld) -> None:
    node = world.manager.state.node("n1")
    world.must(UpdateNode("n1", replace(node.spec, labels={"disk": "ssd"})))
    world.create(spec(placement=Placement(("node.labels.disk==ssd",))))
    world.go()
    assert len(world.worker("n1").running) == 1
    world.must(UpdateNode("n2", replace(world.manager.state.node("n2").spec, labels={"disk": "SSD"})))
    world.must(UpdateNode("n1", replace(node.spec, labels={})))
    world.go()
    assert len(world.worker("n2").running) == 1
    assert _state(world) == ""


def test_an_update_that_finds_no_node_says_so_and_stays(world: ServiceWorld) -> None:
    world.create(spec("web", 2, "one", update=rule(failure_action=PAUSE)))
    world.go()
    wanted = spec("web", 2, "two", placement=Placement(("node.role==manager",)))
    world.update("web", wanted)
    world.go(20)
    (waiting,) = [task for task in world.live() if not task.node_id]
    assert waiting.status.error.startswith("no suitable node (")
    assert _of(world, "one") == 1
    assert _state(world) == "updating"
