"""What an overlay network's options and subnets say, read and checked in one place."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import zip_longest

from fairlead.drivers.contract import Node
from fairlead.model import codes, options
from fairlead.model.addresses import AnyNetwork, bare, is_v6, parse_address, parse_subnet
from fairlead.model.errors import Invalid
from fairlead.model.ids import SHORT_ID_LENGTH
from fairlead.model.network import Network
from fairlead.model.tunnel import inner_mtu

#: Networks, and subnets, of which what was worked out is remembered: a network may have 10,000 peers.
_KNOWN_MAX = 1024
#: The table in the node's own namespace that belongs to all overlays.
TABLE = "fairlead-tunnels"
#: What tunnels' names begin with.
TUNNEL_PREFIX = "vx-"
#: Digits of the network's id in the names of its links: with the number's six they make 15 characters.
_ID_DIGITS = 5


@dataclass(frozen=True, slots=True)
class Subnet:
    """A prefix with its gateway (or empty text)."""

    prefix: str
    gateway: str

    @property
    def v6(self) -> bool:
        """Whether it is an IPv6 one."""
        return is_v6(self.prefix)

    def holds(self, address: str) -> bool:
        """Whether an address, with or without length, is in it."""
        return is_v6(address) == self.v6 and parse_address(bare(address)) in _parsed(self.prefix)


@dataclass(frozen=True, slots=True)
class Segment:
    """One broadcast domain of a network: a number, an IPv4 subnet and an IPv6 one, either of which may be missing."""

    vni: int
    ipv4: Subnet | None
    ipv6: Subnet | None
    bridge: str
    tunnel: str

    @property
    def subnets(self) -> tuple[Subnet, ...]:
        """Those that are there."""
        return tuple(subnet for subnet in (self.ipv4, self.ipv6) if subnet is not None)


def namespace(network: Network) -> str:
    """The name of the network's namespace."""
    return f"ov-{network.id[:SHORT_ID_LENGTH]}"


def segments(network: Network) -> tuple[Segment, ...]:
    """The i-th IPv4 subnet with the i-th IPv6 subnet and the i-th number. Raises ``Invalid``."""
    subnets = tuple(Subnet(pool.subnet, pool.gateway) for pool in network.pools if network.ipv6 or not pool.v6)
    return _segments(network.id[:_ID_DIGITS], network.options.get(options.VXLAN_IDS, ""), subnets)


def segment_of(network: Network, *addresses: str) -> Segment | None:
    """The segment in whose subnets all of these addresses (with or without length; empty ones do not count) are."""
    for segment in segments(network):
        if all(any(subnet.holds(address) for subnet in segment.subnets) for address in addresses if address):
            return segment
    return None


@lru_cache(_KNOWN_MAX)
def _segments(mark: str, numbers: str, subnets: tuple[Subnet, ...]) -> tuple[Segment, ...]:
    pairs = list(
        zip_longest((subnet for subnet in subnets if not subnet.v6), (subnet for subnet in subnets if subnet.v6))
    )
    found = options.vxlan_ids({options.VXLAN_IDS: numbers})
    if len(pairs) > len(found):
        raise Invalid(
            f"a network of {len(pairs)} segments needs as many VXLAN numbers, and not {len(found)}",
            hint=f"give one for each subnet in {options.VXLAN_IDS}, or leave the choice to the managers",
            code=codes.OPTION_INVALID,
        )
    return tuple(
        Segment(vni, ipv4, ipv6, f"ov-{vni:06x}-{mark}", f"{TUNNEL_PREFIX}{vni:06x}-{mark}")
        for vni, (ipv4, ipv6) in zip(found, pairs, strict=False)
    )


@lru_cache(_KNOWN_MAX)
def _parsed(prefix: str) -> AnyNetwork:
    return parse_subnet(prefix)


def vnis(network: Network) -> tuple[int, ...]:
    """The network's VXLAN numbers; raises ``Invalid`` with Docker's text."""
    return options.vxlan_ids(network.options)


def mtu(network: Network, node: Node) -> int:
    """Bytes of the largest packet inside: what the option says (managers set it to what every node's links carry), else
    what this node's links carry without what the tunnel adds."""
    room = inner_mtu(node.vtep_mtu, v6=is_v6(node.vtep), encrypted=options.encrypted(network.options))
    return options.mtu(network.options, room)


def check(network: Network) -> None:
    """Raise ``Invalid``."""
    options.encrypted(network.options)
    options.mtu(network.options, 0, v6=network.ipv6)
    options.flag(network.options, options.ANTI_SPOOF, True)
    options.balancer(network.options)
    segments(network)
