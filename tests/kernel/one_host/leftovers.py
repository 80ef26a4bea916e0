"""What a host that is gone must not leave on the machine: processes, mounts, control groups."""

from __future__ import annotations

from pathlib import Path

from tests.kernel.one_host.waiting import until

#: Seconds for the kernel and for dying processes to come to their end.
SETTLE_S = 5.0


def leftovers(folder: Path) -> list[str]:
    """Whatever of the host in ``folder`` still is there after a fair time, in words."""
    try:
        until(lambda: not _now(folder), "nothing left", SETTLE_S)
    except AssertionError:
        return _now(folder)
    return []


def _now(folder: Path) -> list[str]:
    return [*_processes(folder), *_mounts(folder), *_cgroups(folder), *_files(folder)]


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


def _cgroups(folder: Path) -> list[str]:
    """Groups of containers that the host had (their logs or folders are gone, so every group that names none alive)."""
    known = {path.name for path in (folder / "state" / "containers").glob("*")}
    roots = Path("/sys/fs/cgroup").glob("**/fairlead/*")
    return [f"control group: {path}" for path in roots if path.is_dir() and path.name in known]


def _files(folder: Path) -> list[str]:
    places = (folder / "run" / "netns", folder / "run" / "containers", folder / "state" / "containers")
    return [f"file: {path}" for place in places if place.is_dir() for path in place.iterdir()]
