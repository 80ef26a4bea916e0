"""From what is asked to an OCI runtime configuration. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from fairlead.model.errors import Invalid
from fairlead.model.ids import SHORT_ID_LENGTH
from fairlead.model.runspec import ExecSpec, RunSpec
from fairlead.runtime import profile
from fairlead.runtime.users import Identity

#: Version of the OCI runtime specification that runc 1.1 implements.
OCI_VERSION = "1.0.2"
#: Parent of our cgroups in every hierarchy.
CGROUP_PARENT = "/fairlead"
#: Where a host keeps what lives only while it runs: fresh in a container on the host image. (path, mode)
FRESH_DIRECTORIES: tuple[tuple[str, str], ...] = (("/tmp", "1777"), ("/run", "0755"))  # noqa: S108 (inside)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a container is going to run. ``hidden`` are directories, as seen inside, that it must not see; ``fresh``
    tells that it runs on the host's own root, whose /tmp and /run are not for it; ``cgroup2`` that the host has the
    unified hierarchy only; ``nofile_max`` is the most open files that this process may grant."""

    rootfs: str
    identity: Identity
    hidden: tuple[str, ...] = ()
    fresh: bool = False
    cgroup2: bool = False
    nofile_max: int = profile.NOFILE_HARD_MAX
    machine: str = "x86_64"


def config(spec: RunSpec, place: Place) -> dict[str, object]:
    """The OCI configuration of a container. Raises ``Invalid`` for binds, directories or arguments that make none."""
    made: dict[str, object] = {
        "ociVersion": OCI_VERSION,
        "root": {"path": place.rootfs, "readonly": spec.read_only},
        "process": _process(spec, place),
        "mounts": _mounts(spec, place),
        "linux": _linux(spec, place),
    }
    if spec.netns:
        made["hostname"] = spec.hostname or spec.container_id[:SHORT_ID_LENGTH]
    return made


def exec_process(process: dict[str, object], spec: ExecSpec, identity: Identity | None) -> dict[str, object]:
    """The OCI process for a command beside ``process``, the container's own: same limits and capabilities, its
    environment below that of ``spec``. ``identity`` is None when the container's own user shall run it."""
    inherited = process.get("env")
    variables = _variables(str(entry) for entry in (inherited if isinstance(inherited, list) else ()))
    if identity is not None:
        variables["HOME"] = identity.home
    if spec.tty:
        variables.setdefault("TERM", "xterm")
    variables.update(_variables(spec.env))
    made = {key: value for key, value in process.items() if key != "consoleSize"}
    made["args"] = list(_arguments(spec.args))
    made["env"] = [f"{key}={value}" for key, value in variables.items()]
    made["terminal"] = spec.tty
    if spec.working_dir:
        made["cwd"] = _directory(spec.working_dir)
    if identity is not None:
        made["user"] = _user(identity)
    return made


def parse_bind(text: str) -> tuple[str, str, bool]:
    """``source:target[:ro|rw]`` as (source, target, read-only); raises ``Invalid``."""
    parts = text.split(":")
    if len(parts) not in (2, 3) or not all(parts):
        raise Invalid(f"invalid volume specification: {text!r}", hint="write SOURCE:TARGET or SOURCE:TARGET:ro")
    source, target, mode = (*parts, "rw")[:3]
    if not source.startswith("/") or not target.startswith("/"):
        raise Invalid(
            f"invalid volume specification: {text!r}: paths must be absolute",
            hint="named volumes are not supported: give the full path of a directory or file",
        )
    if mode not in ("ro", "rw"):
        raise Invalid(f"invalid mode: {mode}", hint="use ro or rw")
    place = PurePosixPath(target)
    if place == PurePosixPath("/") or ".." in place.parts:
        raise Invalid(f"invalid volume specification: {text!r}: invalid destination", hint="name a place below /")
    return source, str(place), mode == "ro"


def _process(spec: RunSpec, place: Place) -> dict[str, object]:
    capabilities = list(profile.CAPABILITIES)
    hard = min(place.nofile_max, profile.NOFILE_HARD_MAX)
    return {
        "terminal": spec.tty,
        "user": _user(place.identity),
        "args": list(_arguments(spec.args)),
        "env": _environment(spec, place.identity),
        "cwd": _directory(spec.working_dir or "/"),
        "capabilities": {"bounding": capabilities, "effective": capabilities, "permitted": capabilities},
        "rlimits": [{"type": "RLIMIT_NOFILE", "soft": min(profile.NOFILE_SOFT, hard), "hard": hard}],
        "noNewPrivileges": False,
    }


