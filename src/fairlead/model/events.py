"""All that can happen to a node, and all that it tells: facts going in, notices going out."""

from __future__ import annotations

from dataclasses import dataclass, field

from fairlead.model.cluster import DATA_PATH_PORT, Lease, Peer, PeerNames, Ring, Station
from fairlead.model.errors import NetError


@dataclass(frozen=True, slots=True)
class HostChanged:
    """The host's own prefixes and addresses (``address/length``), without those of devices of ours: what automatic
    subnets must avoid, and what published ports may bind to."""

    prefixes: tuple[str, ...]
    addresses: tuple[str, ...]
    ephemeral_ports: tuple[int, int] = (32768, 60999)
    #: Ranges (first, last) of ports that are not to be chosen automatically.
    reserved_ports: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Applied:
    """Everything of an operation is persisted and stands in the kernel."""

    operation: int


@dataclass(frozen=True, slots=True)
class ResolverFileChanged:
    """The text of the host's resolv.conf. ``direct`` is that of the file with servers that can be asked from outside
    the host's own namespace too: the same text, or systemd-resolved's when the host asks its stub."""

    text: str
    direct: str


@dataclass(frozen=True, slots=True)
class Failed:
    """An operation could not be applied; the kernel is as before it."""

    operation: int
    error: NetError


@dataclass(frozen=True, slots=True)
class ContainerRunning:
    """The container's process was started. ``at`` is epoch seconds."""

    container_id: str
    pid: int
    monitor_pid: int
    at: float


@dataclass(frozen=True, slots=True)
class ContainerFailed:
    """The container's process could not be started; ``cut_short``: because the daemon ended meanwhile, and for no
    reason of its own."""

    container_id: str
    message: str
    exit_code: int
    at: float
    cut_short: bool = False


@dataclass(frozen=True, slots=True)
class ContainerExited:
    """The container's process is gone. ``exit_code`` is 128 + signal number when killed by one; ``oom_killed`` that
    the kernel did it, since memory had run out."""

    container_id: str
    exit_code: int
    at: float
    oom_killed: bool = False


@dataclass(frozen=True, slots=True)
class RestartDue:
    """The time that a restart was put off is over."""

    container_id: str


@dataclass(frozen=True, slots=True)
class RestartFailed:
    """A container could not be started again; its restart policy gives up."""

    container_id: str
    message: str


@dataclass(frozen=True, slots=True)
class ProbeDue:
    """It is time to ask for a container's health. ``pid`` tells of which run."""

    container_id: str
    pid: int


@dataclass(frozen=True, slots=True)
class HealthProbed:
    """The answer of a health command of the run with ``pid``. ``exit_code`` is -1 when it took too long."""

    container_id: str
    pid: int
    start: float
    end: float
    exit_code: int
    output: str


@dataclass(frozen=True, slots=True)
class NamespaceGone:
    """Nothing holds the namespace of a sandbox any more but ourselves: no process, no file."""

    sandbox_id: str


@dataclass(frozen=True, slots=True)
class DataPath:
    """Where this node's tunnels begin: its bare ``address`` (IPv4 or IPv6; empty: the node is in no cluster), the UDP
    ``port`` of VXLAN and the ``mtu`` in bytes of the links that lead to the other nodes. To be told before the engine is
    restored, or what stands is taken away."""

    address: str
    port: int = DATA_PATH_PORT
    mtu: int = 1500


@dataclass(frozen=True, slots=True)
class BalancersFound:
    """Whether this node's kernel can balance by IPVS. To be told before the engine is restored, or what stands is made
    anew."""

    ipvs: bool


@dataclass(frozen=True, slots=True)
class TunnelSecrets:
    """What this node encrypts tunnels with: itself (None: it is in no cluster), and the ring of data path keys. ``fault``
    says why it cannot be in encrypted networks; empty: it can."""

    own: Station | None = None
    ring: Ring = Ring()
    fault: str = "it does not know yet what to encrypt with"


@dataclass(frozen=True, slots=True)
class StationsSeen:
    """What other nodes say of themselves as ends of encrypted tunnels, by the address of that end; None: nobody's any more."""

    changes: tuple[tuple[str, Station | None], ...]


@dataclass(frozen=True, slots=True)
class LeasesGranted:
    """A manager lets this node use these. What is known already stays as it is; one with a greater generation takes the
    place of the same address's earlier one. Those of a network that is not known are left out; the outcome's answer is
    the tuple of leases taken."""

    leases: tuple[Lease, ...]


@dataclass(frozen=True, slots=True)
class LeasesRevoked:
    """These leases (by id) are no more this node's. An endpoint that holds one is taken out of its network at once, since
    somebody else may have its address; with ``idle`` only those that nobody holds go, and the others stay. The
    outcome's answer is the tuple of leases that went."""

    ids: tuple[str, ...]
    idle: bool = False


@dataclass(frozen=True, slots=True)
class AddressForgotten:
    """Every node has forgotten who used this lease of this generation: it is free again. Nothing if it is in use."""

    lease_id: str
    generation: int


@dataclass(frozen=True, slots=True)
class PeersSeen:
    """What gossip tells of endpoints of other nodes in a network, by endpoint id, None: gone. Only changes are told."""

    network_id: str
    changes: tuple[tuple[str, Peer | None], ...]


@dataclass(frozen=True, slots=True)
class PeersComplete:
    """Gossip has told all that the others know of a network, once after it was joined (or nobody else is there): what
    Linux remembers beyond that, from before a restart, is old and is taken away. Until then it is left alone."""

    network_id: str


@dataclass(frozen=True, slots=True)
class NamesSeen:
    """What gossip tells of names of other nodes' endpoints in a network, by endpoint id, None: not ready, or gone."""

    network_id: str
    changes: tuple[tuple[str, PeerNames | None], ...]


@dataclass(frozen=True, slots=True)
class EntryDue:
    """This node's part in the network of published ports is to be looked at: it may be given an address there, or none."""

    network_id: str


Event = (
    HostChanged
    | ResolverFileChanged
    | Applied
    | Failed
    | ContainerRunning
    | ContainerFailed
    | ContainerExited
    | NamespaceGone
    | RestartDue
    | RestartFailed
    | ProbeDue
    | HealthProbed
    | DataPath
    | BalancersFound
    | TunnelSecrets
    | StationsSeen
    | LeasesGranted
    | LeasesRevoked
    | AddressForgotten
    | PeersSeen
    | PeersComplete
    | NamesSeen
    | EntryDue
)


@dataclass(frozen=True, slots=True)
class Notice:
    """One line of ``fairlead events``: Docker's object type, action, id and attributes. ``at`` is epoch seconds, ``scope``
    ``swarm`` for what happened to the cluster."""

    type: str
    action: str
    id: str
    attributes: dict[str, str] = field(default_factory=dict)
    at: float = 0.0
    scope: str = "local"
