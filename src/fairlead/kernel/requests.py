"""Plan objects as rtnetlink requests. Pure: values in, bytes out; link indices are the caller's."""

from __future__ import annotations

import socket

from fairlead.kernel import messages as m
from fairlead.plan.objects import Address, Bridge, Route, Veth

#: Ours among the makers of routes (rtm_protocol; 0-4 are the kernel's, routing daemons use 8-192 and 196 by
#: /etc/iproute2/rt_protos): routes of ours are found by it.
ROUTE_PROTOCOL = 198
#: The interface group of links that wait for bulk deletion: "flea" as bytes, so that nobody else has it.
TRASH_GROUP = 0x666C6561
#: The interface group of links that are being made ("flnw"): an alias can be set only after a link is made, so without
#: it a link made just before a crash would have no owner.
MAKING_GROUP = 0x666C6E77
#: What the alias of a veth's peer ends with, to tell the two ends apart.
PEER_SUFFIX = ":peer"
#: What the alias of a link in the trash ends with.
TRASH_SUFFIX = ":trash"

#: Link flag up; scopes of addresses and routes; the main table; <linux/if.h>, <linux/rtnetlink.h>, <linux/if_addr.h>.
IFF_UP = 1
SCOPE_UNIVERSE, SCOPE_LINK, SCOPE_HOST = 0, 253, 254
TABLE_MAIN = 254
_RTN_UNICAST = 1
_IFA_F_NODAD = 0x02
#: Leave counters out of link dumps (half their size), <linux/rtnetlink.h>.
_EXT_FILTER_SKIP_STATS = 8


def family_of(text: str) -> int:
    """The address family of an address or prefix."""
    return socket.AF_INET6 if ":" in text else socket.AF_INET


def bridge(item: Bridge, index: int) -> bytearray:
    """Make a bridge, still down: no spanning tree, no multicast queries of its own."""
    data: m.Attributes = [("IFLA_BR_STP_STATE", 0), ("IFLA_BR_MCAST_QUERIER", 0)]
    attributes: m.Attributes = [
        ("IFLA_IFNAME", item.name),
        ("IFLA_ADDRESS", item.mac),
        ("IFLA_MTU", item.mtu),
        ("IFLA_GROUP", MAKING_GROUP),
        ("IFLA_LINKINFO", {"attrs": [("IFLA_INFO_KIND", "bridge"), ("IFLA_INFO_DATA", {"attrs": data})]}),
    ]
    return m.encode(m.LINK, m.RTM_NEWLINK, m.NLM_F_CREATE | m.NLM_F_EXCL, {"index": index}, attributes)


def veth(item: Veth, index: int, peer_index: int, peer_ns: int, master: int) -> bytearray:
    """Make a pair, both ends down: the peer at once in the namespace of descriptor ``peer_ns`` (-1: this one)."""
    peer: m.Attributes = [("IFLA_IFNAME", item.peer), ("IFLA_ADDRESS", item.peer_mac), ("IFLA_MTU", item.mtu)]
    if peer_ns >= 0:
        peer.append(("IFLA_NET_NS_FD", peer_ns))
    data = {"attrs": [("VETH_INFO_PEER", {"index": peer_index, "attrs": peer})]}
    attributes: m.Attributes = [("IFLA_IFNAME", item.name), ("IFLA_MTU", item.mtu), ("IFLA_GROUP", MAKING_GROUP)]
    if master:
        attributes.append(("IFLA_MASTER", master))
    attributes.append(("IFLA_LINKINFO", {"attrs": [("IFLA_INFO_KIND", "veth"), ("IFLA_INFO_DATA", data)]}))
    return m.encode(m.LINK, m.RTM_NEWLINK, m.NLM_F_CREATE | m.NLM_F_EXCL, {"index": index}, attributes)


def bring_up(index: int, alias: str, port: Veth | None = None) -> bytearray:
    """Mark a link that was just made and bring it up; ``port`` carries its bridge port settings."""
    attributes: m.Attributes = [("IFLA_IFALIAS", alias), ("IFLA_GROUP", 0)]
    if port is not None and port.master and (port.isolated or port.hairpin):
        attributes.append(("IFLA_LINKINFO", {"attrs": _port_settings(port)}))
    fields = {"index": index, "flags": IFF_UP, "change": IFF_UP}
    return m.encode(m.LINK, m.RTM_NEWLINK, 0, fields, attributes)


def _port_settings(port: Veth) -> m.Attributes:
    settings = [("IFLA_BRPORT_MODE", int(port.hairpin)), ("IFLA_BRPORT_ISOLATED", int(port.isolated))]
    return [("IFLA_INFO_SLAVE_KIND", "bridge"), ("IFLA_INFO_SLAVE_DATA", {"attrs": settings})]


def adjust_bridge(item: Bridge, index: int) -> bytearray:
    """Give a bridge that exists its MAC, MTU and alias, and bring it up."""
    attributes: m.Attributes = [("IFLA_ADDRESS", item.mac), ("IFLA_MTU", item.mtu), ("IFLA_IFALIAS", item.alias)]
    fields = {"index": index, "flags": IFF_UP, "change": IFF_UP}
    return m.encode(m.LINK, m.RTM_NEWLINK, 0, fields, attributes)


