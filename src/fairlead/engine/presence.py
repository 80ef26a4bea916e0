"""What the other nodes of the cluster are told of endpoints here: where one is before its process starts, its names once
it is ready, and both taken back in the other order."""

from __future__ import annotations

from collections.abc import Collection

from fairlead.discovery.wire import TTL_S
from fairlead.engine import balancing, ingress, leases, pairs, peers
from fairlead.engine.core import Turn
from fairlead.engine.hearsay import NAMES_TTL_S
from fairlead.engine.holds import scope
from fairlead.engine.outcome import JoinScope, LeaveScope, Publish, PublishNames, Register, RetractNames, Unregister
from fairlead.model.addresses import bare
from fairlead.model.cluster import PORTS_MAX, Peer, PeerNames
from fairlead.model.container import Container
from fairlead.model.endpoint import Endpoint
from fairlead.model.network import Network
from fairlead.model.state import lease_of


def joining(turn: Turn, network: Network) -> None:
    """An endpoint is about to be the first one here in a network that spans nodes, or one more."""
    if not turn.core.inhabited(network.id):
        pairs.check(turn, network)
        turn.alone.add(scope(network.id))
        peers.forget(turn, network.id)
        turn.touch_network(network)
        pairs.touch(turn, network.id, ())
        turn.say(JoinScope(network.id))


def joined(turn: Turn, endpoint: Endpoint, network: Network) -> None:
    """An endpoint is in a network that spans nodes."""
    for address in filter(None, (bare(endpoint.ipv4), bare(endpoint.ipv6))):
        peers.touch_address(turn, network.id, address)
    balancing.touch(turn, endpoint)
    ingress.touch(turn, endpoint)
    publish(turn, endpoint)


def publish(turn: Turn, endpoint: Endpoint) -> None:
    """Tell where an endpoint is."""
    lease = lease_of(turn.state, endpoint.id)
    if lease is not None:
        peer = Peer(
            endpoint.network_id,
            endpoint.id,
            endpoint.ipv4,
            endpoint.ipv6,
            endpoint.mac,
            turn.core.node.vtep,
            lease.generation,
        )
        turn.say(Publish(endpoint.network_id, peer))


def resume(turn: Turn, network: Network) -> None:
    """At a start: what stands is told again. Names follow, as of every network."""
    turn.say(JoinScope(network.id))
    for endpoint in turn.state.endpoints_of_network(network.id):
        publish(turn, endpoint)


def left(turn: Turn, endpoint: Endpoint, network: Network) -> None:
    """An endpoint, whose record is gone, was in a network that spans nodes."""
    turn.say(RetractNames(network.id, endpoint.id))
    balancing.drop(turn, network.id, endpoint.id)
    balancing.touch(turn, endpoint)
    ingress.touch(turn, endpoint)
    leases.rest(turn, endpoint)
    if not turn.core.inhabited(network.id):
        turn.alone.add(scope(network.id))
        turn.touch_network(network)
        pairs.touch(turn, network.id, ())
        turn.say(LeaveScope(network.id))
        told = turn.core.hearsay.get(network.id)
        if told is not None:
            peers.silence(turn, network.id, told)


def register(turn: Turn, endpoint: Endpoint) -> None:
    """Let an endpoint's names resolve, if its network has names; in the whole cluster and not before it is ready, if the
    network spans it."""
    network = turn.network_of(endpoint)
    serves = network.ingress and endpoint.settings.backend is not None
    if not (turn.core.resolves(network) or serves):
        return
    spans = turn.core.spanning(network) is not None
    if spans and not is_ready(turn, endpoint):
        return
    told = _told(turn, endpoint)
    ttl_s = NAMES_TTL_S if spans else TTL_S
    if not serves:
        turn.say(Register(network.id, network.name, endpoint.id, told.names, told.ipv4, told.ipv6, ttl_s, told.ports))
    if spans:
        turn.say(PublishNames(network.id, told))
        balancing.put(turn, network, told, is_local=True)


def _told(turn: Turn, endpoint: Endpoint) -> PeerNames:
    """What others are told of an endpoint that is ready; names of its service are not its own."""
    backend = endpoint.settings.backend
    known = endpoint.dns_names or (endpoint.name,)
    names = tuple(name for name in known if backend is None or name not in backend.names)
    addresses = bare(endpoint.ipv4), bare(endpoint.ipv6)
    return PeerNames(endpoint.network_id, endpoint.id, names, *addresses, _ports(turn, endpoint), backend)


def _ports(turn: Turn, endpoint: Endpoint) -> tuple[str, ...]:
    """What its container exposes or publishes, as far as others are told (``PORTS_MAX``)."""
    container = turn.state.containers.get(endpoint.container_id)
    if container is None:
        return ()
    texts = [text if "/" in text else f"{text}/tcp" for text in container.config.exposed]
    texts += [f"{request.container_port}/{request.proto}" for request in container.config.ports]
    return tuple(dict.fromkeys(texts))[:PORTS_MAX]


def is_ready(turn: Turn, endpoint: Endpoint) -> bool:
    """Whether who finds an endpoint by name is served: its process runs and, if there is a health check, is healthy."""
    if not endpoint.container_id:
        return True
    container = turn.state.containers.get(endpoint.container_id)
    if container is None or container.state.status not in ("running", "paused"):
        return False
    check, health = container.config.health, container.state.health
    return check is None or not check.command or (health is not None and health.status == "healthy")


def follow(turn: Turn, container: Container) -> None:
    """A container is ready now, or not any more."""
    for endpoint in _spanning(turn, container):
        ingress.touch(turn, endpoint)
        if is_ready(turn, endpoint):
            register(turn, endpoint)
        else:
            _withdraw(turn, endpoint)


def realign(turn: Turn, owners: Collection[str]) -> None:
    """An operation that changed plans of these owners was undone: who is ready gets connections as before."""
    for network_id, endpoint_id in sorted(balancing.locals_of(turn.core, owners)):
        endpoint = turn.state.endpoints.get(endpoint_id)
        if endpoint is not None and is_ready(turn, endpoint):
            balancing.put(turn, turn.state.networks[network_id], _told(turn, endpoint), is_local=True)
        else:
            balancing.drop(turn, network_id, endpoint_id)


def withdraw(turn: Turn, container: Container) -> tuple[str, ...]:
    """A container is about to be stopped: nobody is to find it by name. The networks (ids) in which others are told so."""
    for endpoint in _spanning(turn, container):
        _withdraw(turn, endpoint)
    return networks_of(turn, container)


def networks_of(turn: Turn, container: Container) -> tuple[str, ...]:
    """The networks (ids) that span nodes and that a container is in."""
    return tuple(endpoint.network_id for endpoint in _spanning(turn, container))


def _withdraw(turn: Turn, endpoint: Endpoint) -> None:
    turn.say(RetractNames(endpoint.network_id, endpoint.id), Unregister(endpoint.network_id, endpoint.id))
    balancing.drop(turn, endpoint.network_id, endpoint.id)


def _spanning(turn: Turn, container: Container) -> list[Endpoint]:
    found = turn.state.endpoints_of_container(container.id)
    return [endpoint for endpoint in found if turn.core.spanning(turn.network_of(endpoint)) is not None]
