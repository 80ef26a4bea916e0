"""Facts about the host that are not ours, and word when they change."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator

from fairlead.kernel import messages as m
from fairlead.kernel import requests, sysctl
from fairlead.kernel.netlink import Netlink, split
from fairlead.model.events import HostChanged
from fairlead.plan.objects import ALIAS_MARK

#: Multicast groups, <linux/rtnetlink.h>: links (a route goes silently when its link goes down), addresses, routes.
GROUPS = (1, 5, 7, 9, 11)
#: Seconds to wait for more of the same before the facts are read again: one change of a host's routes is many messages.
_SETTLE_S = 0.05
#: Datagrams taken from the socket at once before others on the loop have their turn.
_DRAIN_MAX = 256
_EPHEMERAL_DEFAULT = (32768, 60999)
_IFLA_IFNAME, _IFLA_LINKINFO, _IFLA_GROUP, _IFLA_INFO_KIND = 3, 18, 27, 1
_RTA_DST, _RTA_OIF, _IFA_ADDRESS, _IFA_LOCAL = 1, 4, 1, 2


def facts(netlink: Netlink) -> HostChanged:
    """The host as it is, in the namespace of ``netlink`` and of the thread. Raises ``OSError``."""
    ours = {_index(data) for data in netlink.dump(requests.list_links()) if ALIAS_MARK.encode() in data}
    prefixes: set[str] = set()
    addresses: set[str] = set()
    for data in netlink.dump(requests.list_addresses()):
        if _index(data) in ours:
            continue
        parts = m.raw_attributes(data, 24)
        address = ipaddress.ip_address(parts.get(_IFA_LOCAL) or parts.get(_IFA_ADDRESS) or b"")
        if not address.is_link_local or address.version == 4:
            addresses.add(f"{address}/{data[17]}")
            prefixes.add(str(ipaddress.ip_network(f"{address}/{data[17]}", strict=False)))
    for family in (socket.AF_INET, socket.AF_INET6):
        prefixes.update(_destinations(netlink, family, ours))
    return HostChanged(tuple(sorted(prefixes)), tuple(sorted(addresses)), _ephemeral(), _reserved())


def foreign_bridges(netlink: Netlink) -> tuple[str, ...]:
    """Names of the bridges in the namespace of ``netlink`` that are not ours, nor were to be when we were interrupted.
    Raises ``OSError``."""
    found = []
    for data in netlink.dump(requests.list_links()):
        parts = m.raw_attributes(data, 32)  # struct nlmsghdr and struct ifinfomsg are 16 bytes each
        kind = m.raw_attributes(parts.get(_IFLA_LINKINFO, b""), 0).get(_IFLA_INFO_KIND, b"")
        half_made = int.from_bytes(parts.get(_IFLA_GROUP, b""), sys.byteorder) == requests.MAKING_GROUP
        if kind.rstrip(b"\0") == b"bridge" and ALIAS_MARK.encode() not in data and not half_made:
            found.append(parts.get(_IFLA_IFNAME, b"").rstrip(b"\0").decode(errors="replace"))
    return tuple(sorted(found))


def _index(data: bytes) -> int:
    """The link of a link or address message: the same place in both, by luck of their layout."""
    return int.from_bytes(data[20:24], "little")


def _destinations(netlink: Netlink, family: int, ours: set[int]) -> Iterator[str]:
    for data in netlink.dump(requests.list_routes(family)):
        parts = m.raw_attributes(data, 28)  # struct rtmsg is 12 bytes
        if _RTA_DST not in parts or int.from_bytes(parts.get(_RTA_OIF, b""), "little") in ours:
            continue
        network = ipaddress.ip_network((parts[_RTA_DST], data[17]), strict=False)
        if not (network.version == 6 and (network.is_link_local or network.is_multicast)):
            yield str(network)


def _ephemeral() -> tuple[int, int]:
    words = (sysctl.read("net/ipv4/ip_local_port_range") or "").split()
    return (int(words[0]), int(words[1])) if len(words) == 2 else _EPHEMERAL_DEFAULT


def _reserved() -> tuple[tuple[int, int], ...]:
    found = []
    for part in filter(None, (sysctl.read("net/ipv4/ip_local_reserved_ports") or "").split(",")):
        first, _, last = part.partition("-")
        found.append((int(first), int(last or first)))
    return tuple(found)


class HostWatch:
    """Calls back when the facts have changed. Lives on one event loop; ``read`` gets the facts without blocking it."""

    def __init__(
        self,
        events: Netlink,
        ours: Callable[[], set[int]],
        read: Callable[[], Awaitable[HostChanged]],
        tell: Callable[[HostChanged], None],
        known: HostChanged,
    ) -> None:
        self._events = events
        self._ours = ours
        self._read = read
        self._tell = tell
        self._known = known
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        events.socket.setblocking(False)
        self._loop.add_reader(events.socket.fileno(), self._readable)

    def close(self) -> None:
        """Stop, at once."""
        self._loop.remove_reader(self._events.socket.fileno())
        self._events.close()
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    def _readable(self) -> None:
        for _ in range(_DRAIN_MAX):
            try:
                chunk = self._events.socket.recv(65536)
            except BlockingIOError:
                return
            except OSError:
                self._schedule()  # ENOBUFS: events were lost, so anything may have changed
                return
            if any(_strange(kind, data, self._ours()) for kind, _, _, data in split(chunk)):
                self._schedule()

    def _schedule(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(_SETTLE_S, self._due)

    def _due(self) -> None:
        self._timer = None
        if self._task is None or self._task.done():
            self._task = self._loop.create_task(self._refresh())
        else:
            self._schedule()

    async def _refresh(self) -> None:
        found = await self._read()
        if found != self._known:
            self._known = found
            self._tell(found)


def _strange(kind: int, data: bytes, ours: set[int]) -> bool:
    """Whether a message is about something that is not ours."""
    if kind in (m.RTM_NEWROUTE, m.RTM_DELROUTE):
        return int.from_bytes(m.raw_attributes(data, 28).get(_RTA_OIF, b""), "little") not in ours
    return _index(data) not in ours
