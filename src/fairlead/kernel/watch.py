"""Word of what others do to what is ours: heard by netlink, filtered in the kernel so that our own work is not heard.

One socket for the firewall of the node's own namespace, and one for links, addresses and routes of it and of every
sandbox. A filter (classic BPF) lets through only what can be damage: a link that went down or away, an address or route
that went away, and not by a socket of ours; a rule, set or table that somebody else changed. Firewalls inside sandboxes
are compared at start and on reload only: whoever may change those is root in there, and guards nobody but himself.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import os
import select
import socket
import struct
import sys
import threading
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

from fairlead.kernel import messages as m
from fairlead.kernel import netns, requests
from fairlead.kernel.netlink import NETFILTER, ROUTE, split
from fairlead.kernel.ruleset import TABLE_MARK

#: Multicast groups as bits of ``nl_groups``: links, IPv4 and IPv6 addresses and routes (<linux/rtnetlink.h> 1, 5, 7, 9,
#: 11), and changes of nftables (<linux/netfilter/nfnetlink.h> 7).
_ROUTE_GROUPS = 1 << 0 | 1 << 4 | 1 << 6 | 1 << 8 | 1 << 10
_FIREWALL_GROUPS = 1 << 6
#: <linux/nfnetlink.h>, <linux/nf_tables.h>: the subsystem of nftables, the end of a transaction and who made it; the
#: name of the table is attribute 1 of every other message.
_SUBSYSTEM, _NEW_GENERATION, _GENERATION_PROCESS, _TABLE_NAME = 10, 15, 3, 1
#: Where attributes begin: after struct nlmsghdr (16) and struct nfgenmsg (4), ifinfomsg (16).
_GENERIC_BODY, _LINK_BODY = 20, 32
_IFLA_IFNAME, _IFLA_GROUP = 3, 27
#: ifi_change of the message that tells of a new link (register_netdevice, linux/net/core/dev.c).
_ALL_CHANGED = b"\xff" * 4
_NLMSG_PORT = struct.Struct("=12xI")
#: Bytes of a link message's flags that hold IFF_UP, after struct nlmsghdr: struct ifinfomsg has them at 8.
_FLAGS_AT = 24 if sys.byteorder == "little" else 27
_SO_ATTACH_FILTER = 26
#: Classic BPF, <linux/bpf_common.h>: load a word, half or byte, jump if equal or if a bit is set, return.
_LD_W, _LD_H, _LD_B, _JEQ, _JSET, _RET = 0x20, 0x28, 0x30, 0x15, 0x45, 0x06
_KEEP = 0xFFFFFFFF
#: Netlink ports of ours are the process's number and above it (PID_MAX_LIMIT is 2^22) this mark and a count: nobody
#: else's, and not one that an earlier socket of ours still has. A socket that was closed here lives on in a child
#: process between fork and exec.
_PORT_MARK = 1 << 30
_PORT_COUNTS = range(0, 1 << 30, 1 << 22)
#: Datagrams taken from one socket at once before others on the loop have their turn.
_DRAIN_MAX = 256

Instruction = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Damage:
    """What may be damaged: ``tables`` of the node's own namespace, ``links`` by name there, everything of sandboxes
    ``spaces``; ``all`` when events were lost. ``by`` is the program that did it, when the kernel told."""

    tables: frozenset[str] = frozenset()
    links: frozenset[str] = frozenset()
    spaces: frozenset[str] = frozenset()
    all: bool = False
    by: str = ""


class Listener:
    """Sockets that hear of damage. Made and filled by the worker thread, read on the event loop: each socket is one
    descriptor and nothing else, since there is one for each sandbox."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        #: A descriptor that is closed by one thread must not be read by the other: its number may be another file's.
        self._lock = threading.Lock()
        self._firewall_port = -1
        self._spaces: dict[int, str] = {}
        self._descriptors: dict[str, int] = {}
        self._firewall = -1

    def fileno(self) -> int:
        """Readable when there is something to hear."""
        return self._epoll.fileno()

    def open(self, ns: str, path: str, port: int) -> None:
        """Hear of links, addresses and routes of a namespace; what ``port`` does there is not told. Raises ``OSError``."""
        if ns in self._descriptors:
            return
        with netns.inside(path):
            descriptor = _open(ROUTE, _ROUTE_GROUPS, _route_filter(port))
        with self._lock:
            self._descriptors[ns] = descriptor
            self._spaces[descriptor] = ns
            self._epoll.register(descriptor, select.EPOLLIN)

    def open_firewall(self, port: int) -> None:
        """Hear of changes of nftables in the namespace of the thread, but not by ``port``. Nothing to do when that is so
        already. Raises ``OSError``."""
        if port == self._firewall_port:
            return
        descriptor = _open(NETFILTER, _FIREWALL_GROUPS, _sender_filter(port))
        with self._lock:
            before, self._firewall, self._firewall_port = self._firewall, descriptor, port
            self._epoll.register(descriptor, select.EPOLLIN)
            self._close(before)

    def forget(self, ns: str) -> None:
        """Hear of a namespace no more: an open socket would keep it alive."""
        with self._lock:
            descriptor = self._descriptors.pop(ns, -1)
            self._spaces.pop(descriptor, None)
            self._close(descriptor)

    def close(self) -> None:
        """Hear of nothing any more."""
        for ns in list(self._descriptors):
            self.forget(ns)
        with self._lock:
            before, self._firewall = self._firewall, -1
            self._close(before)
            self._epoll.close()

    def _close(self, descriptor: int) -> None:
        if descriptor >= 0:
            self._epoll.unregister(descriptor)
            os.close(descriptor)

    def read(self) -> tuple[list[Damage], bool]:
        """What was heard since, and whether strangers' tables changed."""
        found: list[Damage] = []
        foreign = False
        with self._lock:
            for descriptor, _ in self._epoll.poll(0):
                if descriptor == self._firewall:
                    damage, others = self._read_firewall(descriptor)
                    foreign = foreign or others
                else:
                    damage = self._read_links(descriptor)
                if damage is not None:
                    found.append(damage)
        return found, foreign

    def _read_firewall(self, descriptor: int) -> tuple[Damage | None, bool]:
        tables: set[str] = set()
        others, author = False, ""
        for chunk in _chunks(descriptor):
            if chunk is None:
                return Damage(all=True), True
            for kind, _, _, data in split(chunk):
                parts = m.raw_attributes(data, _GENERIC_BODY)
                if kind == _SUBSYSTEM << 8 | _NEW_GENERATION:
                    author = _text(parts.get(_GENERATION_PROCESS, b"")) if tables else ""
                elif _text(parts.get(_TABLE_NAME, b"")).startswith(TABLE_MARK):
                    tables.add(_text(parts[_TABLE_NAME]))
                else:
                    others = True
        return (Damage(tables=frozenset(tables), by=author) if tables else None), others

    def _read_links(self, descriptor: int) -> Damage | None:
        ns = self._spaces.get(descriptor, "")
        names: set[str] = set()
        hurt = False
        for chunk in _chunks(descriptor):
            if chunk is None:
                return Damage(all=True)
            for kind, _, _, data in split(chunk):
                name = _link_name(kind, data)
                if name is not None:
                    hurt = True
                    names.add(name)
        if not hurt:
            return None
        return Damage(spaces=frozenset({ns})) if ns else Damage(links=frozenset(names))


