"""What a host that is gone must not leave on the machine: processes, mounts, control groups."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from tests.kernel.one_host.waiting import until

#: Seconds for the kernel and for dying processes to come to their end.
SETTLE_S = 60.0


def leftovers(folder: Path, containers: Collection[str]) -> list[str]:
    """Whatever of the host in ``folder`` still is there after a fair time, in words; ``containers`` are the ids of those
    that it had."""
    try:
        until(lambda: not _now(folder, containers), "nothing left", SETTLE_S)
    except AssertionError:
        return _now(folder, containers)
    return []


def _now(folder: Path, containers: Collection[str]) -> list[str]:
    return [*_processes(folder), *_mounts(folder), *_cgroups(containers), *_files(folder)]


def _processes(folder: Path) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(folder) in words:
            found.append(f"process {path.parent.name}: {words[:200]}")
    return found


def _mounts(folder: Path) -> list[str]:
    return [f"mount: {line}" for line in Path("/proc/self/mounts").read_text().splitlines() if str(folder) in line]


def cgroups(containers: Collection[str]) -> list[Path]:
    """Control groups of these containers, in every hierarchy."""
    places = [*Path("/sys/fs/cgroup").glob("fairlead/*"), *Path("/sys/fs/cgroup").glob("*/fairlead/*")]
    return [path for path in places if path.name in containers]


def _cgroups(containers: Collection[str]) -> list[str]:
    return [f"control group: {path}" for path in cgroups(containers)]


def _files(folder: Path) -> list[str]:
    places = (folder / "run" / "netns", folder / "run" / "containers", folder / "state" / "containers")
    return [f"file: {path}" for place in places if place.is_dir() for path in place.iterdir()]
