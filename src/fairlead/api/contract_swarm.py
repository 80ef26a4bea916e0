"""What the API needs to know of a node's place in a cluster, and to ask of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from fairlead.api.contract_services import Work
from fairlead.model.cluster import (
    ACTIVE,
    DATA_PATH_PORT,
    DEFAULT_POOLS,
    Cluster,
    ClusterNetwork,
    ClusterNode,
    ClusterSpec,
)
from fairlead.model.cluster_commands import ClusterCommand

#: Docker's words for a node's place (LocalNodeState).
INACTIVE, PENDING, IN_SWARM, FAULTY, LOCKED = "inactive", "pending", "active", "error", "locked"


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a member is to listen (``ADDRESS|INTERFACE[:PORT]``), what it tells others (the same), and its end of
    tunnels (``ADDRESS|INTERFACE``). Empty text means "find out"."""

    listen: str = ""
    advertise: str = ""
    data_path: str = ""


@dataclass(frozen=True, slots=True)
class InitWish:
    """A new cluster, as asked for; with ``force_new`` out of what this node has of its old one."""

    addresses: Addresses = Addresses()
    spec: ClusterSpec = ClusterSpec()
    availability: str = ACTIVE
    pools: tuple[tuple[str, int], ...] = DEFAULT_POOLS
    data_path_port: int = DATA_PATH_PORT
    force_new: bool = False


@dataclass(frozen=True, slots=True)
class JoinWish:
    """A place in the cluster of the managers at ``remotes`` (``HOST:PORT``), by a token."""

    token: str
    remotes: tuple[str, ...]
    addresses: Addresses = Addresses()
    availability: str = ACTIVE


@dataclass(frozen=True, slots=True)
class Root:
    """What is told of a root certificate: its text (PEM), and subject and public key (DER). Empty: not known."""

    pem: str = ""
    subject: bytes = b""
    public_key: bytes = b""


@dataclass(frozen=True, slots=True)
class NetworkUsage:
    """How full a network is: for each subnet addresses in use and addresses left; ``reserved`` lie ready at nodes,
    ``resting`` are about to be free. ``exhausted_at`` is when none is left if it goes on as lately (epoch seconds; 0: not in
    sight); ``pending`` says what could not be had."""

    subnets: dict[str, tuple[int, int]]
    reserved: int = 0
    resting: int = 0
    exhausted_at: float = 0.0
    pending: str = ""


@dataclass(frozen=True, slots=True)
class SwarmStatus:
    """This node's place. ``address`` is the one it tells others, ``managers`` are (node id, ``host:port``) of the
    managers that it knows, ``manager`` says whether it is one of them."""

    state: str = INACTIVE
    node_id: str = ""
    address: str = ""
    manager: bool = False
    error: str = ""
    managers: tuple[tuple[str, str], ...] = ()


class Leader(Protocol):
    """The manager that leads, when that is another node."""

    async def pass_on(self, method: str, target: str, body: bytes) -> tuple[int, bytes]:
        """Have it answer an API request, ``target`` being path and query: status and body. Raises ``Unavailable``."""


class Brain(Protocol):
    """The cluster as its leader has it."""

    @property
    def cluster(self) -> Cluster:
        """The cluster."""

    @property
    def nodes(self) -> Mapping[str, ClusterNode]:
        """Its nodes, by id."""

    @property
    def networks(self) -> Mapping[str, ClusterNetwork]:
        """Its networks, by id."""

    @property
    def work(self) -> Work:
        """Its services and their tasks."""

    def node(self, ref: str) -> ClusterNode:
        """A node by id, name or the beginning of an id; raises ``NotFound`` or ``Ambiguous``."""

    def network(self, ref: str) -> ClusterNetwork:
        """A network, in the same way."""

    def root(self, node: ClusterNode | None = None) -> Root:
        """The root that joining nodes are to trust, or the one that a node's certificate comes from."""

    def key_laggards(self) -> tuple[str, ...]:
        """Ids of nodes that have not confirmed the present step of a rotation of keys."""

    def usage(self, network_id: str) -> NetworkUsage:
        """How full a network is."""

    async def ask(self, command: ClusterCommand) -> object:
        """Have a command carried out; its answer. Raises ``NetError`` when it is refused, with nothing changed."""


class Swarm(Protocol):
    """The node's place in a cluster."""

    @property
    def status(self) -> SwarmStatus:
        """What it is."""

    def leader(self) -> Leader | None:
        """Who leads, None when this node does. Raises ``Unavailable`` in Docker's words unless this node is a manager
        at work."""

    @property
    def brain(self) -> Brain:
        """The cluster, on the node that leads; raises as ``leader`` does."""

    async def init(self, wish: InitWish) -> str:
        """Make a cluster; this node's id in it."""

    async def join(self, wish: JoinWish) -> None:
        """Become a member."""

    async def leave(self, *, force: bool) -> None:
        """Be a member no more, and forget all about it."""

    async def unlock(self, key: str) -> None:
        """Open what was locked with the cluster's unlock key."""
