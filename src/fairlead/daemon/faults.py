"""All fault points of the daemon, and the switch that arms one.

``FAIRLEAD_FAULT=carrier.written`` has the daemon end itself by SIGKILL when it first comes by that point,
``FAIRLEAD_FAULT=carrier.written:3`` at the third time. Only the environment of the process arms a point: no flag, no
file, no request can.
"""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Mapping

from fairlead.daemon import carrier, files, recovery
from fairlead.daemon.cluster import managing, membership, tasks
from fairlead.kernel import apply
from fairlead.model.errors import Invalid
from fairlead.model.faults import Reach, pass_by
from fairlead.runtime import lifecycle
from fairlead.store import cluster_sqlite, sqlite

#: The environment variable that arms a point.
VARIABLE = "FAIRLEAD_FAULT"

#: Every point, room by room. A point that a room comes by and that is not here is refused where it is armed, and found
#: by the tests, which come by each of them.
POINTS: tuple[str, ...] = (
    *sqlite.POINTS,
    *apply.POINTS,
    *lifecycle.POINTS,
    *files.POINTS,
    *carrier.POINTS,
    *recovery.POINTS,
)
#: Those that only members of a cluster come by.
CLUSTER_POINTS: tuple[str, ...] = (
    *cluster_sqlite.POINTS,
    *carrier.CLUSTER_POINTS,
    *managing.POINTS,
    *membership.POINTS,
    *tasks.POINTS,
)


def armed(environment: Mapping[str, str]) -> Reach:
    """What to call at each point. Raises ``Invalid`` for a point that does not exist."""
    wanted, _, nth = environment.get(VARIABLE, "").partition(":")
    if not wanted:
        return pass_by
    if wanted not in (*POINTS, *CLUSTER_POINTS) or not (nth or "1").isdecimal():
        raise Invalid(f"{VARIABLE}={environment[VARIABLE]}: no such fault point", hint=f"one of {', '.join(POINTS)}")
    visits = itertools.count(1)
    last = int(nth or "1")

    def reach(point: str) -> None:
        if point == wanted and next(visits) == last:
            os.kill(os.getpid(), signal.SIGKILL)

    return reach
