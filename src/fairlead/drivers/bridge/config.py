"""What a bridge network's options say, read and checked in one place."""

from __future__ import annotations

from dataclasses import dataclass

from fairlead.drivers.contract import Node
from fairlead.model import codes, options
from fairlead.model.addresses import parse_address, parse_subnet
from fairlead.model.errors import Forbidden, Invalid
from fairlead.model.ids import SHORT_ID_LENGTH, check_link_name
from fairlead.model.network import Network

#: Interfaces of one sandbox are counted behind the prefix of their name; more than a hundred nobody has.
_LAST_INDEX = 99
#: Names of auxiliary addresses that are handed to containers as default gateway (Docker), by family.
_GATEWAY_AUX = {False: "DefaultGatewayIPv4", True: "DefaultGatewayIPv6"}
#: Link-local addresses, which Linux gives to every interface with this very length.
_LINK_LOCAL = parse_subnet("fe80::/64")


@dataclass(frozen=True, slots=True)
class BridgeConfig:
    """The options of one network, as words and switches. ``modes`` are those of IPv4 and IPv6; ``adopt`` says that the
    user named the device, which may be there already and is then nobody's but his."""

    device: str
    adopt: bool
    internal: bool
    icc: bool
    masquerade: bool
    inhibit_ipv4: bool
    anti_spoof: bool
    modes: tuple[str, str]
    trusted: tuple[str, ...]
    sources: tuple[str, str]

    def addressed(self, *, v6: bool) -> bool:
        """Whether the bridge itself has an address of this family."""
        return self.modes[v6] != options.ISOLATED and (v6 or not self.inhibit_ipv4)


def read(network: Network, node: Node) -> BridgeConfig:
    """Raises ``Invalid`` with Docker's texts for a value that makes no sense."""
    given = network.options
    return BridgeConfig(
        device=device(network, node),
        adopt=not network.predefined and bool(given.get(options.BRIDGE_NAME)),
        internal=network.internal,
        icc=options.flag(given, options.BRIDGE_ICC, True),
        masquerade=options.flag(given, options.BRIDGE_MASQUERADE, True),
        inhibit_ipv4=options.flag(given, options.BRIDGE_INHIBIT_IPV4, False),
        anti_spoof=options.flag(given, options.ANTI_SPOOF, False),
        modes=(options.gateway_mode(given, v6=False), options.gateway_mode(given, v6=True)),
        trusted=options.trusted_interfaces(given),
        sources=(options.host_address(given, v6=False), options.host_address(given, v6=True)),
    )


def device(network: Network, node: Node) -> str:
    """The name of the bridge."""
    if network.predefined:
        return node.default_bridge
    return network.options.get(options.BRIDGE_NAME, "") or f"br-{network.id[:SHORT_ID_LENGTH]}"


def skips_gateway(network: Network, *, v6: bool) -> bool:
    """Whether no address of this family is kept for a gateway, since nobody would ever use it."""
    inhibited = options.flag(network.options, options.BRIDGE_INHIBIT_IPV4, False) and not v6
    return options.gateway_mode(network.options, v6=v6) == options.ISOLATED or (inhibited and network.internal)


def default_gateway(network: Network, *, v6: bool) -> str:
    """The address of containers' default route, or empty text when the network leads nowhere."""
    if network.internal:
        return ""
    named = (pool.aux.get(_GATEWAY_AUX[v6], "") for pool in network.pools if pool.v6 == v6)
    return next(filter(None, named), "") or network.gateway(v6=v6)


def check(network: Network, node: Node) -> None:
    """Raise ``Invalid`` or ``Forbidden`` for what cannot be a bridge network."""
    options.balancer(network.options)
    if not network.ipv4 and not network.ipv6:
        raise Invalid(
            "IPv4 or IPv6 must be enabled", hint="leave out --ipv4=false or add --ipv6", code=codes.OPTION_INVALID
        )
    if any(sum(pool.v6 == v6 for pool in network.pools) > 1 for v6 in (False, True)):
        raise Forbidden(
            "bridge driver doesn't support multiple subnets",
            hint="give one --subnet per family",
            code=codes.SUBNET_INVALID,
        )
    config = read(network, node)
    options.mtu(network.options, 0, v6=network.ipv6)
    if options.ISOLATED in config.modes and not network.internal:
        raise Invalid(
            "gateway mode 'isolated' can only be used for an internal network",
            hint="add --internal",
            code=codes.OPTION_INVALID,
        )
    if config.adopt:
        check_link_name("bridge device", config.device)
    prefix = network.options.get(options.IFNAME_PREFIX, "")
    if prefix:
        check_link_name("interface", f"{prefix}{_LAST_INDEX}")
    options.address(network.options, options.BRIDGE_HOST_BINDING)
    _check_pools(network)


def _check_pools(network: Network) -> None:
    for pool in network.pools:
        subnet = parse_subnet(pool.subnet)
        if pool.v6 and subnet.is_multicast:
            raise Invalid(
                f"multicast subnet '{subnet}' is not allowed",
                hint="choose one below fd00::/8",
                code=codes.OPTION_INVALID,
            )
        if pool.v6 and subnet != _LINK_LOCAL and subnet.overlaps(_LINK_LOCAL):
            raise Invalid(
                f"'{subnet}' clashes with the Link-Local prefix 'fe80::/64'",
                hint="choose one below fd00::/8",
                code=codes.OPTION_INVALID,
            )
        named = pool.aux.get(_GATEWAY_AUX[pool.v6], "")
        if named and parse_address(named) not in subnet:
            raise Invalid(
                "default gateway ip must be part of the network",
                hint=f"{named} is not an address of {subnet}",
                code=codes.OPTION_INVALID,
            )
