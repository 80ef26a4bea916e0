"""What every test floor shares: markers by directory, and skips that state their reason."""

from __future__ import annotations

import gc
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from tests.lane import plugin
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

TESTS = Path(__file__).resolve().parent

#: Directory of tests -> marker. Files directly in ``tests/`` are pure and count as unit tests.
FLOORS = ("unit", "sim", "kernel", "vm", "peers", "fuzz", "browser")

#: Floors that make namespaces, so they need root.
ROOT_FLOORS = frozenset({"kernel", "vm", "peers", "fuzz"})


#: Files that take long, and the seconds of all their tests together on two quiet cores: the longest are begun first, so that
#: no worker is left alone with one in the end.
LONG_S = {
    "sim/test_gossip_schedules.py": 500,
    "kernel/one_host/test_crash_points.py": 60,
    "kernel/one_host/test_crash.py": 50,
    "kernel/one_host/test_firewall_others.py": 45,
    "kernel/cluster/test_swarm.py": 45,
    "kernel/one_host/test_cycles.py": 40,
    "kernel/cluster/test_tasks.py": 35,
    "kernel/one_host/test_api_names.py": 30,
    "kernel/one_host/test_crash_random.py": 30,
    "fuzz/test_api.py": 29,
    "kernel/cluster/test_life.py": 28,
    "kernel/cluster/test_services_update.py": 27,
    "kernel/cluster/test_services_chaos.py": 26,
    "kernel/cluster/test_services_docker.py": 26,
    "kernel/cluster/test_services_crash.py": 25,
    "sim/test_gossip_crowds.py": 25,
    "kernel/one_host/test_crash_service.py": 24,
    "kernel/cluster/test_keys.py": 22,
    "kernel/one_host/test_firewall_policy.py": 20,
    "kernel/one_host/test_isolation.py": 20,
    "unit/gossip/test_hostile.py": 18,
    "sim/test_manager_allocator.py": 16,
    "kernel/one_host/test_published_ports.py": 16,
    "kernel/cluster/test_gossip_seen.py": 15,
    "fuzz/test_gossip.py": 15,
    "kernel/test_lab_daemons.py": 14,
    "kernel/cluster/test_services_names.py": 13,
    "kernel/cluster/test_many.py": 12,
    "kernel/one_host/test_runtime_docker.py": 12,
    "kernel/one_host/test_runtime_restarts.py": 11,
    "peers/test_foreign_engines.py": 11,
    "kernel/balance/test_services.py": 10,
}
# A busy machine makes no test fail: examples have no time limit. They are the same in every run; ``--hypothesis-profile default``
# looks for others.
settings.register_profile("suite", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")

#: Objects that are made until garbage is looked for: simulations make and drop millions, and spend a tenth of their time on it
#: with Python's 700.
_GARBAGE = 50_000

#: A file whose tests share nothing, so that several workers may have some of it.
SHARED_OUT = "sim/test_gossip_schedules.py"


class Files(LoadScopeScheduling):  # type: ignore[misc]
    """Gives each worker whole files, in the order in which they were collected: what a file's tests share (a cluster, a host)
    is made once."""

    def __init__(self, config: pytest.Config, log: Any) -> None:
        super().__init__(config, log)
        config.option.loadscopereorder = False

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return nodeid if file.endswith(SHARED_OUT) else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Files:
    """Who runs which tests when several run at a time."""
    return Files(config, log)


def pytest_addoption(parser: pytest.Parser) -> None:
    """How long the tests of endurance endure: short in the suite, as long as one likes by hand."""
    group = parser.getgroup("endurance")
    group.addoption("--sequences", type=int, default=200, help="random sequences in tests/sim")
    group.addoption("--schedules", type=int, default=10_000, help="random schedules of simulated gossip in tests/sim")
    group.addoption("--first-seed", type=int, default=0, help="seed of the first of them")
    group.addoption("--crashes", type=int, default=2, help="kills at random moments in test_crash_random")
    group.addoption("--programs", action="store_true", help="daemons that are killed are programs, not forks")
    group.addoption("--away", type=float, default=3.0, help="seconds that managers or a worker are away")
    group.addoption("--storms", type=int, default=2, help="rounds of the address reuse storm")
    group.addoption("--load", type=int, default=150, help="requests a second while services are updated")
    group.addoption("--load-for", type=float, default=0.0, help="seconds for which they are updated, once at least")
    group.addoption("--crowd", type=int, default=30, help="containers on one overlay")
    group.addoption("--chaos", type=float, default=8.0, help="seconds for which tasks, daemons and hosts die")
    group.addoption("--chaos-tasks", type=int, default=30, help="tasks meanwhile")
    group.addoption("--chaos-seed", type=int, default=0, help="repeats a run's choices; 0: others each time")
    group.addoption("--cycles", type=int, default=40, help="rounds of making and removing in test_cycles")


def pytest_configure(config: pytest.Config) -> None:
    """A run that is told to end, by a time limit around it, ends as by Ctrl-C: what tests have started is ended too."""
    signal.signal(signal.SIGTERM, _interrupt)
    gc.set_threshold(_GARBAGE)
    plugin.install(config)


def _interrupt(*_: object) -> None:
    signal.signal(signal.SIGTERM, lambda *_: None)  # once more would cut short what is being cleaned up
    raise KeyboardInterrupt


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with its floor, and skip what cannot run here with the reason; long files first."""
    no_root = pytest.mark.skip(reason="makes network namespaces: needs root; run it by ./run test")
    for item in items:
        parts = item.path.relative_to(TESTS).parts if item.path.is_relative_to(TESTS) else ()
        floor = parts[0] if parts and parts[0] in FLOORS else "unit"
        item.add_marker(getattr(pytest.mark, floor))
        if floor in ROOT_FLOORS and os.geteuid() != 0:
            item.add_marker(no_root)
    items.sort(key=lambda item: -LONG_S.get(_within(item), 0))


def _within(item: pytest.Item) -> str:
    """The file of a test, as ``LONG_S`` names it."""
    return item.path.relative_to(TESTS).as_posix() if item.path.is_relative_to(TESTS) else ""
