"""Networks of the cluster on this node, as managers tell of them, and where the node's tunnels begin."""

from __future__ import annotations

from dataclasses import replace

from fairlead.engine import connections, entries, leases, networks, peers, presence
from fairlead.engine.core import Turn, endpoint_owner
from fairlead.model import codes
from fairlead.model.cluster import Lease
from fairlead.model.commands import AlreadyThere, InstallNetwork, WithdrawNetwork
from fairlead.model.errors import Conflict, Invalid
from fairlead.model.events import DataPath, LeasesGranted, LeasesRevoked
from fairlead.model.network import SWARM, Network
from fairlead.model.state import leases_of_network


def install(turn: Turn, command: InstallNetwork) -> Network:
    """Know a network, or what has become of it. Raises ``Conflict`` when a network of this node has its name, ``Invalid``
    for one that cannot be, ``Forbidden`` when another has its VXLAN number."""
    network = command.network
    known = turn.state.networks.get(network.id)
    if known == network:
        return network
    if network.scope != SWARM or turn.core.drivers.spanning(network.driver) is None:
        raise Invalid(
            f"network {network.name} of driver {network.driver} and scope {network.scope} does not span nodes",
            hint="managers and nodes should be of the same version of Fairlead",
            code=codes.OPTION_INVALID,
        )
    other = turn.state.network_named(network.name)
    if other is not None and other.id != network.id:
        raise Conflict(
            f"network with name {network.name} already exists",
            hint=f"`fairlead network rm {other.name}` on this node, or choose another name for the cluster's network",
            code=codes.NETWORK_EXISTS,
        )
    turn.core.driver(network).check(network)
    if known is not None:
        networks.unclaim(turn, known)
    networks.claim(turn, network)
    turn.state.put(network)
    turn.touch_network(network)
    if known is None:
        turn.tell_network("create", network)
    else:
        _redraw(turn, network)
    return network


def withdraw(turn: Turn, command: WithdrawNetwork) -> Network | AlreadyThere:
    """Forget a network and its leases; raises ``Forbidden`` while endpoints are in it."""
    network = turn.state.networks.get(command.network_id)
    if network is None or network.scope != SWARM:
        return AlreadyThere()
    networks.check_empty(turn, network)
    for lease in leases_of_network(turn.state, network.id):
        turn.state.drop(lease)
    peers.forget(turn, network.id)
    networks.forget(turn, network)
    turn.tell_network("destroy", network)
    return network


def data_path(turn: Turn, event: DataPath) -> None:
    """Tunnels begin elsewhere, or carry other sizes: they are made anew, and the others told."""
    node = replace(turn.core.node, vtep=event.address, vxlan_port=event.port, vtep_mtu=event.mtu)
    if node == turn.core.node:
        return
    before, turn.core.node = turn.core.node, node
    for network in turn.state.networks.values():
        if turn.core.spanning(network) is None:
            continue
        _redraw(turn, network)
        entries.due(turn, network)
        if before.vtep != node.vtep and node.vtep:
            for endpoint in turn.state.endpoints_of_network(network.id):
                presence.publish(turn, endpoint)


def granted(turn: Turn, event: LeasesGranted) -> tuple[Lease, ...]:
    """More leases; who holds one that was leased anew says so."""
    taken = leases.granted(turn, event)
    for lease in taken:
        endpoint = turn.state.endpoints.get(lease.holder)
        if endpoint is not None:
            presence.publish(turn, endpoint)
        entries.due(turn, turn.state.networks[lease.network_id])
    return taken


def revoked(turn: Turn, event: LeasesRevoked) -> tuple[Lease, ...]:
    """These leases are no more ours."""
    gone: list[Lease] = []
    for identifier in event.ids:
        lease = turn.state.leases.get(identifier)
        if lease is None or (event.idle and lease.holder):
            continue
        endpoint = turn.state.endpoints.get(lease.holder)
        if endpoint is not None and not lease.resting:
            connections.expel(turn, endpoint)
        turn.state.drop(turn.state.leases[identifier])
        gone.append(lease)
    return tuple(gone)


def resume(turn: Turn) -> None:
    """At a start: take part in gossip again, and tell it all that it was told before."""
    for network in turn.state.networks.values():
        entries.due(turn, network)
        if turn.core.spanning(network) is None or not turn.core.inhabited(network.id):
            continue
        presence.resume(turn, network)
    for lease in turn.state.leases.values():
        if lease.resting:
            leases.retract(turn, lease)


def _redraw(turn: Turn, network: Network) -> None:
    """Everything of a network on this node is to be derived anew."""
    turn.touch_network(network)
    turn.owners |= {endpoint_owner(one.id): None for one in turn.state.endpoints_of_network(network.id)}
    told = turn.core.hearsay.get(network.id)
    if told is not None:
        peers.touch(turn, network.id, told)
