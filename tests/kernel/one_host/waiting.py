"""The one place where tests wait: for a condition, with a bound."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

#: Seconds that anything we wait for may take: the slowest takes under one on an idle machine.
PATIENCE_S = 15.0
#: Seconds between two looks.
STEP_S = 0.01


def until(condition: Callable[[], T], what: str, patience_s: float = PATIENCE_S) -> T:
    """The first true value of the condition; fails the test with ``what`` when none comes in time."""
    deadline = time.monotonic() + patience_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {patience_s:g} s in vain for: {what}")
        time.sleep(STEP_S)
