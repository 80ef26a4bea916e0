"""The firewall of bridge networks: one table, fixed rules, all that varies in sets and maps.

Theory of operation. A packet between two links of the node is looked up once by where it comes from and once by where
it goes; each bridge has one element in each map, so the cost does not depend on the number of networks, endpoints or
ports, and a change is a change of elements in one transaction.

    forward      from a bridge: an internal network's packets may only stay on it; broken ones never leave unmasked
                 to a bridge:   answers, packets that *we* sent to a published port (``ct status dnat``), and the
                                bridge's own traffic if its containers may talk to each other; everything else is
                                dropped. Direct access from neighbours to container addresses is thereby closed:
                                no translation, no entry (SEC-12). A network that is more open (``routed``,
                                ``nat-unprotected``, trusted interfaces) has a chain of its own instead.
    raw          nothing from a bridge may claim to come from, or go to, the host's loopback: ``route_localnet`` is on
                 for bridges so that published ports answer on 127.0.0.1 (CVE-2020-8558)
    prerouting   only packets for the host itself are translated (``fib daddr type local``; SEC-14), and loopback
    and output   destinations only when they start on the host (SEC-12). Exact host addresses win over "any" (SEC-13)
    postrouting  to the outside: the host's address, or the fixed one of the network's own chain; back to the same
                 bridge after translation: the bridge's address, else the answer would not come back through us; the
                 same from loopback, and to ``masked`` endpoints, whose way out leads elsewhere

The rules hold whether or not bridged frames pass the firewall (``br_netfilter``); with it, a container that connects
to its own published port needs the pair (address, address) in ``own4``/``own6`` and a hairpin port, and packets to
published ports of siblings that are kept apart are marked for ``guards``.
"""

from __future__ import annotations

from collections.abc import Iterator

from fairlead.drivers.bridge import policy
from fairlead.drivers.bridge.config import BridgeConfig
from fairlead.drivers.contract import Node
from fairlead.drivers.guards import TRANSLATED_MARK
from fairlead.model import options
from fairlead.plan.objects import Chain, Element, Object, Plan, Set, Sysctl, Table

FAMILY = "inet"
TABLE = "fairlead"

#: name -> (type, type of values or empty)
_SETS: dict[str, tuple[str, str]] = {
    "bridges": ("ifname", ""),
    "itself": ("ifname . ifname", ""),
    "icc": ("ifname . ifname", ""),
    "leaving": ("ifname", "verdict"),
    "from_bridge": ("ifname", "verdict"),
    "to_bridge": ("ifname", "verdict"),
    "own4": ("ipv4_addr . ipv4_addr", ""),
    "own6": ("ipv6_addr . ipv6_addr", ""),
    "masked4": ("ipv4_addr", ""),
    "masked6": ("ipv6_addr", ""),
    "open4": ("ipv4_addr . inet_proto . inet_service", ""),
    "open6": ("ipv6_addr . inet_proto . inet_service", ""),
    "published4_at": ("ipv4_addr . inet_proto . inet_service", "ipv4_addr . inet_service"),
    "published4_any": ("inet_proto . inet_service", "ipv4_addr . inet_service"),
    "published6_at": ("ipv6_addr . inet_proto . inet_service", "ipv6_addr . inet_service"),
    "published6_any": ("inet_proto . inet_service", "ipv6_addr . inet_service"),
}

_TO_SAME = "iifname . oifname @icc accept"
_TRANSLATED = "ct status dnat accept"
_DROP = "counter drop"
#: Staying on its bridge, and never allowed to by ``_TO_SAME``.
_APART = "iifname . oifname @itself counter drop"

_CHAINS: dict[str, tuple[str, tuple[str, ...]]] = {
    "from_nat": ("", ("ct state invalid counter drop",)),
    "from_internal": ("", ("iifname . oifname @itself return", _DROP)),
    "to_nat": ("", (_TRANSLATED, _TO_SAME, _DROP)),
    "to_internal": ("", (_TO_SAME, _DROP)),
    "opened": (
        "",
        ("ip daddr . meta l4proto . th dport @open4 accept", "ip6 daddr . meta l4proto . th dport @open6 accept"),
    ),
    "leave_masked": ("", ("iifname . oifname != @itself masquerade",)),
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
}

