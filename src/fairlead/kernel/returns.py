"""``ReturnPaths`` in Linux: one rule, one table with one route for each family, and a map for the MAC.

A packet with a mark is routed by a table of its own, to a gateway that is nobody: a neighbour that is known for good. What
leaves the link passes a chain (hook ``egress``, Linux 5.16), which puts the MAC of the node in its place that the mark stands
for. So the way of a packet is the same however many nodes there are.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator

from fairlead.kernel import messages as m
from fairlead.kernel import requests
from fairlead.kernel.errno import refused
from fairlead.kernel.machine import Machine
from fairlead.kernel.ruleset import RETURNS
from fairlead.plan.returns import MARK, MASK, ReturnPaths

#: Routing table and place of the rule: before the main table's (32766), after the local one's (0).
_TABLE = _PRIORITY = 77
#: Gateways that nobody is, on the link only (RFC 3927, RFC 4291), and the MAC that packets to them have at first: locally
#: administered, and nobody's.
_GATEWAYS = {socket.AF_INET: "169.254.77.77", socket.AF_INET6: "fe80::4d:4d"}
_MAC = "06:66:4d:00:00:00"
#: Metric of the default route in the main table: any other one is preferred.
_LAST = 0x7FFF0000
#: nftables' table: hooks of this family are on links, which must be there first.
FAMILY, TABLE = "netdev", RETURNS
#: Protocol of the routes: not the one by which routes of plans are known.
_PROTOCOL = requests.ROUTE_PROTOCOL + 1
#: <linux/rtnetlink.h>, <linux/fib_rules.h>: the next hop is on the link whatever addresses say; look a table up.
_ONLINK, _TO_TABLE = 4, 1


def put(machine: Machine, item: ReturnPaths) -> None:
    """Make it so, whatever was before. Raises ``NetError``, ``OSError``."""
    with machine.enter(item.ns) as netlink:
        index = socket.if_nametoindex(item.link)
        for request, tolerated in _additions(item, index):
            fault = netlink.request([request])[0]
            if fault is not None and fault.code != tolerated:
                raise refused(f"lead answers out by {item.link}", fault.code, fault.text, item)
    with machine.firewall(item.ns) as nft:
        nft.run("\n".join(_script(item)))


def drop(machine: Machine, item: ReturnPaths) -> None:
    """Take it away; what is gone is gone. Its routes go with the link. Raises ``OSError``."""
    with machine.enter(item.ns) as netlink:
        netlink.request([_rule(family, present=False) for family in _families(item)])
    with machine.firewall(item.ns) as nft:
        # adding first makes deleting one that is not there no fault
        nft.run(f"add table {FAMILY} {TABLE}\ndelete table {FAMILY} {TABLE}")


def _families(item: ReturnPaths) -> list[socket.AddressFamily]:
    return [socket.AF_INET] * item.ipv4 + [socket.AF_INET6] * item.ipv6


def _additions(item: ReturnPaths, index: int) -> Iterator[tuple[bytearray, int]]:
    """Requests, each with the fault that does not matter."""
    for family in _families(item):
        yield requests.neighbour(index, _GATEWAYS[family], _MAC), 0
        yield _route(family, index, _TABLE), 0
        yield _route(family, index, requests.TABLE_MAIN, _LAST), 0
        yield _rule(family, present=True), errno.EEXIST


def _route(family: socket.AddressFamily, index: int, table: int, metric: int = 0) -> bytearray:
    fields = {
        "family": family,
        "table": table,
        "proto": _PROTOCOL,
        "scope": requests.SCOPE_UNIVERSE,
        "type": 1,  # RTN_UNICAST
        "flags": _ONLINK,
    }
    attributes: m.Attributes = [("RTA_OIF", index), ("RTA_GATEWAY", _GATEWAYS[family])]
    if metric:
        attributes.append(("RTA_PRIORITY", metric))
    return m.encode(m.ROUTE, m.RTM_NEWROUTE, m.NLM_F_CREATE | m.NLM_F_REPLACE, fields, attributes)


def _rule(family: socket.AddressFamily, *, present: bool) -> bytearray:
    attributes: m.Attributes = [("FRA_PRIORITY", _PRIORITY), ("FRA_FWMARK", MARK), ("FRA_FWMASK", MASK)]
    fields = {"family": family, "table": _TABLE, "action": _TO_TABLE}
    kind, flags = (m.RTM_NEWRULE, m.NLM_F_CREATE | m.NLM_F_EXCL) if present else (m.RTM_DELRULE, 0)
    return m.encode(m.RULE, kind, flags, fields, attributes)


def _script(item: ReturnPaths) -> Iterator[str]:
    yield f"add table {FAMILY} {TABLE}"
    yield f"delete table {FAMILY} {TABLE}"
    yield f"add table {FAMILY} {TABLE}"
    yield f"add map {FAMILY} {TABLE} ways {{ type mark : ether_addr ; }}"
    yield f'add chain {FAMILY} {TABLE} egress {{ type filter hook egress device "{item.link}" priority 0 ; }}'
    yield f"add rule {FAMILY} {TABLE} egress ether daddr set meta mark map @ways"
    if item.ways:
        ways = ", ".join(f"{mark:#010x} : {mac}" for mark, mac in item.ways)
        yield f"add element {FAMILY} {TABLE} ways {{ {ways} }}"
