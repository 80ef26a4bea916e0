"""Names of services across hosts: who is ready, and nobody else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from tests.kernel.cluster.bed import SEA
from tests.kernel.cluster.services import HEALTH, Fleet, serve, spec
from tests.kernel.one_host.waiting import until

#: The file in a container without which its program does not listen.
_GATE = "/tmp/go"
#: Says that it was told to end, and goes on.
_MARK = """
import signal
signal.signal(signal.SIGTERM, lambda *_: print("END", flush=True))
while True:
    signal.pause()
"""
#: Nanoseconds until it is killed: longer than anything is waited for here.
_GRACE_NS = 600 * 10**9
#: Seconds that an answer may take that must come.
_ANSWER_S = 30.0


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    found = Fleet(tmp_path_factory.mktemp("names"), 3)
    try:
        found.network()
        for host in found.hosts:
            found.start(host, f"on-{host}")
        yield found
    finally:
        found.close()


def everywhere(fleet: Fleet, name: str) -> list[set[str]]:
    """What a name leads to, asked on each host."""
    return [set(fleet.resolve(host, f"on-{host}", name)) for host in fleet.hosts]


def lead_to(fleet: Fleet, name: str, addresses: set[str]) -> None:
    """Wait until a name leads to exactly these addresses, on all hosts."""
    until(lambda: all(found == addresses for found in everywhere(fleet, name)), f"{name} leads to {addresses}")


def test_tasks_are_found_by_all_their_names_and_back(fleet: Fleet) -> None:
    fleet.create(spec("web", serve(), 3, network={"Aliases": ["front"]}))
    tasks = fleet.settled("web", 3)
    every = fleet.addresses(tasks)
    assert len(every) == 3
    lead_to(fleet, "tasks.web", every)
    lead_to(fleet, "tasks.front", every)
    for name in ("web", "front", f"web.{SEA}"):
        until(lambda name=name: all(everywhere(fleet, name)), f"{name} leads somewhere")  # type: ignore[misc]
        for host in fleet.hosts:
            until(lambda name=name, host=host: fleet.who(host, f"on-{host}", name), f"{name} answers")  # type: ignore[misc]
    for task in tasks:
        address = fleet.addresses([task])
        full = f"web.{task['Slot']}.{task['ID']}"
        lead_to(fleet, full, address)
        found = fleet.resolve("h1", "on-h1", "-x" + next(iter(address)))
        assert found == [f"{full}.{SEA}."], found
    fleet.remove_service("web")
    for name in ("web", "front", "tasks.web", "tasks.front"):
        lead_to(fleet, name, set())


def test_a_name_leads_to_a_task_only_once_it_is_healthy(fleet: Fleet) -> None:
    fleet.create(spec("slow", serve(gate=_GATE), 2, container={"Healthcheck": HEALTH}))
    try:
        until(lambda: len([one for one in fleet.held() if one.service == "slow"]) == 2, "both processes run")
        until(
            lambda: [task["Status"]["State"] for task in fleet.wanted("slow")] == ["starting"] * 2, "they are starting"
        )
        assert everywhere(fleet, "tasks.slow") == [set()] * 3
        for one in fleet.held():
            fleet.cli(one.host, "exec", one.container, "touch", _GATE)
        # whoever is told of a name reaches what it leads to
        answered = until(lambda: fleet.resolve("h3", "on-h3", "tasks.slow"), "the first one is healthy")
        said = {address: fleet.who("h3", "on-h3", address, _ANSWER_S) for address in answered}
        assert all(said.values()), (said, [fleet.addresses([task]) for task in fleet.wanted("slow")])
        lead_to(fleet, "tasks.slow", fleet.addresses(fleet.settled("slow", 2)))
    finally:
        fleet.remove_service("slow")


def test_a_task_that_becomes_unhealthy_leaves_the_answers_and_is_replaced(fleet: Fleet) -> None:
    health = {**HEALTH, "Test": ["CMD", "/bin/sh", "-c", "test ! -e /tmp/ill"], "Retries": 1, "StartPeriod": 0}
    fleet.create(spec("frail", serve(), 2, container={"Healthcheck": health}))
    try:
        tasks = fleet.settled("frail", 2)
        lead_to(fleet, "tasks.frail", fleet.addresses(tasks))
        ill = tasks[0]
        status = ill["Status"]["ContainerStatus"]
        fleet.cli(fleet.where(ill), "exec", status["ContainerID"], "touch", "/tmp/ill")
        until(lambda: ill["ID"] not in {task["ID"] for task in fleet.wanted("frail")}, "it is to run no longer")
        lead_to(fleet, "tasks.frail", fleet.addresses(fleet.settled("frail", 2)))
        said = next(task["Status"] for task in fleet.tasks("frail") if task["ID"] == ill["ID"])
        assert "unhealthy" in said["Err"], said
        assert "unhealthy" in fleet.cli("h1", "service", "ps", "--no-trunc", "frail")
    finally:
        fleet.remove_service("frail")


def test_a_task_leaves_the_answers_before_it_is_told_to_end(fleet: Fleet) -> None:
    fleet.create(spec("brief", ("/usr/bin/python3", "-c", _MARK), 3, container={"StopGracePeriod": _GRACE_NS}))
    tasks: list[dict[str, Any]] = []
    try:
        tasks = fleet.settled("brief", 3)
        every = fleet.addresses(tasks)
        lead_to(fleet, "tasks.brief", every)
        fleet.scale("brief", 1)
        until(lambda: len(fleet.wanted("brief")) == 1, "two are to end")
        gone = every - fleet.addresses(fleet.wanted("brief"))
        ending = [task for task in tasks if fleet.addresses([task]) & gone]
        until(lambda: all("END" in fleet.logs_of(task) for task in ending), "they are told to end")
        # told to end, and still there: nobody is led to them any more
        assert {one.task for one in fleet.held()} >= {task["ID"] for task in ending}
        assert everywhere(fleet, "tasks.brief") == [every - gone] * 3
    finally:
        fleet.scale("brief", 0)
        for task in tasks:
            with suppress(ProcessLookupError):
                fleet.kill_task(task)
        fleet.remove_service("brief")


def test_a_slot_keeps_the_address_that_was_asked_for(fleet: Fleet) -> None:
    subnet = re.sub(r"\.\d+$", "", fleet.address("h1", "on-h1"))
    said = fleet.cli(
        "h1", "service", "create", "-d", "--name", "fixed", "--replicas", "2", "--restart-delay", "100ms",
        "--network", f"name={SEA},ip={subnet}.100-{subnet}.101", "host", *serve(),
    )  # fmt: skip
    assert said
    try:
        wanted = {1: f"{subnet}.100", 2: f"{subnet}.101"}
        for _ in range(2):
            tasks = fleet.settled("fixed", 2)
            assert {task["Slot"]: next(iter(fleet.addresses([task]))) for task in tasks} == wanted
            lead_to(fleet, "tasks.fixed", set(wanted.values()))
            for task in tasks:
                fleet.kill_task(task)
            killed = {task["ID"] for task in tasks}
            until(
                lambda killed=killed: not killed & {task["ID"] for task in fleet.wanted("fixed")},  # type: ignore[misc]
                "the killed ones are replaced",
            )
    finally:
        fleet.remove_service("fixed")
