"""Whom a container's process runs as: Docker's ``user[:group]`` looked up in the container's own files."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from fairlead.model import codes
from fairlead.model.errors import Invalid
from fairlead.runtime.mounts import open_in_root

#: Bytes read of /etc/passwd or /etc/group. Reason: an image is not trusted to have small ones; 1 MiB is some 15 000
#: users. Our choice.
ACCOUNTS_BYTES_MAX = 1 << 20
#: Largest numeric id (Docker, moby/sys/user: 1<<31 - 1).
ID_MAX = (1 << 31) - 1


@dataclass(frozen=True, slots=True)
class Identity:
    """Numeric ids, supplementary groups, and the home directory."""

    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    home: str = "/root"


def read_accounts(rootfs: Path, path: str) -> str:
    """Text of an account file inside ``rootfs``, never one outside it; empty when it is missing or no plain file."""
    try:
        descriptor = open_in_root(rootfs, path)
    except OSError:
        return ""
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return ""
        return os.pread(descriptor, ACCOUNTS_BYTES_MAX, 0).decode("utf-8", "replace")
    except OSError:
        return ""
    finally:
        os.close(descriptor)


def identity(user: str, passwd: str, group: str, more: tuple[str, ...] = ()) -> Identity:
    """Resolve ``name|uid[:name|gid]`` (empty = root) and ``more`` groups with the texts of the two files.

    Raises ``Invalid`` with Docker's words when a name is not in them or an id is out of range.
    """
    who, _, group_part = user.partition(":")
    entry = _find(passwd, who or "0", columns=7)
    if entry:
        uid, gid, name, home = _number(entry[2]), _number(entry[3]), entry[0], entry[5] or "/"
    elif (who or "0").isdecimal():
        uid, gid, name, home = _number(who or "0"), 0, "", "/root" if not who else "/"
    else:
        raise Invalid(
            f"unable to find user {who}: no matching entries in passwd file",
            hint="name a user of the image, or give a numeric id",
            code=codes.USER_NOT_FOUND,
        )
    added = [_group(part, group) for part in more]
    if group_part:
        return Identity(uid, _group(group_part, group), tuple(sorted(set(added))), home)
    return Identity(uid, gid, tuple(sorted({*_memberships(group, name, gid), *added})), home)


def _group(part: str, group: str) -> int:
    entry = _find(group, part, columns=4)
    if entry:
        return _number(entry[2])
    if part.isdecimal():
        return _number(part)
    raise Invalid(
        f"unable to find group {part}: no matching entries in group file",
        hint="name a group of the image, or give a numeric id",
        code=codes.USER_NOT_FOUND,
    )


def _find(text: str, wanted: str, columns: int) -> list[str] | None:
    """The entry whose name is ``wanted``, or else whose id (third column) is."""
    entries = [line.split(":") for line in text.splitlines()]
    entries = [entry for entry in entries if len(entry) >= columns and entry[2].isdecimal()]
    by_name = next((entry for entry in entries if entry[0] == wanted), None)
    return by_name or next((entry for entry in entries if entry[2] == wanted), None)


def _memberships(group: str, name: str, primary: int) -> tuple[int, ...]:
    found: set[int] = set()
    for line in group.splitlines():
        entry = line.split(":")
        if name and len(entry) >= 4 and entry[2].isdecimal() and name in entry[3].split(","):
            found.add(_number(entry[2]))
    return tuple(sorted(found - {primary}))


def _number(text: str) -> int:
    if not text.isdecimal() or len(text) > 10 or int(text) > ID_MAX:
        raise Invalid(
            f"uids and gids must be in range 0-{ID_MAX}", hint="choose a smaller id", code=codes.USER_NOT_FOUND
        )
    return int(text)
