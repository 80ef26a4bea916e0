"""Published ports that the host's own firewall decides about (``--publish-policy ask-host-firewall``).

A published port is translated before the host's input filters could see it, so they are passed by (moby 4737, 22054). With
this policy only packets of connections that were admitted are translated. The first packet of any other one goes, as it
came, to the host's input filters, like one for a service of the host: ``ufw allow 8080``, ``firewall-cmd
--add-port=8080/tcp``, a rule in nft all mean the *host's* port. What gets through all of them reaches our chain, the last
of the input hook, and is sent once around a pair of links that leads back to this host; what comes out of that pair was
admitted, and is translated. The connection then is known, and its other packets do not pass here.

What containers of this node and the host itself send to published ports is translated as ever: nothing of it comes from
outside. Sent around are first packets only, with their own source address, in one pass through the kernel.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fairlead.model.endpoint import PortBinding
from fairlead.plan.objects import ALIAS_MARK, Address, Chain, Element, Object, Route, Set, Sysctl, Table, Veth

#: The pair: sent into the one end, admitted at the other.
OUT, BACK = "fl-ask0", "fl-ask1"
TABLE = "fairlead_ask"
#: The MAC of the end that admits: locally administered, and seen nowhere but on the pair.
_MAC = "02:66:6c:61:73:6b"
#: Where packets are sent, by family: a link-local and a unique local address (RFC 4193) with a route of their own, so
#: that nobody else's leads there; never seen outside. No device is named in rules: they stand before it is there.
_BEYOND = {"ip": "169.254.46.1", "ip6": "fd66:6c61:736b::1"}
_LENGTHS = {"ip": 32, "ip6": 128}
#: An address for the admitting end: without one, Linux refuses packets there where all links check sources loosely.
_OWN = "169.254.46.2/32"
#: Bytes; the largest that Linux allows, since no packet may be too large for the detour.
_MTU = 65535
_ANY = ("0.0.0.0", "::")
_ADDRESS_TYPES = {"ip": "ipv4_addr", "ip6": "ipv6_addr"}

#: Instead of translating whatever is for the host: what was admitted, and what our own containers send.
PREROUTING = (f'iifname != "{BACK}" iifname != @bridges return',)


def plan() -> Iterator[Object]:
    """The detour and the chains that lead into it."""
    yield Veth("", OUT, "", BACK, _MAC, _MTU, f"{ALIAS_MARK}ask", neighbours=tuple(_BEYOND.values()))
    # sources are checked loosely: packets of everybody come out of this end
    yield Sysctl("", f"net/ipv4/conf/{BACK}/rp_filter", "2", BACK)
    yield Address("", BACK, _OWN)
    for family, beyond in _BEYOND.items():
        address = _ADDRESS_TYPES[family]
        yield Route("", f"{beyond}/{_LENGTHS[family]}", OUT)
        yield Table("", family, TABLE)
        yield Set("", family, TABLE, "any", "inet_proto . inet_service")
        yield Set("", family, TABLE, "at", f"{address} . inet_proto . inet_service")
        rules = []
        for match in ("meta l4proto . th dport @any", f"{family} daddr . meta l4proto . th dport @at"):
            # what was sent around already and still is for the host is for nobody
            rules += [f'{match} iifname "{BACK}" counter drop']
            rules += [f'{match} iifname != "lo" ct state new counter dup to {beyond} drop']
        # the last of the input hook, after every filter (NF_IP_PRI_LAST is above, for what ends the hook)
        yield Chain("", family, TABLE, "input", tuple(rules), "type filter hook input priority 300")


def elements(bindings: Sequence[PortBinding]) -> Iterator[Element]:
    """Which ports the chains look for."""
    for binding in bindings:
        if not binding.host_port:
            continue
        family = "ip6" if ":" in binding.host_ip else "ip"
        service = f"{binding.proto} . {binding.host_port}"
        if binding.host_ip in _ANY:
            yield Element("", family, TABLE, "any", service)
        else:
            yield Element("", family, TABLE, "at", f"{binding.host_ip} . {service}")
