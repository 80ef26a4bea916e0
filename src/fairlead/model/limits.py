"""Limits: how much of the machine a container may use, and what it may do beyond the usual."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields

from fairlead.model import codes
from fairlead.model.errors import Invalid

#: Least memory of a container, bytes (Docker: 6 MiB; runc itself needs that much to start one).
MEMORY_BYTES_MIN = 6 << 20
#: Range of CPU shares that cgroups know (cgroup v1 cpu.shares: 2 to 262144; Docker: linuxMinCPUShares, Max).
CPU_SHARES = (2, 262144)
#: Range of block input/output weights (cgroup v1 blkio.weight; Docker).
BLKIO_WEIGHT = (10, 1000)
#: Ranges of the CPU bandwidth controller in microseconds (kernel: sched-bwc; Docker checks the same).
CPU_PERIOD_US, CPU_QUOTA_US_MIN = (1000, 1_000_000), 1000
#: Nano-CPUs in one CPU.
NANO = 1_000_000_000
#: Range of ``--oom-score-adj`` (proc(5)).
OOM_SCORE_ADJ = (-1000, 1000)

#: Names of limits of a process (setrlimit(2)), as ``--ulimit`` writes them.
ULIMITS = frozenset(
    "core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack".split()
)
_CPUSET = re.compile(r"(\d{1,5}(-\d{1,5})?)(,\d{1,5}(-\d{1,5})?)*\Z")


_SIZES = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_SIZE = re.compile(r"(\d{1,15})([bkmgt]?)b?\Z")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a cgroup holds a container to. 0 and empty mean no limit; ``memory_swap_bytes`` is memory and swap together
    (-1: swap without limit); ``pids`` -1 is no limit. ``cpu_period_us`` and ``cpu_quota_us`` are the kernel's own form
    of ``nano_cpus``."""

    memory_bytes: int = 0
    memory_swap_bytes: int = 0
    memory_reservation_bytes: int = 0
    memory_swappiness: int = -1
    oom_kill_disable: bool = False
    nano_cpus: int = 0
    cpu_shares: int = 0
    cpu_period_us: int = 0
    cpu_quota_us: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    pids: int = 0
    blkio_weight: int = 0

    @property
    def any(self) -> bool:
        """Whether anything is limited at all."""
        return self != Limits()


@dataclass(frozen=True, slots=True)
class Ulimit:
    """A limit of each process: ``soft`` and ``hard``, -1 for none."""

    name: str
    soft: int
    hard: int


@dataclass(frozen=True, slots=True)
class Device:
    """A device of the host seen inside; ``permissions`` out of ``r``, ``w``, ``m``."""

    host: str
    inside: str
    permissions: str = "rwm"


@dataclass(frozen=True, slots=True)
class Powers:
    """What a container's processes may do and see beyond Docker's default, or less. ``pid_mode`` is empty, ``host`` or
    ``container:<id>``; ``ipc_mode`` empty, ``private``, ``none``, ``host`` or ``container:<id>``; ``uts_mode`` empty or
    ``host``; ``cgroupns_mode`` empty (the machine's default), ``host`` or ``private``. ``shm_bytes`` 0 is the default."""

    privileged: bool = False
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    no_new_privileges: bool = False
    seccomp_unconfined: bool = False
    unmasked: bool = False
    group_add: tuple[str, ...] = ()
    devices: tuple[Device, ...] = ()
    device_rules: tuple[str, ...] = ()
    init: bool = False
    pid_mode: str = ""
    ipc_mode: str = ""
    uts_mode: str = ""
    cgroupns_mode: str = ""
    sysctls: dict[str, str] = field(default_factory=dict)
    ulimits: tuple[Ulimit, ...] = ()
    shm_bytes: int = 0
    oom_score_adj: int = 0

    @property
    def administers_network(self) -> bool:
        """Whether its processes may change addresses, routes and links (CAP_NET_ADMIN, which is no default of Docker's)."""
        added, dropped = (
            {name.upper().removeprefix("CAP_") for name in names} for names in (self.cap_add, self.cap_drop)
        )
        if "ALL" in added:
            return self.privileged or "NET_ADMIN" not in dropped
        return self.privileged or "NET_ADMIN" in added


