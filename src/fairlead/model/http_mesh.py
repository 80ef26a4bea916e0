"""HTTP mesh: that requests of many services come in at one port of every node, and which services those are.

What managers record of it and tell the nodes. The labels are told as they were written; what they mean, room ``mesh`` knows.
"""

from __future__ import annotations

from dataclasses import dataclass, field

#: Name of the network that is made with the mesh, for services that have none of their own; also that of the sandbox from
#: which each node's proxy reaches services (Docker's UCP: ucp-hrm).
HTTP_NETWORK = "fairlead-http"
#: Ports of RFC 9110 section 4.2.
HTTP_PORT, HTTPS_PORT = 80, 443
PORT_MAX = 65535


@dataclass(frozen=True, slots=True)
class HttpMesh:
    """The mesh as it was switched on. ``port`` and ``tls_port`` are on all addresses of every node (0: that one is off);
    ``certificates`` is a directory on each node, read anew when it changes (empty: none). Connections from
    ``trusted_proxies`` (prefixes) begin with a word of the PROXY protocol, which says who the client is. ``network_id`` is
    that of ``HTTP_NETWORK``."""

    port: int = HTTP_PORT
    tls_port: int = HTTPS_PORT
    certificates: str = ""
    trusted_proxies: tuple[str, ...] = ()
    network_id: str = ""


@dataclass(frozen=True, slots=True)
class RoutedService:
    """A service with labels of the mesh: those of its labels, the TCP ports that it is known to listen on, and the network in
    which its tasks are reached (empty: it has none that spans nodes)."""

    id: str
    name: str
    labels: dict[str, str] = field(default_factory=dict)
    network_id: str = ""
    ports: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class RouteSeen:
    """A route as a node has it: requests for ``host`` below ``path`` go to ``port`` of ``tasks`` ready tasks. ``tls`` as
    ``mesh.wish`` says it."""

    host: str
    path: str
    service: str
    port: int
    tls: str
    tasks: int


@dataclass(frozen=True, slots=True)
class HttpMeshSeen:
    """The mesh as one node has it. ``mesh`` is None while it is off. Counted since the proxy was started: ``changes`` that it
    was told of while it ran, ``reloads``, and ``restarts`` after a crash. ``networks`` (ids) are those in which it reaches
    services; ``faults`` say what is not as it should be."""

    mesh: HttpMesh | None = None
    running: bool = False
    pid: int = 0
    changes: int = 0
    reloads: int = 0
    restarts: int = 0
    routes: tuple[RouteSeen, ...] = ()
    networks: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
