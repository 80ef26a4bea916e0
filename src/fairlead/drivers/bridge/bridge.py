"""Bridges, veth pairs and published ports as plans."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fairlead.drivers import guards, interface
from fairlead.drivers.bridge import config, firewall, policy
from fairlead.drivers.bridge.config import BridgeConfig
from fairlead.drivers.contract import Node
from fairlead.model import options
from fairlead.model.addresses import bare, is_v6, prefix_length
from fairlead.model.endpoint import Endpoint, PortBinding
from fairlead.model.ids import SHORT_ID_LENGTH, derived_mac
from fairlead.model.network import Network
from fairlead.plan.objects import (
    ALIAS_MARK,
    Address,
    Bridge,
    Connections,
    Flow,
    Object,
    Plan,
    PortHold,
    Route,
    Sysctl,
    Veth,
)


class BridgeDriver:
    """One host: containers of a network share a bridge; the host routes, translates and guards."""

    name = "bridge"
    scope = "local"

    def check(self, network: Network) -> None:
        """Refuse options that cannot be met; raises ``Invalid`` or ``Forbidden`` with Docker's texts."""
        config.check(network, Node())

    def claims(self, network: Network, node: Node) -> frozenset[str]:
        """The device name."""
        return frozenset({f"networks have same bridge name {config.device(network, node)}"})

    def network_plan(self, network: Network, node: Node) -> Plan:
        """The bridge, its addresses and settings, and its place in the firewall."""
        settings = config.read(network, node)
        device = settings.device
        link_mtu = options.mtu(network.options, node.mtu)
        alias = f"{ALIAS_MARK}network:{network.id[:SHORT_ID_LENGTH]}"
        v6 = network.ipv6 and settings.addressed(v6=True)
        objects: list[Object] = [
            Bridge("", device, derived_mac(network.id), link_mtu, alias, settings.adopt),
            Sysctl("", f"net/ipv4/conf/{device}/route_localnet", "1", device),
            *firewall.network(settings, bridge_nf_off=node.bridge_nf_off),
            *_guards(network, settings, node),
        ]
        conf = f"net/ipv6/conf/{device}"
        if v6 or not settings.adopt:
            # an adopted bridge keeps the IPv6 that its owner gave it, and what he believes of routers
            objects.append(Sysctl("", f"{conf}/disable_ipv6", "0" if v6 else "1", device))
        if not settings.adopt:
            objects.append(Sysctl("", f"{conf}/accept_ra", "0", device))
        if network.ipv6 and node.forward:
            objects.append(Sysctl("", "net/ipv6/conf/all/forwarding", "1"))
        if v6 and not network.internal and node.bridge_nf_off:
            # the answer to who asked ``[::1]`` comes back by this link, and only a route says that it may
            objects.append(Route("", "::1/128", device, local=True))
        for pool in network.pools:
            if pool.gateway and settings.addressed(v6=pool.v6):
                objects.append(Address("", device, f"{pool.gateway}/{prefix_length(pool.subnet)}"))
        return Plan(objects)

    def endpoint_plan(self, endpoint: Endpoint, network: Network, netns: str, node: Node) -> Plan:
        """The pair, its addresses, and IPv6 switched off where the network has none (SEC-09)."""
        apart = not options.flag(network.options, options.BRIDGE_ICC, True)
        veth = Veth(
            ns="",
            name=endpoint.host_ifname,
            peer_ns=netns,
            peer=endpoint.ifname,
            peer_mac=endpoint.mac,
            mtu=options.mtu(network.options, node.mtu),
            alias=f"{ALIAS_MARK}endpoint:{endpoint.id[:SHORT_ID_LENGTH]}",
            master=config.device(network, node),
            isolated=apart and node.bridge_nf_off,
            hairpin=bool(endpoint.bindings) and not node.bridge_nf_off,
        )
        addresses = [cidr for cidr in (endpoint.ipv4, endpoint.ipv6) if cidr]
        objects: list[Object] = [veth]
        objects += interface.inner(endpoint, netns)
        objects += [Connections("", bare(cidr)) for cidr in addresses]
        if network.ipv6:
            objects.append(guards.silenced(endpoint.host_ifname))
        if apart and not node.bridge_nf_off:
            objects.append(guards.apart(endpoint.host_ifname))
        if options.flag(network.options, options.ANTI_SPOOF, False):
            objects += guards.pinned(endpoint)
        if node.ask_host_firewall:
            objects += policy.elements(endpoint.bindings)
        return Plan(objects)

    def gateway(self, network: Network, *, v6: bool) -> str:
        """The bridge's address, or the one that the user named; internal networks lead nowhere."""
        return config.default_gateway(network, v6=v6)

    def skips_gateway(self, network: Network, *, v6: bool) -> bool:
        """In isolated mode, and where an internal network's bridge has no address."""
        return config.skips_gateway(network, v6=v6)

    def default_host_ip(self, network: Network) -> str:
        """The option ``host_binding_ipv4``."""
        found = options.address(network.options, options.BRIDGE_HOST_BINDING)
        return str(found) if found is not None else ""

    def opens(self, network: Network, *, v6: bool) -> bool:
        """Mode ``routed``."""
        return not network.internal and options.gateway_mode(network.options, v6=v6) == options.ROUTED

    def publish_plan(
        self,
        endpoint: Endpoint,
        network: Network,
        bindings: Sequence[PortBinding],
        masked: frozenset[str] = frozenset(),
    ) -> Plan:
        """One map element and one held socket for each binding; flows are forgotten for UDP, which has no end. A
        binding without a host port only opens the endpoint's own."""
        objects: list[Object] = []
        trusted = bool(network.options.get(options.BRIDGE_TRUSTED))
        own = {False: bare(endpoint.ipv4), True: bare(endpoint.ipv6)}
        translated: set[str] = set()
        for binding in bindings:
            address = own[is_v6(binding.host_ip)]
            host_port, port = binding.host_port, binding.container_port
            if trusted or not host_port:
                objects.append(firewall.open_element(binding.proto, address, port))
            if not host_port:
                continue
            objects.append(PortHold(binding.proto, binding.host_ip, host_port))
            objects.append(firewall.publish_element(binding.proto, binding.host_ip, host_port, address, port))
            translated.add(address)
            if binding.proto == "udp":
                objects.append(Flow("", binding.proto, host_port, address, port))
        objects += map(firewall.own_element, translated)
        objects += map(firewall.masked_element, translated & masked)
        return Plan(objects)

    def node_plan(self, node: Node) -> Plan:
        """The firewall's fixed part."""
        return firewall.skeleton(node)


def _guards(network: Network, settings: BridgeConfig, node: Node) -> Iterator[Object]:
    """The tables that this network asks for; others may ask for the same."""
    if network.ipv6:
        yield from guards.advertiser_table()
    if not settings.icc and not node.bridge_nf_off:
        yield from guards.apart_table()
    if settings.anti_spoof:
        yield from guards.pin_table()
