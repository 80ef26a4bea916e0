"""What stands in Linux of ours, as plan objects: found by alias, route protocol, table name and namespace file.

Answers are read where their bytes are: pyroute2 takes 0.3 ms to decode a link, and a node with 500 endpoints has a
thousand (1.1 s of a restart against 0.2 s, measured). The kernel tests check this against pyroute2's decoding.
"""

from __future__ import annotations

import ipaddress
import socket
import sys
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from fairlead.kernel import messages as m
from fairlead.kernel import netns, requests, ruleset, tunnels, xfrm
from fairlead.kernel.adoption import Adopted
from fairlead.kernel.machine import Machine
from fairlead.kernel.netlink import Netlink
from fairlead.model.addresses import link_local
from fairlead.plan.objects import (
    ALIAS_MARK,
    FOREIGN_MARK,
    LOOPBACK,
    Address,
    Bridge,
    Netns,
    Object,
    Route,
    Veth,
    Vxlan,
)

_MARK = ALIAS_MARK.encode()
#: IFA_PROTO, and the address attributes, <linux/if_addr.h>.
_IFA_ADDRESS, _IFA_LOCAL, _IFA_PROTO = 1, 2, requests.IFA_PROTO
#: Attributes of links, of their kind, and of bridge ports, <linux/if_link.h>; of routes, <linux/rtnetlink.h>.
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_LINK, _IFLA_MASTER = 1, 3, 4, 5, 10
_IFLA_LINKINFO, _IFLA_IFALIAS, _IFLA_GROUP = 18, 20, 27
_INFO_KIND, _INFO_DATA, _INFO_SLAVE_DATA, _BRPORT_MODE, _BRPORT_ISOLATED = 1, 2, 5, 4, 33
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PRIORITY = 1, 4, 5, 6
#: Where attributes begin: after struct nlmsghdr (16) and struct ifinfomsg (16), ifaddrmsg (8) or rtmsg (12).
_LINK_BODY, _ADDRESS_BODY, _ROUTE_BODY = 32, 24, 28
#: The metric that Linux gives IPv6 routes for which none is asked (IP6_RT_PRIO_USER).
_METRIC_V6_DEFAULT = 1024


@dataclass(frozen=True, slots=True)
class SeenLink:
    """A link of ours as the kernel tells it. ``partner`` is the index of a veth's other end, ``master`` a name."""

    ns: str
    index: int
    name: str
    alias: str
    kind: str
    mac: str
    mtu: int
    up: bool
    group: int
    partner: int
    master: str
    isolated: bool
    hairpin: bool
    tunnel: tunnels.Settings | None = None

    @property
    def peer(self) -> bool:
        """Whether it is the far end of a pair."""
        return self.alias.endswith(requests.PEER_SUFFIX)

    @property
    def trash(self) -> bool:
        """Whether it was deleted, or never finished."""
        return (
            self.alias.endswith(requests.TRASH_SUFFIX)
            or self.group in requests.TRASH_GROUPS
            or self.group == requests.MAKING_GROUP
        )


@dataclass(slots=True)
class Seen:
    """All that was found. ``down`` are links that stand but are not up; ``far_down`` pairs whose far end is not, or has
    another MTU."""

    objects: list[Object] = field(default_factory=list)
    links: list[SeenLink] = field(default_factory=list)
    down: list[Bridge | Veth | Vxlan] = field(default_factory=list)
    far_down: list[Veth] = field(default_factory=list)
    trash: list[SeenLink] = field(default_factory=list)


def namespaces(netns_dir: str) -> tuple[list[str], list[str]]:
    """Names of files in the directory that hold a namespace, and of those that hold none (any more)."""
    try:
        names = sorted(entry.name for entry in Path(netns_dir).iterdir())
    except FileNotFoundError:
        return [], []
    live = [name for name in names if netns.is_namespace(f"{netns_dir}/{name}")]
    return live, [name for name in names if name not in set(live)]


