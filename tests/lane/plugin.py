"""The pytest plugin of the lane: outside, a test marked ``vm`` is not run but its report is fetched from the machine.

With xdist, the tests are chosen by the workers and the machine is booted by the controller: once, beside the tests that
have no clock of their own. Tests of the floors that watch real time have it quiet, so they are run before.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import pytest
from tests.lane import machine
from tests.lane.reports import Reader, Writer

#: Set in the guest: tests marked ``vm`` run here.
INSIDE = "FAIRLEAD_VM"
#: Floors whose tests have no clock, so that a machine that is busy with an emulator cannot make them fail.
TIMELESS = frozenset({"unit", "sim"})
#: Seconds for one test in the guest: then pytest there ends it and goes on. It must be less than the machine's silence.
TEST_S_MAX = 900
#: Seconds between two looks for a report.
LOOK_S = 0.2


def install(config: pytest.Config) -> None:
    """Give this run its part of the lane: the guest's, or the outer run's."""
    if os.environ.get(INSIDE):
        config.pluginmanager.register(Writer(config, Path("/run/lane/reports")), "fairlead-lane-inside")
    else:
        config.pluginmanager.register(Lane(config), "fairlead-lane")


class Lane:
    """The outer run's part: in the controller of xdist, in each worker, or in a run without xdist."""

    def __init__(self, config: pytest.Config) -> None:
        told: dict[str, Any] = getattr(config, "workerinput", {})
        self._config = config
        self._is_worker = bool(told)
        self._folder = Path(told["lane"]) if told else Path(tempfile.mkdtemp(prefix="fairlead-lane-"))
        self._reader = Reader(config, self._folder / "reports")
        self._machine: machine.Machine | None = None
        self._is_booted = False
        #: Tests that are to be over before the machine is booted; None while they are not known.
        self._before: set[str] | None = None

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """xdist makes a worker."""
        node.workerinput["lane"] = str(self._folder)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Tests that watch real time come first, then those without a clock, the machine's last."""
        items.sort(key=_turn)
        for item in items:
            if _is_vm(item):
                item.add_marker(pytest.mark.timeout(0))  # the guest's own pytest has a limit, and so has its silence

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """What the machine is to run is known. (xdist's controller collects nothing.)"""
        wanted = [item.nodeid for item in session.items if _is_vm(item)]
        if not wanted or self._config.option.collectonly:
            return
        self._note("wanted", wanted)
        self._note("before", [item.nodeid for item in session.items if _turn(item) == 0])
        if not self._is_worker:
            self._boot_when_quiet()

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self) -> None:
        """A worker has chosen the tests; all choose the same."""
        if self._before is None and (self._folder / "wanted").exists():
            self._boot_when_quiet()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A phase of a test is over (xdist's controller hears of all), or a worker died of it (``???``)."""
        if self._before and report.when not in {"setup", "call"}:
            self._before.discard(report.nodeid)
            self._boot_when_quiet()

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """A test begins. When it is one of the machine's, nobody has anything else to do."""
        if self._before and nodeid in self._noted("wanted"):
            self._before.clear()
            self._boot_when_quiet()

    def _note(self, name: str, nodeids: list[str]) -> None:
        """Write down tests, whole: every worker writes the same file, and the controller reads it meanwhile."""
        own = self._folder / f"{name}.{os.getpid()}"
        own.write_text("".join(f"{nodeid}\n" for nodeid in nodeids))
        own.rename(self._folder / name)

    def _noted(self, name: str) -> set[str]:
        return set((self._folder / name).read_text().splitlines())

    def _boot_when_quiet(self) -> None:
        if self._before is None:
            self._before = self._noted("before")
        if self._before or self._is_booted:
            return
        self._is_booted = True
        reason = machine.missing()
        if reason:
            (self._folder / "refused").write_text(reason)
        else:
            # plugins that the guest does not use are not loaded there: each import is slow
            there = ["env", "PYTEST_DISABLE_PLUGIN_AUTOLOAD=1", sys.executable, "-m", "pytest"]
            there += ["-p", "pytest_timeout", "-p", "no:cacheprovider", f"--timeout={TEST_S_MAX}", "@/run/lane/wanted"]
            self._machine = machine.Machine(self._folder, there)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> object:
        """Instead of running a test of the machine, say what came of it there."""
        if not _is_vm(item):
            return None
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        for report in self._reports(item):
            item.ihook.pytest_runtest_logreport(report=report)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    def _reports(self, item: pytest.Item) -> Iterable[pytest.TestReport]:
        while True:
            is_over = (self._folder / "ended").exists()  # looked at before the reports: none is written after
            found = self._reader.of(item.nodeid)
            if found:
                return found
            if (self._folder / "refused").exists():
                return [_refused(item, (self._folder / "refused").read_text())]
            if is_over:
                return [_report(item, "failed", (self._folder / "ended").read_text())]
            time.sleep(LOOK_S)

    def pytest_unconfigure(self) -> None:
        """The run is over, whichever way."""
        if self._machine is not None:
            self._machine.close()
        if not self._is_worker:
            shutil.rmtree(self._folder, ignore_errors=True)


def _is_vm(item: pytest.Item) -> bool:
    return item.get_closest_marker("vm") is not None


def _turn(item: pytest.Item) -> int:
    if _is_vm(item):
        return 2
    return 1 if any(item.get_closest_marker(floor) for floor in TIMELESS) else 0


def _report(
    item: pytest.Item, outcome: Literal["failed", "skipped"], why: str | tuple[str, int, str]
) -> pytest.TestReport:
    """The only report of a test that the machine said nothing about."""
    return pytest.TestReport(item.nodeid, item.location, {"vm": 1}, outcome, why, "call")


def _refused(item: pytest.Item, reason: str) -> pytest.TestReport:
    """No emulator: in continuous integration that is a failure, as nothing else tests this; elsewhere it is said."""
    if os.environ.get("CI") == "true":
        return _report(item, "failed", f"the emulated kernel cannot be booted: {reason}")
    path, line, _ = item.location
    return _report(item, "skipped", (path, line or 0, f"Skipped: the emulated kernel cannot be booted: {reason}"))