def check_limits(limits: Limits, cpus: int = 0) -> Limits:
    """The limits, with swap filled in as Docker does; raises ``Invalid`` with its words. ``cpus`` is how many the
    machine has, 0 when that does not matter."""
    memory, swap = limits.memory_bytes, limits.memory_swap_bytes
    if 0 < memory < MEMORY_BYTES_MIN:
        raise Invalid("Minimum memory limit allowed is 6MB", hint="give --memory more", code=codes.LIMIT_INVALID)
    if memory < 0 or limits.memory_reservation_bytes < 0:
        raise Invalid("invalid memory limit: it cannot be negative", code=codes.LIMIT_INVALID)
    if swap > 0 and memory == 0:
        raise Invalid(
            "You should always set the Memory limit when using Memoryswap limit, see usage", code=codes.LIMIT_INVALID
        )
    if 0 < swap < memory:
        raise Invalid(
            "Minimum memoryswap limit should be larger than memory limit, see usage", code=codes.LIMIT_INVALID
        )
    if 0 < memory < limits.memory_reservation_bytes:
        raise Invalid(
            "Minimum memory limit can not be less than memory reservation limit, see usage", code=codes.LIMIT_INVALID
        )
    if not -1 <= limits.memory_swappiness <= 100:
        raise Invalid(
            f"Invalid value: {limits.memory_swappiness}, valid memory swappiness range is 0-100",
            code=codes.LIMIT_INVALID,
        )
    _check_cpu(limits, cpus)
    if limits.blkio_weight and not BLKIO_WEIGHT[0] <= limits.blkio_weight <= BLKIO_WEIGHT[1]:
        raise Invalid("Range of blkio weight is from 10 to 1000", code=codes.LIMIT_INVALID)
    return limits


def _check_cpu(limits: Limits, cpus: int) -> None:
    if limits.nano_cpus and (limits.cpu_quota_us or limits.cpu_period_us):
        raise Invalid("Conflicting options: Nano CPUs and CPU Period cannot both be set", code=codes.LIMIT_INVALID)
    if limits.nano_cpus < 0 or (cpus and limits.nano_cpus > cpus * NANO):
        raise Invalid(
            f"range of CPUs is from 0.01 to {cpus:.2f}, as there are only {cpus} CPUs available",
            code=codes.LIMIT_INVALID,
        )
    if limits.cpu_period_us and not CPU_PERIOD_US[0] <= limits.cpu_period_us <= CPU_PERIOD_US[1]:
        raise Invalid(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
            code=codes.LIMIT_INVALID,
        )
    if 0 < limits.cpu_quota_us < CPU_QUOTA_US_MIN:
        raise Invalid("CPU cfs quota can not be less than 1ms (i.e. 1000)", code=codes.LIMIT_INVALID)
    if limits.cpu_shares < 0:
        raise Invalid(
            f"invalid CPU shares ({limits.cpu_shares}): value must be a positive integer", code=codes.LIMIT_INVALID
        )
    for what, text in (("cpus", limits.cpuset_cpus), ("memory nodes", limits.cpuset_mems)):
        if text and not _CPUSET.match(text):
            raise Invalid(
                f"Invalid value {text} for cpuset {what}", hint="write it like 0-2,4", code=codes.LIMIT_INVALID
            )
    if cpus and limits.cpuset_cpus:
        highest = max(int(number) for number in re.split(r"[,-]", limits.cpuset_cpus))
        if highest >= cpus:
            raise Invalid(
                f"Requested CPUs are not available - requested {limits.cpuset_cpus}, available: 0-{cpus - 1}",
                code=codes.LIMIT_INVALID,
            )


def merge(old: Limits, new: Limits) -> Limits:
    """``old`` with everything that ``new`` says, as ``docker update`` does."""
    empty = Limits()
    chosen = {
        item.name: getattr(new if getattr(new, item.name) != getattr(empty, item.name) else old, item.name)
        for item in fields(Limits)
    }
    merged = Limits(**chosen)
    if new.memory_bytes and not new.memory_swap_bytes and 0 < merged.memory_swap_bytes < new.memory_bytes:
        raise Invalid(
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time",
            code=codes.LIMIT_INVALID,
        )
    return merged


def check_ulimit(ulimit: Ulimit) -> None:
    """Raise ``Invalid`` for a limit that Linux does not know or that contradicts itself."""
    if ulimit.name not in ULIMITS:
        raise Invalid(
            f"invalid ulimit type: {ulimit.name}", hint="one of " + ", ".join(sorted(ULIMITS)), code=codes.LIMIT_INVALID
        )
    if ulimit.hard != -1 and (ulimit.soft == -1 or ulimit.soft > ulimit.hard):
        raise Invalid(
            f"ulimit soft limit must be less than or equal to hard limit: {ulimit.soft} > {ulimit.hard}",
            code=codes.LIMIT_INVALID,
        )


def parse_size(text: str) -> int:
    """Bytes of ``10m`` (Docker's units: powers of 1024); raises ``Invalid``."""
    found = _SIZE.match(text.lower())
    if not found or not int(found[1]):
        raise Invalid(f"invalid size: '{text}'", hint="write it like 512k, 10m or 1g", code=codes.LIMIT_INVALID)
    return int(found[1]) * _SIZES[found[2]]