def look(machine: Machine, only: Collection[str] | None = None) -> Seen:
    """Namespaces, links, addresses and routes of ours; with ``only`` those of the node and of these sandboxes, as far as
    they are there. Raises ``OSError``."""
    seen = Seen()
    if only is None:
        live, _ = namespaces(machine.netns_dir)
        seen.objects.extend(xfrm.standing())
    else:
        live = [name for name in sorted(only) if netns.is_namespace(machine.path(name))]
    seen.objects.extend(_held(machine, name) for name in live)
    for ns in ("", *live):
        with machine.enter(ns) as netlink:
            adopted = {} if ns else machine.adoptions.standing()
            found = list(_links(netlink, ns))
            good = [link for link in found if not link.trash]
            seen.trash.extend(link for link in found if link.trash)
            seen.links.extend(good)
            if not ns:
                machine.own_indices = {link.index for link in found}
            names = {1: LOOPBACK} if ns.startswith(FOREIGN_MARK) else {}
            names |= {link.index: link.name for link in good}
            names |= {index: place.bridge.name for index, place in adopted.items()}
            for link in good:
                if link.tunnel is not None:
                    seen.objects.extend(tunnels.known(netlink, ns, link.name, link.index))
            if good:
                seen.objects.extend(_addresses(netlink, ns, {link.index: link for link in good}))
            for place in adopted.values():
                seen.objects.append(place.bridge)
            if adopted:
                seen.objects.extend(_adopted_addresses(netlink, adopted))
            if names:
                seen.objects.extend(_routes(netlink, ns, names))
    _pair(seen)
    return seen


def _held(machine: Machine, name: str) -> Netns:
    return Netns(name, netns.inode_of(machine.path(name)) if name.startswith(FOREIGN_MARK) else 0)


def firewall(machine: Machine, spaces: Iterable[str]) -> list[Object]:
    """Tables, sets, elements and chains of ours in some namespaces. Rules are as nft writes them. Slow for large sets
    (200 ms for 10,000 elements): for people, not for every start. Raises ``OSError``, ``Refused``."""
    found: list[Object] = []
    for ns in spaces:
        with machine.firewall(ns) as nft:
            listing = [*nft.run_json("list sets"), *nft.run_json("list maps")]
            for table in ruleset.tables_in(nft.run("list tables"), ns):
                found.append(table)
                found.extend(ruleset.sets_in(listing, table))
                found.extend(ruleset.chains_in(nft.run_terse(f"list table {table.family} {table.name}"), table))
    return found


def _links(netlink: Netlink, ns: str) -> Iterator[SeenLink]:
    making = requests.MAKING_GROUP.to_bytes(4, "little")
    for data in netlink.dump(requests.list_links()):
        if _MARK in data or making in data:
            link = read_link(data, ns)
            if link.alias.startswith(ALIAS_MARK) or link.group == requests.MAKING_GROUP:
                yield link


def read_link(data: bytes, ns: str) -> SeenLink:
    """A link message of the namespace that the thread is in."""
    parts = m.raw_attributes(data, _LINK_BODY)
    info = m.raw_attributes(parts.get(_IFLA_LINKINFO, b""), 0)
    port = m.raw_attributes(info.get(_INFO_SLAVE_DATA, b""), 0)
    master = _number(parts, _IFLA_MASTER)
    return SeenLink(
        ns=ns,
        index=int.from_bytes(data[20:24], sys.byteorder),
        name=_text(parts, _IFLA_IFNAME),
        alias=_text(parts, _IFLA_IFALIAS),
        kind=_text(info, _INFO_KIND),
        mac=parts.get(_IFLA_ADDRESS, b"").hex(":"),
        mtu=_number(parts, _IFLA_MTU),
        up=bool(data[24] & requests.IFF_UP),
        group=_number(parts, _IFLA_GROUP),
        partner=_number(parts, _IFLA_LINK),
        master=_name(master),
        isolated=bool(master and _number(port, _BRPORT_ISOLATED)),
        hairpin=bool(master and _number(port, _BRPORT_MODE)),
        tunnel=tunnels.read(info.get(_INFO_DATA, b"")) if _text(info, _INFO_KIND) == "vxlan" else None,
    )


def _number(parts: dict[int, bytes], kind: int) -> int:
    return int.from_bytes(parts.get(kind, b""), sys.byteorder)


def _text(parts: dict[int, bytes], kind: int) -> str:
    return parts.get(kind, b"").rstrip(b"\0").decode(errors="replace")


def _name(index: int) -> str:
    if not index:
        return ""
    try:
        return socket.if_indextoname(index)
    except OSError:
        return "?"


