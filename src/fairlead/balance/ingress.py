"""Published ports of services: connections to any node's address and such a port reach a ready task, anywhere.

Theory of operation. A node has an *entry*: a link of its own namespace that is an endpoint in the network of published ports.

    at the node   nftables translates the first packet of a connection to an address of the host and a published port: one
                  look-up by protocol and port leads to the chain that draws a number, a second one by port and number to a
                  task's address and port. The source stays as it is, and conntrack does the rest.
    at the task   the connection is marked by the MAC that its packets come from, which is that of the entry. Answers carry
                  the mark of their connection, are routed by it and not by whose address they have, and go to that MAC
                  (``ReturnPaths``). The entry translates them back: nobody else could.

So a task sees its clients' own addresses, whichever nodes they come by, several at once, and no node needs to know anything of
another's connections. Where a program answers datagrams from a socket that is bound to no address, the kernel chooses the
source by the route to the client, which leads elsewhere; so datagrams come in at the address that it will choose.

All tables of a node are maps: a packet's way is the same for one service and a thousand, a task that changes is a few elements.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address

from fairlead.model.backend import PublishedPort
from fairlead.plan.objects import Backends, Chain, Element, Flow, Object, Plan, PortHold, Set, Sysctl, Table
from fairlead.plan.returns import MARK, MASK, ReturnPaths

#: Name of an entry's link in the node's own namespace.
LINK = "fairlead_in"
#: How an entry's MAC begins (locally administered), by which tasks know it; the rest is of its address.
_MAC = "06:66:4d:"
#: Bits of an entry's address that tell it from others: enough for one subnet.
_OWN_BITS = 0x00FFFFFF
#: Numbers that are drawn begin here, in packets' marks (see ``nftables``).
FIRST_MARK = 0x0FA20000
#: Parts into which clients are divided where each stays at its task, and what their hash begins with: the same on all nodes.
BUCKETS, _SEED = 256, "0x4d455348"
#: Bytes of the headers of TCP over IPv4 and IPv6 without options.
_HEADERS = {"ipv4": 40, "ipv6": 60}
#: The table in a task's namespace.
FAMILY, TABLE = "inet", "fairlead-ingress"
_FAMILIES = {"4": "ip", "6": "ip6"}
_TYPES = {"4": "ipv4_addr", "6": "ipv6_addr"}
#: What IPv6 cannot do without on any link (RFC 4861).
_NEIGHBOURS = "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept"
_ANY_HOST = {"4": "0.0.0.0", "6": "::"}


def entry_mac(ipv4: str) -> str:
    """The MAC of the entry with this (bare) address."""
    low = int(IPv4Address(ipv4)) & _OWN_BITS
    return _MAC + low.to_bytes(3, "big").hex(":")


def is_entry(mac: str) -> bool:
    """Whether it is the MAC of an entry."""
    return mac.startswith(_MAC)


def _mark(mac: str) -> int:
    return MARK | int(mac.removeprefix(_MAC).replace(":", ""), 16)


@dataclass(frozen=True, slots=True)
class Door:
    """Where a node translates: the nftables table (of its own namespace) that it is done in, which has sets and chains of
    its own for links in general; ``guard`` are the rules that come before translation, ``mtu`` bytes that the entry's link
    carries; ``forwards_ipv6``: IPv6 is to be passed on."""

    family: str
    table: str
    mtu: int
    guard: tuple[str, ...] = ()
    forwards_ipv6: bool = False

    def base_plan(self, sizes: Collection[int]) -> Plan:
        """What must exist on a node before any port is published to so many (``sizes``) targets."""
        objects: list[Object] = [Sysctl("", f"net/ipv4/conf/{LINK}/route_localnet", "1", LINK)]
        if self.forwards_ipv6:
            objects.append(Sysctl("", "net/ipv6/conf/all/forwarding", "1"))
        for digit, kind in _TYPES.items():
            service = "inet_proto . inet_service"
            for bound, name in (("", f"mesh{digit}"), (f"{kind} . ", f"mesh{digit}_at")):
                objects.append(self._set(name, f"{bound}{service}", "verdict"))
                objects.append(self._set(f"{name}_slots", f"{bound}{service} . mark", f"{kind} . inet_service"))
            objects.append(self._set(f"mesh{digit}_snat", f"{kind} . {service}"))
            objects += [self._drawing(digit, str(size), f"numgen random mod {size}") for size in sizes]
            by_client = f"jhash {_FAMILIES[digit]} saddr mod {BUCKETS} seed {_SEED}"
            objects.append(self._drawing(digit, "client", by_client))
        objects += [self._chain(f"mesh_{name}", rules, hook) for name, hook, rules in self._chains()]
        return Plan(objects)

    def port_plan(
        self, service_id: str, port: PublishedPort, digit: str, targets: Sequence[str], how: str, *, snat: bool
    ) -> Plan:
        """What must exist for one port in a family (``4``, ``6``): connections reach one of ``targets`` (bare addresses),
        drawn at random (``how`` empty), ``turn`` by turn, or by ``client`` (then there are ``BUCKETS``)."""
        service = f"{port.protocol} . {port.published}"
        index = f"mesh{digit}_at" if port.host_ip else f"mesh{digit}"
        address = f"{port.host_ip} . {service}" if port.host_ip else service
        objects: list[Object] = []
        name = how or str(len(targets))
        if how == "turn":
            name = f"turn_{service_id}_{port.protocol}_{port.published}"
            objects.append(self._drawing(digit, name, f"numgen inc mod {len(targets)}"))
        objects.append(PortHold(port.protocol, port.host_ip or _ANY_HOST[digit], port.published))
        aims = tuple(f"{target} . {port.target}" for target in targets)
        verdict = f"goto mesh{digit}_by_{name}"
        place = ("", self.family, self.table)
        objects.append(Backends(*place, index, f"{index}_slots", address, verdict, FIRST_MARK, aims))
        if port.protocol == "udp":
            # what came before there was anyone to answer is no connection to the host
            objects.append(Flow("", port.protocol, port.published, _ANY_HOST["4"], 0))
        if snat:
            several = dict.fromkeys(f"{target} . {port.protocol} . {port.target}" for target in targets)
            objects += [Element(*place, f"mesh{digit}_snat", one) for one in several]
        return Plan(objects)

    def _chains(self) -> Iterator[tuple[str, str, tuple[str, ...]]]:
        local = "fib daddr type local jump mesh_ports"
        nat, mangle = "type nat hook", "type filter hook"
        yield "ports", "", tuple(_look_ups())
        # just after the ports of single containers
        yield "prerouting", f"{nat} prerouting priority -99", (*self.guard, "ip daddr 127.0.0.0/8 return", local)
        yield "output", f"{nat} output priority -99", ("ip6 daddr ::1 return", local)
        # just before all other rules there: who is masqueraded elsewhere is himself in the cluster
        yield (
            "postrouting",
            f"{nat} postrouting priority 99",
            (
                f'oifname != "{LINK}" return',
                "ip saddr 127.0.0.0/8 masquerade",
                "ip daddr . meta l4proto . th dport @mesh4_snat masquerade",
                "ip6 daddr . meta l4proto . th dport @mesh6_snat masquerade",
                "snat ip to ip saddr",
                "snat ip6 to ip6 saddr",
            ),
        )
        # tasks are answered here, and served with nothing
        yield "input", f"{mangle} input priority 0", (f'iifname "{LINK}" ct state new counter drop',)
        yield "leaving", "", ("ct state new,invalid counter drop",)
        # programs at both ends take their own link for the way
        for name, hook, word in (("arriving", "prerouting", "iifname"), ("departing", "postrouting", "oifname")):
            sizes = tuple(
                f'{word} "{LINK}" meta nfproto {family} tcp flags & (syn | rst) == syn tcp option maxseg size set '
                f"{self.mtu - header}"
                for family, header in _HEADERS.items()
            )
            yield name, f"{mangle} {hook} priority -150", sizes

    def _drawing(self, digit: str, name: str, numbers: str) -> Chain:
        family = _FAMILIES[digit]
        service = "meta l4proto . th dport . meta mark"
        rules = (
            f"meta mark set {numbers} offset {FIRST_MARK}",
            f"dnat {family} to {family} daddr . {service} map @mesh{digit}_at_slots",
            f"dnat {family} to {service} map @mesh{digit}_slots",
        )
        return self._chain(f"mesh{digit}_by_{name}", rules)

    def _set(self, name: str, kind: str, value: str = "") -> Set:
        return Set("", self.family, self.table, name, kind, value)

    def _chain(self, name: str, rules: tuple[str, ...], hook: str = "") -> Chain:
        return Chain("", self.family, self.table, name, rules, hook)


def _look_ups() -> Iterator[str]:
    for digit, family in _FAMILIES.items():
        yield f"{family} daddr . meta l4proto . th dport vmap @mesh{digit}_at"
        yield f"meta nfproto ipv{digit} meta l4proto . th dport vmap @mesh{digit}"


@dataclass(frozen=True, slots=True)
class Interior:
    """A task's place in the network of published ports: its namespace and link there, the network's ``subnets``, its own
    (bare) addresses there, and those that the namespace has on its way ``out``."""

    netns: str
    link: str
    subnets: tuple[str, ...]
    own: tuple[str, ...]
    out: tuple[str, ...]

    def plan(self, ports: Collection[tuple[str, int]], entries: Collection[str]) -> Plan:
        """What must exist there: these ports (protocol, number) are reached, by these entries (MACs) and by nobody else;
        answers go back to them, and nothing else leaves by the link."""
        ns = (self.netns, FAMILY, TABLE)
        tagged = f"& {MASK:#010x} == {MARK:#010x}"
        link, place = f'iifname "{self.link}"', f'oifname != "{self.link}" accept'
        chains = {
            "marking": (
                "type filter hook prerouting priority -150",
                (f"{link} ct direction original ct mark set ether saddr map @entries",),
            ),
            "datagrams": ("type nat hook prerouting priority -100", tuple(self._datagrams(link))),
            "arriving": (
                "type filter hook input priority 0",
                (
                    f'iifname != "{self.link}" accept',
                    "ct state established,related accept",
                    _NEIGHBOURS,
                    f"ct mark {tagged} meta l4proto . th dport @exposed accept",
                    "counter drop",
                ),
            ),
            "answers": (
                "type route hook output priority -150",
                (f"ct direction reply ct mark {tagged} meta mark set ct mark",),
            ),
            "leaving": (
                "type filter hook output priority 0",
                (place, f"meta mark {tagged} accept", _NEIGHBOURS, "counter reject with icmpx type no-route"),
            ),
        }
        objects: list[Object] = [
            Table(*ns),
            Set(*ns, "entries", "ether_addr", "mark"),
            Set(*ns, "exposed", "inet_proto . inet_service"),
            *(Chain(*ns, name, rules, hook) for name, (hook, rules) in chains.items()),
            *(Element(*ns, "exposed", f"{protocol} . {number}") for protocol, number in sorted(ports)),
            *(Element(*ns, "entries", mac, f"{_mark(mac):#010x}") for mac in sorted(entries)),
            # clients are anywhere
            Sysctl(self.netns, f"net/ipv4/conf/{self.link}/rp_filter", "2", self.link),
        ]
        ways = tuple(sorted((_mark(mac), mac) for mac in entries))
        four, six = any("." in one for one in self.own), any(":" in one for one in self.own)
        objects.append(ReturnPaths(self.netns, self.link, four, six, ways))
        return Plan(objects)

    def _datagrams(self, link: str) -> Iterator[str]:
        for digit, family in _FAMILIES.items():
            out = [one for one in self.out if (":" in one) == (digit == "6") and one not in self.own]
            near = ", ".join(one for one in self.subnets if (":" in one) == (digit == "6"))
            if out and near:
                # whoever is in the network itself is answered from there
                yield f"{link} {family} saddr != {{ {near} }} meta l4proto udp dnat {family} to {out[0]}"
