"""Namespaces that others made: what is in them, what holds them, and word when nothing does any more.

A namespace lives as long as something holds it. We hold it too (a file bound under the run directory, name server
sockets), so its own end must be told from outside: it is gone when the file that the user named holds it no more and no
process lives in it. The process that is known is watched by a pidfd; when it ends another one that lives there takes its
place. A file is looked at whenever the mount table of this mount namespace changes, which is how ``ip netns delete``
shows.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import os
import re
import select
import stat
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from fairlead.kernel import messages as m
from fairlead.kernel import netns, requests
from fairlead.kernel.machine import Machine
from fairlead.kernel.netlink import Netlink
from fairlead.model import codes
from fairlead.model.errors import Conflict, Invalid, NotFound
from fairlead.model.target import Foreign
from fairlead.plan.objects import ALIAS_MARK

_BOOT_ID = "/proc/sys/kernel/random/boot_id"
_HOST_RESOLV_CONF = "/etc/resolv.conf"
#: Bytes of a resolv.conf that are read: the C library takes 3 servers and 6 domains, so real ones are far smaller.
_RESOLV_CONF_BYTES_MAX = 65536
#: System call number, same on every architecture since Linux 5.6, and its flags, <linux/openat2.h>.
_SYS_OPENAT2 = 437
_RESOLVE_NO_MAGICLINKS, _RESOLVE_IN_ROOT = 0x02, 0x10
#: struct open_how: flags, mode, resolve.
_OPEN_HOW = struct.Struct("QQQ")
_OF_PROCESS = re.compile(r"/proc/([0-9]+)/ns/net")
_IN_PROC = re.compile(r"/proc/([0-9]+)/")
#: <linux/if_link.h>, <linux/rtnetlink.h>.
_IFLA_IFNAME = 3
_RT_TABLE_MAIN, _RTN_UNICAST = 254, 1

_libc = ctypes.CDLL(None, use_errno=True)


class Found(NamedTuple):
    """A namespace, and the text of the resolv.conf that its programs read (empty if there is none)."""

    foreign: Foreign
    resolv_conf: str


def look(machine: Machine, target: str, pid: int, path: str) -> Found:
    """The namespace of a process or behind a file. Raises ``NotFound``, ``Invalid`` for what is no namespace or is the
    host's own, ``Conflict`` for one that another Fairlead has, and ``OSError``."""
    process = _OF_PROCESS.fullmatch(path)
    if process:
        pid, path = int(process[1]), ""
    started = start_time(pid) if pid else 0
    if pid and started is None:
        raise NotFound(
            f"no such process: {pid}",
            hint="`ps` lists what runs; containers: write docker:NAME or podman:NAME",
            code=codes.TARGET_NOT_FOUND,
        )
    inode = _inode(target, f"/proc/{pid}/ns/net" if pid else path)
    _check_not_of_host(target, inode)
    holder = _holder(machine, inode)
    source = machine.path(holder) if holder else f"/proc/{pid}/ns/net" if pid else path
    with netns.inside(source), Netlink() as netlink:
        links, marked = _links(netlink)
        led_v4, led_v6 = (_led(netlink, family) for family in (2, 10))  # AF_INET, AF_INET6
    if marked and not holder:
        raise Conflict(
            f"{target} is connected by another Fairlead daemon ({', '.join(marked)})",
            hint="disconnect it there first; one namespace belongs to one daemon",
            code=codes.TARGET_BUSY,
        )
    text, host_file = _resolv_conf(pid, path)
    if pid and start_time(pid) != started:
        raise NotFound(
            f"process {pid} ended meanwhile", hint="try again with one that runs", code=codes.TARGET_NOT_FOUND
        )
    foreign = Foreign(
        target=target,
        inode=inode,
        boot=boot_id(),
        pid=pid,
        started=started or 0,
        path=path,
        links=links,
        led_v4=led_v4,
        led_v6=led_v6,
        host_file=host_file,
        holder=holder,
    )
    return Found(foreign, text)


def holds(foreign: Foreign) -> bool:
    """Whether anything but us still holds it; its numbers mean nothing in another life of the machine."""
    if foreign.boot != boot_id():
        return False
    return _by_path(foreign) or _by_process(foreign) or next(_living(foreign.inode), 0) != 0


def boot_id() -> str:
    """This life of the machine: inode and process numbers mean nothing beyond it."""
    return Path(_BOOT_ID).read_text(encoding="ascii").strip()


