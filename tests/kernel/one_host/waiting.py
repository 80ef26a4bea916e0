"""The one place where tests wait: for a condition, with a bound."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

#: How many times longer than on a real processor everything may take: the emulated machine (tests/lane) sets it.
FACTOR = float(os.environ.get("FAIRLEAD_PATIENCE", "1"))
#: Seconds that anything we wait for may take: most takes under one on an idle machine, and a busy one is no fault. Only
#: what never comes takes as long.
PATIENCE_S = 60.0
#: Seconds between two looks: a tenth of what one has waited already, within these bounds. A look may be a program's run, and
#: whoever looks all the time takes the processor from what is waited for.
STEP_S, STEP_S_MAX = 0.01, 0.1


def until(condition: Callable[[], T], what: str, patience_s: float = PATIENCE_S) -> T:
    """The first true value of the condition; fails the test with ``what`` when none comes in time, which is
    ``patience_s`` on a real processor."""
    patience_s *= FACTOR
    begun = time.monotonic()
    while True:
        value = condition()
        if value:
            return value
        waited_s = time.monotonic() - begun
        if waited_s > patience_s:
            raise AssertionError(f"waited {patience_s:g} s in vain for: {what}")
        time.sleep(min(max(STEP_S, waited_s / 10), STEP_S_MAX))
