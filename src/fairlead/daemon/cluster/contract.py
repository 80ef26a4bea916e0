"""What the parts of a member need of each other; wired by ``membership``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from fairlead.gossip.identity import Identity as GossipIdentity
from fairlead.model.cluster import DATA_PATH_PORT, WORKER, NodeDescription
from fairlead.model.http_mesh import HttpMesh, RoutedService
from fairlead.model.session import Downward, LeaseWish, ManagerView, NetworkWish, TaskReport, Upward


@dataclass(frozen=True, slots=True)
class Place:
    """This node's place in its cluster. Addresses are bare: ``listen`` is where it listens to other nodes
    (``0.0.0.0``: everywhere), ``advertise`` what others are told, ``data_path`` its end of overlays' tunnels.
    ``folder`` holds what it keeps of the cluster, a certificate among it. ``gossip`` is its key pair among gossip's
    members, ``description`` what it says of itself, ``serves`` is ``host:port`` where it serves as manager, else empty."""

    node_id: str
    cluster_id: str
    folder: str
    gossip: GossipIdentity
    description: NodeDescription
    role: str = WORKER
    listen: str = "0.0.0.0"
    advertise: str = ""
    data_path: str = ""
    data_path_port: int = DATA_PATH_PORT
    serves: str = ""


class Session(Protocol):
    """One open session with a manager."""

    #: ``host:port`` of the manager; empty when this node itself leads.
    manager: str

    async def send(self, message: Upward) -> None:
        """Tell the manager, without an answer; raises ``Unavailable`` when the session is broken."""

    async def ask(self, message: NetworkWish | LeaseWish | TaskReport) -> object:
        """Ask the manager and wait for its answer (``NetworkGrant``; a tuple of ``Lease``; None: noted). Raises what it
        refuses with, ``Unavailable`` when the session breaks before the answer. Needs somebody who calls ``receive``
        meanwhile."""

    async def receive(self) -> Downward | None:
        """What the manager says next; None when the session has ended."""

    async def close(self) -> None:
        """Let it go."""


class Managers(Protocol):
    """The managers of this node's cluster."""

    async def open(self) -> Session:
        """A new session with one of them. Raises ``Unavailable`` when none answers, ``Forbidden`` when this node is
        no member any more."""

    def learn(self, managers: Sequence[ManagerView]) -> None:
        """These are the managers now; kept for the next start."""

    def trust(self, roots: str) -> None:
        """These roots (PEM, one after the other) are the cluster's now."""

    def become(self, role: str, *, renew: bool = False) -> None:
        """The managers want this node in this role: when its certificate says another, or with ``renew``, it asks for a
        new one."""

    def removed(self) -> None:
        """This node was told that it is no member any more."""


@dataclass(frozen=True, slots=True)
class MeshOrders:
    """What managers want of the HTTP mesh: how it is (None: there is none), services with routes by id, and networks that
    are to go."""

    mesh: HttpMesh | None = None
    services: Mapping[str, RoutedService] = field(default_factory=dict)
    removing: tuple[str, ...] = ()


class Mesh(Protocol):
    """The node's part in the HTTP mesh."""

    async def start(self, orders: MeshOrders) -> None:
        """Begin, with what was wanted last."""

    def assign(self, orders: MeshOrders) -> None:
        """This is wanted now."""

    async def close(self) -> None:
        """End; the proxy runs on."""

    async def leave(self) -> None:
        """The node leaves its cluster: nothing of the mesh stays; what cannot be taken away is told."""


class Parts(Protocol):
    """What runs on a member: its agent and its gossip."""

    async def leave(self) -> None:
        """The node leaves the cluster: take its networks back, and tell manager and members as far as they can be
        reached; before ``close``."""

    async def close(self) -> None:
        """End them; what stands in Linux stays."""


#: Starts the parts of a member.
PartsFactory = Callable[[Place, Managers], Awaitable[Parts]]
