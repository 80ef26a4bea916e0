"""Namespaces that others made: what may exist of ours in them, so that all that was there goes on as before.

interfaces   named so that they meet none that is there
default route  where the namespace has one of its own it stays in charge; with a gateway priority above zero two
             halves of the address space lead to us instead, which are more specific and leave it in place
settings     only those of our own interfaces
names        a translation in the namespace leads what its programs send to their own name servers to our resolver,
             which asks those same servers what it does not know; no file is written
ports        an answer would leave by the namespace's own default route, so the node asks in its own name
"""

from __future__ import annotations

from dataclasses import replace

from fairlead.discovery.names import DNS_ADDRESS, DNS_FORWARD_MARK, DNS_LISTEN_PORT, DNS_PORT
from fairlead.discovery.resolver import Upstream, View
from fairlead.model.addresses import bare, is_v6, parse_address
from fairlead.model.endpoint import Endpoint
from fairlead.model.sandbox import Sandbox
from fairlead.model.target import Foreign
from fairlead.plan.objects import LOOPBACK, Chain, Netns, Object, Route, Table

#: Halves of all addresses: more specific than a default route, so they win over one without touching it.
_HALVES = {False: ("0.0.0.0/1", "128.0.0.0/1"), True: ("::/1", "8000::/1")}
_LOCAL_SERVER = "127.0.0.1"
#: Before every translation of others (Docker's own resolver is reached by one at -100, NF_IP_PRI_NAT_DST).
_HOOK = "type nat hook output priority -110"


def namespace(sandbox: Sandbox, foreign: Foreign) -> Netns:
    """The namespace of others, held under our name."""
    source = f"/proc/{foreign.pid}/ns/net" if foreign.pid else foreign.path
    return Netns(sandbox.netns, foreign.inode, source, theirs=True)


def keeps_its_way(sandbox: Sandbox, leader: Endpoint, *, v6: bool) -> bool:
    """Whether the namespace has a default route of its own that the leading endpoint must not take the place of."""
    return led(sandbox, v6=v6) and leader.settings.gw_priority <= 0


def masked(sandbox: Sandbox, endpoint: Endpoint) -> frozenset[str]:
    """The addresses of an endpoint that leads out by its namespace's own default route: its answers to strangers would
    leave there, so strangers must be kept from its sight."""
    families = ((False, endpoint.ipv4), (True, endpoint.ipv6))
    return frozenset(bare(cidr) for v6, cidr in families if cidr and keeps_its_way(sandbox, endpoint, v6=v6))


def led(sandbox: Sandbox, *, v6: bool) -> bool:
    """Whether the namespace has a default route of its own."""
    foreign = sandbox.foreign
    return foreign is not None and (foreign.led_v6 if v6 else foreign.led_v4)


def halves(netns: str, link: str, via: str, *, v6: bool) -> list[Route]:
    """A way out that wins over the namespace's own and leaves it in place."""
    return [Route(netns, half, link, via) for half in _HALVES[v6]]


def resolver_rules(sandbox: Sandbox, foreign: Foreign) -> list[Object]:
    """Queries to the embedded resolver's address, and with ``intercept`` those to the namespace's own servers, are led
    to where it listens; what the resolver itself asks is not."""
    mode = sandbox.settings.dns_mode
    if mode == "off":
        return []
    servers = (DNS_ADDRESS, *(_interceptable(foreign) if mode == "intercept" else ()))
    rules = [f"meta mark {DNS_FORWARD_MARK:#010x} return"]
    for server in dict.fromkeys(servers):
        for proto in ("udp", "tcp"):
            rules.append(f"ip daddr {server} {proto} dport {DNS_PORT} dnat to {DNS_ADDRESS}:{DNS_LISTEN_PORT}")
    family, table = "ip", "fairlead-dns"
    return [Table(sandbox.netns, family, table), Chain(sandbox.netns, family, table, "output", tuple(rules), _HOOK)]


def server_routes(sandbox: Sandbox, foreign: Foreign) -> list[Route]:
    """Where there is no way out at all a program could not even send its query: a route for each server, which leads
    nowhere, lets it start on its way, and the translation does the rest."""
    if foreign.led_v4 or sandbox.settings.dns_mode != "intercept":
        return []
    servers = [server for server in _interceptable(foreign) if not parse_address(server).is_loopback]
    return [Route(sandbox.netns, f"{server}/32", LOOPBACK) for server in dict.fromkeys(servers)]


def view(view_of_ours: View, sandbox: Sandbox, foreign: Foreign) -> View:
    """What the resolver serves there: names of our networks; the rest goes where it went before, single labels too,
    since the namespace's own resolver may know them (Docker's does). Internal networks close nothing that was open."""
    if sandbox.settings.dns:
        upstreams = tuple(Upstream(server, from_host=False) for server in sandbox.settings.dns)
    else:
        upstreams = tuple(Upstream(server, _on_host(server, foreign)) for server in foreign.servers)
    return replace(
        view_of_ours, upstreams=upstreams, forward=True, search=foreign.search, ndots=foreign.ndots, pass_on=True
    )


def _interceptable(foreign: Foreign) -> tuple[str, ...]:
    """Whom programs there ask; without any server in the file it is the local machine (resolv.conf(5))."""
    return tuple(server for server in foreign.servers or (_LOCAL_SERVER,) if not is_v6(server))


def _on_host(server: str, foreign: Foreign) -> bool:
    """A server on loopback in a file that is the host's own runs on the host, not in the namespace."""
    return foreign.host_file and parse_address(server.partition("%")[0]).is_loopback and server != DNS_ADDRESS
