"""What a container runtime is told to run, and what comes back from commands run beside it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from fairlead.model.errors import Invalid
from fairlead.model.limits import Limits, Powers
from fairlead.model.mount import Mount


@dataclass(frozen=True, slots=True)
class RunSpec:
    """One container to start. ``netns`` is the path of a prepared network namespace, empty for the host's own.
    ``hosts``, ``resolv_conf`` and ``hostname_file`` are files of ours, bound over the ones in the image.
    ``log_bytes_max`` -1 keeps all output, else ``log_files`` files of that size."""

    container_id: str
    image: str
    args: tuple[str, ...]
    env: tuple[str, ...]
    working_dir: str
    user: str
    hostname: str
    tty: bool
    open_stdin: bool
    netns: str
    hosts: str
    resolv_conf: str
    hostname_file: str
    mounts: tuple[Mount, ...] = ()
    read_only: bool = False
    stop_signal: str = "SIGTERM"
    domainname: str = ""
    limits: Limits = Limits()
    powers: Powers = Powers()
    log_bytes_max: int = -1
    log_files: int = 1


@dataclass(frozen=True, slots=True)
class ExecSpec:
    """A command to run inside a running container."""

    args: tuple[str, ...]
    env: tuple[str, ...] = ()
    working_dir: str = ""
    user: str = ""
    tty: bool = False
    open_stdin: bool = False
    privileged: bool = False
    detach_keys: str = ""


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line (with its newline, if it had one) of a container's output. ``stream`` is ``stdout`` or ``stderr``;
    ``at`` is epoch seconds with nanosecond text kept in ``stamp`` (RFC 3339)."""

    stream: str
    data: bytes
    stamp: str


#: A user or group: a number, or a name as adduser(8) makes them and directories of users hand them out.
_ACCOUNT = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9_.@-]{0,254}\$?")
#: Longest path that Linux takes, with its closing NUL (PATH_MAX, linux/limits.h).
_PATH_BYTES_MAX = 4096


def check_program(user: str, working_dir: str) -> None:
    """Raise ``Invalid`` for a user (``NAME|UID[:GROUP|GID]``) or a working directory that none can be."""
    for account in user.split(":", 1) if user else ():
        if not _ACCOUNT.fullmatch(account):
            raise Invalid(f"invalid user {user[:40]!r}", hint="write NAME or UID, and :GROUP or :GID if you like")
    if working_dir:
        odd = any(ord(sign) < ord(" ") or ord(sign) == 0x7F for sign in working_dir)
        if odd or not working_dir.startswith("/") or len(working_dir.encode()) >= _PATH_BYTES_MAX:
            raise Invalid(
                f"the working directory {working_dir[:40]!r} is invalid, it needs to be an absolute path",
                hint="write the path as the container sees it",
            )
