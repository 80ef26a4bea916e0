"""The cluster as the API sees it where this node leads (``api.contract_swarm.Brain``)."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping

from fairlead.api.contract_swarm import NetworkUsage, Root
from fairlead.daemon.cluster.managing import Managing
from fairlead.daemon.cluster.work import ClusterWork, LogSource
from fairlead.model.cluster import Cluster, ClusterNetwork, ClusterNode
from fairlead.model.cluster_commands import ClusterCommand, UpdateCluster
from fairlead.pki import authority, certificates


class ClusterBrain:
    """Reads the brain's records, and hands it commands."""

    def __init__(self, managing: Managing, secured: Callable[[], Awaitable[None]], log_source: LogSource) -> None:
        """``secured`` is awaited after each change of the cluster's spec: files are to be sealed as it says.
        ``log_source`` fetches the output of tasks."""
        self._managing = managing
        self._secured = secured
        self._log_source = log_source

    @property
    def cluster(self) -> Cluster:
        """The cluster."""
        return self._managing.manager.state.cluster

    @property
    def nodes(self) -> Mapping[str, ClusterNode]:
        """Its nodes, by id."""
        return self._managing.manager.state.nodes

    @property
    def networks(self) -> Mapping[str, ClusterNetwork]:
        """Its networks, by id."""
        return self._managing.manager.state.networks

    @property
    def work(self) -> ClusterWork:
        """Its services and their tasks."""
        return ClusterWork(self._managing.manager.state, self._log_source)

    def node(self, ref: str) -> ClusterNode:
        """A node by id, name or the beginning of an id; raises ``NotFound`` or ``Ambiguous``."""
        return self._managing.manager.state.node(ref)

    def network(self, ref: str) -> ClusterNetwork:
        """A network, in the same way."""
        return self._managing.manager.state.network(ref)

    def root(self, node: ClusterNode | None = None) -> Root:
        """The root that joining nodes are to trust, or the one that a node's certificate comes from."""
        known = self.cluster.authority
        pem = authority.join_root(known)
        if node is not None and node.issuer == authority.issuer_id(known) and known.next_certificate:
            pem = known.next_certificate
        return Root(pem, *certificates.root_info(pem))

    def key_laggards(self) -> tuple[str, ...]:
        """Ids of nodes that have not confirmed the present step of a rotation of keys."""
        return self._managing.manager.laggards()

    def usage(self, network_id: str) -> NetworkUsage:
        """How full a network is."""
        found = self._managing.manager.usage(network_id, time.time())
        subnets = {one.subnet: (one.used, one.left) for one in found.subnets}
        pending = self.networks[network_id].pending
        return NetworkUsage(subnets, found.reserved, found.resting, found.exhausted_at or 0.0, pending)

    async def ask(self, command: ClusterCommand) -> object:
        """Have a command carried out; its answer. Raises what it is refused with."""
        reply = await self._managing.ask(command)
        if isinstance(command, UpdateCluster):
            await self._secured()
        return reply
