"""From what is asked to an OCI runtime configuration. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from fairlead.model import codes
from fairlead.model.errors import Invalid
from fairlead.model.ids import SHORT_ID_LENGTH
from fairlead.model.runspec import ExecSpec, RunSpec
from fairlead.runtime import profile
from fairlead.runtime.privileges import ALL_CAPABILITIES
from fairlead.runtime.users import Identity

#: Version of the OCI runtime specification that runc 1.1 implements.
OCI_VERSION = "1.0.2"
#: What the kernel takes for a limit that is none (setrlimit(2), 64 bit).
RLIM_INFINITY = (1 << 64) - 1
#: Annotation of ours in the bundle: how many files the log may have, for the daemon that comes after us.
LOG_FILES = "fairlead.log-files"
#: Parent of our cgroups in every hierarchy.
CGROUP_PARENT = "/fairlead"
#: Where a host keeps what lives only while it runs: fresh in a container on the host image. (path, mode)
FRESH_DIRECTORIES: tuple[tuple[str, str], ...] = (("/tmp", "1777"), ("/run", "0755"))  # noqa: S108 (inside)


#: Where the program that reaps stands inside (Docker).
INIT_TARGET = "/sbin/docker-init"


@dataclass(frozen=True, slots=True)
class Bound:
    """A mount whose source is known: a host path, or empty for memory. ``options`` are mount(8)'s."""

    target: str
    source: str = ""
    options: tuple[str, ...] = ("rbind", "rprivate", "rw")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a container is going to run. ``hidden`` are directories, as seen inside, that it must not see; ``fresh``
    tells that it runs on the host's own root, whose /tmp and /run are not for it; ``cgroup_ns`` that it sees control
    groups of its own only; ``nofile_max`` is the most open files that this process may grant."""

    rootfs: str
    identity: Identity
    hidden: tuple[str, ...] = ()
    fresh: bool = False
    cgroup_ns: bool = False
    nofile_max: int = profile.NOFILE_HARD_MAX
    machine: str = "x86_64"
    mounts: tuple[Bound, ...] = ()
    capabilities: tuple[str, ...] = profile.CAPABILITIES
    devices: tuple[dict[str, object], ...] = ()
    resources: dict[str, object] = field(default_factory=dict)
    namespaces: dict[str, str] = field(default_factory=dict)
    init: str = ""


def config(spec: RunSpec, place: Place) -> dict[str, object]:
    """The OCI configuration of a container. Raises ``Invalid`` for binds, directories or arguments that make none."""
    made: dict[str, object] = {
        "ociVersion": OCI_VERSION,
        "root": {"path": place.rootfs, "readonly": spec.read_only},
        "process": _process(spec, place),
        "mounts": _mounts(spec, place),
        "linux": _linux(spec, place),
        "annotations": {LOG_FILES: str(spec.log_files if spec.log_bytes_max > 0 else 1)},
    }
    if _owns_names(spec, place):
        made["hostname"] = spec.hostname or spec.container_id[:SHORT_ID_LENGTH]
    return made


def exec_process(
    process: dict[str, object],
    spec: ExecSpec,
    identity: Identity | None,
    every: Sequence[str] = ALL_CAPABILITIES,
) -> dict[str, object]:
    """The OCI process for a command beside ``process``, the container's own: same limits and capabilities, its
    environment below that of ``spec``. ``identity`` is None when the container's own user shall run it;
    ``every`` are the capabilities of a privileged command."""
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
    if spec.privileged:
        made["capabilities"] = _capabilities(every)
    made["terminal"] = spec.tty
    if spec.working_dir:
        made["cwd"] = _directory(spec.working_dir)
    if identity is not None:
        made["user"] = _user(identity)
    return made


def _process(spec: RunSpec, place: Place) -> dict[str, object]:
    args = _arguments(spec.args)
    made: dict[str, object] = {
        "terminal": spec.tty,
        "user": _user(place.identity),
        "args": [INIT_TARGET, "--", *args] if place.init else list(args),
        "env": _environment(spec, place.identity),
        "cwd": _directory(spec.working_dir or "/"),
        "capabilities": _capabilities(place.capabilities),
        "rlimits": _rlimits(spec, place),
        "noNewPrivileges": spec.powers.no_new_privileges,
    }
    if spec.powers.oom_score_adj:
        made["oomScoreAdj"] = spec.powers.oom_score_adj
    return made


def _capabilities(names: Iterable[str]) -> dict[str, object]:
    chosen = list(names)
    return {"bounding": chosen, "effective": chosen, "permitted": chosen}


def _rlimits(spec: RunSpec, place: Place) -> list[dict[str, object]]:
    hard = min(place.nofile_max, profile.NOFILE_HARD_MAX)
    made: dict[str, dict[str, object]] = {
        "nofile": {"type": "RLIMIT_NOFILE", "soft": min(profile.NOFILE_SOFT, hard), "hard": hard}
    }
    for ulimit in spec.powers.ulimits:
        soft, hard = (RLIM_INFINITY if number == -1 else number for number in (ulimit.soft, ulimit.hard))
        made[ulimit.name] = {"type": f"RLIMIT_{ulimit.name.upper()}", "soft": soft, "hard": hard}
    return list(made.values())


def _arguments(args: tuple[str, ...]) -> tuple[str, ...]:
    if not args:
        raise Invalid("no command specified", hint="name a command after the image", code=codes.START_FAILED)
    if any("\0" in arg for arg in args):
        raise Invalid("invalid argument: a command cannot hold a NUL byte", hint="remove it", code=codes.START_FAILED)
    return args


def _directory(path: str) -> str:
    if not path.startswith("/") or "\0" in path:
        raise Invalid(
            f"the working directory {path!r} is invalid, it needs to be an absolute path",
            hint="begin it with /",
            code=codes.START_FAILED,
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
    shm_bytes = spec.powers.shm_bytes or profile.SHM_BYTES
    access = "rw" if spec.powers.privileged else "ro"
    mounts = [
        _mount("/proc", "proc", "proc", quiet),
        _mount("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
        _mount("/dev/pts", "devpts", "devpts", [*quiet[:2], "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
        _mount("/dev/shm", "tmpfs", "shm", [*quiet, "mode=1777", f"size={shm_bytes}"]),  # noqa: S108 (inside)
        _mount("/dev/mqueue", "mqueue", "mqueue", quiet),
        _mount("/sys", "sysfs", "sysfs", [*quiet, access]),
        _mount("/sys/fs/cgroup", "cgroup", "cgroup", [*quiet, access]),
    ]
    if place.namespaces.get("ipc") == "":
        mounts[3] = _mount("/dev/shm", "bind", "/dev/shm", ["rbind", "rprivate"])  # noqa: S108 (the host's)
    if place.fresh:
        options = ["nosuid", "nodev"]
        mounts += [_mount(path, "tmpfs", "tmpfs", [*options, f"mode={mode}"]) for path, mode in FRESH_DIRECTORIES]
    ours = (("/etc/hosts", spec.hosts), ("/etc/resolv.conf", spec.resolv_conf), ("/etc/hostname", spec.hostname_file))
    bounds = [Bound(target, source) for target, source in ours if source]
    if place.init:
        bounds.append(Bound(INIT_TARGET, place.init, ("rbind", "rprivate", "ro")))
    theirs = {bound.target for bound in place.mounts}
    bounds = [*(bound for bound in bounds if bound.target not in theirs), *place.mounts]
    bounds.sort(key=lambda bound: bound.target.count("/"))  # /etc before /etc/hosts, which it would hide
    mounts = [mount for mount in mounts if mount["destination"] not in theirs]
    return mounts + [
        _mount(b.target, "bind" if b.source else "tmpfs", b.source or "tmpfs", [*b.options]) for b in bounds
    ]


def _mount(target: str, kind: str, source: str, options: list[str]) -> dict[str, object]:
    return {"destination": target, "type": kind, "source": source, "options": options}


def _linux(spec: RunSpec, place: Place) -> dict[str, object]:
    powers = spec.powers
    open_to_all = powers.privileged or powers.unmasked
    made: dict[str, object] = {
        "cgroupsPath": f"{CGROUP_PARENT}/{spec.container_id}",
        "namespaces": _namespaces(spec, place),
        "devices": list(place.devices),
        "resources": {"devices": [{"allow": False, "access": "rwm"}], **place.resources},
        "maskedPaths": [*(() if open_to_all else profile.MASKED_PATHS), *place.hidden],
        "readonlyPaths": [] if open_to_all else list(profile.READONLY_PATHS),
    }
    sysctls = dict(powers.sysctls)
    if spec.domainname and _owns_names(spec, place):
        sysctls["kernel.domainname"] = spec.domainname
    if sysctls:
        made["sysctl"] = sysctls
    shared = {option.removeprefix("r") for bound in place.mounts for option in bound.options}
    if "shared" in shared or "slave" in shared:
        made["rootfsPropagation"] = "shared" if "shared" in shared else "rslave"
    filter_rules = None
    if not powers.privileged and not powers.seccomp_unconfined:
        filter_rules = profile.seccomp(place.machine, place.capabilities)
    if filter_rules is not None:
        made["seccomp"] = filter_rules
    return made


def _owns_names(spec: RunSpec, place: Place) -> bool:
    """Whether the container has a host name of its own: not beside the host's network or names."""
    return bool(spec.netns) and place.namespaces.get("uts") != ""


def _namespaces(spec: RunSpec, place: Place) -> list[dict[str, object]]:
    made: list[dict[str, object]] = [{"type": "mount"}]
    for kind in ("pid", "ipc"):
        path = place.namespaces.get(kind)
        if path is None:
            made.append({"type": kind})
        elif path:
            made.append({"type": kind, "path": path})
    if _owns_names(spec, place):
        made.append({"type": "uts"})
    if spec.netns:
        made.append({"type": "network", "path": spec.netns})
    if place.cgroup_ns:
        made.append({"type": "cgroup"})
    return made
