"""What every part of the engine shares: the records, the address space, the drivers, and one turn of handling."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from fairlead.balance.board import Board
from fairlead.balance.contract import Balancer
from fairlead.balance.ipvs import Ipvs
from fairlead.balance.nftables import Nftables
from fairlead.discovery.resolvconf import ResolvConf
from fairlead.drivers.contract import Connects, Driver, Encrypts, Node, Publishes, Spans
from fairlead.drivers.null import Null
from fairlead.drivers.registry import Registry
from fairlead.engine.hearsay import Hearsay
from fairlead.engine.outcome import Message
from fairlead.ipam.default import Ipam
from fairlead.model.cluster import Station
from fairlead.model.container import Container
from fairlead.model.endpoint import Endpoint
from fairlead.model.events import HostChanged, Notice, TunnelSecrets
from fairlead.model.ids import Chance
from fairlead.model.network import GATEWAY_BRIDGE, Network
from fairlead.model.sandbox import Sandbox
from fairlead.model.settings import EngineSettings, Paths
from fairlead.model.state import Change, State
from fairlead.plan.objects import NOTHING, Plan

#: What drives a network whose stored record makes no sense: nothing exists for it.
_NO_DRIVER = Null("")

#: Owner of what belongs to the node and no network or sandbox.
NODE_OWNER = "node"
#: How owners begin of addresses on other nodes, and of what leads connections to the tasks of services.
PEER, BALANCE = "peer:", "balance:"
#: So of what lets a task be reached at its published ports.
INTERIOR = "interior:"
#: How owners begin of what encrypts to another node, and the owner of the fact that all of those are known.
PAIR, PAIRS = "pair:", "pairs"


def network_owner(network_id: str) -> str:
    """The plan owner of a network."""
    return f"network:{network_id}"


def sandbox_owner(sandbox_id: str) -> str:
    """The plan owner of a sandbox: its namespace, and which of its endpoints leads out."""
    return f"sandbox:{sandbox_id}"


def endpoint_owner(endpoint_id: str) -> str:
    """The plan owner of an endpoint: its interface and what is published through it."""
    return f"endpoint:{endpoint_id}"


def interior_owner(endpoint_id: str) -> str:
    """The plan owner of what lets a task be reached at its published ports, by an endpoint."""
    return f"{INTERIOR}{endpoint_id}"


def peer_owner(network_id: str, address: str) -> str:
    """The plan owner of an address of a network that spans nodes, as long as it is on another node."""
    return f"{PEER}{network_id}:{address}"


def pair_owner(vtep: str) -> str:
    """The plan owner of what encrypts between this node and the one whose tunnels end there."""
    return f"{PAIR}{vtep}"


def balance_owner(endpoint: Endpoint, service_id: str = "") -> str:
    """The plan owner of what leads connections from an endpoint to the tasks of a service; without a service, of what they
    have in common."""
    return f"{BALANCE}{endpoint.network_id}:{endpoint.id}:{service_id}"


@dataclass(slots=True)
class Core:
    """The engine's memory. Only ``state`` is persisted; ``ipam`` is rebuilt from it."""

    settings: EngineSettings
    paths: Paths
    drivers: Registry
    chance: Chance
    node: Node
    ipam: Ipam
    state: State = field(default_factory=State)
    host: HostChanged = HostChanged((), ())
    #: The host's resolv.conf, and the one for sandboxes that are told its servers themselves.
    resolver: ResolvConf = ResolvConf()
    direct_resolver: ResolvConf = ResolvConf()
    #: Sandbox -> its endpoints and, by family (IPv6 or not), which of them led out when that was last asked.
    leading: dict[str, tuple[tuple[str, ...], dict[bool, str]]] = field(default_factory=dict)
    #: Sandbox -> its endpoints, the networks whose names it is served and whether one led out, when last asked.
    served: dict[str, tuple[tuple[str, ...], tuple[str, ...], bool]] = field(default_factory=dict)
    #: Last port handed out for each protocol; the search for a free one goes on after it.
    port_cursor: dict[str, int] = field(default_factory=dict)
    #: What no two networks may share (a device name) -> id of the network that has it.
    claims: dict[str, str] = field(default_factory=dict)
    #: Id of a network whose stored record makes no sense, or of an endpoint -> why. Nothing exists and nothing is leased
    #: for it, nobody can join it; it can be looked at and removed. Found at the start; stays when the record has gone,
    #: so that a removal that is undone finds it.
    unusable: dict[str, str] = field(default_factory=dict)
    #: What gossip tells of each network of the cluster, by network id.
    hearsay: dict[str, Hearsay] = field(default_factory=dict)
    #: What this node encrypts tunnels with, and the other nodes as ends of such tunnels, by their addresses.
    secrets: TunnelSecrets = TunnelSecrets()
    stations: dict[str, Station] = field(default_factory=dict)
    #: The services of each network of the cluster in which this node takes part, by network id.
    boards: dict[str, Board] = field(default_factory=dict)
    #: What balances, by the name that a network's option has for it.
    balancers: Mapping[str, Balancer] = field(default_factory=lambda: {one.name: one for one in (Nftables(), Ipvs())})
    #: Published ports (protocol, number) of the cluster that a program of this host has -> what was said of it.
    busy: dict[tuple[str, int], str] = field(default_factory=dict)

    def driver(self, network: Network) -> Driver:
        """The driver of a network; raises ``NotFound`` for one that this node does not have."""
        return _NO_DRIVER if network.id in self.unusable else self.drivers[network.driver]

    def connecting(self, network: Network) -> Connects | None:
        """The driver of a network if its endpoints have interfaces."""
        return None if network.id in self.unusable else self.drivers.connecting(network.driver)

    def publishing(self, network: Network) -> Publishes | None:
        """The driver of a network if it can publish ports."""
        return None if network.id in self.unusable else self.drivers.publishing(network.driver)

    def spanning(self, network: Network) -> Spans | None:
        """The driver of a network if the network spans nodes."""
        return None if network.id in self.unusable else self.drivers.spanning(network.driver)

    def encrypting(self, network: Network) -> Encrypts | None:
        """The driver of a network if the network is encrypted between nodes."""
        if network.id in self.unusable:
            return None
        driver = self.drivers.encrypting(network.driver)
        return driver if driver is not None and driver.is_encrypted(network) else None

    def inhabited(self, network_id: str) -> bool:
        """Whether an endpoint of this node is in a network."""
        return network_id in self.state.endpoints_by_network.members

    def works(self, endpoint: Endpoint) -> bool:
        """Whether neither the endpoint nor its network is unusable."""
        return not self.unusable or not {endpoint.id, endpoint.network_id} & self.unusable.keys()

    def connects(self, network: Network) -> bool:
        """Whether endpoints of this network have an interface."""
        return self.connecting(network) is not None

    def resolves(self, network: Network) -> bool:
        """Whether names resolve in this network: all but the predefined ones, the gateway bridge and ingress (Docker)."""
        return self.connects(network) and not (network.predefined or network.ingress or network.name == GATEWAY_BRIDGE)

    def forget(self, changes: Iterable[Change]) -> None:
        """Remember nothing of sandboxes that are gone."""
        for change in changes:
            if change.kind == "sandbox" and change.after is None:
                self.leading.pop(change.id, None)
                self.served.pop(change.id, None)

    def node_plan(self) -> Plan:
        """What must exist on the node for its drivers, whatever networks it has."""
        plan = NOTHING
        for driver in self.drivers.guards:
            plan |= driver.node_plan(self.node)
        return plan

    def network_plan(self, network: Network) -> Plan:
        """What must exist for a network; one that spans nodes exists here while an endpoint of this node is in it."""
        plan, spans = self.driver(network).network_plan(network, self.node), self.spanning(network)
        if spans is None:
            return plan
        if not self.inhabited(network.id):
            return NOTHING
        told = self.hearsay.get(network.id)
        return plan | spans.exact_plan(network) if told is not None and told.complete and plan else plan


