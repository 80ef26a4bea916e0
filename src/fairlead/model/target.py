"""Target: how a user names a network namespace that is not ours, and what we learned of it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from fairlead.model import codes
from fairlead.model.errors import Invalid
from fairlead.model.ids import check_name

#: Ways to name one: by a process, by a file that holds it, by a container of another engine.
KINDS = ("pid", "netns", "docker", "podman")
#: Where ``ip netns`` keeps named namespaces (ip-netns(8)).
NETNS_DIR = "/run/netns"
#: Longest path (PATH_MAX, linux/limits.h, with the closing NUL).
_PATH_LENGTH_MAX = 4095
#: Largest process id of 64-bit Linux (PID_MAX_LIMIT, linux/threads.h).
_PID_MAX = 4_194_304
_HINT = "write pid:N, netns:PATH, netns:NAME, docker:NAME or podman:NAME"


@dataclass(frozen=True, slots=True)
class Target:
    """``kind`` is one of ``KINDS``, ``name`` what stands behind the colon."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"

    @property
    def pid(self) -> int:
        """The process of a ``pid`` target; 0 for others."""
        return int(self.name) if self.kind == "pid" else 0

    @property
    def path(self) -> str:
        """The file of a ``netns`` target; a bare name lies where ``ip netns`` keeps them. Empty for others."""
        if self.kind != "netns":
            return ""
        return self.name if self.name.startswith("/") else f"{NETNS_DIR}/{self.name}"

    @property
    def default_name(self) -> str:
        """What an endpoint is called if the user says nothing: the container, the file, ``pid-N``."""
        if self.kind == "pid":
            return f"pid-{self.name}"
        return self.name.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Foreign:
    """A namespace that others made, and that holds as long as a process lives in it or a file holds it.

    ``inode`` tells it from every other of this ``boot``; ``pid`` with its start time (``started``, clock ticks since
    boot, proc(5)) is a process in it, so that another one with the same number is never taken for it; ``path`` a file
    that holds it. What was found there at the last connect and must not be broken: ``links`` are the names of its
    interfaces, ``led_v4`` and ``led_v6`` whether it has a default route, ``servers``, ``search`` and
    ``ndots`` what its resolv.conf says, which is the host's own file if ``host_file``. ``holder`` is the name under which
    we held it already when it was looked at."""

    target: str
    inode: int
    boot: str
    pid: int = 0
    started: int = 0
    path: str = ""
    links: tuple[str, ...] = ()
    led_v4: bool = False
    led_v6: bool = False
    servers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    ndots: int = 1
    host_file: bool = False
    holder: str = ""


def parse(text: str) -> Target | None:
    """The target that ``text`` names, None when it is no target but a container of ours; raises ``Invalid``."""
    kind, colon, name = text.partition(":")
    if not colon:
        return None
    if kind not in KINDS:
        raise Invalid(
            f"invalid target {text[:80]!r}: {kind[:20]!r} is no kind of target", hint=_HINT, code=codes.TARGET_INVALID
        )
    if kind == "pid":
        if not re.fullmatch(r"[1-9][0-9]{0,6}", name, re.ASCII) or int(name) > _PID_MAX:
            raise Invalid(
                f"invalid process id {name[:40]!r}", hint="write a number like pid:1234", code=codes.TARGET_INVALID
            )
    elif kind == "netns" and name.startswith("/"):
        _check_path(name)
    else:
        check_name("namespace" if kind == "netns" else f"{kind} container", name)
    return Target(kind, name)


def _check_path(path: str) -> None:
    parts = path.split("/")[1:]
    bad = any(ord(letter) < 0x20 or ord(letter) == 0x7F for letter in path)
    if bad or len(path.encode("utf-8", "replace")) > _PATH_LENGTH_MAX or any(part in ("", ".", "..") for part in parts):
        raise Invalid(
            f"invalid path of a network namespace {path[:80]!r}",
            hint="write an absolute path without empty parts, '.', '..' and control characters",
            code=codes.TARGET_INVALID,
        )
