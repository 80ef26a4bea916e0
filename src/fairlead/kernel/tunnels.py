"""VXLAN tunnels: made across namespaces, found again, and what they know of the other side.

A tunnel's number and port belong to the namespace of its socket, wherever the link itself is, so one that was left over
elsewhere keeps a new one from being made: such leftovers of ours are found and deleted. For the same reason a tunnel is
deleted at once, and not with the trash.
"""

from __future__ import annotations

import errno
import ipaddress
import logging
import os
import socket
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fairlead.kernel import messages as m
from fairlead.kernel import netns, requests
from fairlead.kernel.errno import Refused, from_os, refused
from fairlead.kernel.machine import Machine
from fairlead.kernel.netlink import Fault, Netlink
from fairlead.plan.objects import ALIAS_MARK, Exact, Fdb, Key, Neighbour, Vxlan

log = logging.getLogger(__name__)

#: Attributes of a link and of its kind; of a VXLAN's settings, <linux/if_link.h>.
_IFLA_IFNAME, _IFLA_LINKINFO, _IFLA_IFALIAS, _IFLA_LINK_NETNSID = 3, 18, 20, 37
_INFO_KIND, _INFO_DATA = 1, 2
_VXLAN_ID, _VXLAN_LOCAL, _VXLAN_PORT, _VXLAN_LOCAL6 = 1, 4, 15, 17
#: Attributes of neighbours, <linux/neighbour.h>; they begin after struct nlmsghdr (16) and struct ndmsg (12).
_NDA_DST, _NDA_LLADDR, _NDA_MASTER = 1, 2, 9
_NEIGHBOUR_BODY, _LINK_BODY = 28, 32


@dataclass(frozen=True, slots=True)
class Settings:
    """What a link message tells of a tunnel."""

    vni: int
    local: str
    port: int


def read(info: bytes) -> Settings:
    """The settings in the data of a VXLAN link."""
    parts = m.raw_attributes(info, 0)
    local = parts.get(_VXLAN_LOCAL) or parts.get(_VXLAN_LOCAL6) or b""
    return Settings(
        vni=int.from_bytes(parts.get(_VXLAN_ID, b""), "little"),
        local=str(ipaddress.ip_address(local)) if local else "",
        port=int.from_bytes(parts.get(_VXLAN_PORT, b""), "big"),
    )


def make(machine: Machine, item: Vxlan, standing: Container[Key]) -> None:
    """Make a tunnel, down, in its namespace. What of ours is not among ``standing`` may be in the way, and goes. Raises
    ``Refused``."""
    try:
        fault = _make(machine, item)
        if fault is not None and fault.code == errno.EEXIST:
            _clear_holders(machine, item, standing)
            fault = _make(machine, item)
    except OSError as error:
        raise from_os(error, f"make link {item.name}", item) from error
    if fault is not None:
        raise refused(f"make link {item.name}", fault.code, fault.text, item)


