"""All that can be asked of a cluster's manager, and all that it is told. References are a full id, a name, or an id prefix.

``version`` quotes the record's version that the caller has seen (Docker: Version.Index); None does not compare.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from fairlead.model.cluster import (
    DATA_PATH_PORT,
    DEFAULT_POOLS,
    Authority,
    ClusterSpec,
    NodeDescription,
    NodeSpec,
)
from fairlead.model.commands import CreateNetwork
from fairlead.model.http_mesh import HttpMesh
from fairlead.model.network import PoolRequest
from fairlead.model.service import ServiceSpec
from fairlead.model.session import Hello, NodeMessage


@dataclass(frozen=True, slots=True)
class InitCluster:
    """Found a cluster whose first manager is this node; the answer is its ``ClusterNode``. ``authority`` is made by the
    caller; ``address`` is where the node is seen, ``manager_address`` host:port where it serves."""

    authority: Authority
    description: NodeDescription
    address: str = ""
    manager_address: str = ""
    spec: ClusterSpec = ClusterSpec()
    default_pools: tuple[tuple[str, int], ...] = DEFAULT_POOLS
    data_path_port: int = DATA_PATH_PORT
    availability: str = "active"


@dataclass(frozen=True, slots=True)
class UpdateCluster:
    """Change the cluster's spec (None: leave it) and replace the secrets named; the answer is the ``Cluster``."""

    spec: ClusterSpec | None = None
    version: int | None = None
    rotate_worker_token: bool = False
    rotate_manager_token: bool = False
    rotate_unlock_key: bool = False


@dataclass(frozen=True, slots=True)
class ReplaceAuthority:
    """Let a new root take over (``swarm ca --rotate``): the one given (PEM), else a new one. The old one stays trusted
    until every node has a certificate of the new; then it is dropped and both tokens are replaced. The answer is the
    ``Cluster``."""

    certificate: str = ""
    key: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class RotateKeys:
    """Make new shared keys now, and bring them in as every 12 h; the answer is the ``Cluster``. Raises ``Conflict`` while
    that is under way."""


@dataclass(frozen=True, slots=True)
class AdmitNode:
    """A machine that shows ``token`` asks to join; ``public_key`` names the key that it wants certified, ``address`` is
    where it is seen. The answer is an ``Admission``. A public key, or the description's gossip key, that a node has
    already is refused: it is a request sent again, or somebody else's."""

    token: str = field(repr=False)
    public_key: str
    description: NodeDescription
    address: str = ""
    availability: str = "active"


@dataclass(frozen=True, slots=True)
class Admission:
    """Answer to ``AdmitNode`` and ``RenewNode``: what the certificate must say."""

    node_id: str
    role: str
    cluster_id: str


@dataclass(frozen=True, slots=True)
class RenewNode:
    """A node with a valid certificate asks for a new one, for the key that ``public_key`` names; the answer is an
    ``Admission`` with the role that it is to have. Raises ``Forbidden`` for a node that was removed or is unknown."""

    node_id: str
    public_key: str = ""


@dataclass(frozen=True, slots=True)
class UpdateNode:
    """Change a node's spec; the answer is the ``ClusterNode``. A role other than the present one is a promotion or
    demotion: the node is told and asks for a certificate of its new role."""

    node: str
    spec: NodeSpec
    version: int | None = None


@dataclass(frozen=True, slots=True)
class RemoveNode:
    """Forget a node, which must be down or ``force`` be given, and no manager; its credentials are worth nothing from
    now on, the shared keys are replaced. The answer is the removed ``ClusterNode``."""

    node: str
    force: bool = False


@dataclass(frozen=True, slots=True)
class CreateClusterNetwork:
    """Make a network of the whole cluster (scope ``swarm``); the answer is the ``ClusterNetwork``."""

    request: CreateNetwork
    ingress: bool = False


@dataclass(frozen=True, slots=True)
class GrowNetwork:
    """Give a live network further subnets, each a segment with a VNI of its own; an empty ``subnet`` has one chosen. In a
    network that has IPv6 each segment gets an IPv6 subnet too. The answer is the ``ClusterNetwork``."""

    network: str
    pools: tuple[PoolRequest, ...]
    version: int | None = None


@dataclass(frozen=True, slots=True)
class RemoveClusterNetwork:
    """Remove a network; refused while an address of it is in use. Reserves of nodes are called back first, so the answer
    (the ``ClusterNetwork``) may come later: the decision then has a ``ticket``."""

    network: str


@dataclass(frozen=True, slots=True)
class CreateService:
    """Make a service; the answer is the ``Service``. Networks of its spec are references."""

    spec: ServiceSpec


@dataclass(frozen=True, slots=True)
class UpdateService:
    """Give a service another spec, or with ``rollback`` the one before (``spec`` is left alone then); the answer is the
    ``Service``. Tasks are exchanged only if what they are made of changes, as the service's update rule says (with
    ``rollback``: its rollback rule)."""

    service: str
    spec: ServiceSpec | None = None
    version: int | None = None
    rollback: bool = False


@dataclass(frozen=True, slots=True)
class RemoveService:
    """Remove a service; the answer is the ``Service``. Its name is free at once, its tasks end by and by."""

    service: str


@dataclass(frozen=True, slots=True)
class EnableHttpMesh:
    """Have the HTTP mesh on every node like this, and make its network if it is not there; the answer is the ``Cluster``.
    Said again with something else, it is changed."""

    wish: HttpMesh


@dataclass(frozen=True, slots=True)
class DisableHttpMesh:
    """Have it nowhere; the answer is the ``Cluster``. Its network stays; labels of services mean nothing until another
    time."""


@dataclass(frozen=True, slots=True)
class CancelTicket:
    """Who waited for a ticket has gone: what is still waited for is given up."""

    ticket: str


@dataclass(frozen=True, slots=True)
class SessionOpened:
    """A node has opened its session. ``role``, ``issuer`` (digest of the root) come from its certificate, ``address`` is
    where it is seen. ``session`` is chosen by the door, greater for each later one; what an earlier one of the node says is
    ignored from now on."""

    node_id: str
    session: int
    hello: Hello
    role: str
    issuer: str = ""
    address: str = ""


@dataclass(frozen=True, slots=True)
class SessionClosed:
    """A session's connection has ended; the node is down when no other is opened in time."""

    node_id: str
    session: int


@dataclass(frozen=True, slots=True)
class NodeSaid:
    """A node said something in its session."""

    node_id: str
    session: int
    message: NodeMessage


@dataclass(frozen=True, slots=True)
class Tick:
    """The moment that ``Decision.wake_at`` named has come."""


ClusterCommand = (
    InitCluster
    | UpdateCluster
    | ReplaceAuthority
    | RotateKeys
    | AdmitNode
    | RenewNode
    | UpdateNode
    | RemoveNode
    | CreateClusterNetwork
    | GrowNetwork
    | RemoveClusterNetwork
    | CreateService
    | UpdateService
    | RemoveService
    | EnableHttpMesh
    | DisableHttpMesh
    | CancelTicket
)
ClusterEvent = SessionOpened | SessionClosed | NodeSaid | Tick
