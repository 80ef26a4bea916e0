"""From a wish to what this machine can give: sources of mounts, devices, limits, namespaces of others."""

from __future__ import annotations

import os
import platform
import resource
import shutil
from collections.abc import Callable
from pathlib import Path

from fairlead.model import codes
from fairlead.model.errors import Conflict, Invalid, Unavailable
from fairlead.model.mount import Mount
from fairlead.model.runspec import RunSpec
from fairlead.model.settings import Paths
from fairlead.runtime import cgroups, privileges
from fairlead.runtime.bundle import Bound, Place
from fairlead.runtime.images import Root
from fairlead.runtime.layout import Files
from fairlead.runtime.users import identity, read_accounts
from fairlead.runtime.volumes import Volumes

#: Programs that can be a container's first process and reap for the rest, the best first: those that need no library
#: of the image come before the one that may.
INIT_PROGRAMS = ("docker-init", "catatonit", "tini-static", "tini")
_INIT_PATH = os.defpath + ":/usr/local/bin:/usr/libexec/podman:/usr/libexec/docker"
#: mount(8) options of a tmpfs unless its user says otherwise (Docker).
TMPFS_OPTIONS = ("noexec", "nosuid", "nodev")
_OPPOSITE = {"exec": "noexec", "suid": "nosuid", "dev": "nodev"}
#: Owner of a container's process id by its identifier, 0 for one that does not run.
PidOf = Callable[[str], int]


async def place_of(spec: RunSpec, root: Root, files: Files, paths: Paths, pid_of: PidOf) -> Place:
    """Where and how a container is going to run; its root is mounted already. Makes host directories and volumes that
    are missing. Raises ``Invalid``, ``NotFound``, ``Conflict``, ``Unavailable``, ``OSError``."""
    powers = spec.powers
    passwd, group = (read_accounts(files.rootfs, path) for path in ("/etc/passwd", "/etc/group"))
    nodes, rules = privileges.devices(powers)
    limits, _ = cgroups.possible(spec.limits) if spec.limits.any else (spec.limits, [])
    return Place(
        rootfs=str(files.rootfs),
        identity=identity(spec.user, passwd, group, powers.group_add),
        hidden=root.hidden,
        fresh=root.host,
        cgroup_ns=powers.cgroupns_mode == "private" or (not powers.cgroupns_mode and cgroups.is_unified()),
        nofile_max=resource.getrlimit(resource.RLIMIT_NOFILE)[1],
        machine=platform.machine(),
        mounts=tuple([await _bound(mount, files, paths) for mount in spec.mounts]),
        capabilities=tuple(privileges.capabilities(powers, privileges.available())),
        devices=tuple(nodes),
        resources={"devices": rules, **cgroups.resources(limits)},
        namespaces=_namespaces(spec, pid_of),
        init=find_init() if powers.init else "",
    )


def find_init() -> str:
    """The program for ``--init``; raises ``Unavailable`` when there is none."""
    for name in INIT_PROGRAMS:
        found = shutil.which(name, path=_INIT_PATH)
        if found:
            return found
    raise Unavailable(
        'exec: "docker-init": executable file not found in $PATH',
        hint="install one: apt install tini, or leave --init",
        code=codes.PROGRAM_MISSING,
    )


async def _bound(mount: Mount, files: Files, paths: Paths) -> Bound:
    access = "ro" if mount.read_only else "rw"
    if mount.kind == "tmpfs":
        return Bound(mount.target, "", _tmpfs_options(mount, access))
    if mount.kind == "volume":
        volumes = Volumes(paths)
        volume = volumes.create(mount.source, anonymous=mount.anonymous)
        if mount.copy:
            await volumes.fill(volume, files.rootfs, mount.target)
        return Bound(mount.target, volume.path, ("rbind", "rprivate", access))
    _make_source(mount)
    return Bound(mount.target, mount.source, ("rbind", mount.propagation or "rprivate", access))


def _make_source(mount: Mount) -> None:
    """A host path that is missing is made for ``-v`` and refused for the long form (Docker)."""
    source = Path(mount.source)
    if source.exists():
        return
    if not mount.make_source:
        raise Invalid(
            f'invalid mount config for type "bind": bind source path does not exist: {mount.source}',
            hint="make the directory first, or use -v, which makes it",
            code=codes.MOUNT_INVALID,
        )
    source.mkdir(mode=0o755, parents=True)


def _tmpfs_options(mount: Mount, access: str) -> tuple[str, ...]:
    given_back = {_OPPOSITE.get(option, "") for option in mount.options}
    base = [option for option in TMPFS_OPTIONS if option not in given_back]
    return (*base, *mount.options, *(("ro",) if access == "ro" else ()))


def _namespaces(spec: RunSpec, pid_of: PidOf) -> dict[str, str]:
    """Paths of the namespaces to join; empty text for the host's own."""
    powers, found = spec.powers, {}
    for kind, mode in (("pid", powers.pid_mode), ("ipc", powers.ipc_mode)):
        if mode == "host":
            found[kind] = ""
        elif mode.startswith("container:"):
            other = mode.removeprefix("container:")
            pid = pid_of(other)
            if not pid:
                raise Conflict(
                    f"cannot join {kind.upper()} namespace of a non running container: container {other} is not running",
                    hint="start it first",
                    code=codes.CONTAINER_NOT_RUNNING,
                )
            found[kind] = f"/proc/{pid}/ns/{kind}"
    if powers.uts_mode == "host":
        found["uts"] = ""
    return found
