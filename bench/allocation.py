"""cluster.alloc: how fast the manager's brain gives out addresses, with none and with many held. No disk, no network."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Iterator

from bench.context import OURS, Context, Samples
from bench.report import Reading
from fairlead.manager.manager import Manager
from fairlead.model.cluster import ClusterNetwork, NodeDescription
from fairlead.model.cluster_commands import (
    Admission,
    AdmitNode,
    ClusterCommand,
    ClusterEvent,
    CreateClusterNetwork,
    InitCluster,
    NodeSaid,
    SessionOpened,
)
from fairlead.model.commands import CreateNetwork
from fairlead.model.network import PoolRequest
from fairlead.model.session import Hello, LeaseWish, NetworkWish
from fairlead.pki.authority import new_authority

_NODES = 10
_HELD = 100_000
#: Addresses for one wish while the network is filled; not measured.
_FILLED_AT_ONCE = 256
_AT = 1_790_000_000.0


class _Cluster:
    """A brain with nodes that take part in one large network."""

    def __init__(self) -> None:
        self._manager = Manager(random.Random(5))
        self._revisions = itertools.count(1)
        description = NodeDescription("m", gossip_key="m")
        self._do(InitCluster(new_authority(random.Random(5), _AT), description))
        request = CreateNetwork("sea", "overlay", attachable=True, pools=(PoolRequest("10.64.0.0/12"),))
        network = self._do(CreateClusterNetwork(request))
        assert isinstance(network, ClusterNetwork)
        self._network_id = network.id
        self._nodes = [self._join(f"n{number}") for number in range(_NODES)]

    @property
    def held(self) -> int:
        """Addresses given out."""
        return len(self._manager.state.leases)

    def allocate(self, count: int) -> float:
        """Give out so many, one for each wish; answers how many in a second."""
        start = time.perf_counter()
        for number in range(count):
            self._wish(self._nodes[number % _NODES], 1)
        return count / (time.perf_counter() - start)

    def fill(self, held: int) -> None:
        """Give out addresses until so many are held."""
        for node_id in itertools.cycle(self._nodes):
            if self.held >= held:
                return
            self._wish(node_id, _FILLED_AT_ONCE)

    def _wish(self, node_id: str, more: int) -> None:
        has = len(self._manager.state.places.at(node_id, self._network_id))
        self._do(NodeSaid(node_id, 1, LeaseWish(self._network_id, has + more)))

    def _join(self, name: str) -> str:
        description = NodeDescription(name, gossip_key=name)
        token = self._manager.state.cluster.worker_token
        admission = self._do(AdmitNode(token, name, description))
        assert isinstance(admission, Admission)
        self._do(SessionOpened(admission.node_id, 1, Hello(description), admission.role))
        self._do(NodeSaid(admission.node_id, 1, NetworkWish("sea")))
        return admission.node_id

    def _do(self, message: ClusterCommand | ClusterEvent) -> object:
        decision = self._manager.handle(message, 0.0, _AT)
        self._manager.committed(decision, next(self._revisions))
        return decision.reply


def allocations(context: Context) -> Iterator[Reading]:
    """cluster.alloc"""
    empty, full = Samples(), Samples()
    for _ in range(context.count(3, 1)):
        cluster = _Cluster()
        empty.take(OURS, lambda cluster=cluster: cluster.allocate(5_000))  # type: ignore[misc]
        cluster.fill(_HELD)
        full.take(OURS, lambda cluster=cluster: cluster.allocate(5_000))  # type: ignore[misc]
    yield empty.reading("cluster.alloc.at0")
    yield full.reading(f"cluster.alloc.at{_HELD}")
