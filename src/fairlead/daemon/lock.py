"""One node for each state directory, and none before all of the one before is gone."""

from __future__ import annotations

import fcntl
import os
import resource
import time
from pathlib import Path
from typing import ClassVar

from fairlead.model import codes
from fairlead.model.errors import Conflict

#: Seconds that children of a process which was killed get to come to their programs, and between two looks. On a busy
#: machine it takes some tenths.
_CHILDREN_S, _LOOK_S = 10.0, 0.01
#: The lock's descriptor is the highest below this, or below the limit: a child closes what it has in rising order, and
#: the lock has to be the last of it. The kernel keeps 8 octets for each number.
_DESCRIPTORS = 16384


class StateLock:
    """Held from entry to exit; entering raises ``Conflict``.

    Two locks on one file. One is the process's own (fcntl(2), F_SETLK) and ends with it: who has it is the only node
    here, but for others of the same process, hence ``_held``. The other (flock(2)) is shared with each child between
    fork and exec, and so are sockets: while such a child of a killed predecessor has the lock, it has its ports, too.
    """

    _held: ClassVar[set[str]] = set()

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._place = os.path.realpath(folder)

    def __enter__(self) -> None:
        if self._place in self._held:  # to open and close the file once more would give up the lock
            raise self._taken()
        self._descriptor = _raised(os.open(Path(self._folder) / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._wait_for_children()
        except (BlockingIOError, PermissionError):  # either, says POSIX
            os.close(self._descriptor)
            raise self._taken() from None
        self._held.add(self._place)

    def __exit__(self, *_: object) -> None:
        self._held.discard(self._place)
        os.close(self._descriptor)

    def _wait_for_children(self) -> None:
        deadline = time.monotonic() + _CHILDREN_S
        while True:
            try:
                return fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(_LOOK_S)

    def _taken(self) -> Conflict:
        return Conflict(
            f"another daemon uses {self._folder}",
            hint="stop it, or give --state-dir and --run-dir",
            code=codes.DAEMON_RUNS_ALREADY,
        )


def _raised(descriptor: int) -> int:
    """The same file under a high number."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = _DESCRIPTORS if limit == resource.RLIM_INFINITY else min(limit, _DESCRIPTORS)
    try:
        return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, highest - 1)
    finally:
        os.close(descriptor)