def start_time(pid: int) -> int | None:
    """Clock ticks since boot at which a process began (proc(5), field 22); None when there is none, or only a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in ("Z", "X") else int(fields[19])


def _inode(target: str, path: str) -> int:
    try:
        return netns.inode_of(path)
    except FileNotFoundError as error:
        raise NotFound(
            f"{target}: there is no {path}", hint="`ip netns list` shows named namespaces", code=codes.TARGET_NOT_FOUND
        ) from error
    except (NotADirectoryError, PermissionError) as error:
        raise Invalid(
            f"{target}: no access to {path}: {(error.strerror or '').lower()}",
            hint="name a process or file of this host",
            code=codes.TARGET_INVALID,
        ) from error
    except OSError as error:
        if error.errno == errno.EINVAL:
            raise Invalid(
                f"{target}: {path} is no network namespace",
                hint="`ip netns add NAME` makes one",
                code=codes.TARGET_INVALID,
            ) from error
        raise


def _check_not_of_host(target: str, inode: int) -> None:
    for own in ("/proc/thread-self/ns/net", "/proc/1/ns/net"):
        with suppress(OSError):  # the first process of a confined machine may be out of reach; then nobody can name it
            if netns.inode_of(own) == inode:
                raise Invalid(
                    f"{target} is in the network namespace of the host, which cannot be connected to a network",
                    hint="run it in one of its own (unshare --net), or reach containers by published ports",
                    code=codes.TARGET_REFUSED,
                )


def _holder(machine: Machine, inode: int) -> str:
    """The name under which we hold a namespace already; empty if we do not."""
    with suppress(FileNotFoundError):
        for entry in os.scandir(machine.netns_dir):
            with suppress(OSError):
                if entry.stat().st_ino == inode and netns.is_namespace(entry.path):
                    return entry.name
    return ""


def _links(netlink: Netlink) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(names of interfaces of others, names of interfaces with our mark that are not about to be deleted)."""
    others: list[str] = []
    marked: list[str] = []
    for data in netlink.dump(requests.list_links()):
        if requests.TRASH_SUFFIX.encode() in data:
            continue
        name = m.raw_attributes(data, 32).get(_IFLA_IFNAME, b"").rstrip(b"\0").decode(errors="replace")
        (marked if ALIAS_MARK.encode() in data else others).append(name)
    return tuple(sorted(others)), tuple(sorted(marked))


def _led(netlink: Netlink, family: int) -> bool:
    """Whether there is a default route that is not ours. struct rtmsg after the header: family, dst_len, src_len, tos,
    table, protocol, scope, type."""
    return any(
        data[17] == 0
        and data[20] == _RT_TABLE_MAIN
        and data[21] != requests.ROUTE_PROTOCOL
        and data[23] == _RTN_UNICAST
        for data in netlink.dump(requests.list_routes(family))
    )


def _resolv_conf(pid: int, path: str) -> tuple[str, bool]:
    """(text, whether it is the host's own file). A process has its own root; for a named namespace ``ip netns exec``
    puts ``/etc/netns/NAME/resolv.conf`` in the place of the host's (ip-netns(8))."""
    if pid:
        return _read(f"/proc/{pid}/root")
    named = f"/etc/netns/{path.rpartition('/')[2]}/resolv.conf"
    with suppress(OSError):
        return Path(named).read_text(encoding="utf-8", errors="replace")[:_RESOLV_CONF_BYTES_MAX], False
    return _read("/")


def _read(root: str) -> tuple[str, bool]:
    """``etc/resolv.conf`` below a root that somebody else rules: links cannot lead out of it, and a pipe or device in
    its place is not waited for (SEC-29)."""
    try:
        folder = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return "", False
    try:
        descriptor = _open_beneath(folder, "etc/resolv.conf")
    except OSError:
        return "", False
    finally:
        os.close(folder)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            return "", False
        data = os.read(descriptor, _RESOLV_CONF_BYTES_MAX)
    finally:
        os.close(descriptor)
    return data.decode(errors="replace"), _same_file(found, _HOST_RESOLV_CONF)


def _open_beneath(folder: int, name: str) -> int:
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
    how = _OPEN_HOW.pack(flags, 0, _RESOLVE_IN_ROOT | _RESOLVE_NO_MAGICLINKS)
    descriptor = _libc.syscall(_SYS_OPENAT2, folder, name.encode(), how, ctypes.c_size_t(len(how)))
    if descriptor < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return int(descriptor)


def _same_file(one: os.stat_result, path: str) -> bool:
    try:
        other = os.stat(path)
    except OSError:
        return False
    return (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)


def _by_path(foreign: Foreign) -> bool:
    """Whether the file holds it."""
    if not foreign.path:
        return False
    try:
        return netns.inode_of(foreign.path) == foreign.inode
    except OSError:
        return False


