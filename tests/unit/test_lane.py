"""The emulated kernel lane without an emulator: reports pass whole, and no machine is said loudly."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.lane.machine import PROGRAMS, ROOT
from tests.lane.reports import Reader, Writer

#: Seconds for a pytest that collects a file and runs nothing.
PYTEST_S = 120


def report(nodeid: str, when: str, outcome: str = "passed", text: str | None = None) -> pytest.TestReport:
    return pytest.TestReport(nodeid, ("a.py", 1, "name"), {"vm": 1}, outcome, text, when)  # type: ignore[arg-type]


def test_reports_are_read_as_they_were_written(pytestconfig: pytest.Config, tmp_path: Path) -> None:
    writer, reader = Writer(pytestconfig, tmp_path / "reports"), Reader(pytestconfig, tmp_path / "reports")
    assert reader.of("a::one") == []
    for when in ("setup", "call"):
        writer.pytest_runtest_logreport(report("a::one", when, "failed", "it broke"))
        assert reader.of("a::one") == [], "a test that is not over has no reports yet"
    writer.pytest_runtest_logreport(report("a::one", "teardown"))
    writer.pytest_runtest_logreport(report("a::two", "setup"))
    found = reader.of("a::one")
    assert [(one.when, one.outcome) for one in found] == [
        ("setup", "failed"),
        ("call", "failed"),
        ("teardown", "passed"),
    ]
    assert found[1].longreprtext == "it broke"
    assert reader.of("a::two") == []


def test_half_a_line_is_read_when_it_is_whole(pytestconfig: pytest.Config, tmp_path: Path) -> None:
    file = tmp_path / "reports"
    Writer(pytestconfig, file).pytest_runtest_logreport(report("a::one", "teardown"))
    whole = file.read_bytes()
    reader = Reader(pytestconfig, file)
    file.write_bytes(whole[:-20])
    assert reader.of("a::one") == []
    file.write_bytes(whole)
    assert [one.when for one in reader.of("a::one")] == ["teardown"]


@pytest.mark.parametrize(("ci", "code", "closing"), [("true", 1, "1 failed"), ("", 0, "1 skipped")])
@pytest.mark.parametrize("workers", ["0", "1"])
def test_without_an_emulator_it_fails_in_ci_and_is_skipped_elsewhere(
    tmp_path: Path, ci: str, code: int, closing: str, workers: str
) -> None:
    words = (
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-n",
        workers,
        "tests/vm/test_kernel.py",
        "-k",
        "debian_s_kernel",
    )
    done = subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        env=os.environ | {"PATH": str(tmp_path), "CI": ci, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=PYTEST_S,
        check=False,
    )
    assert (done.returncode, closing in done.stdout) == (code, True), done.stdout + done.stderr
    assert "the emulated kernel cannot be booted" in done.stdout
    assert PROGRAMS["qemu-system-x86_64"] in done.stdout
    assert not list(tmp_path.glob("fairlead-lane-*")), "nothing is left"