def _pair(seen: Seen) -> None:
    """Bridges and pairs out of single links. A pair of which one end is missing is told with an empty peer, so that it
    is like nothing that anyone wants."""
    doomed = {(link.ns, link.name) for link in seen.trash}
    peers = {(link.partner, link.index): link for link in seen.links if link.peer}
    matched: set[int] = set()
    for link in seen.links:
        if link.peer:
            continue
        if link.kind == "bridge":
            bridge = Bridge(link.ns, link.name, link.mac, link.mtu, link.alias)
            seen.objects.append(bridge)
            if not link.up:
                seen.down.append(bridge)
            continue
        if link.tunnel is not None:
            end = link.tunnel
            tunnel = Vxlan(link.ns, link.name, end.vni, end.local, end.port, link.mtu, link.alias, link.master)
            seen.objects.append(tunnel)
            if not link.up:
                seen.down.append(tunnel)
            continue
        peer = peers.get((link.index, link.partner))
        master = "" if (link.ns, link.master) in doomed else link.master
        whole = peer is not None and peer.alias == link.alias + requests.PEER_SUFFIX
        veth = Veth(
            ns=link.ns,
            name=link.name,
            peer_ns=peer.ns if peer and whole else "",
            peer=peer.name if peer and whole else "",
            peer_mac=peer.mac if peer and whole else "",
            mtu=link.mtu,
            alias=link.alias,
            master=master,
            isolated=bool(master) and link.isolated,
            hairpin=bool(master) and link.hairpin,
        )
        seen.objects.append(veth)
        if peer and whole:
            matched.add(id(peer))
            if not link.up:
                seen.down.append(veth)
            elif not (peer.up and peer.mtu == link.mtu):
                seen.far_down.append(veth)
    # a far end without its near end is dropped with the trash
    lone = [link for link in seen.links if link.peer and id(link) not in matched]
    near = {(item.ns, item.name) for item in seen.objects if isinstance(item, Veth)}
    seen.trash.extend(link for link in lone if (link.ns, link.name) not in near)


def _addresses(netlink: Netlink, ns: str, links: dict[int, SeenLink]) -> Iterator[Address]:
    for data in netlink.dump(requests.list_addresses()):
        # struct ifaddrmsg after the header: family, prefix length, flags, scope, index
        link = links.get(int.from_bytes(data[20:24], "little"))
        if link is None:
            continue
        parts = m.raw_attributes(data, _ADDRESS_BODY)
        packed = parts.get(_IFA_LOCAL) or parts.get(_IFA_ADDRESS) or b""
        address = ipaddress.ip_address(packed)
        made_by_kernel = parts.get(_IFA_PROTO, b"\0")[0] in (1, 2, 3) or address == _automatic(link.mac)
        if not made_by_kernel:
            yield Address(ns, link.name, f"{address}/{data[17]}")


def _adopted_addresses(netlink: Netlink, adopted: dict[int, Adopted]) -> Iterator[Address]:
    """Those of strangers' bridges that we added, and those that serve us and them."""
    for data in netlink.dump(requests.list_addresses()):
        place = adopted.get(int.from_bytes(data[20:24], "little"))
        if place is None:
            continue
        parts = m.raw_attributes(data, _ADDRESS_BODY)
        cidr = f"{_address(parts.get(_IFA_LOCAL) or parts[_IFA_ADDRESS])}/{data[17]}"
        if cidr in place.shared or parts.get(_IFA_PROTO, b"\0")[0] == requests.ROUTE_PROTOCOL:
            yield Address("", place.bridge.name, cidr)


def _automatic(mac: str) -> ipaddress.IPv6Address:
    """The link-local address that Linux derives from a MAC (RFC 4291 appendix A)."""
    return ipaddress.IPv6Address(link_local(mac))


def _routes(netlink: Netlink, ns: str, links: dict[int, str]) -> Iterator[Route]:
    if not ns:
        yield from _local_routes(netlink, links)
    for family, everywhere in ((socket.AF_INET, bytes(4)), (socket.AF_INET6, bytes(16))):
        for data in netlink.dump(requests.list_routes(family)):
            if data[21] != requests.ROUTE_PROTOCOL:  # rtm_protocol
                continue
            parts = m.raw_attributes(data, _ROUTE_BODY)
            link = links.get(_number(parts, _RTA_OIF))
            if link is None:
                continue
            metric = _number(parts, _RTA_PRIORITY)
            yield Route(
                ns,
                f"{_address(parts.get(_RTA_DST, everywhere))}/{data[17]}",  # rtm_dst_len
                link,
                _address(parts[_RTA_GATEWAY]) if _RTA_GATEWAY in parts else "",
                0 if family == socket.AF_INET6 and metric == _METRIC_V6_DEFAULT else metric,
            )


def _local_routes(netlink: Netlink, links: dict[int, str]) -> Iterator[Route]:
    for data in netlink.dump(requests.list_routes(socket.AF_INET6, requests.TABLE_LOCAL)):
        parts = m.raw_attributes(data, _ROUTE_BODY)
        link = links.get(_number(parts, _RTA_OIF))
        if link is not None and data[21] == requests.ROUTE_PROTOCOL:
            yield Route("", f"{_address(parts[_RTA_DST])}/{data[17]}", link, local=True)


def _address(packed: bytes) -> str:
    return str(ipaddress.ip_address(packed))
