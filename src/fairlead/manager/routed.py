"""Services with routes of the HTTP mesh: refused when their labels are wrong or ambiguous, and told to every node."""

from __future__ import annotations

from collections.abc import Iterator

from fairlead.manager import refusals
from fairlead.manager.core import Turn
from fairlead.manager.state import State
from fairlead.mesh import labels, routes
from fairlead.mesh.wish import HttpRoute, HttpService
from fairlead.model import codes
from fairlead.model.errors import NetError
from fairlead.model.http_mesh import HTTP_NETWORK, RoutedService
from fairlead.model.network import PREDEFINED
from fairlead.model.service import Service, ServiceSpec

#: Label of the stack that a service is of; its networks are named after it (Docker).
_STACK = "com.docker.stack.namespace"


def check(turn: Turn, spec: ServiceSpec, present: Service | None) -> None:
    """Raise for labels of the mesh that are wrong, lead nowhere, or say what another service's say already, and for a port
    that is the mesh's. ``spec`` has its networks as ids."""
    _check_ports(turn, spec)
    found = _parsed(spec)
    if not found:
        return
    if not _networks(turn.state, spec):
        raise refusals.bad_argument(
            f"service {spec.name} has HTTP routes and no network in which it is reached",
            hint=f"`--network {HTTP_NETWORK}`, which `fairlead http-mesh enable` makes, or any overlay",
            code=codes.HTTP_LABEL_INVALID,
        )
    named = _named(found)
    if named and not _network_named(turn.state, spec, named):
        raise refusals.bad_argument(
            f"service {spec.name} is to be reached in network {named}, and is not in it",
            hint=f"`--network {named}`, or another label",
            code=codes.HTTP_LABEL_INVALID,
        )
    own = HttpService(present.id if present is not None else "", spec.name, found)
    routes.check(own, _others(turn, present))


def of(state: State, service: Service) -> RoutedService | None:
    """What the nodes are told of a service; None: it has no labels of the mesh."""
    spec = service.spec
    own = {key: value for key, value in spec.labels.items() if labels.is_label(key)}
    if service.removing or not own:
        return None
    return RoutedService(service.id, spec.name, own, _network(state, spec), _ports(spec))


def every(state: State) -> tuple[RoutedService, ...]:
    """All that the nodes are told."""
    found = (of(state, service) for service in state.services.values())
    return tuple(one for one in found if one is not None)


def serves_in(state: State, network_id: str) -> bool:
    """Whether a service is reached by the mesh in a network, so that nodes may join it for that."""
    return state.cluster.http_mesh is not None and any(one.network_id == network_id for one in every(state))


def _check_ports(turn: Turn, spec: ServiceSpec) -> None:
    mesh = turn.state.cluster.http_mesh
    own = {mesh.port, mesh.tls_port} - {0} if mesh is not None else set()
    taken = next((one.published for one in spec.ports if one.protocol == "tcp" and one.published in own), 0)
    if taken:
        raise refusals.bad_argument(
            f"port '{taken}' is already in use by the HTTP mesh",
            hint="publish another port, or join the mesh by the label fairlead.http.host",
            code=codes.PORT_TAKEN,
        )


def _others(turn: Turn, present: Service | None) -> Iterator[HttpService]:
    """The other services that have routes. What the labels of each mean is found out once."""
    known, services = turn.core.http, turn.state.services
    for gone in known.keys() - services.keys():
        del known[gone]
    for service in services.values():
        if service.removing or (present is not None and service.id == present.id):
            continue
        read = known.get(service.id)
        if read is None or read[0] is not service.spec:
            read = known[service.id] = service.spec, _read(service.spec)
        if read[1]:
            yield HttpService(service.id, service.spec.name, read[1])


def _parsed(spec: ServiceSpec) -> tuple[HttpRoute, ...]:
    return labels.parse(spec.labels, f"service {spec.name}", _ports(spec))


def _read(spec: ServiceSpec) -> tuple[HttpRoute, ...]:
    """The routes of a stored spec; one that makes no sense, of an older version or another manager, has none."""
    try:
        return _parsed(spec)
    except NetError:
        return ()


def _named(found: tuple[HttpRoute, ...]) -> str:
    return next((route.network for route in found if route.network), "")


def _network(state: State, spec: ServiceSpec) -> str:
    """Where it is reached: in the network that its labels name, else in the mesh's own, else in its first."""
    named, found = _named(_read(spec)), _networks(state, spec)
    own = state.cluster.http_mesh.network_id if state.cluster.http_mesh is not None else ""
    return _network_named(state, spec, named) or (own if own in found else next(iter(found), ""))


def _network_named(state: State, spec: ServiceSpec, named: str) -> str:
    """The network of a name or id, if it is in it; that of a stack goes by the short name too."""
    stack = spec.labels.get(_STACK, "")
    for network_id in _networks(state, spec) if named else ():
        if state.networks[network_id].network.name in (named, f"{stack}_{named}") or network_id == named:
            return network_id
    return ""


def _networks(state: State, spec: ServiceSpec) -> list[str]:
    wanted = (one.network for one in spec.task.networks)
    return [one for one in wanted if one not in PREDEFINED and one in state.networks]


def _ports(spec: ServiceSpec) -> tuple[int, ...]:
    """TCP ports that its tasks are said to listen on."""
    told = [port.target for port in spec.ports if port.protocol == "tcp"]
    told += [
        int(text.partition("/")[0]) for text in spec.task.container.exposed if text.partition("/")[2] in ("", "tcp")
    ]
    return tuple(dict.fromkeys(told))
