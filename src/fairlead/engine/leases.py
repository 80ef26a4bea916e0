"""Addresses of the cluster's networks on this node: leased by managers, used by endpoints, at rest until forgotten.

free (no holder) -> held (an endpoint) -> resting (the endpoint is gone, some node may still know it) -> free. Only free
ones go back to the managers. An address that its user asks for by number may be taken out of its rest, since it has not
left this node, and its MAC is the same.
"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

from fairlead.engine.core import Turn
from fairlead.engine.holds import Wanting
from fairlead.engine.outcome import Retract
from fairlead.model import codes
from fairlead.model.addresses import parse_subnet, prefix_length
from fairlead.model.cluster import Lease
from fairlead.model.endpoint import Endpoint, EndpointSettings
from fairlead.model.errors import Forbidden, Invalid
from fairlead.model.events import AddressForgotten, LeasesGranted
from fairlead.model.ids import short
from fairlead.model.network import Network
from fairlead.model.state import lease_at, lease_of, leases_of_network


def take(turn: Turn, network: Network, asked: EndpointSettings, endpoint_id: str, task_id: str = "") -> Lease:
    """Let an endpoint hold a lease: the one with the addresses it asks for, else the lowest free one that no container
    asks for by number. One that is for a task only its container gets (``task_id``). Raises ``Wanting`` when this node has none, ``Forbidden`` when another endpoint holds it,
    ``Invalid`` for two addresses that do not belong together."""
    wanted = [str(ip_address(text)) for text in (asked.ipv4, asked.ipv6) if text]
    lease = _exact(turn, network, wanted, task_id) if wanted else _any(turn, network)
    held = replace(lease, holder=endpoint_id, resting=False)
    turn.state.put(held)
    return held


def _exact(turn: Turn, network: Network, wanted: list[str], task_id: str) -> Lease:
    found = lease_at(turn.state, network.id, wanted[0])
    if found is None:
        raise Wanting(network.id, 1, wanted[0])
    if not set(wanted) <= {found.address, found.ipv6}:
        raise Invalid(
            f"addresses {' and '.join(wanted)} do not belong together on network {network.name}",
            hint=f"{found.address} goes with {found.ipv6}" if found.ipv6 else f"{found.address} goes alone",
            code=codes.ADDRESS_OUTSIDE,
        )
    holder = turn.state.endpoints.get(found.holder) if not found.resting else None
    if holder is not None or found.task_id not in ("", task_id):
        user = holder.name if holder is not None else f"task {found.task_id}"
        raise Forbidden("Address already in use", hint=f"{user} has {wanted[0]}", code=codes.ADDRESS_TAKEN)
    return found


def _any(turn: Turn, network: Network) -> Lease:
    claims = turn.state.asked_addresses.members
    refs = (network.name, network.id, short(network.id))
    free = [
        lease
        for lease in leases_of_network(turn.state, network.id)
        if not (lease.holder or lease.task_id)
        and not any((ref, address) in claims for ref in refs for address in (lease.address, lease.ipv6) if address)
    ]
    if not free:
        raise Wanting(network.id)
    return min(free, key=lambda lease: ip_address(lease.address))


def cidr(network: Network, address: str) -> tuple[str, str]:
    """(id of the pool, address/length) of an address of a network; empty for none."""
    if not address:
        return "", ""
    place = ip_address(address)
    for pool in network.pools:
        if place in parse_subnet(pool.subnet):
            return pool.id, f"{address}/{prefix_length(pool.subnet)}"
    raise Invalid(
        f"{address} is in no subnet of network {network.name}",
        hint="the network has changed; try again",
        code=codes.ADDRESS_OUTSIDE,
    )


def rest(turn: Turn, endpoint: Endpoint) -> None:
    """The endpoint is gone: its lease rests, and the others are told."""
    lease = lease_of(turn.state, endpoint.id)
    if lease is not None:
        turn.state.put(replace(lease, resting=True))
        retract(turn, lease)


def retract(turn: Turn, lease: Lease) -> None:
    """Have the other nodes forget who held a resting lease."""
    turn.say(Retract(lease.network_id, lease.holder, lease.id, lease.generation))


def granted(turn: Turn, event: LeasesGranted) -> tuple[Lease, ...]:
    """More leases, or later generations of known ones."""
    taken: list[Lease] = []
    for lease in event.leases:
        network, known = turn.state.networks.get(lease.network_id), turn.state.leases.get(lease.id)
        if network is None or (known is not None and _as_known(known, lease)):
            continue
        holder = known.holder if known is not None and not known.resting else ""
        if known is not None and known.generation == lease.generation:
            fresh = replace(known, ipv6=known.ipv6 if known.holder else lease.ipv6, task_id=lease.task_id)
        else:
            fresh = replace(lease, holder=holder, resting=False)
        turn.state.put(fresh)
        taken.append(fresh)
    return tuple(taken)


def _as_known(known: Lease, told: Lease) -> bool:
    """Whether nothing new is told: an earlier or equal lease, which only may be for another task now, or for none, and
    may have got an IPv6 address while it is free."""
    if told.generation != known.generation:
        return told.generation < known.generation
    return told.task_id == known.task_id and (told.ipv6 == known.ipv6 or bool(known.holder))


def forgotten(turn: Turn, event: AddressForgotten) -> None:
    """A lease has rested enough."""
    lease = turn.state.leases.get(event.lease_id)
    if lease is not None and lease.resting and lease.generation == event.generation:
        turn.state.put(replace(lease, holder="", resting=False))
