"""Fault points: named places between two steps of work at which a test may end the process.

A room that does steps which a crash could tear apart takes a ``Reach`` and calls it with the name of each place as it
comes by; ``daemon.faults`` knows all names and arms one of them. Not armed, a point is one call of an empty function.
"""

from __future__ import annotations

from collections.abc import Callable

#: Told the name of the place that was reached; returns, or the process is no more.
Reach = Callable[[str], None]


def pass_by(_point: str) -> None:
    """The ``Reach`` of everyday life: nothing happens."""
