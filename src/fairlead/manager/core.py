"""What every part of the manager shares: the records, what follows from them, the sessions, and one turn of handling."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from fairlead.ipam.default import Ipam
from fairlead.manager.confirmations import Confirmations
from fairlead.manager.decision import Answer, Push
from fairlead.manager.heartbeats import Heartbeats
from fairlead.manager.ports import PublishedPorts
from fairlead.manager.samples import Samples
from fairlead.manager.state import State
from fairlead.manager.vnis import Vnis
from fairlead.manager.work import Work
from fairlead.mesh.wish import HttpRoute
from fairlead.model.cluster import DOWN, Cluster, ClusterNetwork, ClusterNode
from fairlead.model.cluster_commands import NodeSaid, RemoveClusterNetwork
from fairlead.model.events import Notice
from fairlead.model.ids import Chance
from fairlead.model.service import Service, ServiceSpec
from fairlead.model.session import Forget, KeyReport, ManagerMessage

#: Generations that are put aside with one write, a choice: a manager that starts anew skips at most so many of 2^63.
_GENERATIONS_AHEAD = 10_000


@dataclass(slots=True)
class Session:
    """An open session of a node. ``number`` tells it from earlier ones, ``told`` counts what was assigned in it,
    ``networks`` are those that it was told of, ``keys`` what the node last said to hold."""

    node_id: str
    number: int
    keys: KeyReport
    told: int = 0
    networks: set[str] = field(default_factory=set)

    def sequence(self) -> str:
        """Name of what the node was told so far."""
        return f"{self.number}.{self.told}"


@dataclass(frozen=True, slots=True)
class Waiting:
    """Somebody waits for what can only be done once reserves have come back. ``message`` is decided again when one does and
    the nodes have told the use of all ``doubts`` (lease ids), and for the last time at ``deadline`` (monotonic
    seconds)."""

    ticket: str
    network_id: str
    message: RemoveClusterNetwork | NodeSaid
    deadline: float
    doubts: set[str]


@dataclass(slots=True)
class Entries:
    """Nodes in the network of published ports: which network that is to be (empty: none needs it), whose part in it is to be
    looked at, and those for whom it has no address."""

    network_id: str = ""
    due: dict[str, None] = field(default_factory=dict)
    lacking: dict[str, None] = field(default_factory=dict)


@dataclass(slots=True)
class Core:
    """The manager's memory. Only ``state`` is persisted; ``ipam``, ``vnis`` and ``generation`` follow from it, the rest is
    learned anew from the nodes."""

    chance: Chance
    state: State = field(default_factory=State)
    ipam: Ipam = field(default_factory=Ipam.create)
    vnis: Vnis = Vnis()
    ports: PublishedPorts = PublishedPorts()
    #: The generation of the next lease.
    generation: int = 1
    #: Network -> number of the first segment that may have a free address.
    first_free: dict[str, int] = field(default_factory=dict)
    sessions: dict[str, Session] = field(default_factory=dict)
    heartbeats: Heartbeats = field(default_factory=Heartbeats)
    #: Nodes that have not confirmed the present step of a rotation of keys.
    keys: Confirmations = field(default_factory=Confirmations)
    #: What is to be forgotten (``Forget.id``) by whom.
    forgets: Confirmations = field(default_factory=Confirmations)
    waiting: dict[str, Waiting] = field(default_factory=dict)
    samples: Samples = field(default_factory=Samples)
    tickets: int = 0
    #: Ids of leases that nobody has any more, to be freed a few at a time.
    swept: deque[str] = field(default_factory=deque)
    #: What is still to be done for services.
    work: Work = field(default_factory=Work)
    #: Service -> its spec and the routes that its labels mean.
    http: dict[str, tuple[ServiceSpec, tuple[HttpRoute, ...]]] = field(default_factory=dict)

    entries: Entries = field(default_factory=Entries)

    def living(self) -> Iterable[str]:
        """Ids of the nodes that may be alive: all but those that are down."""
        return (node.id for node in self.state.nodes.values() if node.state != DOWN)


@dataclass(slots=True)
class Turn:
    """One call of ``handle`` while it is being decided. ``now`` is monotonic seconds, ``at`` epoch seconds."""

    core: Core
    now: float
    at: float
    pushes: list[Push] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    #: Leases to be called back: node -> lease ids.
    recalls: dict[str, list[str]] = field(default_factory=dict)
    #: Leases that a node believes to have and has not: node -> lease ids.
    disowned: dict[str, list[str]] = field(default_factory=dict)
    #: Tasks that a node tells of and that are no more: node -> task ids.
    unknown: dict[str, list[str]] = field(default_factory=dict)
    #: What is to be forgotten from now on.
    forgets: list[Forget] = field(default_factory=list)
    #: Networks for which those who wait are to be looked at again.
    retry: set[str] = field(default_factory=set)
    #: Leases (ids) whose use a node has told.
    reported: set[str] = field(default_factory=set)
    #: Nodes have been asked what their leases are used for.
    is_sure: bool = False

    @property
    def state(self) -> State:
        """The records."""
        return self.core.state

    def put_cluster(self, cluster: Cluster) -> Cluster:
        """Store a changed cluster under its next version."""
        changed = replace(cluster, version=cluster.version + 1, updated=self.at)
        self.state.put(changed)
        return changed

    def put_node(self, node: ClusterNode) -> ClusterNode:
        """Store a changed node under its next version; nothing if it is as it was."""
        if node == self.state.nodes.get(node.id):
            return node
        changed = replace(node, version=node.version + 1, updated=self.at)
        self.state.put(changed)
        return changed

    def put_network(self, network: ClusterNetwork) -> ClusterNetwork:
        """Store a changed network under its next version."""
        changed = replace(network, version=network.version + 1, updated=self.at)
        self.state.put(changed)
        return changed

    def put_service(self, service: Service) -> Service:
        """Store a changed service under its next version."""
        changed = replace(service, version=service.version + 1, updated=self.at)
        self.state.put(changed)
        return changed

    def next_generation(self) -> int:
        """A generation greater than any before, over restarts too."""
        core = self.core
        generation, core.generation = core.generation, core.generation + 1
        if core.generation > self.state.counters.generation:
            self.state.put(replace(self.state.counters, generation=core.generation + _GENERATIONS_AHEAD))
        return generation

    def gone(self, node_id: str, lease_id: str) -> None:
        """Tell a node once more that it does not have a lease."""
        self.disowned.setdefault(node_id, []).append(lease_id)

    def push(self, session: Session, message: ManagerMessage) -> None:
        """Say something in a session."""
        self.pushes.append(Push(session.node_id, session.number, message))

    def tell_node(self, action: str, node: ClusterNode, **more: str) -> None:
        """A node event with Docker's attributes."""
        attributes = {"name": node.description.hostname, **more}
        self.notices.append(Notice("node", action, node.id, attributes, self.at))

    def tell_service(self, action: str, service: Service, **more: str) -> None:
        """A service event with Docker's attributes."""
        self.notices.append(
            Notice("service", action, service.id, {"name": service.spec.name, **more}, self.at, "swarm")
        )

    def tell_network(self, action: str, network: ClusterNetwork, **more: str) -> None:
        """A network event with Docker's attributes."""
        attributes = {"name": network.network.name, "type": network.network.driver, **more}
        self.notices.append(Notice("network", action, network.id, attributes, self.at))
