"""Plan objects as rtnetlink requests. Pure: values in, bytes out; link indices are the caller's.

The requests that users wait for are templates: pyroute2 encodes each shape once, the values are filled in.
"""

from __future__ import annotations

import functools
import socket
import sys

from fairlead.kernel import messages as m
from fairlead.plan.objects import Address, Bridge, Fdb, Neighbour, Route, Veth, Vxlan

#: Ours among the makers of routes (rtm_protocol; 0-4 are the kernel's, routing daemons use 8-192 and 196 by
#: /etc/iproute2/rt_protos): routes of ours are found by it.
ROUTE_PROTOCOL = 198
#: The interface groups of links that wait for bulk deletion, "fl" and a number, so that nobody else has them. Many, so
#: that what waits can be deleted a slice at a time.
TRASH_GROUPS = range(0x666C6100, 0x666C6500)
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
TABLE_LOCAL, TABLE_MAIN = 255, 254
_RTN_UNICAST, _RTN_LOCAL = 1, 2
_IFA_F_NODAD = 0x02
#: A neighbour that is never asked for; an entry of a bridge that never ages (to a bridge, a permanent one is its own),
#: <linux/neighbour.h>.
NUD_NOARP, NUD_PERMANENT = 0x40, 0x80
#: An entry of the device itself, of the bridge that it is a port of, <linux/neighbour.h>.
NTF_SELF, NTF_MASTER = 0x02, 0x04
#: Leave counters out of link dumps (half their size), <linux/rtnetlink.h>.
_EXT_FILTER_SKIP_STATS = 8


def family_of(text: str) -> int:
    """The address family of an address or prefix."""
    return socket.AF_INET6 if ":" in text else socket.AF_INET


#: Stand-ins for the values of a template: recognisable, and none a part of another.
_INDEX, _DESCRIPTOR, _MASTER = 0x7E5A1101, 0x7E5A1303, 0x7E5A1404
_MTU, _METRIC = 0x7E5A1505, 0x7E5A1606
_NAME, _PEER_NAME = "{name---------}", "{peer---------}"
_MAC, _PEER_MAC = "7e:5a:17:07:99:01", "7e:5a:18:08:99:02"
_ADDRESSES = {socket.AF_INET: "126.90.25.9", socket.AF_INET6: "7e5a:1a0a:7e5a:1b0b:7e5a:1c0c:7e5a:1d0d"}
_GATEWAYS = {socket.AF_INET: "126.90.30.14", socket.AF_INET6: "7e5a:1f0f:7e5a:2f0f:7e5a:3f0f:7e5a:4f0f"}
#: Attribute type of who made an address, <linux/if_addr.h> (since Linux 5.18; older ones leave it out).
IFA_PROTO = 11
#: Attribute type of an alias, <linux/if_link.h>, and the longest one in bytes.
_IFLA_IFALIAS = 20
_ALIAS_MAX = 255


def _u32(number: int) -> bytes:
    return number.to_bytes(4, sys.byteorder)


def _name(text: str) -> bytes:
    """A link name as the kernel keeps it: 16 bytes, ended by zeros. Raises ``ValueError`` for a longer one."""
    raw = text.encode()
    if not 0 < len(raw) < 16:
        raise ValueError(f"not a link name: {text!r}")
    return raw.ljust(16, b"\0")


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def _ip(text: str) -> bytes:
    return socket.inet_pton(family_of(text), text)


def _alias(text: str) -> bytes:
    return m.raw_attribute(_IFLA_IFALIAS, text.encode()[:_ALIAS_MAX] + b"\0")


def bridge(item: Bridge) -> bytearray:
    """Make a bridge, still down: no spanning tree, no multicast queries of its own. The kernel chooses the index."""
    return _bridge_template().fill(name=_name(item.name), mac=_mac(item.mac), mtu=_u32(item.mtu))


@functools.cache
def _bridge_template() -> m.Template:
    data: m.Attributes = [("IFLA_BR_STP_STATE", 0), ("IFLA_BR_MCAST_QUERIER", 0)]
    attributes: m.Attributes = [
        ("IFLA_IFNAME", _NAME),
        ("IFLA_ADDRESS", _MAC),
        ("IFLA_MTU", _MTU),
        ("IFLA_GROUP", MAKING_GROUP),
        ("IFLA_LINKINFO", {"attrs": [("IFLA_INFO_KIND", "bridge"), ("IFLA_INFO_DATA", {"attrs": data})]}),
    ]
    encoded = m.encode(m.LINK, m.RTM_NEWLINK, m.NLM_F_CREATE | m.NLM_F_EXCL, {}, attributes)
    return m.Template(encoded, name=_name(_NAME), mac=_mac(_MAC), mtu=_u32(_MTU))