class DamageWatch:
    """Hands what a listener hears to ``mend`` on one event loop, all that comes at once together. A stranger who does
    the same again and again is answered ever later, up to a bound."""

    #: Seconds between two mendings when a stranger goes on: doubled each time from the first to the second, forgotten
    #: after ``CALM_S`` without damage. The bound keeps the promise "back in under a second" for the firewall.
    PATIENCE_S = (0.02, 0.5)
    CALM_S = 5.0
    #: Seconds to wait for more before strangers' tables are looked at: a reload of firewalld is thousands of messages.
    SETTLE_S = 0.3

    def __init__(
        self, listener: Listener, mend: Callable[[Sequence[Damage]], Awaitable[None]], survey: Callable[[], None]
    ) -> None:
        self._listener = listener
        self._mend = mend
        self._survey = survey
        self._loop = asyncio.get_running_loop()
        self._waiting: list[Damage] = []
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Future[None] | None = None
        self._survey_timer: asyncio.TimerHandle | None = None
        self._last = float("-inf")
        self._patience_s = 0.0
        self._loop.add_reader(listener.fileno(), self._readable)

    def close(self) -> None:
        """Stop, at once."""
        self._loop.remove_reader(self._listener.fileno())
        for timer in (self._timer, self._survey_timer):
            if timer is not None:
                timer.cancel()
        if self._task is not None:
            self._task.cancel()

    def _readable(self) -> None:
        found, foreign = self._listener.read()
        if foreign and self._survey_timer is None:
            self._survey_timer = self._loop.call_later(self.SETTLE_S, self._look_around)
        self._waiting += found
        if self._waiting and self._timer is None:
            now = self._loop.time()
            if now - self._last > self.CALM_S:
                self._patience_s = 0.0
            due = max(0.0, self._last + self._patience_s - now)
            self._timer = self._loop.call_later(due, self._due)

    def _due(self) -> None:
        self._timer = None
        self._last = self._loop.time()
        first, last = self.PATIENCE_S
        self._patience_s = min(max(self._patience_s * 2, first), last)
        waiting, self._waiting = self._waiting, []
        self._task = asyncio.ensure_future(self._mend(waiting))

    def _look_around(self) -> None:
        self._survey_timer = None
        self._survey()