def _make(machine: Machine, item: Vxlan) -> Fault | None:
    descriptor = os.open(machine.path(item.ns) or "/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        with machine.enter("") as netlink:
            return netlink.request([requests.vxlan(item, descriptor)])[0]
    finally:
        os.close(descriptor)


def _clear_holders(machine: Machine, item: Vxlan, standing: Container[Key]) -> None:
    """Delete a leftover of ours that has the tunnel's number and port. Raises ``Refused`` for a stranger's, and for one
    that is needed."""
    for space in _spaces(machine):
        with suppress(FileNotFoundError), machine.enter(space) as netlink:
            for name, index, ours in _holders(netlink, item, abroad=bool(space)):
                if not ours or ("link", space, name) in standing:
                    raise Refused(
                        f"cannot make link {item.name}: VXLAN {item.vni} on UDP port {item.port} is in use by link "
                        f"{name}",
                        item=item,
                        number=errno.EEXIST,
                        hint="remove that link if nobody needs it, or give the cluster another --data-path-port",
                    )
                log.warning("removed leftover tunnel %s, which had VXLAN %d on UDP port %d", name, item.vni, item.port)
                netlink.request([requests.delete_link(index)])


def _spaces(machine: Machine) -> list[str]:
    with suppress(FileNotFoundError):
        names = sorted(entry.name for entry in Path(machine.netns_dir).iterdir())
        return ["", *(name for name in names if netns.is_namespace(machine.path(name)))]
    return [""]


def _holders(netlink: Netlink, item: Vxlan, *, abroad: bool) -> Iterator[tuple[str, int, bool]]:
    """(name, index, whether ours) of tunnels with this number and port whose socket is in the node's namespace."""
    for data in netlink.dump(requests.list_links()):
        parts = m.raw_attributes(data, _LINK_BODY)
        info = m.raw_attributes(parts.get(_IFLA_LINKINFO, b""), 0)
        if info.get(_INFO_KIND, b"").rstrip(b"\0") != b"vxlan":
            continue
        settings = read(info.get(_INFO_DATA, b""))
        if (settings.vni, settings.port) != (item.vni, item.port) or abroad != (_IFLA_LINK_NETNSID in parts):
            continue
        index = int.from_bytes(data[20:24], "little")
        ours = parts.get(_IFLA_IFALIAS, b"").startswith(ALIAS_MARK.encode()) or abroad
        yield parts.get(_IFLA_IFNAME, b"").rstrip(b"\0").decode(errors="replace"), index, ours


def delete(machine: Machine, items: Iterable[Vxlan]) -> None:
    """Delete tunnels; the numbers are free when this returns. One that is gone is nothing. Raises ``OSError``."""
    by_ns: dict[str, list[Vxlan]] = {}
    for item in items:
        by_ns.setdefault(item.ns, []).append(item)
    for ns, group in by_ns.items():
        with suppress(FileNotFoundError), machine.enter(ns) as netlink:
            for item in group:
                try:
                    index = socket.if_nametoindex(item.name)
                except OSError:
                    continue
                (fault,) = netlink.request([requests.delete_link(index)])
                if fault is not None and fault.code != errno.ENODEV:
                    raise OSError(fault.code, fault.text or os.strerror(fault.code))


def known(netlink: Netlink, ns: str, link: str, index: int) -> Iterator[Fdb | Neighbour]:
    """What a tunnel of the namespace that the thread is in knows. A way of which only one half is there, in the tunnel or
    in its bridge, is told without remote address, so that it is like nothing that anyone wants. Raises ``OSError``."""
    remotes: dict[str, str] = {}
    bridged: set[str] = set()
    for data in netlink.dump(requests.list_fdb(index)):
        parts = m.raw_attributes(data, _NEIGHBOUR_BODY)
        mac = parts.get(_NDA_LLADDR, b"").hex(":")
        state, flags = int.from_bytes(data[24:26], "little"), data[26]
        if flags & requests.NTF_SELF and _NDA_DST in parts:
            remotes[mac] = str(ipaddress.ip_address(parts[_NDA_DST]))
        elif _NDA_MASTER in parts and not state & requests.NUD_PERMANENT:
            bridged.add(mac)
    for mac in remotes.keys() | bridged:
        yield Fdb(ns, link, mac, remotes.get(mac, "") if mac in bridged else "")
    for family in (socket.AF_INET, socket.AF_INET6):
        for data in netlink.dump(requests.list_neighbours(index, family)):
            parts = m.raw_attributes(data, _NEIGHBOUR_BODY)
            if int.from_bytes(data[24:26], "little") & requests.NUD_PERMANENT and _NDA_DST in parts:
                address = str(ipaddress.ip_address(parts[_NDA_DST]))
                yield Neighbour(ns, link, address, parts.get(_NDA_LLADDR, b"").hex(":"))


def sweep(machine: Machine, links: Sequence[Exact], wanted: Container[Key]) -> list[str]:
    """Take away what tunnels know beyond ``wanted``; what was, in words. A tunnel that is gone knows nothing."""
    words: list[str] = []
    for link in links:
        with suppress(FileNotFoundError), machine.enter(link.ns) as netlink:
            try:
                index = socket.if_nametoindex(link.link)
            except OSError:
                continue
            old = [item for item in known(netlink, link.ns, link.link, index) if item.key not in wanted]
            batch = [request for item in old for request in entry(item, index, present=False)]
            netlink.request(batch)
            words += [f"removed {' '.join(item.key)}" for item in old]
    return words


def entry(item: Fdb | Neighbour, index: int, *, present: bool) -> list[bytearray]:
    """The requests that make something be known to the tunnel of this index, or not."""
    if isinstance(item, Fdb):
        return requests.fdb(item, index, present=present)
    return [requests.peer(item, index, present=present)]
