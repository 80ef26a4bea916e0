"""Fault points: each has one name and is in the list, and only the environment arms one."""

from __future__ import annotations

import ast
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import fairlead
from fairlead.daemon.faults import CLUSTER_POINTS, POINTS, VARIABLE, armed
from fairlead.model.errors import Invalid
from fairlead.model.faults import pass_by

SOURCE = Path(fairlead.__file__).parent
CHILD = """
from fairlead.daemon.faults import armed
reach = armed({"FAIRLEAD_FAULT": "carrier.written:2"})
for visit in (1, 2, 3):
    reach("carrier.decided")
    print(visit, flush=True)
    reach("carrier.written")
"""


def reached() -> set[str]:
    """The points in the code that are named there in one piece."""
    found = set()
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in ("reach", "_reach"):
                found |= {word.value for word in node.args if isinstance(word, ast.Constant)}
    return found


def test_every_point_in_the_code_is_in_the_list_and_has_a_name_of_its_own() -> None:
    points = (*POINTS, *CLUSTER_POINTS)
    assert len(points) == len(set(points))
    assert reached() <= set(points)
    composed = {point for point in points if point.startswith(("apply.", "undo.", "repair.", "act.", "cluster."))}
    assert set(points) - composed == reached() - composed


def test_nothing_is_armed_unless_the_environment_says_so() -> None:
    assert armed({}) is pass_by
    with pytest.raises(Invalid, match="no such fault point"):
        armed({VARIABLE: "nowhere"})
    with pytest.raises(Invalid, match="no such fault point"):
        armed({VARIABLE: "carrier.written:often"})


def test_the_process_ends_at_the_visit_that_was_named() -> None:
    done = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()) == (-signal.SIGKILL, ["1", "2"])
