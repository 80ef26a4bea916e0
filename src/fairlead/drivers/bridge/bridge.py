"""Bridges, veth pairs and published ports as plans."""

from __future__ import annotations

from collections.abc import Sequence

from fairlead.drivers.bridge import firewall
from fairlead.drivers.contract import Node
from fairlead.model import options
from fairlead.model.addresses import bare, is_v6, parse_address, prefix_length
from fairlead.model.endpoint import Endpoint, PortBinding
from fairlead.model.errors import Forbidden, Invalid
from fairlead.model.ids import SHORT_ID_LENGTH, check_link_name, derived_mac
from fairlead.model.network import Network
from fairlead.plan.objects import ALIAS_MARK, Address, Bridge, Flow, Object, Plan, PortHold, Sysctl, Veth

#: Interfaces of one sandbox are counted behind the prefix of their name; more than a hundred nobody has.
_LAST_INDEX = 99


class BridgeDriver:
    """One host: containers of a network share a bridge; the host routes, translates and guards."""

    name = "bridge"
    scope = "local"

    def check(self, network: Network) -> None:
        """Refuse options that cannot be met; raises ``Invalid`` or ``Forbidden`` with Docker's texts."""
        if not network.ipv4 and not network.ipv6:
            raise Invalid("IPv4 or IPv6 must be enabled", hint="leave out --ipv4=false or add --ipv6")
        if any(sum(pool.v6 == v6 for pool in network.pools) > 1 for v6 in (False, True)):
            raise Forbidden("bridge driver doesn't support multiple subnets", hint="give one --subnet per family")
        for option, default in ((options.BRIDGE_ICC, True), (options.BRIDGE_MASQUERADE, True)):
            options.flag(network.options, option, default)
        options.mtu(network.options, 0, v6=network.ipv6)
        device = network.options.get(options.BRIDGE_NAME, "")
        if device:
            check_link_name("bridge device", device)
        prefix = network.options.get(options.IFNAME_PREFIX, "")
        if prefix:
            check_link_name("interface", f"{prefix}{_LAST_INDEX}")
        if self.default_host_ip(network):
            parse_address(self.default_host_ip(network), f"{options.BRIDGE_HOST_BINDING} value")

    def claims(self, network: Network, node: Node) -> frozenset[str]:
        """The device name."""
        return frozenset({f"networks have same bridge name {_device(network, node)}"})

    def network_plan(self, network: Network, node: Node) -> Plan:
        """The bridge, its addresses and settings, and its place in the firewall."""
        device = _device(network, node)
        link_mtu = options.mtu(network.options, node.mtu)
        icc = options.flag(network.options, options.BRIDGE_ICC, True)
        masquerade = options.flag(network.options, options.BRIDGE_MASQUERADE, True)
        alias = f"{ALIAS_MARK}network:{network.id[:SHORT_ID_LENGTH]}"
        conf6 = f"net/ipv6/conf/{device}"
        objects: list[Object] = [
            Bridge("", device, derived_mac(network.id), link_mtu, alias),
            Sysctl("", f"net/ipv4/conf/{device}/route_localnet", "1", device),
            Sysctl("", f"{conf6}/accept_ra", "0", device),
            Sysctl("", f"{conf6}/disable_ipv6", "0" if network.ipv6 else "1", device),
            *firewall.bridge_elements(device, internal=network.internal, icc=icc, masquerade=masquerade),
        ]
        if network.ipv6 and node.forward:
            objects.append(Sysctl("", "net/ipv6/conf/all/forwarding", "1"))
        for pool in network.pools:
            if pool.gateway:
                objects.append(Address("", device, f"{pool.gateway}/{prefix_length(pool.subnet)}"))
        return Plan(objects)

    def endpoint_plan(self, endpoint: Endpoint, network: Network, netns: str, node: Node) -> Plan:
        """The pair, its addresses, and IPv6 switched off where the network has none (SEC-09)."""
        isolated = not options.flag(network.options, options.BRIDGE_ICC, True)
        link_mtu = options.mtu(network.options, node.mtu)
        alias = f"{ALIAS_MARK}endpoint:{endpoint.id[:SHORT_ID_LENGTH]}"
        veth = Veth(
            ns="",
            name=endpoint.host_ifname,
            peer_ns=netns,
            peer=endpoint.ifname,
            peer_mac=endpoint.mac,
            mtu=link_mtu,
            alias=alias,
            master=_device(network, node),
            isolated=isolated,
            hairpin=bool(endpoint.bindings) and not node.bridge_nf_off,
        )
        disable = "0" if endpoint.ipv6 or any(map(is_v6, endpoint.settings.link_local)) else "1"
        objects: list[Object] = [
            veth,
            Sysctl(netns, f"net/ipv6/conf/{endpoint.ifname}/disable_ipv6", disable, endpoint.ifname),
        ]
        asked = options.interface_sysctls(endpoint.settings.driver_opts, endpoint.ifname)
        objects += [Sysctl(netns, path, value, endpoint.ifname) for path, value in asked]
        objects += [Address(netns, endpoint.ifname, cidr) for cidr in (endpoint.ipv4, endpoint.ipv6) if cidr]
        return Plan(objects)

    def gateway(self, network: Network, *, v6: bool) -> str:
        """The bridge's address; internal networks lead nowhere."""
        return "" if network.internal else network.gateway(v6=v6)

    def default_host_ip(self, network: Network) -> str:
        """The option ``host_binding_ipv4``."""
        return network.options.get(options.BRIDGE_HOST_BINDING, "")

    def publish_plan(self, endpoint: Endpoint, bindings: Sequence[PortBinding]) -> Plan:
        """One map element and one held socket for each binding; flows are forgotten for UDP, which has no end."""
        objects: list[Object] = []
        for binding in bindings:
            address = bare(endpoint.ipv6 if ":" in binding.host_ip else endpoint.ipv4)
            host_port, port = binding.host_port, binding.container_port
            objects.append(PortHold(binding.proto, binding.host_ip, host_port))
            objects.append(firewall.publish_element(binding.proto, binding.host_ip, host_port, address, port))
            if binding.proto == "udp":
                objects.append(Flow("", binding.proto, host_port, address, port))
        for address in {bare(endpoint.ipv6 if ":" in binding.host_ip else endpoint.ipv4) for binding in bindings}:
            objects.append(firewall.own_element(address))
        return Plan(objects)

    def node_plan(self, node: Node) -> Plan:
        """The firewall's fixed part."""
        return firewall.skeleton(node)


def _device(network: Network, node: Node) -> str:
    if network.predefined:
        return node.default_bridge
    return network.options.get(options.BRIDGE_NAME, "") or f"br-{network.id[:SHORT_ID_LENGTH]}"
