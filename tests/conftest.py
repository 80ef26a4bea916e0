"""What every test floor shares: markers by directory, and skips that state their reason."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from tests.lane import plugin
from tests.order import LONG_S, Files

TESTS = Path(__file__).resolve().parent

#: Directory of tests -> marker. Files directly in ``tests/`` are pure and count as unit tests.
FLOORS = ("unit", "sim", "kernel", "vm", "peers", "fuzz", "browser")

#: Floors that make namespaces, so they need root.
ROOT_FLOORS = frozenset({"kernel", "vm", "peers", "fuzz"})


# A busy machine makes no test fail: examples have no time limit. They are the same in every run; ``--hypothesis-profile default``
# looks for others.
settings.register_profile("suite", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")


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