def adjust_veth(item: Veth, index: int, master: int) -> list[bytearray]:
    """Give the own end of a pair that exists its master, MTU, alias and port settings, and bring it up. Two requests:
    port settings need the master to be set already."""
    attributes: m.Attributes = [("IFLA_MTU", item.mtu), ("IFLA_IFALIAS", item.alias), ("IFLA_MASTER", master)]
    fields = {"index": index, "flags": IFF_UP, "change": IFF_UP}
    found = [m.encode(m.LINK, m.RTM_NEWLINK, 0, fields, attributes)]
    if item.master:
        settings: m.Attributes = [("IFLA_LINKINFO", {"attrs": _port_settings(item)})]
        found.append(m.encode(m.LINK, m.RTM_NEWLINK, 0, {"index": index}, settings))
    return found


def adjust_peer(item: Veth, index: int) -> bytearray:
    """Give the far end of a pair that exists its MTU and alias, and bring it up."""
    attributes: m.Attributes = [("IFLA_MTU", item.mtu), ("IFLA_IFALIAS", item.alias + PEER_SUFFIX)]
    fields = {"index": index, "flags": IFF_UP, "change": IFF_UP}
    return m.encode(m.LINK, m.RTM_NEWLINK, 0, fields, attributes)


def discard(index: int, trash_name: str, alias: str, *, group: int = TRASH_GROUP) -> bytearray:
    """Make a link harmless: down, in no bridge, its name free, marked for deletion with its group."""
    attributes: m.Attributes = [
        ("IFLA_IFNAME", trash_name),
        ("IFLA_IFALIAS", alias + TRASH_SUFFIX),
        ("IFLA_MASTER", 0),
        ("IFLA_GROUP", group),
    ]
    return m.encode(m.LINK, m.RTM_SETLINK, 0, {"index": index, "flags": 0, "change": IFF_UP}, attributes)


def regroup(index: int, group: int = TRASH_GROUP) -> bytearray:
    """Put a link into a group."""
    return m.encode(m.LINK, m.RTM_SETLINK, 0, {"index": index}, [("IFLA_GROUP", group)])


def delete_group(group: int = TRASH_GROUP) -> bytearray:
    """Delete all links of a group at once."""
    return m.encode(m.LINK, m.RTM_DELLINK, 0, {"index": 0}, [("IFLA_GROUP", group)])


def address(item: Address, index: int, *, present: bool) -> bytearray:
    """Make an address be there, or not; IPv6 without duplicate detection, IPv4 with its broadcast address unset."""
    text, _, length = item.cidr.partition("/")
    family = family_of(text)
    attributes: m.Attributes = [("IFA_LOCAL", text), ("IFA_ADDRESS", text)]
    if family == socket.AF_INET6:
        attributes = [("IFA_ADDRESS", text)]
        if present:
            attributes.append(("IFA_FLAGS", _IFA_F_NODAD))
    kind, flags = (m.RTM_NEWADDR, m.NLM_F_CREATE | m.NLM_F_REPLACE) if present else (m.RTM_DELADDR, 0)
    fields = {"family": family, "prefixlen": int(length), "index": index}
    return m.encode(m.ADDRESS, kind, flags, fields, attributes)


def route(item: Route, index: int, *, present: bool) -> bytearray:
    """Make a route be there (instead of one of the same destination and metric), or not."""
    prefix, _, length = item.destination.partition("/")
    family = family_of(prefix)
    attributes: m.Attributes = [("RTA_OIF", index)]
    if int(length):
        attributes.append(("RTA_DST", prefix))
    if item.via:
        attributes.append(("RTA_GATEWAY", item.via))
    if item.metric:
        attributes.append(("RTA_PRIORITY", item.metric))
    fields: dict[str, object] = {
        "family": family,
        "dst_len": int(length),
        "table": TABLE_MAIN,
        "proto": ROUTE_PROTOCOL,
        "scope": SCOPE_UNIVERSE if item.via or family == socket.AF_INET6 else SCOPE_LINK,
        "type": _RTN_UNICAST,
    }
    kind, flags = (m.RTM_NEWROUTE, m.NLM_F_CREATE | m.NLM_F_REPLACE) if present else (m.RTM_DELROUTE, 0)
    return m.encode(m.ROUTE, kind, flags, fields, attributes)


def list_links() -> bytearray:
    """Ask for all links."""
    return m.encode(m.LINK, m.RTM_GETLINK, m.NLM_F_DUMP, {}, [("IFLA_EXT_MASK", _EXT_FILTER_SKIP_STATS)])


def list_addresses() -> bytearray:
    """Ask for all addresses."""
    return m.encode(m.ADDRESS, m.RTM_GETADDR, m.NLM_F_DUMP, {})


def list_routes(family: int) -> bytearray:
    """Ask for the routes of the main table."""
    fields = {"family": family, "table": TABLE_MAIN}
    return m.encode(m.ROUTE, m.RTM_GETROUTE, m.NLM_F_DUMP, fields, [("RTA_TABLE", TABLE_MAIN)])
