"""Control groups: a container's limits as OCI resources, what this machine can limit, and what a container has used."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from fairlead.model.limits import CPU_SHARES, NANO, Limits
from fairlead.runtime.bundle import CGROUP_PARENT

#: Where cgroup hierarchies are mounted (systemd and every distribution).
CGROUP_ROOT = Path("/sys/fs/cgroup")
#: Period of the CPU bandwidth controller for ``--cpus``, microseconds (Docker: 100 ms).
CPU_PERIOD_US = 100_000
#: The kernel's tick in which cgroup v1 tells times (sysconf SC_CLK_TCK), nanoseconds.
TICK_NS = NANO // os.sysconf("SC_CLK_TCK")
#: A memory limit of this much or more means none (cgroup v1 shows PAGE_COUNTER_MAX).
UNLIMITED_BYTES = 1 << 62

#: (file of cgroup v1, file of v2, field of the limits, Docker's words when the kernel has neither).
_NEEDS = (
    (
        "memory/memory.limit_in_bytes",
        "memory.max",
        "memory_bytes",
        "Your kernel does not support memory limit capabilities or the cgroup is not mounted. Limitation discarded.",
    ),
    (
        "memory/memory.memsw.limit_in_bytes",
        "memory.swap.max",
        "memory_swap_bytes",
        "Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited without swap.",
    ),
    (
        "memory/memory.soft_limit_in_bytes",
        "memory.low",
        "memory_reservation_bytes",
        "Your kernel does not support memory soft limit capabilities or the cgroup is not mounted. Limitation discarded.",
    ),
    (
        "memory/memory.swappiness",
        "",
        "memory_swappiness",
        "Your kernel does not support memory swappiness capabilities. Memory swappiness discarded.",
    ),
    (
        "memory/memory.oom_control",
        "",
        "oom_kill_disable",
        "Your kernel does not support OomKillDisable. OomKillDisable discarded.",
    ),
    (
        "cpu/cpu.cfs_quota_us",
        "cpu.max",
        "nano_cpus",
        "Your kernel does not support CPU CFS scheduler. NanoCPUs discarded.",
    ),
    (
        "cpu/cpu.cfs_quota_us",
        "cpu.max",
        "cpu_quota_us",
        "Your kernel does not support CPU CFS quota or the cgroup is not mounted. Quota discarded.",
    ),
    (
        "cpu/cpu.cfs_period_us",
        "cpu.max",
        "cpu_period_us",
        "Your kernel does not support CPU CFS period or the cgroup is not mounted. Period discarded.",
    ),
    (
        "cpu/cpu.shares",
        "cpu.weight",
        "cpu_shares",
        "Your kernel does not support CPU shares or the cgroup is not mounted. Shares discarded.",
    ),
    (
        "cpuset/cpuset.cpus",
        "cpuset.cpus",
        "cpuset_cpus",
        "Your kernel does not support cpuset or the cgroup is not mounted. Cpuset discarded.",
    ),
    (
        "cpuset/cpuset.mems",
        "cpuset.mems",
        "cpuset_mems",
        "Your kernel does not support cpuset or the cgroup is not mounted. Cpuset discarded.",
    ),
    (
        "pids/pids.max",
        "pids.max",
        "pids",
        "Your kernel does not support PIDs limit capabilities or the cgroup is not mounted. PIDs limit discarded.",
    ),
    (
        "blkio/blkio.weight blkio/blkio.bfq.weight",
        "io.weight io.bfq.weight",
        "blkio_weight",
        "Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded.",
    ),
)


@dataclass(frozen=True, slots=True)
class Usage:
    """What a container has used since its start. Times in nanoseconds, sizes in bytes; ``memory_limit_bytes`` 0 is
    none; ``block`` is (bytes read, bytes written)."""

    cpu_ns: int = 0
    cpu_user_ns: int = 0
    cpu_system_ns: int = 0
    throttled: tuple[int, int, int] = (0, 0, 0)
    memory_bytes: int = 0
    memory_max_bytes: int = 0
    memory_limit_bytes: int = 0
    memory_details: tuple[tuple[str, int], ...] = ()
    pids: int = 0
    pids_limit: int = 0
    block: tuple[int, int] = (0, 0)


def is_unified() -> bool:
    """Whether the host has the unified hierarchy only."""
    return (CGROUP_ROOT / "cgroup.controllers").exists()


def resources(limits: Limits) -> dict[str, object]:
    """The OCI resources (without devices); nothing for what is not limited."""
    memory: dict[str, object] = {}
    if limits.memory_bytes:
        memory["limit"] = limits.memory_bytes
        # Docker: memory without a word on swap allows as much swap again
        memory["swap"] = limits.memory_swap_bytes or 2 * limits.memory_bytes
    if limits.memory_reservation_bytes:
        memory["reservation"] = limits.memory_reservation_bytes
    if limits.memory_swappiness >= 0:
        memory["swappiness"] = limits.memory_swappiness
    if limits.oom_kill_disable:
        memory["disableOOMKiller"] = True
    cpu: dict[str, object] = {}
    if limits.nano_cpus:
        cpu["period"], cpu["quota"] = CPU_PERIOD_US, limits.nano_cpus * CPU_PERIOD_US // NANO
    if limits.cpu_period_us:
        cpu["period"] = limits.cpu_period_us
    if limits.cpu_quota_us:
        cpu["quota"] = limits.cpu_quota_us
    if limits.cpu_shares:
        cpu["shares"] = min(max(limits.cpu_shares, CPU_SHARES[0]), CPU_SHARES[1])
    if limits.cpuset_cpus:
        cpu["cpus"] = limits.cpuset_cpus
    if limits.cpuset_mems:
        cpu["mems"] = limits.cpuset_mems
    made: dict[str, object] = {}
    if memory:
        made["memory"] = memory
    if cpu:
        made["cpu"] = cpu
    if limits.pids:
        made["pids"] = {"limit": limits.pids}
    if limits.blkio_weight:
        made["blockIO"] = {"weight": limits.blkio_weight}
    return made


def possible(limits: Limits) -> tuple[Limits, list[str]]:
    """The limits that this machine can keep, and Docker's warning for each one that it cannot."""
    nothing, warnings = Limits(), []
    for old, new, name, words in _NEEDS:
        if getattr(limits, name) != getattr(nothing, name) and not _has(old, new):
            limits = replace(limits, **{name: getattr(nothing, name)})
            warnings.append(words)
    if limits.memory_bytes and not _has("memory/memory.memsw.limit_in_bytes", "memory.swap.max"):
        limits = replace(limits, memory_swap_bytes=-1)
    return limits, list(dict.fromkeys(warnings))


