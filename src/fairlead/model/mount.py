"""Mount: a host path, a volume or memory that a container sees at a place of its own."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from fairlead.model import codes
from fairlead.model.errors import Invalid

#: How mounts spread between host and container (mount_namespaces(7)).
PROPAGATIONS = ("private", "rprivate", "shared", "rshared", "slave", "rslave")
#: Words of ``-v`` that mean something elsewhere and nothing here: SELinux labels and consistency on other systems.
_WITHOUT_MEANING = frozenset({"z", "Z", "consistent", "cached", "delegated"})
#: Docker's grammar of a volume name (moby: RestrictedNamePattern).
_VOLUME_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+\Z")
#: Longest volume name: it becomes a directory entry (NAME_MAX is 255 bytes).
_VOLUME_NAME_MAX = 255
#: What a tmpfs may be told (moby: volume/mounts/linux_parser.go, validateTmpfsOptions; tmpfs(5)).
_TMPFS_WORDS = frozenset(
    "exec noexec suid nosuid dev nodev atime noatime diratime nodiratime relatime norelatime strictatime nostrictatime "
    "ro rw sync async dirsync remount mand nomand".split()
)
_TMPFS_VALUES = re.compile(r"(size=\d+[kmgKMG%]?|mode=[0-7]{1,4}|nr_inodes=\d+[kmgKMG]?|uid=\d+|gid=\d+)\Z")


@dataclass(frozen=True, slots=True)
class Mount:
    """One mount. ``kind`` is ``bind``, ``volume`` or ``tmpfs``; ``source`` a host path or a volume's name.

    ``mode`` is the text after the second colon of ``-v``, as asked. ``make_source`` says that a host directory that is
    missing is made (``-v``), ``anonymous`` that the volume goes with its container, ``copy`` that an empty volume gets
    what the image has at that place. ``options`` are a tmpfs's own."""

    kind: str
    target: str
    source: str = ""
    read_only: bool = False
    mode: str = ""
    propagation: str = ""
    make_source: bool = False
    anonymous: bool = False
    copy: bool = True
    options: tuple[str, ...] = ()


def parse_volume(text: str) -> Mount:
    """``SOURCE:TARGET[:MODE]`` of ``-v``; raises ``Invalid`` with Docker's words. A source without a slash at its
    beginning is a volume's name."""
    parts = text.split(":")
    if len(parts) not in (2, 3) or not all(parts):
        raise Invalid(
            f"invalid volume specification: {text!r}",
            hint="write SOURCE:TARGET or SOURCE:TARGET:ro",
            code=codes.MOUNT_INVALID,
        )
    source, target, mode = (*parts, "")[:3]
    read_only, copy, propagation = _mode(mode, volume=not source.startswith("/"))
    place = check_target(target)
    if source.startswith("/"):
        _check_path(source)
        return Mount("bind", place, source, read_only, mode, propagation, make_source=True)
    return Mount("volume", place, check_volume_name(source), read_only, mode, copy=copy)


def check_target(target: str) -> str:
    """A place inside a container, normalised; raises ``Invalid``."""
    place = PurePosixPath(target)
    if not place.is_absolute():
        raise Invalid(
            f"invalid mount path: '{target}' mount path must be absolute",
            hint="begin the place inside with /",
            code=codes.MOUNT_INVALID,
        )
    if ".." in place.parts or "\0" in target:
        raise Invalid(
            f"invalid volume specification: {target!r}: invalid destination",
            hint="write it without ..",
            code=codes.MOUNT_INVALID,
        )
    if len(place.parts) == 1:
        raise Invalid(
            "invalid volume specification: destination can't be '/'",
            hint="name a place below /",
            code=codes.MOUNT_INVALID,
        )
    return "/" + "/".join(place.parts[1:])


def check_volume_name(name: str) -> str:
    """A volume's name; raises ``Invalid`` with Docker's words."""
    if not _VOLUME_NAME.match(name) or len(name) > _VOLUME_NAME_MAX:
        raise Invalid(
            f'"{name}" includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are '
            "allowed. If you intended to pass a host directory, use absolute path",
            hint="write the full path of a directory, or a name of at least two such characters",
            code=codes.MOUNT_INVALID,
        )
    return name


def check_mount(mount: Mount) -> Mount:
    """A mount of the long form, normalised; raises ``Invalid`` with Docker's words."""
    place = check_target(mount.target)
    if mount.kind == "bind":
        if not mount.source:
            raise Invalid(
                'invalid mount config for type "bind": field Source must not be empty', code=codes.MOUNT_INVALID
            )
        if not mount.source.startswith("/"):
            raise Invalid(
                f"invalid mount config for type \"bind\": invalid mount path: '{mount.source}' mount path must be absolute",
                code=codes.MOUNT_INVALID,
            )
        _check_path(mount.source)
        if mount.propagation and mount.propagation not in PROPAGATIONS:
            raise Invalid(
                f"invalid propagation mode: {mount.propagation}",
                hint="one of " + ", ".join(PROPAGATIONS),
                code=codes.MOUNT_INVALID,
            )
    elif mount.kind == "volume":
        if mount.source:
            check_volume_name(mount.source)
    elif mount.kind == "tmpfs":
        if mount.source:
            raise Invalid(
                'invalid mount config for type "tmpfs": field Source must not be specified', code=codes.MOUNT_INVALID
            )
        _check_tmpfs(mount.options)
    else:
        raise Invalid(
            f'invalid mount config for type "{mount.kind}": mount type unknown',
            hint="bind, volume or tmpfs",
            code=codes.MOUNT_INVALID,
        )
    return Mount(
        mount.kind, place, mount.source, mount.read_only, mount.mode, mount.propagation, mount.make_source,
        mount.anonymous, mount.copy, mount.options,
    )  # fmt: skip


def check_unique(mounts: tuple[Mount, ...]) -> None:
    """Raise ``Invalid`` when two mounts want the same place."""
    seen: set[str] = set()
    for mount in mounts:
        if mount.target in seen:
            raise Invalid(
                f"Duplicate mount point: {mount.target}", hint="mount one thing there", code=codes.MOUNT_INVALID
            )
        seen.add(mount.target)


def _mode(mode: str, *, volume: bool) -> tuple[bool, bool, str]:
    """(read-only, copy, propagation) out of the words after the second colon; raises ``Invalid``."""
    read_only, copy, propagation = False, True, ""
    for word in mode.split(",") if mode else ():
        if word in ("ro", "rw"):
            read_only = word == "ro"
        elif word == "nocopy" and volume:
            copy = False
        elif word in PROPAGATIONS and not volume:
            propagation = word
        elif word not in _WITHOUT_MEANING:
            raise Invalid(
                f"invalid mode: {mode}",
                hint="use ro or rw" + ("" if volume else ", and a propagation"),
                code=codes.MOUNT_INVALID,
            )
    return read_only, copy, propagation


def _check_path(path: str) -> None:
    if "\0" in path or ".." in PurePosixPath(path).parts:
        raise Invalid(
            f"invalid volume specification: {path!r}: invalid source",
            hint="write the path without ..",
            code=codes.MOUNT_INVALID,
        )


def _check_tmpfs(options: tuple[str, ...]) -> None:
    for option in options:
        if option not in _TMPFS_WORDS and option not in PROPAGATIONS and not _TMPFS_VALUES.match(option):
            raise Invalid(
                f"invalid tmpfs option {option!r}",
                hint="such as size=64m, mode=1777, noexec, ro",
                code=codes.MOUNT_INVALID,
            )