def veth(item: Veth, peer_ns: int, master: int) -> bytearray:
    """Make a pair, both ends down: the peer at once in the namespace of descriptor ``peer_ns`` (-1: this one). The
    kernel chooses the indices, so that they count up from small numbers in each namespace."""
    values = {
        "name": _name(item.name),
        "peer": _name(item.peer),
        "mac": _mac(item.peer_mac),
        "mtu": _u32(item.mtu),
    }
    if master:
        values["master"] = _u32(master)
    if peer_ns >= 0:
        values["descriptor"] = _u32(peer_ns)
    return _veth_template(master > 0, peer_ns >= 0).fill(**values)


@functools.cache
def _veth_template(mastered: bool, abroad: bool) -> m.Template:
    peer: m.Attributes = [("IFLA_IFNAME", _PEER_NAME), ("IFLA_ADDRESS", _PEER_MAC), ("IFLA_MTU", _MTU)]
    stand_ins = {
        "name": _name(_NAME),
        "peer": _name(_PEER_NAME),
        "mac": _mac(_PEER_MAC),
        "mtu": _u32(_MTU),
    }
    if abroad:
        peer.append(("IFLA_NET_NS_FD", _DESCRIPTOR))
        stand_ins["descriptor"] = _u32(_DESCRIPTOR)
    data = {"attrs": [("VETH_INFO_PEER", {"attrs": peer})]}
    attributes: m.Attributes = [("IFLA_IFNAME", _NAME), ("IFLA_MTU", _MTU), ("IFLA_GROUP", MAKING_GROUP)]
    if mastered:
        attributes.append(("IFLA_MASTER", _MASTER))
        stand_ins["master"] = _u32(_MASTER)
    attributes.append(("IFLA_LINKINFO", {"attrs": [("IFLA_INFO_KIND", "veth"), ("IFLA_INFO_DATA", data)]}))
    encoded = m.encode(m.LINK, m.RTM_NEWLINK, m.NLM_F_CREATE | m.NLM_F_EXCL, {}, attributes)
    return m.Template(encoded, **stand_ins)


def raise_link(index: int) -> bytearray:
    """Bring a link up that is not ours, and change nothing else of it."""
    return m.encode(m.LINK, m.RTM_NEWLINK, 0, {"index": index, "flags": IFF_UP, "change": IFF_UP})


def bring_up(index: int, alias: str, port: Veth | None = None) -> bytearray:
    """Mark a link that was just made and bring it up; ``port`` carries its bridge port settings. Without an index
    Linux would do it to every link of the group instead (rtnl_group_changelink), strangers' among them."""
    if index <= 0:
        raise ValueError(f"no link has the index {index}")
    special = port is not None and bool(port.master) and (port.isolated or port.hairpin)
    template = _up_template(port.hairpin, port.isolated) if port and special else _up_template(False, False)
    return template.fill(index=_u32(index)) + _alias(alias)


@functools.cache
def _up_template(hairpin: bool, isolated: bool) -> m.Template:
    attributes: m.Attributes = [("IFLA_GROUP", 0)]
    if hairpin or isolated:
        attributes.append(("IFLA_LINKINFO", {"attrs": _port_settings(hairpin, isolated)}))
    fields = {"index": _INDEX, "flags": IFF_UP, "change": IFF_UP}
    return m.Template(m.encode(m.LINK, m.RTM_NEWLINK, 0, fields, attributes), index=_u32(_INDEX))


def _port_settings(hairpin: bool, isolated: bool) -> m.Attributes:
    settings = [("IFLA_BRPORT_MODE", int(hairpin)), ("IFLA_BRPORT_ISOLATED", int(isolated))]
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
        settings: m.Attributes = [("IFLA_LINKINFO", {"attrs": _port_settings(item.hairpin, item.isolated)})]
        found.append(m.encode(m.LINK, m.RTM_NEWLINK, 0, {"index": index}, settings))
    return found


def adjust_peer(item: Veth, index: int) -> bytearray:
    """Give the far end of a pair that exists its MTU and alias, and bring it up."""
    attributes: m.Attributes = [("IFLA_MTU", item.mtu), ("IFLA_IFALIAS", item.alias + PEER_SUFFIX)]
    fields = {"index": index, "flags": IFF_UP, "change": IFF_UP}
    return m.encode(m.LINK, m.RTM_NEWLINK, 0, fields, attributes)


