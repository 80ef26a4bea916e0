"""Cluster: what managers hold in common (Docker: swarm), and what of it a node is given.

These are records of the cluster's store and values on the wire between managers and nodes. Node and cluster ids are 25
characters of base 36, as swarm's; networks have ordinary ids of 64 hexadecimal digits. Secrets are in no representation,
so that none gets into a log.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from fairlead.model.backend import Backend
from fairlead.model.http_mesh import HttpMesh
from fairlead.model.network import Network
from fairlead.model.service import Service, Task

#: Seconds between two signs of life of a node to its manager (swarmkit: dispatcher heartbeat period).
HEARTBEAT_S = 5.0
#: Seconds that a node's certificate is valid (swarmkit: 90 days).
CERTIFICATE_S = 90 * 86400.0
#: UDP port of VXLAN (RFC 7348 section 8; swarm's default data path port).
DATA_PATH_PORT = 4789
#: Where overlay subnets come from unless told otherwise: (pool, length of the subnets cut from it), as swarm's.
DEFAULT_POOLS: tuple[tuple[str, int], ...] = (("10.0.0.0/8", 24),)

#: Holder of the address with which a node takes part in the network of published ports (``manager.ingress``).
ENTRY = "entry"

WORKER, MANAGER = "worker", "manager"
ACTIVE, PAUSE, DRAIN = "active", "pause", "drain"
#: How a manager sees a node (Docker: NodeState).
UNKNOWN, DOWN, READY, DISCONNECTED = "unknown", "down", "ready", "disconnected"


@dataclass(frozen=True, slots=True)
class Key:
    """One shared key: ``tag`` counts up over the life of the cluster; ``secret`` is 32 bytes in hexadecimal."""

    tag: int
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Ring:
    """Keys of one purpose. Everything is sealed with the key tagged ``primary``; all of ``keys`` open."""

    keys: tuple[Key, ...] = ()
    primary: int = 0


@dataclass(frozen=True, slots=True)
class ClusterSpec:
    """What ``swarm update`` may change (Docker: swarm Spec)."""

    name: str = "default"
    labels: dict[str, str] = field(default_factory=dict)
    task_history: int = 5
    heartbeat_s: float = HEARTBEAT_S
    certificate_s: float = CERTIFICATE_S
    autolock: bool = False
    #: Counts forced CA rotations (Docker: ForceRotate).
    force_rotate: int = 0


@dataclass(frozen=True, slots=True)
class Authority:
    """The cluster's certificate authority. ``certificate`` is the trusted root or, while one is replaced, both roots one
    after the other (PEM); ``key`` the signing key (PEM). ``next_*`` are set while a new root takes over: what signs now
    is ``next_key`` with ``cross`` (the new root signed by the old one) sent along."""

    certificate: str
    key: str = field(repr=False)
    next_certificate: str = ""
    next_key: str = field(default="", repr=False)
    cross: str = ""


@dataclass(frozen=True, slots=True)
class Cluster:
    """The cluster itself; there is one. ``created``, ``updated`` are epoch seconds, ``version`` counts its changes (the
    API's ``Version.Index``). ``removed`` holds nodes that are out, until when their certificates could be valid."""

    id: str
    created: float
    updated: float
    authority: Authority
    worker_token: str = field(repr=False)
    manager_token: str = field(repr=False)
    spec: ClusterSpec = ClusterSpec()
    default_pools: tuple[tuple[str, int], ...] = DEFAULT_POOLS
    data_path_port: int = DATA_PATH_PORT
    gossip_keys: Ring = Ring()
    data_keys: Ring = Ring()
    #: Secret from which the keys of single networks are derived; known to managers only.
    network_secret: str = field(default="", repr=False)
    unlock_key: str = field(default="", repr=False)
    removed: dict[str, float] = field(default_factory=dict)
    #: Public gossip keys of the removed nodes, until when they are remembered (epoch seconds).
    removed_keys: dict[str, float] = field(default_factory=dict)
    #: Epoch seconds at which the newest of the shared keys was made.
    keys_made: float = 0.0
    version: int = 1
    #: None: the HTTP mesh is off.
    http_mesh: HttpMesh | None = None


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """What ``node update`` may change."""

    role: str = WORKER
    availability: str = ACTIVE
    name: str = ""
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NodeDescription:
    """What a node says of itself. ``mtu`` is that of its data path in bytes, as measured; addresses are bare."""

    hostname: str
    os: str = "linux"
    architecture: str = "x86_64"
    nano_cpus: int = 0
    memory_bytes: int = 0
    engine_version: str = ""
    drivers: tuple[str, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)
    advertise: str = ""
    data_path: str = ""
    gossip_port: int = 7946
    mtu: int = 1500
    #: The node's public Ed25519 key in hexadecimal; its id among gossip's members follows from it.
    gossip_key: str = ""
    #: Prefixes that the node has addresses in or routes to beside the cluster's networks; none of those may meet them.
    prefixes: tuple[str, ...] = ()
    #: Why the node cannot be in encrypted networks; empty: it can.
    no_encryption: str = "its version of Fairlead has no encrypted networks"
    #: Why the node cannot balance by IPVS; empty: it can.
    no_ipvs: str = "its version of Fairlead does not use IPVS"


@dataclass(frozen=True, slots=True)
class ClusterNode:
    """A node as managers hold it. ``role`` is the one its certificate says, ``spec.role`` the wanted one. ``address`` is
    where it was seen; ``manager_address`` host:port where it serves as manager, else empty."""

    id: str
    created: float
    updated: float
    spec: NodeSpec = NodeSpec()
    description: NodeDescription = NodeDescription("")
    role: str = WORKER
    state: str = UNKNOWN
    message: str = ""
    address: str = ""
    manager_address: str = ""
    leader: bool = False
    #: Digest of the certificate authority's root that its certificate comes from.
    issuer: str = ""
    #: Digest of the public key that it was admitted with; one key joins once.
    public_key: str = ""
    version: int = 1
    #: Epoch seconds since which it is down; 0 while it is not.
    down_since: float = 0.0


@dataclass(frozen=True, slots=True)
class ClusterNetwork:
    """A network of the whole cluster. ``network`` is what each node is given: scope ``swarm``, subnets and gateways
    allocated, VNIs in the option ``com.docker.network.driver.overlay.vxlanid_list``, one for each segment. ``updated`` is epoch
    seconds. ``pending`` says why something could not be allocated."""

    network: Network
    updated: float
    ingress: bool = False
    pending: str = ""
    version: int = 1
    #: The nodes have been asked to give their reserves back, so that the network can go.
    removing: bool = False

    @property
    def id(self) -> str:
        """The network's id."""
        return self.network.id


@dataclass(frozen=True, slots=True)
class Lease:
    """One address of a cluster network that a node may use. ``generation`` is greater at each lease of the address, so
    what is said of an earlier one is known to be old. ``holder`` is what it is for: empty while in a node's reserve.

    ``address`` is IPv4 (Docker: a swarm network always has it); ``ipv6`` goes with it, in a segment that has IPv6. Both
    are bare. ``node_id`` is empty for what all nodes share: a virtual address. A lease that is ``resting`` belongs to
    nobody any more; its address is not given again before all nodes have said that they forgot it. Among a node's own
    records a resting lease is one that ``holder`` has used, and that some node may still remember as his; ``holder`` is
    an endpoint there, and ``task_id`` the task that the lease is for and nobody else, empty: any container may have it.
    """

    network_id: str
    address: str
    node_id: str
    generation: int
    holder: str = ""
    ipv6: str = ""
    resting: bool = False
    task_id: str = ""

    @property
    def id(self) -> str:
        """Its name among records."""
        return f"{self.network_id}/{self.address}"


@dataclass(frozen=True, slots=True)
class Counters:
    """What only counts up over the cluster's life, so that nothing old is mistaken for new. ``generation``: below it lie
    those of all leases given so far (it runs ahead of them, a manager that starts goes on from it). ``vni``: where the search
    for the next one begins."""

    generation: int = 1
    vni: int = 4096
    id: str = "counters"


@dataclass(frozen=True, slots=True)
class Station:
    """A node as one end of encrypted tunnels: its id in the cluster, where its tunnels end, and what it drew at random for its
    present life (hexadecimal; empty: it cannot encrypt). A life ends when the kernel's states of it may have been lost."""

    node_id: str
    vtep: str
    nonce: str


@dataclass(frozen=True, slots=True)
class Peer:
    """An endpoint of another node, as told by gossip: its addresses (``address/length`` or empty) and MAC, the node's
    data path address, and the generation of the lease: where two claim an address, the greater is right."""

    network_id: str
    endpoint_id: str
    ipv4: str
    ipv6: str
    mac: str
    vtep: str
    generation: int


#: Ports of an endpoint that other nodes are told of: who exposes a whole range is found by its address all the same, and
#: the record stays below some KB.
PORTS_MAX = 64


@dataclass(frozen=True, slots=True)
class PeerNames:
    """Names of an endpoint that is ready, as told by gossip; the first answers reverse look-ups. ``ports`` are those it
    offers (``80/tcp``); nodes of older versions tell of none. ``backend``: it gets connections to the virtual addresses of a
    service, whose names lead there."""

    network_id: str
    endpoint_id: str
    names: tuple[str, ...]
    ipv4: str
    ipv6: str
    ports: tuple[str, ...] = ()
    backend: Backend | None = None


ClusterRecord = Cluster | ClusterNode | ClusterNetwork | Lease | Counters | Service | Task

#: Names of the kinds of records, as in the store: a record's key there is ``<kind>/<id>``.
KINDS: dict[type[ClusterRecord], str] = {
    Cluster: "cluster",
    ClusterNode: "node",
    ClusterNetwork: "network",
    Lease: "lease",
    Counters: "counters",
    Service: "service",
    Task: "task",
}
