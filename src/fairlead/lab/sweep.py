"""Collecting what is left of a host when its daemon is gone: processes, control groups.

Processes are recognised by where they are: in the namespaces of the host, or in the control group of one of its
containers. So nothing depends on a daemon's notes, which a crash may have cut.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from fairlead.lab import identity
from fairlead.lab.layout import KINDS, Host, Place
from fairlead.lab.patience import PATIENCE

#: Seconds for killed processes to be gone; a process in the middle of a disk write may take one or two.
DEATH_S_MAX = 10.0 * PATIENCE
#: Parent of our containers' control groups in every hierarchy (see ``runtime.bundle``).
CGROUP_PARENT = "fairlead"
CGROUP_ROOT = "/sys/fs/cgroup"


def containers(hosts: Iterable[Host]) -> frozenset[str]:
    """Identifiers of every container that a daemon of these hosts has a folder for."""
    folders = (Path(where, "containers") for host in hosts for where in (host.run, host.state))
    return frozenset(entry.name for folder in folders if folder.is_dir() for entry in folder.iterdir())


def processes(places: Iterable[Place], identifiers: frozenset[str]) -> list[int]:
    """Every process in the namespaces of these places or the control groups of these containers, but for this one and
    its ancestors, and never by a namespace that this process shares."""
    here = {_namespace(f"/proc/self/ns/{kind}") for kind in KINDS}
    wanted = {name for place in places for name in _namespaces(place)} - here
    spared = set(_ancestors(os.getpid()))
    numbers = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    found = [pid for pid in numbers if pid not in spared and (_is_in(pid, wanted) or _runs(pid, identifiers))]
    return [pid for pid in found if not identity.is_over(pid)]


def kill(places: list[Place], identifiers: frozenset[str]) -> None:
    """End every process of these places and containers, also those that appear meanwhile."""
    deadline = time.monotonic() + DEATH_S_MAX
    while (found := processes(places, identifiers)) and time.monotonic() < deadline:
        descriptors = [opened for pid in found if (opened := _open(pid)) is not None]
        for descriptor in descriptors:
            identity.send(descriptor, signal.SIGKILL)
        for descriptor in descriptors:
            identity.wait_end(descriptor, max(0.0, deadline - time.monotonic()))
            os.close(descriptor)


def remove_cgroups(identifiers: frozenset[str]) -> None:
    """Remove the control groups of these containers, and their parent when nobody else uses it."""
    for parent in [Path(CGROUP_ROOT, CGROUP_PARENT), *Path(CGROUP_ROOT).glob(f"*/{CGROUP_PARENT}")]:
        for identifier in identifiers:
            for directory, _, _ in os.walk(parent / identifier, topdown=False):
                _remove_group(directory)
        _remove_group(str(parent))


def _remove_group(directory: str) -> None:
    """A control group can be removed only when it is empty; otherwise somebody else needs it, and it stays."""
    try:
        os.rmdir(directory)
    except OSError:
        return


def _namespaces(place: Place) -> Iterator[str]:
    """Names of the namespaces of a place, as ``net:[4026532450]``."""
    for kind in KINDS:
        # Only a mounted file is a namespace; a plain one is what a crash left between the two steps.
        if os.path.ismount(place.file(kind)):
            yield f"{kind}:[{os.stat(place.file(kind)).st_ino}]"


def _is_in(pid: int, namespaces: set[str]) -> bool:
    return any(_namespace(f"/proc/{pid}/ns/{kind}") in namespaces for kind in KINDS)


def _runs(pid: int, identifiers: frozenset[str]) -> bool:
    """Whether the process is in ``/fairlead/<identifier>`` or below, in any hierarchy."""
    if not identifiers:
        return False
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    except OSError:
        return False
    paths = (line.split(":", 2)[2].split("/") for line in lines)
    return any(len(path) > 2 and path[1] == CGROUP_PARENT and path[2] in identifiers for path in paths)


def _namespace(link: str) -> str:
    try:
        return os.readlink(link)
    except OSError:
        return ""


def _open(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None


def _ancestors(pid: int) -> Iterator[int]:
    while pid > 0:
        yield pid
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            return