def neighbour(index: int, address: str, mac: str) -> bytearray:
    """Know for good which MAC an address has on a link."""
    fields = {"family": family_of(address), "ifindex": index, "state": NUD_PERMANENT}
    flags = m.NLM_F_CREATE | m.NLM_F_REPLACE
    return m.encode(m.NEIGHBOUR, m.RTM_NEWNEIGH, flags, fields, [("NDA_DST", address), ("NDA_LLADDR", mac)])


def vxlan(item: Vxlan, ns: int) -> bytearray:
    """Make a tunnel, down and in no bridge yet, in the namespace of descriptor ``ns``; its socket will be in the one where
    this is said."""
    data: m.Attributes = [
        ("IFLA_VXLAN_ID", item.vni),
        ("IFLA_VXLAN_LOCAL6" if ":" in item.local else "IFLA_VXLAN_LOCAL", item.local),
        ("IFLA_VXLAN_PORT", item.port),
        ("IFLA_VXLAN_LEARNING", 0),
        ("IFLA_VXLAN_PROXY", 1),
        ("IFLA_VXLAN_UDP_CSUM", 0),  # RFC 7348 section 4: should be sent as zero
    ]
    if ":" in item.local:
        # RFC 6935: as with IPv4, the outer checksum is left out and its absence accepted; the frame inside has its own
        data += [("IFLA_VXLAN_UDP_ZERO_CSUM6_TX", 1), ("IFLA_VXLAN_UDP_ZERO_CSUM6_RX", 1)]
    attributes: m.Attributes = [
        ("IFLA_IFNAME", item.name),
        ("IFLA_MTU", item.mtu),
        ("IFLA_GROUP", MAKING_GROUP),
        ("IFLA_NET_NS_FD", ns),
        ("IFLA_LINKINFO", {"attrs": [("IFLA_INFO_KIND", "vxlan"), ("IFLA_INFO_DATA", {"attrs": data})]}),
    ]
    return m.encode(m.LINK, m.RTM_NEWLINK, m.NLM_F_CREATE | m.NLM_F_EXCL, {}, attributes)


def adjust_vxlan(item: Vxlan, index: int, master: int) -> list[bytearray]:
    """Mark a tunnel and bring it up as a port of its bridge, which neither learns from it nor sends it frames for MACs
    that it does not know. Two requests: port settings need the master to be set already."""
    attributes: m.Attributes = [
        ("IFLA_GROUP", 0),
        ("IFLA_MTU", item.mtu),
        ("IFLA_IFALIAS", item.alias),
        ("IFLA_MASTER", master),
    ]
    fields = {"index": index, "flags": IFF_UP, "change": IFF_UP}
    port = [("IFLA_BRPORT_LEARNING", 0), ("IFLA_BRPORT_UNICAST_FLOOD", 0)]
    settings: m.Attributes = [
        ("IFLA_LINKINFO", {"attrs": [("IFLA_INFO_SLAVE_KIND", "bridge"), ("IFLA_INFO_SLAVE_DATA", {"attrs": port})]})
    ]
    return [
        m.encode(m.LINK, m.RTM_NEWLINK, 0, fields, attributes),
        m.encode(m.LINK, m.RTM_NEWLINK, 0, {"index": index}, settings),
    ]


def delete_link(index: int) -> bytearray:
    """Delete a link; the kernel answers when it is gone."""
    return m.encode(m.LINK, m.RTM_DELLINK, 0, {"index": index})


def fdb(item: Fdb, index: int, *, present: bool) -> list[bytearray]:
    """Make a way to a MAC be there, or not: in the tunnel, and in the bridge that it is a port of."""
    mac = _mac(item.mac)
    if not present:
        shape = _fdb_template(0, present)
        return [shape[flag].fill(index=_u32(index), mac=mac) for flag in (NTF_MASTER, NTF_SELF)]
    shape = _fdb_template(family_of(item.remote), present)
    return [
        shape[NTF_SELF].fill(index=_u32(index), mac=mac, remote=_ip(item.remote)),
        shape[NTF_MASTER].fill(index=_u32(index), mac=mac),
    ]