@dataclass(slots=True)
class Turn:
    """One call of ``handle`` while it is being decided. ``now`` is monotonic seconds, ``at`` epoch seconds."""

    core: Core
    now: float
    at: float
    #: Host ports (protocol, number) that the kernel has refused for this very command.
    busy_ports: frozenset[tuple[str, int]] = frozenset()
    owners: dict[str, None] = field(default_factory=dict)
    messages: list[Message] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    #: What to do, last first, if the turn raises; records and addresses are put back without being asked.
    undo: list[Callable[[], object]] = field(default_factory=list)
    #: What no other operation may use until the end of this one is known.
    alone: set[str] = field(default_factory=set)

    @property
    def state(self) -> State:
        """The records."""
        return self.core.state

    def touch_network(self, network: Network) -> None:
        """The network's plan is to be derived anew at the end of the turn."""
        self.owners[network_owner(network.id)] = None

    def touch_sandbox(self, sandbox: Sandbox) -> None:
        """The sandbox's plan is to be derived anew at the end of the turn."""
        self.owners[sandbox_owner(sandbox.id)] = None

    def say(self, *messages: Message) -> None:
        """Have something done after the plan stands."""
        self.messages.extend(messages)

    def tell_network(self, action: str, network: Network, container_id: str = "") -> None:
        """A network event with Docker's attributes."""
        attributes = {"name": network.name, "type": network.driver}
        if container_id:
            attributes["container"] = container_id
        self.notices.append(Notice("network", action, network.id, attributes, self.at))

    def tell_container(self, action: str, container: Container, **more: str) -> None:
        """A container event with Docker's attributes."""
        attributes = {**container.config.labels, "image": container.config.image, "name": container.name, **more}
        self.notices.append(Notice("container", action, container.id, attributes, self.at))

    def network_of(self, endpoint: Endpoint) -> Network:
        """The network an endpoint is in."""
        return self.state.networks[endpoint.network_id]

    def endpoints_of(self, sandbox: Sandbox) -> list[Endpoint]:
        """A sandbox's endpoints in the order of joining."""
        return [self.state.endpoints[endpoint_id] for endpoint_id in sandbox.endpoints]