def _by_process(foreign: Foreign) -> bool:
    if not foreign.pid or start_time(foreign.pid) != foreign.started:
        return False
    return _lives_in(foreign.pid, foreign.inode)


def _lives_in(pid: int, inode: int) -> bool:
    try:
        return netns.inode_of(f"/proc/{pid}/ns/net") == inode
    except OSError:
        return False


def _living(inode: int) -> Iterator[int]:
    """Processes in a namespace."""
    for name in os.listdir("/proc"):
        if name.isdigit() and _lives_in(int(name), inode):
            yield int(name)


@dataclass(slots=True)
class _Watched:
    foreign: Foreign
    gone: Callable[[], None]
    pidfd: int = -1


class NamespaceWatch:
    """Tells once when nothing but us holds a sandbox's namespace any more. Lives on one event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._watched: dict[str, _Watched] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._mounts = -1
        self._epoll: select.epoll | None = None

    def watch(self, sandbox_id: str, foreign: Foreign, gone: Callable[[], None]) -> None:
        """Watch a sandbox's namespace from now on, as it is described now."""
        self.forget(sandbox_id)
        watched = self._watched[sandbox_id] = _Watched(foreign, gone)
        if foreign.path:
            self._watch_mounts()
        self._attend(sandbox_id, watched)

    def forget(self, sandbox_id: str) -> None:
        """Watch it no more; unknown ids are passed over."""
        watched = self._watched.pop(sandbox_id, None)
        if watched is not None:
            self._let_go(watched)

    def close(self) -> None:
        """Watch nothing any more."""
        for sandbox_id in list(self._watched):
            self.forget(sandbox_id)
        for task in self._tasks:
            task.cancel()
        if self._epoll is not None:
            self._loop.remove_reader(self._epoll.fileno())
            self._epoll.close()
            os.close(self._mounts)
            self._epoll = None

    def _attend(self, sandbox_id: str, watched: _Watched) -> None:
        """Wait for the end of what is known to hold it; if that is over already, look for something else."""
        foreign = watched.foreign
        if _by_path(foreign):
            keeper = _IN_PROC.match(foreign.path)
            if keeper:
                self._wait_for(sandbox_id, watched, int(keeper[1]))
            return
        if not (_by_process(foreign) and self._wait_for(sandbox_id, watched, foreign.pid)):
            self._search(sandbox_id, watched)

    def _wait_for(self, sandbox_id: str, watched: _Watched, pid: int) -> bool:
        try:
            watched.pidfd = os.pidfd_open(pid)
        except OSError:
            return False
        self._loop.add_reader(watched.pidfd, self._ended, sandbox_id, watched)
        return True

    def _ended(self, sandbox_id: str, watched: _Watched) -> None:
        self._let_go(watched)
        if self._watched.get(sandbox_id) is watched:
            self._attend(sandbox_id, watched)

    def _search(self, sandbox_id: str, watched: _Watched) -> None:
        task = self._loop.create_task(self._follow(sandbox_id, watched))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _follow(self, sandbox_id: str, watched: _Watched) -> None:
        """Go on with another process that lives there, else say that it is gone."""
        inode = watched.foreign.inode
        while self._watched.get(sandbox_id) is watched:
            # Reads a file of every process of the machine, so not on the event loop.
            pid = await asyncio.to_thread(lambda: next(_living(inode), 0))
            if self._watched.get(sandbox_id) is not watched:
                return
            if not pid:
                del self._watched[sandbox_id]
                watched.gone()
                return
            if self._wait_for(sandbox_id, watched, pid):
                if _lives_in(pid, inode):
                    return
                self._let_go(watched)

    def _let_go(self, watched: _Watched) -> None:
        if watched.pidfd >= 0:
            self._loop.remove_reader(watched.pidfd)
            os.close(watched.pidfd)
            watched.pidfd = -1

    def _watch_mounts(self) -> None:
        """``/proc/self/mountinfo`` tells of every change by EPOLLPRI (proc(5)), and is always readable; so it is put
        into a set of its own that is asked for nothing else."""
        if self._epoll is None:
            self._mounts = os.open("/proc/self/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
            self._epoll = select.epoll()
            self._epoll.register(self._mounts, select.EPOLLPRI)
            self._loop.add_reader(self._epoll.fileno(), self._remounted)

    def _remounted(self) -> None:
        if self._epoll is None:
            return
        self._epoll.poll(0)
        for sandbox_id, watched in list(self._watched.items()):
            if watched.foreign.path and watched.pidfd < 0 and not _by_path(watched.foreign):
                self._attend(sandbox_id, watched)
