"""Overlays as plans.

A packet's way from endpoint a on node 1 to endpoint b on node 2, one segment: a's interface, its veth pair, the segment's
bridge in the network's namespace on node 1 (a's port lets nothing through that is not a's: SEC-28). The bridge knows b's MAC
behind the tunnel, the tunnel knows node 2 behind b's MAC. Node 2's tunnel hands the frame to its bridge, which has learned
b's port. Who asks for b's MAC is answered by node 1's tunnel, out of what gossip told; a frame for a MAC that nobody has
told of leaves no node. Between segments the namespace routes, on the sender's node, by the gateways' addresses, which are
the same on every node, MAC included.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from fairlead.drivers import guards, interface
from fairlead.drivers.contract import Node
from fairlead.drivers.overlay import config, encryption
from fairlead.drivers.overlay.config import Segment
from fairlead.model import options
from fairlead.model.addresses import is_v6, parse_address, prefix_length
from fairlead.model.cluster import Peer, Station
from fairlead.model.endpoint import Endpoint
from fairlead.model.errors import Invalid
from fairlead.model.events import TunnelSecrets
from fairlead.model.ids import SHORT_ID_LENGTH, derived_mac
from fairlead.model.network import Network
from fairlead.plan.objects import (
    ALIAS_MARK,
    NOTHING,
    Address,
    Bridge,
    Chain,
    Exact,
    Fdb,
    Neighbour,
    Netns,
    Object,
    Plan,
    Route,
    Sysctl,
    Table,
    Veth,
    Vxlan,
)


class OverlayDriver:
    """Many hosts: endpoints of a network reach each other through tunnels between their nodes."""

    name = "overlay"
    scope = "swarm"

    def check(self, network: Network) -> None:
        """Refuse options that cannot be met; raises ``Invalid``."""
        config.check(network)

    def claims(self, network: Network, node: Node) -> frozenset[str]:
        """The VXLAN numbers."""
        return frozenset(f"VXLAN number {vni}" for vni in config.vnis(network))

    def network_plan(self, network: Network, node: Node) -> Plan:
        """The namespace and its segments; nothing while the node is in no cluster."""
        if not node.vtep:
            return NOTHING
        ns, segments = config.namespace(network), config.segments(network)
        objects: list[Object] = [Netns(ns), *_untracked(node)]
        if encryption.is_encrypted(network):
            objects += encryption.guard(network, node)
        # bridged frames have guards of their own; else each would pass the firewall of the IP layer as well
        objects += [
            Sysctl(ns, f"net/bridge/bridge-nf-call-{kind}", "0") for kind in ("iptables", "ip6tables", "arptables")
        ]
        for segment in segments:
            objects += _segment(network, segment, ns, node)
        if len(segments) > 1:
            objects.append(Sysctl(ns, "net/ipv4/ip_forward", "1"))
            if network.ipv6:
                objects.append(Sysctl(ns, "net/ipv6/conf/all/forwarding", "1"))
        if network.ipv6:
            objects += guards.inside(ns, guards.advertiser_table())
        if _pinned(network):
            objects += guards.inside(ns, guards.pin_table(trusted=config.TUNNEL_PREFIX))
        return Plan(objects)

    def endpoint_plan(self, endpoint: Endpoint, network: Network, netns: str, node: Node) -> Plan:
        """The pair, its addresses, and the ways to the other segments."""
        segment = config.segment_of(network, endpoint.ipv4, endpoint.ipv6)
        if not node.vtep or segment is None:
            return NOTHING
        ns = config.namespace(network)
        objects: list[Object] = [
            Veth(
                ns=ns,
                name=endpoint.host_ifname,
                peer_ns=netns,
                peer=endpoint.ifname,
                peer_mac=endpoint.mac,
                mtu=config.mtu(network, node),
                alias=f"{ALIAS_MARK}endpoint:{endpoint.id[:SHORT_ID_LENGTH]}",
                master=segment.bridge,
            ),
            *interface.inner(endpoint, netns),
            *_ways(network, segment, endpoint, netns),
        ]
        if network.ipv6:
            objects += guards.inside(ns, [guards.silenced(endpoint.host_ifname)])
        if _pinned(network) and netns:  # the node itself passes on what its clients send
            objects += guards.inside(ns, guards.pinned(endpoint))
        return Plan(objects)

    def gateway(self, network: Network, *, v6: bool) -> str:
        """None: an overlay leads nowhere else; the gateway bridge does."""
        return ""

    def peer_plan(self, network: Network, peer: Peer, address: str, node: Node) -> Plan:
        """The way to the MAC, and the MAC of the address. What would lead to this very node, or take the place of a
        gateway, is nothing."""
        segment = config.segment_of(network, address)
        if segment is None or not _remote(peer.vtep, node) or peer.mac == _gateway_mac(network, segment):
            return NOTHING
        if any(address == subnet.gateway for subnet in segment.subnets):
            return NOTHING
        ns = config.namespace(network)
        return Plan([Fdb(ns, segment.tunnel, peer.mac, peer.vtep), Neighbour(ns, segment.tunnel, address, peer.mac)])

    def is_encrypted(self, network: Network) -> bool:
        """As the option says."""
        return encryption.is_encrypted(network)

    def pair_plan(self, other: Station, node: Node, secrets: TunnelSecrets) -> Plan:
        """States and a policy; nothing for what is no place of another node."""
        return encryption.pair(other, node, secrets) if _remote(other.vtep, node) else NOTHING

    def exact_plan(self, network: Network) -> Plan:
        """Each tunnel knows what the plans say and nothing else."""
        ns = config.namespace(network)
        return Plan(Exact(ns, segment.tunnel) for segment in config.segments(network))


def _untracked(node: Node) -> Iterator[Object]:
    """What comes and goes between nodes is no connection: answers come from another port, and each connection inside would
    be tracked once more outside. The same for every network. Tunnels of others, which are only forwarded, are tracked as
    ever: else they would not be masqueraded."""
    family = "ip6" if is_v6(node.vtep) else "ip"
    yield Table("", family, config.TABLE)
    for hook, end in (("prerouting", "daddr"), ("output", "saddr")):
        rules = (f"{family} {end} {node.vtep} udp dport {node.vxlan_port} notrack",)
        yield Chain("", family, config.TABLE, hook, rules, f"type filter hook {hook} priority -300")


def _segment(network: Network, segment: Segment, ns: str, node: Node) -> Iterator[Object]:
    mark, mtu = f"{ALIAS_MARK}network:{network.id[:SHORT_ID_LENGTH]}", config.mtu(network, node)
    yield Bridge(ns, segment.bridge, _gateway_mac(network, segment), mtu, mark)
    yield Vxlan(ns, segment.tunnel, segment.vni, node.vtep, node.vxlan_port, mtu, mark, segment.bridge)
    off = "0" if segment.ipv6 else "1"
    for link in (segment.bridge, segment.tunnel):
        yield Sysctl(ns, f"net/ipv6/conf/{link}/disable_ipv6", off, link)
        yield from interface.deaf(ns, link)
    if segment.ipv6:
        # the tunnel needs no address to answer neighbour solicitations
        yield Sysctl(ns, f"net/ipv6/conf/{segment.tunnel}/addr_gen_mode", "1", segment.tunnel)
    for subnet in segment.subnets:
        if subnet.gateway:
            yield Address(ns, segment.bridge, f"{subnet.gateway}/{prefix_length(subnet.prefix)}")


def _ways(network: Network, segment: Segment, endpoint: Endpoint, netns: str) -> Iterator[Route]:
    """The other segments are reached by the gateway of one's own."""
    own = {False: segment.ipv4 if endpoint.ipv4 else None, True: segment.ipv6 if endpoint.ipv6 else None}
    for other in config.segments(network):
        for subnet in other.subnets if other != segment else ():
            home = own[subnet.v6]
            if home is not None and home.gateway:
                yield Route(netns, subnet.prefix, endpoint.ifname, home.gateway)


def _gateway_mac(network: Network, segment: Segment) -> str:
    """The same on every node, so that whoever moves or is answered from elsewhere finds the same gateway."""
    return _derived(f"{network.id} gateway {segment.vni}")


_derived = lru_cache(1024)(derived_mac)


def _pinned(network: Network) -> bool:
    return options.flag(network.options, options.ANTI_SPOOF, True)


def _remote(vtep: str, node: Node) -> bool:
    """Whether a tunnel from this node can end there."""
    return bool(node.vtep) and vtep != node.vtep and is_v6(vtep) == is_v6(node.vtep) and _is_place(vtep)


@lru_cache(4096)
def _is_place(vtep: str) -> bool:
    """Whether one node can have this address. Remembered for as many nodes as a large cluster has."""
    try:
        address = parse_address(vtep)
    except Invalid:
        return False
    return not (address.is_multicast or address.is_unspecified or address.is_loopback)
