"""What Docker gives and denies a container by default (moby: daemon/pkg/oci/defaults.go, caps/defaults.go, seccomp)."""

from __future__ import annotations

from collections.abc import Collection

#: Search path of a container without one (moby: oci.DefaultPathEnv).
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

#: The fourteen capabilities of Docker's default set.
CAPABILITIES: tuple[str, ...] = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
)

#: Kernel files that tell about or reach the host: hidden.
MASKED_PATHS: tuple[str, ...] = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
)

#: Kernel files that steer the host: read-only.
READONLY_PATHS: tuple[str, ...] = (
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
)

#: Open files a process begins with and may raise itself to. Reason: programs that walk all possible descriptors or use
#: select() misbehave with more; systemd's advice since v240 and Docker's since v28 (1024:524288).
NOFILE_SOFT = 1024
NOFILE_HARD_MAX = 524288

#: Bytes of /dev/shm (Docker's default, 64 MiB).
SHM_BYTES = 64 << 20

#: System calls that Docker's profile denies to a container without CAP_SYS_ADMIN and the like. Ours lists what is
#: denied, not what is allowed: shorter, and new harmless system calls keep working.
DENIED_SYSCALLS: tuple[str, ...] = (
    "acct",
    "add_key",
    "bpf",
    "clock_settime",
    "delete_module",
    "finit_module",
    "fsconfig",
    "fsmount",
    "fsopen",
    "fspick",
    "init_module",
    "io_uring_enter",
    "io_uring_register",
    "io_uring_setup",
    "ioperm",
    "iopl",
    "kexec_file_load",
    "kexec_load",
    "keyctl",
    "lookup_dcookie",
    "mount",
    "mount_setattr",
    "move_mount",
    "move_pages",
    "open_by_handle_at",
    "open_tree",
    "perf_event_open",
    "pivot_root",
    "quotactl",
    "quotactl_fd",
    "reboot",
    "request_key",
    "setns",
    "settimeofday",
    "swapoff",
    "swapon",
    "syslog",
    "umount2",
    "unshare",
    "userfaultfd",
    "vhangup",
)

#: clone(2) flag (linux/sched.h) that makes a user namespace, the way round every other ban.
CLONE_NEWUSER = 0x10000000
#: errno values for denied calls: EPERM, and ENOSYS for clone3, whose flags cannot be inspected, so that the C library
#: falls back to clone (Docker does the same).
EPERM = 1
ENOSYS = 38

#: Machine name of uname(2) -> the architectures whose system calls such a kernel accepts.
SECCOMP_ARCHITECTURES: dict[str, tuple[str, ...]] = {
    "x86_64": ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"),
    "aarch64": ("SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"),
}


#: Capability -> the denied system calls that it gives back (moby: profiles/seccomp/default_linux.go).
GRANTED_BY_CAPABILITY: dict[str, frozenset[str]] = {
    "CAP_SYS_ADMIN": frozenset(
        {
            "bpf",
            "fsconfig",
            "fsmount",
            "fsopen",
            "fspick",
            "lookup_dcookie",
            "mount",
            "mount_setattr",
            "move_mount",
            "open_tree",
            "perf_event_open",
            "pivot_root",
            "quotactl",
            "quotactl_fd",
            "setns",
            "swapoff",
            "swapon",
            "syslog",
            "umount2",
            "unshare",
        }
    ),
    "CAP_BPF": frozenset({"bpf"}),
    "CAP_PERFMON": frozenset({"perf_event_open"}),
    "CAP_SYS_BOOT": frozenset({"reboot", "kexec_load", "kexec_file_load"}),
    "CAP_SYS_MODULE": frozenset({"delete_module", "init_module", "finit_module"}),
    "CAP_SYS_PACCT": frozenset({"acct"}),
    "CAP_SYS_RAWIO": frozenset({"iopl", "ioperm"}),
    "CAP_SYS_TIME": frozenset({"settimeofday", "clock_settime"}),
    "CAP_SYS_TTY_CONFIG": frozenset({"vhangup"}),
    "CAP_SYS_NICE": frozenset({"move_pages"}),
    "CAP_SYSLOG": frozenset({"syslog"}),
    "CAP_DAC_READ_SEARCH": frozenset({"open_by_handle_at"}),
}


def seccomp(machine: str, capabilities: Collection[str] = ()) -> dict[str, object] | None:
    """The OCI seccomp section for a machine and what its capabilities give back, None for a machine whose
    architectures are not known here."""
    architectures = SECCOMP_ARCHITECTURES.get(machine)
    if architectures is None:
        return None
    granted = {call for name in capabilities for call in GRANTED_BY_CAPABILITY.get(name, ())}
    denied = [name for name in DENIED_SYSCALLS if name not in granted]
    rules: list[dict[str, object]] = [{"names": denied, "action": "SCMP_ACT_ERRNO", "errnoRet": EPERM}]
    if "CAP_SYS_ADMIN" not in capabilities:
        user_namespace = {"index": 0, "value": CLONE_NEWUSER, "valueTwo": CLONE_NEWUSER, "op": "SCMP_CMP_MASKED_EQ"}
        rules.append({"names": ["clone"], "action": "SCMP_ACT_ERRNO", "errnoRet": EPERM, "args": [user_namespace]})
        rules.append({"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": ENOSYS})
    return {"defaultAction": "SCMP_ACT_ALLOW", "architectures": list(architectures), "syscalls": rules}
