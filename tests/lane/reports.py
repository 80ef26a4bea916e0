"""The file of reports between the pytest inside the emulated machine, which writes, and the one outside, which reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

#: The phase of a test whose report is its last.
LAST_PHASE = "teardown"


class Writer:
    """A pytest plugin, inside: every report becomes a line at once, so that a machine that dies loses no earlier one."""

    def __init__(self, config: pytest.Config, file: Path) -> None:
        self._hook = config.hook
        self._config = config
        self._file = file

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """One phase of one test is over."""
        told = self._hook.pytest_report_to_serializable(config=self._config, report=report)
        with self._file.open("a") as lines:
            lines.write(json.dumps(told) + "\n")


class Reader:
    """Outside: what has been written so far. A line that is not complete yet is left for the next look."""

    def __init__(self, config: pytest.Config, file: Path) -> None:
        self._hook = config.hook
        self._config = config
        self._file = file
        self._position = 0
        self._found: dict[str, list[pytest.TestReport]] = {}

    def of(self, nodeid: str) -> list[pytest.TestReport]:
        """The reports of a test that is over, in order; none while it is not."""
        self._read()
        found = self._found.get(nodeid, [])
        return found if found and found[-1].when == LAST_PHASE else []

    def _read(self) -> None:
        if not self._file.exists():
            return
        with self._file.open("rb") as lines:
            lines.seek(self._position)
            for line in lines:
                if not line.endswith(b"\n"):
                    break
                self._position += len(line)
                told: dict[str, Any] = json.loads(line)
                report = self._hook.pytest_report_from_serializable(config=self._config, data=told)
                if isinstance(report, pytest.TestReport):
                    self._found.setdefault(report.nodeid, []).append(report)
