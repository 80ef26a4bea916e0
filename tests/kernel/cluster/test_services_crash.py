"""The manager dies in the middle of what it is asked for: after its return all is as it would have been."""

from __future__ import annotations

import os
import random
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from tests.kernel.cluster.services import SETTLED_S, Fleet, spec
from tests.kernel.one_host.waiting import until

from fairlead.api.client import ApiError
from fairlead.daemon.cluster import managing
from fairlead.daemon.faults import VARIABLE
from fairlead.lab import daemons

#: Steps of a change to the cluster's records, in order.
POINTS = (
    "managing.decided",
    "cluster.begun",
    "cluster.row",
    "cluster.written",
    "cluster.committed",
    "managing.committed",
    "managing.pushed",
)
#: Which visit of a point is the last. The first ones belong to the start of the daemon and the return of the nodes.
_VISITS = (3, 16)
_NAME = "web"
_BASE, _MORE = 2, 4


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    found = Fleet(tmp_path_factory.mktemp("crash"), 3)
    try:
        found.network()
        yield found
    finally:
        found.close()


def wanted(release: int = 1, replicas: int = _BASE) -> dict[str, object]:
    """The service in one of its states."""
    words = {"Labels": {"of": _NAME}, "Env": [f"RELEASE={release}"]}
    rule = {"monitor_s": 0.2, "parallelism": 2}
    return spec(_NAME, replicas=replicas, container=words, update=rule, rollback=rule)


def release(fleet: Fleet) -> list[str]:
    """What the service's tasks are to have."""
    return list(fleet.service(_NAME)["Spec"]["TaskTemplate"]["ContainerSpec"]["Env"])


def exists(fleet: Fleet) -> bool:
    """Whether the service is there."""
    try:
        fleet.service(_NAME)
    except ApiError as error:
        if error.status == 404:
            return False
        raise
    return True


def replicas(fleet: Fleet) -> int:
    """How many tasks are wanted."""
    return int(fleet.service(_NAME)["Spec"]["Mode"]["Replicated"]["Replicas"])


#: What is asked: the state before, the request, whether it was accepted, tasks, state of the update, release afterwards.
_Case = tuple[Callable[[Fleet], None], Callable[[Fleet], object], Callable[[Fleet], bool], int, str, str]


def base(fleet: Fleet) -> None:
    """The service as first made."""
    fleet.create(wanted())
    fleet.settled(_NAME, _BASE)


def second(fleet: Fleet) -> None:
    """The service after an update."""
    base(fleet)
    fleet.change(_NAME, wanted(2))
    fleet.settled(_NAME, _BASE, state="completed")


CASES: dict[str, _Case] = {
    "create": (lambda _: None, lambda fleet: fleet.create(wanted()), exists, _BASE, "", "1"),
    "scale": (
        base,
        lambda fleet: fleet.scale(_NAME, _MORE),
        lambda fleet: replicas(fleet) == _MORE,
        _MORE,
        "",
        "1",
    ),
    "update": (
        base,
        lambda fleet: fleet.change(_NAME, wanted(2)),
        lambda fleet: release(fleet) == ["RELEASE=2"],
        _BASE,
        "completed",
        "2",
    ),
    "rollback": (
        second,
        lambda fleet: fleet.change(_NAME, rollback=True),
        lambda fleet: release(fleet) == ["RELEASE=1"],
        _BASE,
        "rollback_completed",
        "1",
    ),
}


def start_armed(fleet: Fleet, fault: str) -> subprocess.Popen[bytes]:
    """The manager's daemon ends itself at a point."""
    host = fleet.hosts["h1"]
    process = daemons.start(host, {**os.environ, VARIABLE: fault})
    until(lambda: daemons.is_ready(host) or process.poll() is not None, "the daemon answers")
    return process


@pytest.mark.timeout(1800)  # seconds; --crashes 7 and more goes through all points
@pytest.mark.parametrize("what", CASES)
def test_a_crash_in_the_middle_changes_nothing_of_the_end(
    fleet: Fleet, what: str, request: pytest.FixtureRequest
) -> None:
    before, ask, accepted, count, state, kept = CASES[what]
    number = int(request.config.getoption("--crashes"))
    seed = random.SystemRandom().randrange(1 << 16)
    chance = random.Random(seed)
    points = POINTS if number >= len(POINTS) else chance.sample(POINTS, 1)
    for point in points:
        fault = f"{point}:{chance.randint(*_VISITS)}"
        print(f"{what}, killed at {fault}")
        before(fleet)
        fleet.kill_daemon("h1")
        process = start_armed(fleet, fault)
        with suppress(ApiError, OSError, AssertionError):  # it may die at once, or in the middle of what follows
            ask(fleet)
            fleet.settled(_NAME, count, 6.0)
        try:
            process.wait(1.0)
        except subprocess.TimeoutExpired:
            fleet.kill_daemon("h1")  # it did not come by the point so often
        assert process.wait(SETTLED_S) == -signal.SIGKILL
        fleet.start_daemon("h1")
        until(lambda: "ready" in fleet.nodes().get("h1", ""), "the manager is back")
        if not accepted(fleet):
            ask(fleet)
        tasks = fleet.settled(_NAME, count, state=state)
        assert {tuple(task["Spec"]["ContainerSpec"]["Env"]) for task in tasks} == {(f"RELEASE={kept}",)}
        until(lambda: not fleet.faults({_NAME: count}), f"nothing twice, nothing left: {fault}", SETTLED_S)
        fleet.remove_service(_NAME)


def test_all_points_of_managers_are_tried() -> None:
    """A new fault point of the manager's records is one more to be killed at."""
    assert set(managing.POINTS) <= set(POINTS)
