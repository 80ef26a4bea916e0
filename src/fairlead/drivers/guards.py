"""Guards between the ports of bridges: nftables tables of the family ``bridge``, in the node's own namespace or (``inside``)
in that of an overlay, each there only while a network asks for it. A frame of a network that does not ask costs, while a table is there, one comparison or one look-up.

    fairlead-ra     networks with IPv6: what would make an endpoint a router or DHCPv6 server of its neighbours reaches
                    nobody, neither peers nor the host (SEC-08). Only ICMPv6 and answers of DHCPv6 servers are looked up.
    fairlead-pin    overlays, and bridge networks with ``fairlead.anti_spoof``: a frame of a port must carry the MAC and an address of its
                    endpoint, in ARP and in neighbour advertisements too (SEC-28).
    fairlead-apart  networks with ``icc=false`` where bridged frames pass the firewall. There the kernel bridges a frame
                    to a published port of a sibling instead of routing it, and isolated ports would drop it. So ports
                    are not isolated; this table drops what goes from port to port, except what the table ``inet
                    fairlead`` has seen to be on the way to or from a published port, and has marked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from ipaddress import IPv6Address

from fairlead.model.addresses import bare, is_v6, link_local
from fairlead.model.endpoint import Endpoint
from fairlead.plan.objects import Chain, Element, Set, Table

Guard = Table | Set | Chain | Element
FAMILY = "bridge"
_ADVERTISERS, _PINNED, _APART = "fairlead-ra", "fairlead-pin", "fairlead-apart"
#: The bit of a packet's mark that says: translated, and staying on its bridge. It never leaves the host, since Linux
#: clears marks when a packet enters another namespace.
TRANSLATED_MARK = 0x00100000
#: A port's MAC and the target of its neighbour advertisement, 64 bits behind the start of ICMPv6 (RFC 4861 section 4.4).
_TARGET = "iifname . ether saddr . @th,64,128"


def inside(ns: str, objects: Iterable[Guard]) -> Iterator[Guard]:
    """The same in another namespace."""
    return (replace(item, ns=ns) for item in objects)


def advertiser_table() -> Iterator[Guard]:
    """No endpoint is a router (RFC 4861: advertisement 134, redirect 137) or a DHCPv6 server (RFC 8415: 547 to 546)."""
    yield Table("", FAMILY, _ADVERTISERS)
    yield Set("", FAMILY, _ADVERTISERS, "ports", "ifname")
    rules = (
        "icmpv6 type { nd-router-advert, nd-redirect } iifname @ports counter drop",
        "ether type ip6 udp sport 547 udp dport 546 iifname @ports counter drop",
    )
    yield Chain("", FAMILY, _ADVERTISERS, "prerouting", rules, "type filter hook prerouting priority -300")


def pin_table(trusted: str = "") -> Iterator[Guard]:
    """Only an endpoint's own addresses come from its port. Where all frames are of pinned ports or of links whose names
    begin with ``trusted``, most of them are through after one look."""
    yield Table("", FAMILY, _PINNED)
    yield Set("", FAMILY, _PINNED, "ports", "ifname")
    yield Set("", FAMILY, _PINNED, "own4", "ifname . ether_addr . ipv4_addr")
    yield Set("", FAMILY, _PINNED, "own6", "ifname . ether_addr . ipv6_addr")
    yield Set("", FAMILY, _PINNED, "targets", "ifname . ether_addr . integer", typeof=_TARGET)
    rules = (
        "iifname . ether saddr . ip saddr @own4 accept",
        "iifname . ether saddr . arp saddr ip @own4 iifname . arp saddr ether . arp saddr ip @own4 accept",
        f"icmpv6 type nd-neighbor-advert {_TARGET} != @targets counter drop",
        "iifname . ether saddr . ip6 saddr @own6 accept",
        "counter drop",
    )
    yield Chain("", FAMILY, _PINNED, "pin", rules)
    hook = "type filter hook prerouting priority -310"
    short = (f'iifname "{trusted}*" accept', rules[0]) if trusted else ()
    yield Chain("", FAMILY, _PINNED, "prerouting", (*short, "iifname @ports jump pin"), hook)


def apart_table() -> Iterator[Guard]:
    """Nothing goes from port to port but what is marked. After the IP firewall (priority 0) has seen the frame."""
    yield Table("", FAMILY, _APART)
    yield Set("", FAMILY, _APART, "ports", "ifname")
    rules = (f"iifname @ports oifname @ports meta mark & {TRANSLATED_MARK:#010x} == 0 counter drop",)
    yield Chain("", FAMILY, _APART, "forward", rules, "type filter hook forward priority 100")


def silenced(port: str) -> Element:
    """A port that must not play router."""
    return _element(_ADVERTISERS, "ports", f'"{port}"')


def apart(port: str) -> Element:
    """A port that talks to no other one."""
    return _element(_APART, "ports", f'"{port}"')


def pinned(endpoint: Endpoint) -> Iterator[Element]:
    """A port and all that may come from it. The unspecified IPv6 address is for finding duplicates (RFC 4862)."""
    port = f'"{endpoint.host_ifname}"'
    yield _element(_PINNED, "ports", port)
    addresses = [bare(cidr) for cidr in (endpoint.ipv4, endpoint.ipv6, *endpoint.settings.link_local) if cidr]
    if any(map(is_v6, addresses)):
        addresses.append(link_local(endpoint.mac))
        yield _element(_PINNED, "own6", f"{port} . {endpoint.mac} . ::")
    for address in dict.fromkeys(addresses):
        yield _element(_PINNED, "own6" if is_v6(address) else "own4", f"{port} . {endpoint.mac} . {address}")
        if is_v6(address):
            yield _element(_PINNED, "targets", f"{port} . {endpoint.mac} . {int(IPv6Address(address)):#x}")


def _element(table: str, name: str, element: str) -> Element:
    return Element("", FAMILY, table, name, element)
