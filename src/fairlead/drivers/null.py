"""The driver ``null`` (network ``none``): a namespace with nothing but loopback."""

from __future__ import annotations

from fairlead.drivers.contract import Node
from fairlead.model.endpoint import Endpoint
from fairlead.model.network import Network
from fairlead.plan.objects import NOTHING, Plan


class Null:
    """No links, no addresses; also what ``host`` needs, whose endpoints live in the node's own namespace."""

    scope = "local"

    def __init__(self, name: str = "null") -> None:
        self.name = name

    def check(self, network: Network) -> None:
        """Every option is ignored, as in Docker."""

    def claims(self, network: Network, node: Node) -> frozenset[str]:
        """Exactly one network of this driver exists."""
        return frozenset({f"only one instance of {self.name!r} network is allowed"})

    def network_plan(self, network: Network, node: Node) -> Plan:
        """Nothing."""
        return NOTHING

    def endpoint_plan(self, endpoint: Endpoint, network: Network, netns: str, node: Node) -> Plan:
        """Nothing."""
        return NOTHING
