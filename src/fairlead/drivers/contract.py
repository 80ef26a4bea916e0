"""What a network driver must be.

The mandatory part is ``Driver``; what only some can do are small protocols of their own, asked for by ``isinstance``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from fairlead.model.cluster import DATA_PATH_PORT, Peer, Station
from fairlead.model.endpoint import Endpoint, PortBinding
from fairlead.model.events import TunnelSecrets
from fairlead.model.network import Network
from fairlead.plan.objects import Plan


@dataclass(frozen=True, slots=True)
class Node:
    """What a driver may know of the machine. ``mtu`` in bytes; ``default_bridge`` is the device of the network
    ``bridge``; ``guard_forwarding`` and ``guard_forwarding_v6`` say that Fairlead itself switches forwarding on, so that
    traffic of that family between other links of the host must stay refused; ``bridge_nf_off`` that bridged frames
    bypass the firewall, or are to; ``ask_host_firewall`` that the host's own filters decide about published ports. ``vtep`` is the address at which tunnels
    begin (empty: the node is in no cluster), ``vxlan_port`` their UDP port, ``vtep_mtu`` the MTU in bytes of the links
    between nodes. ``ipvs``: the kernel can balance so."""

    mtu: int = 1500
    default_bridge: str = "fairlead0"
    forward: bool = True
    guard_forwarding: bool = False
    guard_forwarding_v6: bool = False
    bridge_nf_off: bool = False
    ask_host_firewall: bool = False
    vtep: str = ""
    vxlan_port: int = DATA_PATH_PORT
    vtep_mtu: int = 1500
    ipvs: bool = False


class Driver(Protocol):
    """The mandatory part: pure functions of values."""

    name: str
    scope: str

    def check(self, network: Network) -> None:
        """Raise ``Invalid`` if the network's options make no sense to this driver."""

    def claims(self, network: Network, node: Node) -> frozenset[str]:
        """Names (``bridge name br0``) that no two networks of the node may share."""

    def network_plan(self, network: Network, node: Node) -> Plan:
        """What must exist for the network itself."""

    def endpoint_plan(self, endpoint: Endpoint, network: Network, netns: str, node: Node) -> Plan:
        """What must exist for one endpoint joined to the namespace ``netns``, except default routes and ports."""


@runtime_checkable
class Connects(Protocol):
    """A driver whose endpoints have interfaces and addresses (all but null and host)."""

    def gateway(self, network: Network, *, v6: bool) -> str:
        """The address of the default route through this network, or empty text when it offers none."""


@runtime_checkable
class SparesGateways(Protocol):
    """A driver some of whose networks need no gateway address (Docker: GwAllocChecker)."""

    def skips_gateway(self, network: Network, *, v6: bool) -> bool:
        """Whether no address of this family shall be kept for a gateway."""


@runtime_checkable
class Publishes(Protocol):
    """A driver that can publish ports of its endpoints on the host."""

    def opens(self, network: Network, *, v6: bool) -> bool:
        """Whether publishing a port of this family opens it on the endpoint's own address, whichever endpoint leads
        out, instead of taking a port of the host."""

    def default_host_ip(self, network: Network) -> str:
        """The host address of a published port when the user named none; empty means every address."""

    def publish_plan(
        self,
        endpoint: Endpoint,
        network: Network,
        bindings: Sequence[PortBinding],
        masked: frozenset[str] = frozenset(),
    ) -> Plan:
        """What must exist so that connections to the bindings' host ports reach the endpoint; to the endpoint's own
        port where the host port is 0. ``masked`` are addresses of the endpoint whose answers to strangers would not
        come back through the node: it asks in its own name."""


@runtime_checkable
class Spans(Protocol):
    """A driver whose networks span nodes. Such a network exists on a node while an endpoint of the node is in it."""

    def peer_plan(self, network: Network, peer: Peer, address: str, node: Node) -> Plan:
        """What must exist so that ``address``, one of the (bare) addresses of an endpoint on another node, is reached;
        nothing for an address or place that cannot be."""

    def exact_plan(self, network: Network) -> Plan:
        """What is to be added to the network's plan when all peers are known."""


@runtime_checkable
class Encrypts(Protocol):
    """A driver some of whose networks are encrypted between nodes."""

    def is_encrypted(self, network: Network) -> bool:
        """Whether a network's packets leave a node encrypted or not at all."""

    def pair_plan(self, other: Station, node: Node, secrets: TunnelSecrets) -> Plan:
        """What must exist to encrypt between this node and another, whichever networks they share; nothing for one with
        which that is impossible."""


@runtime_checkable
class Guards(Protocol):
    """A driver that needs something on the node as soon as any of its networks exists."""

    def node_plan(self, node: Node) -> Plan:
        """What must exist on the node."""
