"""Places: which leases a node has in which network, looked up at constant cost from both sides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeVar

from fairlead.model.cluster import Lease

_K = TypeVar("_K", str, tuple[str, str])
_V = TypeVar("_V")
_NOTHING: Mapping[str, Lease] = {}


class Places:
    """Leases by node and network. A lease that rests is at no node; an empty node id means all nodes."""

    def __init__(self) -> None:
        self._leases: dict[tuple[str, str], dict[str, Lease]] = {}
        self._networks: dict[str, dict[str, None]] = {}
        self._nodes: dict[str, dict[str, None]] = {}
        self._resting: dict[str, dict[str, Lease]] = {}

    def add(self, lease: Lease) -> None:
        """Take in a lease."""
        if lease.resting:
            self._resting.setdefault(lease.network_id, {})[lease.id] = lease
            return
        self._leases.setdefault((lease.node_id, lease.network_id), {})[lease.id] = lease
        self._networks.setdefault(lease.node_id, {})[lease.network_id] = None
        self._nodes.setdefault(lease.network_id, {})[lease.node_id] = None

    def discard(self, lease: Lease) -> None:
        """Take a lease out, as it was taken in."""
        if lease.resting:
            _discard(self._resting, lease.network_id, lease.id)
            return
        _discard(self._leases, (lease.node_id, lease.network_id), lease.id)
        if (lease.node_id, lease.network_id) not in self._leases:
            _discard(self._networks, lease.node_id, lease.network_id)
            _discard(self._nodes, lease.network_id, lease.node_id)

    def at(self, node_id: str, network_id: str) -> Mapping[str, Lease]:
        """The leases that a node has in a network, by id."""
        return self._leases.get((node_id, network_id), _NOTHING)

    def of(self, node_id: str) -> Iterator[Lease]:
        """The leases of a node."""
        for network_id in self._networks.get(node_id, ()):
            yield from self._leases[node_id, network_id].values()

    def within(self, network_id: str) -> Iterator[Lease]:
        """The leases of a network that somebody has."""
        for node_id in self._nodes.get(network_id, ()):
            yield from self._leases[node_id, network_id].values()

    def resting(self, network_id: str) -> tuple[Lease, ...]:
        """The leases of a network that nobody has any more, and whose addresses are not free yet."""
        return tuple(self._resting.get(network_id, _NOTHING).values())

    def networks(self, node_id: str) -> tuple[str, ...]:
        """Ids of the networks in which a node has a lease."""
        return tuple(self._networks.get(node_id, ()))

    def nodes(self, network_id: str) -> tuple[str, ...]:
        """Ids of the nodes that have a lease in a network."""
        return tuple(node_id for node_id in self._nodes.get(network_id, ()) if node_id)


def _discard(groups: dict[_K, dict[str, _V]], owner: _K, member: str) -> None:
    del groups[owner][member]
    if not groups[owner]:
        del groups[owner]
