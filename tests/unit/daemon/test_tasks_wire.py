"""What a session carries for tasks, as lines."""

from __future__ import annotations

import pytest

from fairlead.daemon.cluster import wire
from fairlead.model.errors import Internal
from fairlead.model.runspec import LogLine
from fairlead.model.service import HOST, ServicePort, TaskState, TaskStatus
from fairlead.model.session import Downward, LogChunk, LogEnd, LogMore, LogWish, TaskReport, Upward

STATUS = TaskStatus(TaskState.RUNNING, 7.5, "started", "", "c" * 64, 99, ports=(ServicePort(80, 8080, "tcp", HOST),))


@pytest.mark.parametrize(
    "message",
    [
        TaskReport((("t" * 25, STATUS),)),
        LogChunk("7", (LogLine("stderr", b"\xff\x00 any bytes\n", "2026-11-21T12:00:00.000000001Z"),)),
        LogChunk("7", last=True, error="gone"),
    ],
)
def test_what_a_node_says_arrives(message: Upward) -> None:
    assert wire.read_upward(wire.upward(message, 5)) == (message, 5)


@pytest.mark.parametrize(
    "message", [LogWish("7", "t" * 25, True, 10, 3.5), LogWish("8", "t" * 25), LogMore("7"), LogEnd("7")]
)
def test_what_a_manager_says_arrives(message: Downward) -> None:
    assert wire.read_downward(wire.downward(message)) == (message, 0)


def test_a_report_is_noted_or_refused() -> None:
    assert wire.read_downward(wire.answer(None, 3)) == (None, 3)
    refused, number = wire.read_downward(wire.answer(Internal("the disk is full"), 4))
    assert isinstance(refused, Internal)
    assert (refused.message, number) == ("the disk is full", 4)
