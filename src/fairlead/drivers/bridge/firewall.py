"""The firewall of bridge networks: one table, fixed rules, all that varies in sets and maps.

Theory of operation. A packet between two links of the node is looked up once by where it comes from and once by where
it goes; each bridge has one element in each map, so the cost does not depend on the number of networks, endpoints or
ports, and a change is a change of elements in one transaction.

    forward      from a bridge: an internal network's packets may only stay on it; broken ones never leave unmasked
                 to a bridge:   answers, packets that *we* sent to a published port (``ct status dnat``), and the
                                bridge's own traffic if its containers may talk to each other; everything else is
                                dropped. Direct access from neighbours to container addresses is thereby closed:
                                no translation, no entry (SEC-12).
    raw          nothing from a bridge may claim to come from, or go to, the host's loopback: ``route_localnet`` is on
                 for bridges so that published ports answer on 127.0.0.1 (CVE-2020-8558)
    prerouting   only packets for the host itself are translated (``fib daddr type local``; SEC-14), and loopback
    and output   destinations only when they start on the host (SEC-12). Exact host addresses win over "any" (SEC-13)
    postrouting  to the outside: the host's address; back to the same bridge after translation: the bridge's address,
                 else the answer would not come back through us; from loopback: the bridge's address

The rules hold whether or not bridged frames pass the firewall (``br_netfilter``); with it, a container that connects
to its own published port needs the pair (address, address) in ``own4``/``own6`` and a hairpin port.
"""

from __future__ import annotations

from collections.abc import Iterable

from fairlead.drivers.contract import Node
from fairlead.plan.objects import Chain, Element, Object, Plan, Set, Sysctl, Table

FAMILY = "inet"
TABLE = "fairlead"

#: name -> (type, type of values or empty)
_SETS: dict[str, tuple[str, str]] = {
    "bridges": ("ifname", ""),
    "itself": ("ifname . ifname", ""),
    "icc": ("ifname . ifname", ""),
    "masqueraded": ("ifname", ""),
    "from_bridge": ("ifname", "verdict"),
    "to_bridge": ("ifname", "verdict"),
    "own4": ("ipv4_addr . ipv4_addr", ""),
    "own6": ("ipv6_addr . ipv6_addr", ""),
    "published4_at": ("ipv4_addr . inet_proto . inet_service", "ipv4_addr . inet_service"),
    "published4_any": ("inet_proto . inet_service", "ipv4_addr . inet_service"),
    "published6_at": ("ipv6_addr . inet_proto . inet_service", "ipv6_addr . inet_service"),
    "published6_any": ("inet_proto . inet_service", "ipv6_addr . inet_service"),
}

_TO_SAME = "iifname . oifname @icc accept"

_CHAINS: dict[str, tuple[str, tuple[str, ...]]] = {
    "from_nat": ("", ("ct state invalid counter drop",)),
    "from_internal": ("", ("iifname . oifname @itself return", "counter drop")),
    "to_nat": (
        "",
        ("ct status dnat accept", _TO_SAME, "counter drop"),
    ),
    "to_internal": ("", (_TO_SAME, "counter drop")),
    "publish": (
        "",
        (
            "dnat ip to ip daddr . meta l4proto . th dport map @published4_at",
            "dnat ip to meta l4proto . th dport map @published4_any",
            "dnat ip6 to ip6 daddr . meta l4proto . th dport map @published6_at",
            "dnat ip6 to meta l4proto . th dport map @published6_any",
        ),
    ),
    "raw_prerouting": (
        "type filter hook prerouting priority -300",
        (
            # The address first: it is in the packet's first cache line, and hardly any packet goes on from there.
            "ip daddr 127.0.0.0/8 iifname @bridges counter drop",
            "ip saddr 127.0.0.0/8 iifname @bridges counter drop",
        ),
    ),
    "nat_prerouting": (
        "type nat hook prerouting priority -100",
        ("ip daddr 127.0.0.0/8 return", "fib daddr type local jump publish"),
    ),
    # ::1 stays untranslated: an answer to it could never return, and refusing at once lets clients try 127.0.0.1.
    "nat_output": (
        "type nat hook output priority -100",
        ("ip6 daddr ::1 return", "fib daddr type local jump publish"),
    ),
    "nat_postrouting": (
        "type nat hook postrouting priority 100",
        (
            "iifname @masqueraded iifname . oifname != @itself masquerade",
            "ct status dnat iifname . oifname @itself masquerade",
            "ip saddr . ip daddr @own4 masquerade",
            "ip6 saddr . ip6 daddr @own6 masquerade",
            "oifname @bridges ip saddr 127.0.0.0/8 masquerade",
        ),
    ),
}

_FORWARD_HOOK = "type filter hook forward priority 0"
#: What leaves a bridge is looked at first, so that an internal network stays closed even to what was once allowed; then
#: whatever belongs to a known connection takes the short way.
_FORWARD = ("iifname vmap @from_bridge", "ct state established,related accept", "oifname vmap @to_bridge")
#: Fairlead switched forwarding on; without it nothing passed between the host's other links, so nothing may now.
_GUARD = "iifname != @bridges oifname != @bridges counter drop"

#: Whether bridged frames pass the firewall; 1 by default where br_netfilter is loaded (Linux bridge/br_netfilter).
_BRIDGE_NF = ("net/bridge/bridge-nf-call-iptables", "net/bridge/bridge-nf-call-ip6tables")


def skeleton(node: Node) -> Plan:
    """The table with its fixed rules and empty sets, and the node's settings that they need."""
    objects: list[Object] = [Table("", FAMILY, TABLE)]
    objects += [Set("", FAMILY, TABLE, name, kind, value) for name, (kind, value) in _SETS.items()]
    objects += [Chain("", FAMILY, TABLE, name, rules, hook) for name, (hook, rules) in _CHAINS.items()]
    forward = (_GUARD, *_FORWARD) if node.guard_forwarding else _FORWARD
    objects.append(Chain("", FAMILY, TABLE, "forward", forward, _FORWARD_HOOK))
    if node.forward:
        objects.append(Sysctl("", "net/ipv4/ip_forward", "1"))
    if node.bridge_nf_off:
        objects += [Sysctl("", path, "0") for path in _BRIDGE_NF]
    return Plan(objects)


def bridge_elements(bridge: str, *, internal: bool, icc: bool, masquerade: bool) -> Iterable[Element]:
    """What the firewall must know of one bridge."""
    name = f'"{bridge}"'
    yield _element("bridges", name)
    yield _element("itself", f"{name} . {name}")
    if icc:
        yield _element("icc", f"{name} . {name}")
    if masquerade and not internal:
        yield _element("masqueraded", name)
    yield _element("from_bridge", name, "jump from_internal" if internal else "jump from_nat")
    yield _element("to_bridge", name, "jump to_internal" if internal else "jump to_nat")


def publish_element(proto: str, host_ip: str, host_port: int, address: str, port: int) -> Element:
    """Connections to ``host_ip:host_port`` (an unspecified address means any of the host) go to ``address:port``."""
    family = "6" if ":" in address else "4"
    service = f"{proto} . {host_port}"
    if host_ip in ("0.0.0.0", "::"):
        return _element(f"published{family}_any", service, f"{address} . {port}")
    return _element(f"published{family}_at", f"{host_ip} . {service}", f"{address} . {port}")


def own_element(address: str) -> Element:
    """An endpoint that may connect to its own published port."""
    return _element("own6" if ":" in address else "own4", f"{address} . {address}")


def _element(name: str, element: str, value: str = "") -> Element:
    return Element("", FAMILY, TABLE, name, element, value)
