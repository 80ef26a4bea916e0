"""The HTTP mesh of the cluster: switched on and off; every node is told with its settings."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

from fairlead.manager import networks, refusals
from fairlead.manager.core import Turn
from fairlead.model import codes
from fairlead.model.cluster import Cluster
from fairlead.model.cluster_commands import CreateClusterNetwork, EnableHttpMesh
from fairlead.model.commands import CreateNetwork
from fairlead.model.errors import Conflict
from fairlead.model.http_mesh import HTTP_NETWORK, PORT_MAX, HttpMesh


def enable(turn: Turn, command: EnableHttpMesh) -> Cluster:
    """Record how the mesh is to be; raises ``Invalid``, and what a network raises that cannot be made."""
    wish = command.wish
    _check(wish)
    _check_free(turn, wish)
    network = turn.state.network_named(HTTP_NETWORK)
    if network is None:
        wanted = CreateNetwork(HTTP_NETWORK, "overlay", attachable=True)
        network = networks.create(turn, CreateClusterNetwork(wanted))
    wish = replace(wish, network_id=network.id)
    cluster = turn.state.cluster
    return cluster if cluster.http_mesh == wish else turn.put_cluster(replace(cluster, http_mesh=wish))


def disable(turn: Turn) -> Cluster:
    """Record that there is none; raises ``Conflict`` when there is none already."""
    cluster = turn.state.cluster
    if cluster.http_mesh is None:
        raise Conflict("the HTTP mesh is not enabled", hint="`fairlead http-mesh enable`", code=codes.HTTP_MESH_OFF)
    return turn.put_cluster(replace(cluster, http_mesh=None))


def _check_free(turn: Turn, wish: HttpMesh) -> None:
    ports, services = turn.core.ports, turn.state.services
    for port in {wish.port, wish.tls_port} - {0}:
        place = ("tcp", port)
        holder = ports.ingress.get(place) or min(ports.hosts.get(place) or (), default=None)
        if holder is not None:
            name = services[holder].spec.name if holder in services else holder
            raise refusals.bad_argument(
                f"port '{port}' is already in use by service '{name}'",
                hint="give the mesh another port, or the service",
                code=codes.PORT_TAKEN,
            )


def _check(wish: HttpMesh) -> None:
    for port in (wish.port, wish.tls_port):
        if not 0 <= port <= PORT_MAX:
            raise refusals.bad_argument(
                f"invalid port {port} of the HTTP mesh", hint=f"1 to {PORT_MAX}, or 0 for none", code=codes.PORT_INVALID
            )
    if wish.port == wish.tls_port:
        raise refusals.bad_argument(
            f"HTTP and TLS cannot both have port {wish.port}",
            hint="give --port and --tls-port",
            code=codes.PORT_INVALID,
        )
    if wish.certificates and not wish.certificates.startswith("/"):
        raise refusals.bad_argument(
            f"{wish.certificates} is no absolute path",
            hint="--certs names a directory that every node has, from its root",
            code=codes.OPTION_INVALID,
        )
    for prefix in wish.trusted_proxies:
        try:
            ip_network(prefix)
        except ValueError as error:
            raise refusals.bad_argument(
                f"{prefix} is no prefix of addresses", hint="write it like 192.0.2.0/24", code=codes.SUBNET_INVALID
            ) from error
