"""Updates that go well and updates that cannot: the old tasks answer all the time, and it stands there why."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from tests.kernel.cluster.services import HEALTH, SETTLED_S, Fleet, serve, spec
from tests.kernel.one_host.waiting import until

#: Asks for a name again and again by ``curl`` and writes each answer on a line of its own; ``-`` for none.
_LOOP = """
while :; do
    said=$(curl --silent --http0.9 --max-time 20 http://$0:7000/) || said=-
    echo "$said"
    sleep 0.05
done
"""
_BROKEN = ("/no/such/program",)
#: Answers after it was told to end until nobody has come for half a second.
_SERVE = serve(linger_s=0.5)
_WHY = "/no/such/program"


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    found = Fleet(tmp_path_factory.mktemp("update"), 3)
    try:
        found.network()
        found.start("h2", "asks")
        yield found
    finally:
        found.close()


@contextmanager
def asked(fleet: Fleet, name: str) -> Iterator[list[str]]:
    """What a container hears from a name meanwhile, one entry for each question."""
    said: list[str] = []
    command = fleet.inside("h2", "asks", "/bin/sh", "-c", _LOOP, name)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as loop:
        assert loop.stdout is not None
        lines = loop.stdout
        reader = threading.Thread(target=lambda: said.extend(line.strip() for line in lines))
        reader.start()
        try:
            until(lambda: len(said) > 2, "the first answers")
            yield said
            heard = len(said)
            until(lambda: len(said) > heard + 5, "the last answers")
        finally:
            loop.kill()
            reader.join()


@contextmanager
def served(fleet: Fleet, name: str, **more: Any) -> Iterator[dict[str, Any]]:
    """A service of three tasks that answers."""
    wanted = spec(name, _SERVE, 3, container={"Healthcheck": HEALTH}, **more)
    fleet.create(wanted)
    try:
        fleet.settled(name, 3)
        until(lambda: fleet.who("h2", "asks", name), f"{name} answers")
        yield wanted
    finally:
        fleet.remove_service(name)


def broken(wanted: dict[str, Any]) -> dict[str, Any]:
    """The same service with a command that does not exist."""
    task = wanted["TaskTemplate"]
    return {**wanted, "TaskTemplate": {**task, "ContainerSpec": {**task["ContainerSpec"], "Command": list(_BROKEN)}}}


def settles(fleet: Fleet, name: str, *states: str) -> Callable[[], dict[str, Any]]:
    """The update's status once it is in one of these states."""

    def look() -> dict[str, Any]:
        status: dict[str, Any] = fleet.service(name).get("UpdateStatus") or {}
        return status if status.get("State") in states else {}

    return look


@pytest.mark.parametrize("order", ["stop-first", "start-first"])
def test_a_broken_update_pauses_and_the_old_tasks_answer(fleet: Fleet, order: str) -> None:
    with served(fleet, "web", update={"action": "pause", "Order": order}) as wanted:
        before = {task["ID"] for task in fleet.wanted("web")}
        with asked(fleet, "web") as said:
            fleet.change("web", broken(wanted))
            status = until(settles(fleet, "web", "paused"), "the update pauses", SETTLED_S)
        assert "update paused due to failure or early termination of task" in status["Message"]
        assert "-" not in said, said
        kept = {task["ID"] for task in fleet.wanted("web") if task["Status"]["State"] == "running"} & before
        assert len(kept) >= (3 if order == "start-first" else 2), fleet.told("web")
        shown = fleet.cli("h1", "service", "ps", "--no-trunc", "web")
        assert _WHY in shown, shown
        pretty = fleet.cli("h1", "service", "inspect", "--pretty", "web")
        assert "paused" in pretty, pretty
        assert status["Message"] in pretty, pretty
        failed = [task for task in fleet.tasks("web") if task["Status"]["State"] in ("failed", "rejected")]
        assert failed, fleet.told("web")
        assert all(_WHY in task["Status"]["Err"] for task in failed), fleet.told("web")


def test_a_broken_update_is_rolled_back_and_nobody_waits(fleet: Fleet) -> None:
    with served(fleet, "web", update={"action": "rollback"}) as wanted:
        with asked(fleet, "web") as said:
            fleet.change("web", broken(wanted))
            until(settles(fleet, "web", "rollback_completed"), "it is rolled back", SETTLED_S)
        assert "-" not in said, said
        tasks = fleet.settled("web", 3)
        assert fleet.service("web")["Spec"]["TaskTemplate"]["ContainerSpec"]["Command"] == list(_SERVE)
        assert {tuple(task["Spec"]["ContainerSpec"]["Command"]) for task in tasks} == {_SERVE}
        assert _WHY in fleet.cli("h1", "service", "ps", "--no-trunc", "web")


def test_a_rolling_update_exchanges_all_and_always_answers(fleet: Fleet) -> None:
    with served(fleet, "web", update={"Order": "start-first"}) as wanted:
        before = {task["ID"] for task in fleet.wanted("web")}
        words = wanted["TaskTemplate"]["ContainerSpec"]
        words["Env"] = ["RELEASE=2"]
        with asked(fleet, "web") as said:
            fleet.change("web", wanted)
            tasks = fleet.settled("web", 3, state="completed")
        assert "-" not in said, said
        assert not {task["ID"] for task in tasks} & before
        fleet.change("web", rollback=True)
        tasks = fleet.settled("web", 3, state="rollback_completed")
        assert not [task for task in tasks if task["Spec"]["ContainerSpec"].get("Env")]


def test_a_task_that_fits_nowhere_says_why(fleet: Fleet) -> None:
    fleet.create(spec("far", placement={"Constraints": ["node.labels.sea==red"]}))
    try:
        task = until(lambda: fleet.wanted("far"), "the task is there")[0]
        until(lambda: fleet.wanted("far")[0]["Status"].get("Err"), "it says why it waits")
        task = fleet.wanted("far")[0]
        assert task["Status"]["State"] == "pending"
        assert "no suitable node" in task["Status"]["Err"]
        assert "no suitable node" in fleet.cli("h1", "service", "ps", "--no-trunc", "far")
        node: Any = fleet.api("h1").get("/nodes/h3")
        labelled = {**node["Spec"], "Labels": {"sea": "red"}}
        fleet.api("h1").post(f"/nodes/{node['ID']}/update", labelled, {"version": node["Version"]["Index"]})
        assert fleet.where(fleet.settled("far", 1)[0]) == "h3"
    finally:
        fleet.remove_service("far")
