"""Everything that managers hold in common, with look-ups of constant cost.

``put`` and ``drop`` are the only ways to change it; both are recorded in a journal until ``settle`` takes the changes
out or ``revert`` undoes them, so a command that raises in the middle leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fairlead.manager.places import Places
from fairlead.manager.roster import Roster
from fairlead.model import codes
from fairlead.model.cluster import KINDS, Cluster, ClusterNetwork, ClusterNode, ClusterRecord, Counters, Lease
from fairlead.model.errors import Ambiguous, NotFound, Unavailable
from fairlead.model.service import Service, Task


@dataclass(frozen=True, slots=True)
class Change:
    """One record before and after; None means absent."""

    kind: str
    id: str
    before: ClusterRecord | None
    after: ClusterRecord | None


def merged(changes: Iterable[Change]) -> tuple[Change, ...]:
    """One change for each record, those that came to nothing left out."""
    found: dict[tuple[str, str], Change] = {}
    for change in changes:
        key = (change.kind, change.id)
        first = found.get(key)
        found[key] = change if first is None else Change(change.kind, change.id, first.before, change.after)
    return tuple(change for change in found.values() if change.before != change.after)


class State:
    """The records of one cluster."""

    def __init__(self) -> None:
        self.clusters: dict[str, Cluster] = {}
        self.nodes: dict[str, ClusterNode] = {}
        self.networks: dict[str, ClusterNetwork] = {}
        self.leases: dict[str, Lease] = {}
        self.services: dict[str, Service] = {}
        self.tasks: dict[str, Task] = {}
        self._service_ids: dict[str, str] = {}
        self._counters: dict[str, Counters] = {}
        self._network_ids: dict[str, str] = {}
        #: The network of published ports, also one that was there last; to read.
        self.ingress_id = ""
        #: Who has which leases where; to read.
        self.places = Places()
        #: Tasks by service, slot and node; to read.
        self.roster = Roster()
        self._journal: list[Change] = []

    @property
    def cluster(self) -> Cluster:
        """The cluster; raises ``Unavailable`` before there is one."""
        for cluster in self.clusters.values():
            return cluster
        raise Unavailable(
            'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to '
            "swarm and try again.",
            code=codes.NOT_A_MANAGER,
        )

    @property
    def counters(self) -> Counters:
        """What only counts up."""
        return self._counters.get("counters") or Counters()

    def put(self, record: ClusterRecord) -> None:
        """Store a record, new or changed."""
        kind = KINDS[type(record)]
        before = self._table(kind).get(record.id)
        if before != record:
            self._write(Change(kind, record.id, before, record))

    def drop(self, record: ClusterRecord) -> None:
        """Remove a record; removing what is not there is nothing."""
        kind = KINDS[type(record)]
        before = self._table(kind).get(record.id)
        if before is not None:
            self._write(Change(kind, record.id, before, None))

    def settle(self) -> tuple[Change, ...]:
        """Take the changes since the last settle out of the journal, one for each record, oldest first."""
        journal, self._journal = self._journal, []
        return merged(journal)

    def revert(self) -> None:
        """Undo everything since the last settle."""
        journal, self._journal = self._journal, []
        for change in reversed(journal):
            self._apply(Change(change.kind, change.id, change.after, change.before))

    def node(self, ref: str) -> ClusterNode:
        """The node that ``ref`` (id, name, or id prefix) means; raises ``NotFound`` or ``Ambiguous`` in Docker's words."""
        if ref in self.nodes:
            return self.nodes[ref]
        nodes = self.nodes.values()
        found = [one for one in nodes if ref and ref in (one.spec.name, one.description.hostname)]
        found = found or [one for one in nodes if ref and one.id.startswith(ref)]
        if not found:
            raise NotFound(
                f"node {ref} not found", hint="`fairlead node ls` lists the nodes", code=codes.NODE_NOT_FOUND
            )
        if len(found) > 1:
            raise Ambiguous(
                f"node {ref} is ambiguous ({len(found)} matches found)",
                hint=f"give more of the id: {', '.join(one.id for one in found[:5])}",
            )
        return found[0]

    def network(self, ref: str) -> ClusterNetwork:
        """The network that ``ref`` (id, name, or id prefix) means; raises ``NotFound`` or ``Ambiguous``."""
        known = self.network_named(ref) if ref not in self.networks else self.networks[ref]
        if known is not None:
            return known
        found = [one for one in self.networks.values() if ref and one.id.startswith(ref)]
        if not found:
            raise NotFound(
                f"network {ref} not found",
                hint="`fairlead network ls` lists the networks",
                code=codes.NETWORK_NOT_FOUND,
            )
        if len(found) > 1:
            raise Ambiguous(f"network {ref} is ambiguous ({len(found)} matches found based on ID prefix)")
        return found[0]

    def network_named(self, name: str) -> ClusterNetwork | None:
        """The network of exactly this name."""
        return self.networks.get(self._network_ids.get(name, ""))

    def service(self, ref: str) -> Service:
        """The service that ``ref`` (id, name, or id prefix) means; raises ``NotFound`` or ``Ambiguous``. One that is being
        removed is not found."""
        known = self.services.get(ref) or self.services.get(self._service_ids.get(ref, ""))
        found = [known] if known is not None else [one for one in self.services.values() if one.id.startswith(ref)]
        found = [one for one in found if ref and not one.removing]
        if not found:
            raise NotFound(
                f"service {ref} not found",
                hint="`fairlead service ls` lists the services",
                code=codes.SERVICE_NOT_FOUND,
            )
        if len(found) > 1:
            raise Ambiguous(
                f"service {ref} is ambiguous ({len(found)} matches found)",
                hint=f"give more of the id: {', '.join(one.id for one in found[:5])}",
            )
        return found[0]

    def service_named(self, name: str) -> Service | None:
        """The service of exactly this name; one that is being removed has none any more."""
        return self.services.get(self._service_ids.get(name, ""))

    def networks_of(self, node_id: str) -> tuple[str, ...]:
        """Ids of the networks in which a node takes part: where it has a lease."""
        return tuple(one for one in self.places.networks(node_id) if one in self.networks)

    def _table(self, kind: str) -> dict[str, ClusterRecord]:
        tables: dict[str, dict[str, ClusterRecord]] = {
            "cluster": self.clusters,  # type: ignore[dict-item]
            "node": self.nodes,  # type: ignore[dict-item]
            "network": self.networks,  # type: ignore[dict-item]
            "lease": self.leases,  # type: ignore[dict-item]
            "counters": self._counters,  # type: ignore[dict-item]
            "service": self.services,  # type: ignore[dict-item]
            "task": self.tasks,  # type: ignore[dict-item]
        }
        return tables[kind]

    def _write(self, change: Change) -> None:
        self._apply(change)
        self._journal.append(change)

    def _apply(self, change: Change) -> None:
        table = self._table(change.kind)
        match change.before:
            case Lease() as lease:
                self.places.discard(lease)
            case ClusterNetwork() as network:
                self._network_ids.pop(network.network.name, None)
            case Service() as service if self._service_ids.get(service.spec.name) == service.id:
                del self._service_ids[service.spec.name]
            case Task() as task:
                self.roster.discard(task)
        if change.after is None:
            table.pop(change.id, None)
            return
        table[change.id] = change.after
        match change.after:
            case Lease() as lease:
                self.places.add(lease)
            case ClusterNetwork() as network:
                self._network_ids[network.network.name] = network.id
                if network.ingress:
                    self.ingress_id = network.id
            case Service() as service if not service.removing:
                self._service_ids[service.spec.name] = service.id
            case Task() as task:
                self.roster.add(task)