_PREROUTING_HOOK = "type nat hook prerouting priority -100"
_PREROUTING = ("ip daddr 127.0.0.0/8 return", "fib daddr type local jump publish")
_FORWARD_HOOK = "type filter hook forward priority 0"
#: What leaves a bridge is looked at first, so that an internal network stays closed even to what was once allowed; then
#: whatever belongs to a known connection takes the short way.
_FORWARD = ("iifname vmap @from_bridge", "ct state established,related accept", "oifname vmap @to_bridge")
#: Fairlead switched forwarding on; without it nothing passed between the host's other links, so nothing may now.
_GUARD = "iifname != @bridges oifname != @bridges counter drop"

_OUTPUT_HOOK = "type nat hook output priority -100"
_OUTPUT = "fib daddr type local jump publish"
#: Where bridged frames pass the firewall, an answer to ``::1`` would be taken for one from outside and dropped
#: (ip6_rcv_core). So ``::1`` stays untranslated there, and refusing at once lets clients try 127.0.0.1.
_NO_LOOPBACK_V6 = "ip6 daddr ::1 return"

_POSTROUTING_HOOK = "type nat hook postrouting priority 100"
_POSTROUTING: tuple[str, ...] = (
    "iifname vmap @leaving",
    "ct status dnat iifname . oifname @itself masquerade",
    "ct status dnat ip daddr @masked4 masquerade",
    "ct status dnat ip6 daddr @masked6 masquerade",
    "ip saddr . ip daddr @own4 masquerade",
    "ip6 saddr . ip6 daddr @own6 masquerade",
    "ip saddr 127.0.0.0/8 oifname @bridges masquerade",
    "ip6 saddr ::1 oifname @bridges masquerade",
)
#: A bridged frame does not say any more where it came in: siblings that are kept apart are known by their mark.
_MARKED = f"meta mark & {TRANSLATED_MARK:#010x} != 0 ct status dnat oifname @bridges masquerade"

#: Whether bridged frames pass the firewall; 1 by default where br_netfilter is loaded (Linux bridge/br_netfilter).
_BRIDGE_NF = ("net/bridge/bridge-nf-call-iptables", "net/bridge/bridge-nf-call-ip6tables")


def skeleton(node: Node) -> Plan:
    """The table with its fixed rules and empty sets, and the node's settings that they need."""
    objects: list[Object] = [Table("", FAMILY, TABLE)]
    objects += [Set("", FAMILY, TABLE, name, kind, value) for name, (kind, value) in _SETS.items()]
    objects += [Chain("", FAMILY, TABLE, name, rules, hook) for name, (hook, rules) in _CHAINS.items()]
    forward = (*_forwarding_guard(node), *_FORWARD)
    output: tuple[str, ...] = (_OUTPUT,)
    postrouting = _POSTROUTING
    if not node.bridge_nf_off:
        output, postrouting = (_NO_LOOPBACK_V6, *output), (*postrouting, _MARKED)
    objects.append(_chain("forward", forward, _FORWARD_HOOK))
    objects.append(_chain("nat_output", output, _OUTPUT_HOOK))
    asking = policy.PREROUTING if node.ask_host_firewall else ()
    objects.append(_chain("nat_prerouting", (*asking, *_PREROUTING), _PREROUTING_HOOK))
    if node.ask_host_firewall:
        objects += policy.plan()
    objects.append(_chain("nat_postrouting", postrouting, _POSTROUTING_HOOK))
    if node.forward:
        objects.append(Sysctl("", "net/ipv4/ip_forward", "1"))
    if node.bridge_nf_off:
        objects += [Sysctl("", path, "0") for path in _BRIDGE_NF]
    return Plan(objects)


def _forwarding_guard(node: Node) -> tuple[str, ...]:
    if node.guard_forwarding and node.guard_forwarding_v6:
        return (_GUARD,)
    families = (("ipv4", node.guard_forwarding), ("ipv6", node.guard_forwarding_v6))
    return tuple(f"meta nfproto {family} {_GUARD}" for family, guarded in families if guarded)


