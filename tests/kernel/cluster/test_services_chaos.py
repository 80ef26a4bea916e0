"""Tasks, daemons and hosts die at random; what is wanted is there again each time, and nothing twice.

By hand for long: ``--chaos 600 --chaos-tasks 300``; ``--chaos-seed`` repeats a run's choices.
"""

from __future__ import annotations

import random
import shutil
import statistics
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.kernel.cluster.bed import SEA
from tests.kernel.cluster.services import Fleet, Held, duplicate_slots, holders, keepers, processes, spec
from tests.kernel.one_host.waiting import until

from fairlead.api.client import ApiError

_HOSTS = 5
_MANAGER = "h1"
#: Seconds in which all must be as wanted again; a host that is away is noticed after three missed heartbeats.
_RESTORED_S = 180.0
#: Seconds that a cable is out for a blink: shorter than what makes a node count as down.
_BLINK_S = 2.0
#: Seconds between two looks for what must never be.
_LOOK_S = 0.5


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    found = Fleet(tmp_path, _HOSTS)
    try:
        found.miss_sooner()
        found.network(SEA, "--subnet", "10.90.0.0/20")  # more addresses than tasks
        yield found
    finally:
        found.close()
        shutil.rmtree(tmp_path, ignore_errors=True)


class Watch:
    """Looks all the time for what must never be: an address that two containers have, two tasks that are to run in one
    slot."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.wrong: list[str] = []
        self.looks = 0

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        before: set[Held] = set()
        while not self._ended.wait(_LOOK_S):
            now = set(self._fleet.held())
            # hosts are asked one after the other: only who was there before and after was there together
            self.wrong += [
                f"{name} is held by {number}" for name, number in holders(before & now).items() if number > 1
            ]
            before = now
            try:
                self.wrong += duplicate_slots(self._fleet.tasks())
            except (ApiError, OSError):
                continue  # the manager's daemon is away
            self.looks += 1


class Chaos:
    """Does harm and measures how long it lasts."""

    def __init__(self, fleet: Fleet, services: dict[str, int], marker: str, chance: random.Random) -> None:
        self.took: dict[str, list[float]] = defaultdict(list)
        self._fleet, self._services, self._marker, self._chance = fleet, services, marker, chance
        self._harms: tuple[Callable[[], str], ...] = (
            self._kill_tasks,
            self._kill_worker,
            self._kill_manager,
            self._blink,
            self._kill_daemon_and_tasks,
        )
        self._deck: list[Callable[[], str]] = []

    def strike(self, harm: Callable[[], str] | None = None) -> None:
        """One harm, each in turn in a random order; then wait until all is as wanted."""
        if not self._deck:
            self._deck = self._chance.sample(self._harms, len(self._harms))
        start = time.monotonic()
        what = (harm or self._deck.pop())()
        self.restored(what)
        self.took[what].append(time.monotonic() - start)

    def restored(self, after: str) -> None:
        """Wait until all is as wanted."""
        wrong: list[str] = ["nobody has looked yet"]
        deadline = time.monotonic() + _RESTORED_S
        while wrong:
            assert time.monotonic() < deadline, (
                f"{len(wrong)} faults after: {after}: {wrong[:10]}\n{self._fleet.told()}"
            )
            try:
                wrong = self._fleet.faults(self._services) or self._strays()
            except (ApiError, OSError):
                wrong = ["the manager does not answer"]
            time.sleep(0.1 if wrong else 0.0)

    def lose_host(self) -> str:
        """A host's cable is out until its tasks run elsewhere, and in again."""
        host = self._worker()
        self._fleet.plug(host, into=False)
        try:
            until(lambda: self._fleet.nodes()[host] == "down", f"{host} counts as down", _RESTORED_S)
            until(lambda: not self._lost(host), "its tasks are replaced", _RESTORED_S)
        finally:
            self._fleet.plug(host, into=True)
        return "a host cut off for long, and back"

    def _lost(self, host: str) -> bool:
        running = [task for task in self._fleet.wanted() if task["Status"]["State"] == "running"]
        away = next(node for node in self._nodes() if node["Description"]["Hostname"] == host)["ID"]
        return len([task for task in running if task["NodeID"] != away]) < sum(self._services.values())

    def _nodes(self) -> list[dict[str, Any]]:
        found: Any = self._fleet.api(_MANAGER).get("/nodes")
        return list(found)

    def _strays(self) -> list[str]:
        """Processes and keepers beyond those of running tasks."""
        wanted = len(self._fleet.wanted())
        spaces, kept = processes(self._marker), keepers(str(Path(self._fleet.hosts[_MANAGER].state).parent.parent))
        wrong = [f"processes of {len(spaces)} containers, {wanted} are wanted"] if len(spaces) != wanted else []
        return wrong + ([f"{kept} keepers for {wanted} containers"] if kept != wanted else [])

    def _worker(self) -> str:
        return self._chance.choice([host for host in self._fleet.hosts if host != _MANAGER])

    def _kill_tasks(self) -> str:
        tasks = [task for task in self._fleet.wanted() if task["Status"]["State"] == "running"]
        self._kill(self._chance.sample(tasks, max(1, len(tasks) // 10)))
        return "a tenth of the tasks killed"

    def _kill(self, tasks: list[dict[str, Any]], before_noticed: Callable[[], None] = lambda: None) -> None:
        """Kill tasks; returns once the manager knows of each."""
        for task in tasks:
            self._fleet.kill_task(task)
        before_noticed()
        dead = {task["ID"] for task in tasks}
        until(
            lambda: not dead & {task["ID"] for task in self._fleet.wanted()}, "all are known to have ended", _RESTORED_S
        )

    def _restart(self, host: str) -> None:
        self._fleet.kill_daemon(host)
        time.sleep(self._chance.uniform(0.0, 1.0))
        self._fleet.start_daemon(host)

    def _kill_worker(self) -> str:
        self._restart(self._worker())
        return "a worker's daemon killed"

    def _kill_manager(self) -> str:
        self._restart(_MANAGER)
        return "the manager's daemon killed"

    def _blink(self) -> str:
        host = self._worker()
        self._fleet.plug(host, into=False)
        time.sleep(_BLINK_S)
        self._fleet.plug(host, into=True)
        return f"a cable out for {_BLINK_S:.0f} s"

    def _kill_daemon_and_tasks(self) -> str:
        host = self._worker()
        here = {one.task for one in self._fleet.held(host)}
        tasks = [task for task in self._fleet.wanted() if task["ID"] in here and task["Status"]["State"] == "running"]
        self._fleet.kill_daemon(host)
        self._kill(tasks[::2], before_noticed=lambda: self._fleet.start_daemon(host))
        return "a worker's daemon and half of its tasks killed"


@pytest.mark.timeout(3600)  # seconds; as long as one asks for
def test_what_is_wanted_is_there_again_whatever_dies(fleet: Fleet, request: pytest.FixtureRequest) -> None:
    seconds, total = float(request.config.getoption("--chaos")), int(request.config.getoption("--chaos-tasks"))
    seed = request.config.getoption("--chaos-seed") or random.SystemRandom().randrange(1 << 32)
    marker = f"FAIRLEAD_CHAOS={seed}"
    services = {f"s{number}": total // 3 for number in range(3)}
    print(f"\nseed {seed}: {sum(services.values())} tasks on {_HOSTS} hosts for {seconds:.0f} s")
    chaos = Chaos(fleet, services, marker, random.Random(seed))
    with Watch(fleet) as watch:
        begun = time.monotonic()
        for name, count in services.items():
            fleet.create(spec(name, replicas=count, container={"Labels": {"of": name}, "Env": [marker]}))
        chaos.restored("the start")
        print(f"all tasks run after {time.monotonic() - begun:.1f} s")
        end = time.monotonic() + seconds
        chaos.strike(chaos.lose_host)
        while time.monotonic() < end:
            chaos.strike()
    tell(chaos.took)
    assert watch.looks > 3
    assert not watch.wrong, Counter(watch.wrong).most_common(10)
    for name in services:
        fleet.api(_MANAGER).delete(f"/services/{name}")
    until(lambda: not fleet.held(every=True), "no container is left", _RESTORED_S)
    until(lambda: not processes(marker), "no process is left")


def tell(took: dict[str, list[float]]) -> None:
    """The figures."""
    for what, values in [*sorted(took.items()), ("all", [one for many in took.values() for one in many])]:
        p95 = sorted(values)[min(len(values) - 1, int(len(values) * 0.95))]
        words = f"{statistics.median(values):6.1f} {p95:6.1f} {max(values):6.1f}"
        print(f"restored after, s: p50 p95 max: {words}  ({len(values)} times: {what})")


def test_the_watch_sees_what_it_looks_for() -> None:
    """An address that two hold and a slot with two tasks are found."""
    two = [Held(host, host, "s", host, "10.0.0.1") for host in ("h1", "h2")]
    assert holders(two)["10.0.0.1"] == 2
    task = {"ServiceID": "s", "Slot": 1, "DesiredState": "running", "Status": {"State": "running"}}
    assert duplicate_slots([task, task]) == ["slot 1 of s twice"]
    assert duplicate_slots([task, {**task, "Slot": 2}]) == []