def _has(old: str, new: str) -> bool:
    """Whether one of the files is there: in the root of a v1 hierarchy or in any group of it (some are not in the
    root), or, for v2, in any group of the top."""
    if is_unified():
        return any(next(CGROUP_ROOT.glob(f"*/{name}"), None) is not None for name in new.split())
    for name in old.split():
        controller, _, file = name.partition("/")
        folder = CGROUP_ROOT / controller
        if (folder / file).exists() or next(folder.glob(f"*/{file}"), None) is not None:
            return True
        if _probe(folder, file):
            return True
    return False


def _probe(folder: Path, file: str) -> bool:
    """Whether a new group in a hierarchy has the file: the root lacks some, and there may be no other group yet."""
    group = folder / f"fairlead-probe-{os.getpid()}"
    try:
        group.mkdir()
    except OSError:
        return False
    try:
        return (group / file).exists()
    finally:
        group.rmdir()


def members(container_id: str) -> list[int]:
    """Process ids of everything in a container's group, as the host counts them."""
    for controller in ("", "unified", "pids", "memory", "freezer"):
        text = _read(_folder(container_id, controller) / "cgroup.procs")
        if text.strip():
            return [int(word) for word in text.split()]
    return []


def usage(container_id: str) -> Usage:
    """What a container has used; zeros for what the machine does not count."""
    if is_unified():
        return _usage_unified(_folder(container_id, ""))
    cpu = _folder(container_id, "cpuacct")
    times = _pairs(cpu / "cpuacct.stat")
    memory = _folder(container_id, "memory")
    details = _pairs(memory / "memory.stat")
    limit = _number(memory / "memory.limit_in_bytes")
    throttled = _pairs(_folder(container_id, "cpu") / "cpu.stat")
    pids = _folder(container_id, "pids")
    return Usage(
        cpu_ns=_number(cpu / "cpuacct.usage"),
        cpu_user_ns=times.get("user", 0) * TICK_NS,
        cpu_system_ns=times.get("system", 0) * TICK_NS,
        throttled=(
            throttled.get("nr_periods", 0),
            throttled.get("nr_throttled", 0),
            throttled.get("throttled_time", 0),
        ),
        memory_bytes=_number(memory / "memory.usage_in_bytes"),
        memory_max_bytes=_number(memory / "memory.max_usage_in_bytes"),
        memory_limit_bytes=limit if limit < UNLIMITED_BYTES else 0,
        memory_details=tuple(details.items()),
        pids=_number(pids / "pids.current"),
        pids_limit=_number(pids / "pids.max"),
        block=_block_v1(_read(_folder(container_id, "blkio") / "blkio.throttle.io_service_bytes")),
    )


def _usage_unified(folder: Path) -> Usage:
    cpu = _pairs(folder / "cpu.stat")
    block = re.findall(r"rbytes=(\d+) wbytes=(\d+)", _read(folder / "io.stat"))
    return Usage(
        cpu_ns=cpu.get("usage_usec", 0) * 1000,
        cpu_user_ns=cpu.get("user_usec", 0) * 1000,
        cpu_system_ns=cpu.get("system_usec", 0) * 1000,
        throttled=(cpu.get("nr_periods", 0), cpu.get("nr_throttled", 0), cpu.get("throttled_usec", 0) * 1000),
        memory_bytes=_number(folder / "memory.current"),
        memory_max_bytes=_number(folder / "memory.peak"),
        memory_limit_bytes=_number(folder / "memory.max"),
        memory_details=tuple(_pairs(folder / "memory.stat").items()),
        pids=_number(folder / "pids.current"),
        pids_limit=_number(folder / "pids.max"),
        block=(sum(int(read) for read, _ in block), sum(int(written) for _, written in block)),
    )


def _block_v1(text: str) -> tuple[int, int]:
    rows = [line.split() for line in text.splitlines()]

    def total(word: str) -> int:
        return sum(int(row[2]) for row in rows if len(row) == 3 and row[1] == word)

    return total("Read"), total("Write")


def _folder(container_id: str, controller: str) -> Path:
    return CGROUP_ROOT / controller / CGROUP_PARENT.lstrip("/") / container_id


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _number(path: Path) -> int:
    """The number in a file; 0 for none, for ``max`` and for no file."""
    text = _read(path).strip()
    return int(text) if text.isdecimal() else 0


def _pairs(path: Path) -> dict[str, int]:
    return dict(_parsed(_read(path).splitlines()))


def _parsed(lines: Iterable[str]) -> Iterable[tuple[str, int]]:
    for line in lines:
        name, _, value = line.partition(" ")
        if value.isdecimal():
            yield name, int(value)