def network(config: BridgeConfig, *, bridge_nf_off: bool) -> Iterator[Object]:
    """What the firewall must know of one network."""
    name = f'"{config.device}"'
    yield _element("bridges", name)
    yield _element("itself", f"{name} . {name}")
    if config.icc:
        yield _element("icc", f"{name} . {name}")
    if config.internal:
        yield _element("from_bridge", name, "jump from_internal")
        yield _element("to_bridge", name, "jump to_internal")
        return
    yield from _leaving(config, name)
    if config.icc or bridge_nf_off:
        yield _element("from_bridge", name, "jump from_nat")
    else:
        marked = f"ct status dnat iifname . oifname @itself meta mark set meta mark or {TRANSLATED_MARK:#010x}"
        yield _chain(f"from_{config.device}", (marked, "goto from_nat"))
        yield _element("from_bridge", name, f"jump from_{config.device}")
    inward = [_inward(config, mode) for mode in config.modes]
    if inward == [_CHAINS["to_nat"][1]] * 2:
        yield _element("to_bridge", name, "jump to_nat")
        return
    v4, v6 = inward
    rules = v4 if v4 == v6 else (*(f"meta nfproto ipv4 {rule}" for rule in v4), *v6)
    yield _chain(f"to_{config.device}", rules)
    yield _element("to_bridge", name, f"jump to_{config.device}")


def _inward(config: BridgeConfig, mode: str) -> tuple[str, ...]:
    """The rules for what is not an answer and goes to the bridge, in one family."""
    if mode == options.ROUTED:
        return (_TO_SAME, _APART, "meta l4proto { icmp, ipv6-icmp } accept", "jump opened", _DROP)
    if mode == options.UNPROTECTED:
        return (_TRANSLATED, _TO_SAME, _APART, "accept")
    if config.trusted:
        names = ", ".join(f'"{name}"' for name in config.trusted)
        return (_TRANSLATED, _TO_SAME, f"iifname {{ {names} }} jump opened", _DROP)
    return _CHAINS["to_nat"][1]


def _leaving(config: BridgeConfig, name: str) -> Iterator[Object]:
    """Whose address packets carry that leave the bridge for elsewhere: untranslated in routed mode or on request."""
    if not config.masquerade:
        return
    masked = [mode != options.ROUTED for mode in config.modes]
    if all(masked) and not any(config.sources):
        yield _element("leaving", name, "jump leave_masked")
        return
    rules = [
        f"meta nfproto {family} {f'snat {word} to {source}' if source else 'masquerade'}"
        for family, word, source, wanted in zip(("ipv4", "ipv6"), ("ip", "ip6"), config.sources, masked, strict=True)
        if wanted
    ]
    if rules:
        yield _chain(f"leave_{config.device}", ("iifname . oifname @itself return", *rules))
        yield _element("leaving", name, f"jump leave_{config.device}")


def passage(link: str, leaving: str) -> Iterator[Element]:
    """A link of the node, not of a network here, to which connections are translated and from which their answers come. What
    comes from it passes the chain ``leaving`` first."""
    name = f'"{link}"'
    yield _element("bridges", name)
    yield _element("from_bridge", name, f"jump {leaving}")
    yield _element("to_bridge", name, "jump to_nat")


def open_element(proto: str, address: str, port: int) -> Element:
    """A port that is reached by the container's own address, by those who may."""
    return _element("open6" if ":" in address else "open4", f"{address} . {proto} . {port}")


def publish_element(proto: str, host_ip: str, host_port: int, address: str, port: int) -> Element:
    """Connections to ``host_ip:host_port`` (an unspecified address means any of the host) go to ``address:port``."""
    family = "6" if ":" in address else "4"
    service = f"{proto} . {host_port}"
    if host_ip in ("0.0.0.0", "::"):
        return _element(f"published{family}_any", service, f"{address} . {port}")
    return _element(f"published{family}_at", f"{host_ip} . {service}", f"{address} . {port}")


def masked_element(address: str) -> Element:
    """An endpoint whose answers to strangers would not come back through us."""
    return _element("masked6" if ":" in address else "masked4", address)


def own_element(address: str) -> Element:
    """An endpoint that may connect to its own published port."""
    return _element("own6" if ":" in address else "own4", f"{address} . {address}")


def _chain(name: str, rules: tuple[str, ...], hook: str = "") -> Chain:
    return Chain("", FAMILY, TABLE, name, rules, hook)


def _element(name: str, element: str, value: str = "") -> Element:
    return Element("", FAMILY, TABLE, name, element, value)