@functools.cache
def _fdb_template(family: int, present: bool) -> dict[int, m.Template]:
    found: dict[int, m.Template] = {}
    for flag, state in ((NTF_SELF, NUD_PERMANENT | NUD_NOARP), (NTF_MASTER, NUD_NOARP)):
        attributes: m.Attributes = [("NDA_LLADDR", _MAC)]
        stand_ins = {"index": _u32(_INDEX), "mac": _mac(_MAC)}
        if family and flag == NTF_SELF:
            remote = _ADDRESSES[socket.AddressFamily(family)]
            attributes.append(("NDA_DST", remote))
            stand_ins["remote"] = _ip(remote)
        fields = {"family": socket.AF_BRIDGE, "ifindex": _INDEX, "state": state, "flags": flag}
        kind, flags = (m.RTM_NEWNEIGH, m.NLM_F_CREATE | m.NLM_F_REPLACE) if present else (m.RTM_DELNEIGH, 0)
        found[flag] = m.Template(m.encode(m.NEIGHBOUR, kind, flags, fields, attributes), **stand_ins)
    return found


def peer(item: Neighbour, index: int, *, present: bool) -> bytearray:
    """Make a neighbour be known for good, or not at all."""
    template = _peer_template(family_of(item.address), present)
    if not present:
        return template.fill(index=_u32(index), address=_ip(item.address))
    return template.fill(index=_u32(index), address=_ip(item.address), mac=_mac(item.mac))


@functools.cache
def _peer_template(family: int, present: bool) -> m.Template:
    text = _ADDRESSES[socket.AddressFamily(family)]
    attributes: m.Attributes = [("NDA_DST", text)]
    stand_ins = {"index": _u32(_INDEX), "address": _ip(text)}
    if present:
        attributes.append(("NDA_LLADDR", _MAC))
        stand_ins["mac"] = _mac(_MAC)
    fields = {"family": family, "ifindex": _INDEX, "state": NUD_PERMANENT if present else 0}
    kind, flags = (m.RTM_NEWNEIGH, m.NLM_F_CREATE | m.NLM_F_REPLACE) if present else (m.RTM_DELNEIGH, 0)
    return m.Template(m.encode(m.NEIGHBOUR, kind, flags, fields, attributes), **stand_ins)


def list_fdb(index: int) -> bytes:
    """Ask for what a tunnel, and the bridge that it is a port of, know of where MACs are."""
    return bytes(m.encode(m.NEIGHBOUR, m.RTM_GETNEIGH, m.NLM_F_DUMP, {"family": socket.AF_BRIDGE, "ifindex": index}))


def list_neighbours(index: int, family: int) -> bytes:
    """Ask for the neighbours of a link."""
    return bytes(m.encode(m.NEIGHBOUR, m.RTM_GETNEIGH, m.NLM_F_DUMP, {"family": family}, [("NDA_IFINDEX", index)]))


def lower(index: int) -> bytearray:
    """Take a link down: one that is up keeps its name on kernels before Linux 6.2, even when the same request takes it
    down."""
    return _lower_template().fill(index=_u32(index))


@functools.cache
def _lower_template() -> m.Template:
    fields = {"index": _INDEX, "flags": 0, "change": IFF_UP}
    return m.Template(m.encode(m.LINK, m.RTM_SETLINK, 0, fields), index=_u32(_INDEX))


def discard(index: int, trash_name: str, alias: str, group: int) -> bytearray:
    """Make a link harmless: down, in no bridge, its name free, marked for deletion with its group."""
    filled = _discard_template().fill(index=_u32(index), name=_name(trash_name), group=_u32(group))
    return filled + _alias(alias + TRASH_SUFFIX)


@functools.cache
def _discard_template() -> m.Template:
    attributes: m.Attributes = [("IFLA_IFNAME", _NAME), ("IFLA_MASTER", 0), ("IFLA_GROUP", _MASTER)]
    fields = {"index": _INDEX, "flags": 0, "change": IFF_UP}
    encoded = m.encode(m.LINK, m.RTM_SETLINK, 0, fields, attributes)
    return m.Template(encoded, index=_u32(_INDEX), name=_name(_NAME), group=_u32(_MASTER))


def regroup(index: int, group: int) -> bytearray:
    """Put a link into a group."""
    return m.encode(m.LINK, m.RTM_SETLINK, 0, {"index": index}, [("IFLA_GROUP", group)])


def delete_group(group: int) -> bytearray:
    """Delete all links of a group at once."""
    return m.encode(m.LINK, m.RTM_DELLINK, 0, {"index": 0}, [("IFLA_GROUP", group)])


def address(item: Address, index: int, *, present: bool, marked: bool = False) -> bytearray:
    """Make an address be there, or not; IPv6 without duplicate detection, IPv4 with its broadcast address unset.
    ``marked`` ones say that they are ours, on a link that is not."""
    text, _, length = item.cidr.partition("/")
    mark = m.raw_attribute(IFA_PROTO, bytes([ROUTE_PROTOCOL])) if marked else bytearray()
    return _address_template(family_of(text), int(length), present).fill(index=_u32(index), address=_ip(text)) + mark