def together(damages: Iterable[Damage]) -> Damage:
    """All of them as one."""
    found = list(damages)
    return Damage(
        frozenset().union(*(one.tables for one in found)),
        frozenset().union(*(one.links for one in found)),
        frozenset().union(*(one.spaces for one in found)),
        any(one.all for one in found),
        next((one.by for one in found if one.by), ""),
    )


def _link_name(kind: int, data: bytes) -> str | None:
    """The name of the link that a message tells damage of; None when it tells none."""
    if kind == m.RTM_NEWLINK and (data[16] == socket.AF_BRIDGE or data[28:32] == _ALL_CHANGED):
        return None  # a port that joins a bridge, and a link that was just made, are not up yet and nobody's damage
    if kind in (m.RTM_NEWLINK, m.RTM_DELLINK):
        parts = m.raw_attributes(data, _LINK_BODY)
        group = int.from_bytes(parts.get(_IFLA_GROUP, b""), sys.byteorder)
        if group == requests.MAKING_GROUP or group in requests.TRASH_GROUPS:
            return None
        return _text(parts.get(_IFLA_IFNAME, b""))
    if kind == m.RTM_DELROUTE:
        # struct rtmsg: family, dst_len, src_len, tos, table, protocol
        if data[21] != requests.ROUTE_PROTOCOL:
            return None
        index = int.from_bytes(m.raw_attributes(data, 28).get(4, b""), sys.byteorder)  # RTA_OIF
    else:
        index = int.from_bytes(data[20:24], sys.byteorder)
    try:
        return socket.if_indextoname(index)
    except OSError:
        return ""  # its link is gone, too, which is told; or it is in a sandbox


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode(errors="replace")


def _chunks(descriptor: int) -> Iterable[bytes | None]:
    """Datagrams that wait; None when some were lost."""
    for _ in range(_DRAIN_MAX):
        try:
            yield os.read(descriptor, 65536)
        except BlockingIOError:
            return
        except OSError:
            yield None
            return


def _open(protocol: int, groups: int, program: Sequence[Instruction]) -> int:
    opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, protocol)
    try:
        code = b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
        held = ctypes.create_string_buffer(code, len(code))
        filter_ = struct.pack("@HP", len(program), ctypes.addressof(held))
        opened.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, filter_)
        _bind(opened, groups)
    except OSError:
        opened.close()
        raise
    return opened.detach()


def _bind(opened: socket.socket, groups: int) -> None:
    """Not to the number of the process: sockets that ask for changes get that one, and are known by it."""
    for count in _PORT_COUNTS:
        try:
            opened.bind((os.getpid() | _PORT_MARK | count, groups))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
        else:
            return
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def _sender_filter(port: int) -> list[Instruction]:
    """Keep what others did."""
    return [(_LD_W, 0, 0, 12), (_JEQ, 0, 1, _word(port)), (_RET, 0, 0, 0), (_RET, 0, 0, _KEEP)]


def _route_filter(port: int) -> list[Instruction]:
    """Keep what others took away, and links that are down."""
    return [
        (_LD_W, 0, 0, 12),
        (_JEQ, 6, 0, _word(port)),
        (_LD_H, 0, 0, 4),
        (_JEQ, 4, 0, _half(m.RTM_NEWADDR)),
        (_JEQ, 3, 0, _half(m.RTM_NEWROUTE)),
        (_JEQ, 0, 3, _half(m.RTM_NEWLINK)),
        (_LD_B, 0, 0, _FLAGS_AT),
        (_JSET, 0, 1, requests.IFF_UP),
        (_RET, 0, 0, 0),
        (_RET, 0, 0, _KEEP),
    ]


def _word(value: int) -> int:
    """A number of the machine's byte order as BPF loads it, in network order."""
    return int.from_bytes(value.to_bytes(4, sys.byteorder), "big")


def _half(value: int) -> int:
    return int.from_bytes(value.to_bytes(2, sys.byteorder), "big")
