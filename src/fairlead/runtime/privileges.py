"""What a container's processes may do: capabilities, system calls, devices. Pure but for the list of the host's own."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from fairlead.model import codes
from fairlead.model.errors import Invalid, NotFound
from fairlead.model.limits import Device, Powers
from fairlead.runtime import profile

#: Every capability of Linux in the order of its numbers (linux/capability.h).
ALL_CAPABILITIES: tuple[str, ...] = tuple(
    f"CAP_{name}"
    for name in (
        "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE "
        "NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT "
        "SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL "
        "SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
    ).split()
)
_ALL = "ALL"
_STATUS = Path("/proc/self/status")
_KINDS = {"c": stat.S_ISCHR, "b": stat.S_ISBLK}
#: Places below /dev that are made for each container; those of the host are not handed on with --privileged.
_OWN_DEVICES = frozenset({"console", "pts", "ptmx", "shm", "mqueue", "fd", "core", "stdin", "stdout", "stderr"})


def available() -> tuple[str, ...]:
    """The capabilities that this process may hand on: those that the kernel knows and that were not taken from us."""
    text = next(line for line in _STATUS.read_text().splitlines() if line.startswith("CapBnd:"))
    mask = int(text.split()[1], 16)
    return tuple(name for number, name in enumerate(ALL_CAPABILITIES) if mask & (1 << number))


def capabilities(powers: Powers, every: Sequence[str] = ALL_CAPABILITIES) -> list[str]:
    """The capabilities of a container; ``every`` are those that can be given. Raises ``Invalid`` with Docker's words
    for a name that is none, and for one that cannot be given."""
    if powers.privileged:
        return list(every)
    add, drop = _names(powers.cap_add, "CapAdd"), _names(powers.cap_drop, "CapDrop")
    missing = add - {_ALL, *every}
    if missing:
        raise Invalid(
            f"capability {min(missing)} cannot be given on this machine",
            hint="leave --cap-add out",
            code=codes.LIMIT_INVALID,
        )
    if _ALL in add:
        return [name for name in every if name not in drop]
    base = () if _ALL in drop else profile.CAPABILITIES
    return [name for name in every if (name in base and name not in drop) or name in add]


def _names(given: tuple[str, ...], field: str) -> set[str]:
    found = set()
    for text in given:
        name = text.upper()
        if name == _ALL:
            found.add(_ALL)
            continue
        name = name if name.startswith("CAP_") else f"CAP_{name}"
        if name not in ALL_CAPABILITIES:
            raise Invalid(
                f'invalid {field}: unknown capability: "{name}"', hint="see capabilities(7)", code=codes.LIMIT_INVALID
            )
        found.add(name)
    return found


def devices(powers: Powers) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
    """The OCI device nodes to make, and the rules of the device cgroup. Raises ``NotFound`` for a device that the host
    does not have."""
    if powers.privileged:
        return _host_devices(), [{"allow": True, "access": "rwm"}]
    nodes: list[dict[str, object]] = []
    rules: list[dict[str, object]] = [{"allow": False, "access": "rwm"}]
    for device in powers.devices:
        for host, inside in _expand(device):
            node = _node(host, inside)
            nodes.append(node)
            rules.append(_rule(str(node["type"]), node["major"], node["minor"], device.permissions))
    rules += [_parsed_rule(text) for text in powers.device_rules]
    return nodes, rules


def _rule(kind: str, major: object, minor: object, access: str) -> dict[str, object]:
    return {"allow": True, "type": kind, "major": major, "minor": minor, "access": access}


def _parsed_rule(text: str) -> dict[str, object]:
    """``c 10:200 rwm`` with ``*`` for any number; raises ``Invalid``."""
    fault = Invalid(
        f"invalid device cgroup rule format: '{text}'", hint="write it like 'c 10:200 rwm'", code=codes.LIMIT_INVALID
    )
    words = text.split()
    numbers = words[1].split(":") if len(words) == 3 else []
    if len(numbers) != 2 or words[0] not in ("a", "b", "c") or not set(words[2]) <= set("rwm"):
        raise fault
    rule: dict[str, object] = {"allow": True, "type": words[0], "access": words[2]}
    for name, number in zip(("major", "minor"), numbers, strict=True):
        if number != "*" and not number.isdecimal():
            raise fault
        if number != "*":
            rule[name] = int(number)
    return rule


def _expand(device: Device) -> list[tuple[Path, str]]:
    """A device, or each one in a directory of devices."""
    host = Path(device.host)
    if not host.is_dir():
        return [(host, device.inside)]
    found = sorted(path for path in host.rglob("*") if path.is_char_device() or path.is_block_device())
    return [(path, f"{device.inside}/{path.relative_to(host)}") for path in found]


def _node(host: Path, inside: str) -> dict[str, object]:
    try:
        facts = host.stat()
    except OSError as fault:
        raise NotFound(
            f'error gathering device information while adding custom device "{host}": {fault.strerror}',
            code=codes.LIMIT_INVALID,
        ) from fault
    kind = next((letter for letter, check in _KINDS.items() if check(facts.st_mode)), "")
    if not kind:
        raise Invalid(
            f'error gathering device information while adding custom device "{host}": not a device node',
            code=codes.LIMIT_INVALID,
        )
    return {
        "path": inside,
        "type": kind,
        "major": os.major(facts.st_rdev),
        "minor": os.minor(facts.st_rdev),
        "fileMode": stat.S_IMODE(facts.st_mode),
        "uid": facts.st_uid,
        "gid": facts.st_gid,
    }


def _host_devices() -> list[dict[str, object]]:
    found = []
    root = Path("/dev")
    for where, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name not in _OWN_DEVICES]
        for name in names:
            path = Path(where, name)
            if name not in _OWN_DEVICES and not path.is_symlink() and (path.is_char_device() or path.is_block_device()):
                found.append(_node(path, str(path)))
    return found