def _arguments(args: tuple[str, ...]) -> tuple[str, ...]:
    if not args:
        raise Invalid("no command specified", hint="name a command after the image")
    if any("\0" in arg for arg in args):
        raise Invalid("invalid argument: a command cannot hold a NUL byte", hint="remove it")
    return args


def _directory(path: str) -> str:
    if not path.startswith("/") or "\0" in path:
        raise Invalid(
            f"the working directory {path!r} is invalid, it needs to be an absolute path", hint="begin it with /"
        )
    return path


def _user(identity: Identity) -> dict[str, object]:
    return {"uid": identity.uid, "gid": identity.gid, "additionalGids": list(identity.groups)}


def _variables(entries: Iterable[str]) -> dict[str, str]:
    """NAME -> value of entries ``NAME=value``; others mean nothing to a process and are left out."""
    pairs = (entry.partition("=") for entry in entries if "\0" not in entry)
    return {name: value for name, separator, value in pairs if name and separator}


def _environment(spec: RunSpec, identity: Identity) -> list[str]:
    variables = {"PATH": profile.PATH, "HOSTNAME": spec.hostname or spec.container_id[:SHORT_ID_LENGTH]}
    if spec.tty:
        variables["TERM"] = "xterm"
    variables.update(_variables(spec.env))
    variables.setdefault("HOME", identity.home)
    return [f"{key}={value}" for key, value in variables.items()]


def _mounts(spec: RunSpec, place: Place) -> list[dict[str, object]]:
    quiet = ["nosuid", "noexec", "nodev"]
    mounts = [
        _mount("/proc", "proc", "proc", quiet),
        _mount("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
        _mount("/dev/pts", "devpts", "devpts", [*quiet[:2], "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
        _mount("/dev/shm", "tmpfs", "shm", [*quiet, "mode=1777", f"size={profile.SHM_BYTES}"]),  # noqa: S108 (inside)
        _mount("/dev/mqueue", "mqueue", "mqueue", quiet),
        _mount("/sys", "sysfs", "sysfs", [*quiet, "ro"]),
        _mount("/sys/fs/cgroup", "cgroup", "cgroup", [*quiet, "ro"]),
    ]
    if place.fresh:
        options = ["nosuid", "nodev"]
        mounts += [_mount(path, "tmpfs", "tmpfs", [*options, f"mode={mode}"]) for path, mode in FRESH_DIRECTORIES]
    ours = (("/etc/hosts", spec.hosts), ("/etc/resolv.conf", spec.resolv_conf), ("/etc/hostname", spec.hostname_file))
    binds = [(target, source, "rw") for target, source in ours if source]
    for text in spec.binds:
        source, target, read_only = parse_bind(text)
        binds.append((target, source, "ro" if read_only else "rw"))
    binds.sort(key=lambda bind: bind[0].count("/"))  # /etc before /etc/hosts, which it would hide
    return mounts + [_mount(target, "bind", source, ["rbind", "rprivate", mode]) for target, source, mode in binds]


def _mount(target: str, kind: str, source: str, options: list[str]) -> dict[str, object]:
    return {"destination": target, "type": kind, "source": source, "options": options}


def _linux(spec: RunSpec, place: Place) -> dict[str, object]:
    namespaces = [{"type": kind} for kind in ("pid", "ipc", "mount")]
    if spec.netns:
        namespaces += [{"type": "uts"}, {"type": "network", "path": spec.netns}]
    if place.cgroup2:
        namespaces.append({"type": "cgroup"})
    made: dict[str, object] = {
        "cgroupsPath": f"{CGROUP_PARENT}/{spec.container_id}",
        "namespaces": namespaces,
        "resources": {"devices": [{"allow": False, "access": "rwm"}]},
        "maskedPaths": [*profile.MASKED_PATHS, *place.hidden],
        "readonlyPaths": list(profile.READONLY_PATHS),
    }
    filter_rules = profile.seccomp(place.machine)
    if filter_rules is not None:
        made["seccomp"] = filter_rules
    return made