@functools.cache
def _address_template(family: int, length: int, present: bool) -> m.Template:
    text = _ADDRESSES[socket.AddressFamily(family)]
    attributes: m.Attributes = [("IFA_LOCAL", text), ("IFA_ADDRESS", text)]
    if family == socket.AF_INET6:
        attributes = [("IFA_ADDRESS", text)]
        if present:
            attributes.append(("IFA_FLAGS", _IFA_F_NODAD))
    kind, flags = (m.RTM_NEWADDR, m.NLM_F_CREATE | m.NLM_F_REPLACE) if present else (m.RTM_DELADDR, 0)
    encoded = m.encode(m.ADDRESS, kind, flags, {"family": family, "prefixlen": length, "index": _INDEX}, attributes)
    return m.Template(encoded, index=_u32(_INDEX), address=_ip(text))


def local_route(item: Route, index: int, *, present: bool) -> bytearray:
    """Make a route of the local table be there, or not, beside those of other links."""
    prefix, _, length = item.destination.partition("/")
    fields: dict[str, object] = {
        "family": family_of(prefix),
        "dst_len": int(length),
        "table": TABLE_LOCAL,
        "proto": ROUTE_PROTOCOL,
        "scope": SCOPE_HOST,
        "type": _RTN_LOCAL,
    }
    kind, flags = (m.RTM_NEWROUTE, m.NLM_F_CREATE | m.NLM_F_APPEND) if present else (m.RTM_DELROUTE, 0)
    return m.encode(m.ROUTE, kind, flags, fields, [("RTA_DST", prefix), ("RTA_OIF", index)])


def route(item: Route, index: int, *, present: bool, strict: bool = False) -> bytearray:
    """Make a route be there, or not. One of the same destination and metric is replaced, or with ``strict``, where it
    may be a stranger's, makes it fail."""
    prefix, _, length = item.destination.partition("/")
    values = {"index": _u32(index)}
    if int(length):
        values["prefix"] = _ip(prefix)
    if item.via:
        values["via"] = _ip(item.via)
    if item.metric:
        values["metric"] = _u32(item.metric)
    shape = (family_of(prefix), int(length), bool(item.via), bool(item.metric), present, strict)
    return _route_template(*shape).fill(**values)


@functools.cache
def _route_template(
    family: int, length: int, gatewayed: bool, metered: bool, present: bool, strict: bool
) -> m.Template:
    prefix, via = _ADDRESSES[socket.AddressFamily(family)], _GATEWAYS[socket.AddressFamily(family)]
    attributes: m.Attributes = [("RTA_OIF", _INDEX)]
    stand_ins = {"index": _u32(_INDEX)}
    if length:
        attributes.append(("RTA_DST", prefix))
        stand_ins["prefix"] = _ip(prefix)
    if gatewayed:
        attributes.append(("RTA_GATEWAY", via))
        stand_ins["via"] = _ip(via)
    if metered:
        attributes.append(("RTA_PRIORITY", _METRIC))
        stand_ins["metric"] = _u32(_METRIC)
    fields: dict[str, object] = {
        "family": family,
        "dst_len": length,
        "table": TABLE_MAIN,
        "proto": ROUTE_PROTOCOL,
        "scope": SCOPE_UNIVERSE if gatewayed or family == socket.AF_INET6 else SCOPE_LINK,
        "type": _RTN_UNICAST,
    }
    clash = m.NLM_F_EXCL if strict else m.NLM_F_REPLACE
    kind, flags = (m.RTM_NEWROUTE, m.NLM_F_CREATE | clash) if present else (m.RTM_DELROUTE, 0)
    return m.Template(m.encode(m.ROUTE, kind, flags, fields, attributes), **stand_ins)


@functools.cache
def list_links() -> bytes:
    """Ask for all links."""
    return bytes(m.encode(m.LINK, m.RTM_GETLINK, m.NLM_F_DUMP, {}, [("IFLA_EXT_MASK", _EXT_FILTER_SKIP_STATS)]))


@functools.cache
def list_addresses() -> bytes:
    """Ask for all addresses."""
    return bytes(m.encode(m.ADDRESS, m.RTM_GETADDR, m.NLM_F_DUMP, {}))


@functools.cache
def list_routes(family: int, table: int = TABLE_MAIN) -> bytes:
    """Ask for the routes of a table."""
    fields = {"family": family, "table": table}
    return bytes(m.encode(m.ROUTE, m.RTM_GETROUTE, m.NLM_F_DUMP, fields, [("RTA_TABLE", table)]))
