"""Leases: which node may use which address.

An address is given to one node at a time. It is free again when that node has returned it, which it does after gossip has
confirmed that everybody forgot it; or when the node was removed from the cluster and every other node that may be alive has
confirmed (``forgetting``).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from fairlead.ipam.prefixes import prefix
from fairlead.manager import refusals, routed
from fairlead.manager.core import Turn
from fairlead.model import codes
from fairlead.model.addresses import is_v6, parse_address
from fairlead.model.cluster import DOWN, ENTRY, ClusterNetwork, ClusterNode, Lease
from fairlead.model.errors import Conflict, Exhausted, Forbidden, Invalid, NetError
from fairlead.model.network import Pool
from fairlead.model.service import TaskState
from fairlead.model.session import OWN, RESTING, LeaseWish, NetworkGrant, NetworkWish

#: Leases that a node is given when it begins to take part in a network: its reserve.
RESERVE = 4
#: Most leases given for one wish; a wish beyond it is met by and by.
_GIVEN_MAX = 256
#: Most leases of one ``Hello`` that are compared with the records (the store takes 1,024 writes at once).
_ADOPTED_MAX = 900
#: Most leases of a network that are asked after before its removal is refused, a choice: one that so many use is used.
_DOUBTS_MAX = 50
#: How many generations a node may be ahead of records that were set back, a choice: far more leases than were ever given, and
#: so few of 2^63 that nobody wears them out by lying.
_GENERATIONS_MISSED_MAX = 1 << 32
#: Seconds that a caller waits for reserves to be called back, and for tasks to end that are ordered to, choices: below
#: Docker's 20 s for a request of swarm; the second leaves room for the usual grace period.
_CALL_BACK_S, _ENDING_S = 10.0, 18.0
#: Holder of the address behind which a network's virtual addresses are balanced.
BALANCER = "balancer"
#: First part of the holder of a service's virtual address.
SERVICE = "service:"


@dataclass(frozen=True, slots=True)
class Later:
    """It cannot be done before reserves of ``network_id`` have come back, or not be refused before nodes have told the use of
    ``doubts`` (lease ids); if they do not within ``patience_s``, ``error`` is the answer."""

    network_id: str
    error: NetError
    doubts: tuple[str, ...] = ()
    patience_s: float = _CALL_BACK_S


def segments(network: ClusterNetwork) -> tuple[tuple[Pool, Pool | None], ...]:
    """The network's IPv4 subnets in order, each with the IPv6 subnet that goes with it."""
    v4 = [pool for pool in network.network.pools if not pool.v6]
    v6: list[Pool | None] = [pool for pool in network.network.pools if pool.v6]
    return tuple(zip(v4, (v6 + [None] * len(v4))[: len(v4)], strict=True))


def grant(
    turn: Turn, network: ClusterNetwork, node_id: str, *, address: str = "", ipv6: str = "", holder: str = ""
) -> Lease:
    """Give an address (this very one, or any) to a node. Raises ``Exhausted``, ``Forbidden``, ``Invalid``."""
    found = _exact(turn, network, address, ipv6) if address or ipv6 else _any(turn, network)
    lease = Lease(network.id, found[0], node_id, turn.next_generation(), holder, found[1])
    turn.state.put(lease)
    return lease


def grant_fixed(turn: Turn, network: ClusterNetwork, node_id: str, address: str, holder: str) -> Lease:
    """Give a node an address of either family that was chosen beforehand; if it lies in somebody's reserve it is called back
    meanwhile. Raises ``Forbidden`` as long as it is not free."""
    v4, v6 = ("", address) if is_v6(address) else (address, "")
    known = _known(turn, network, LeaseWish(network.id, address=v4, ipv6=v6))
    if known is None:
        return grant(turn, network, node_id, address=v4, ipv6=v6, holder=holder)
    raise _call_back(turn, network, known, address).error


def check_inside(network: ClusterNetwork, address: str) -> None:
    """Raise for an address that is in no subnet of a network (``Invalid``), or set aside there (``Forbidden``)."""
    number = int(parse_address(address))
    for pool in network.network.pools:
        subnet = prefix(pool.subnet)
        if subnet.v6 == is_v6(address) and subnet.base <= number < subnet.end:
            if address in (pool.gateway, *pool.aux.values()):
                raise Forbidden(
                    "Address already in use",
                    hint=f"{address} is set aside in network {network.network.name}",
                    code=codes.ADDRESS_TAKEN,
                )
            return
    raise _outside(network, address)


def is_free(turn: Turn, network: ClusterNetwork, address: str) -> bool:
    """Whether an IPv4 address is nobody's and may be chosen."""
    if not address or f"{network.id}/{address}" in turn.state.leases:
        return False
    return any(turn.core.ipam.contains(pool.id, address) for pool, _ in segments(network))


def with_lengths(network: ClusterNetwork, lease: Lease) -> tuple[str, str]:
    """The lease's addresses with the lengths of their subnets, empty where there is none."""
    for pool, pool6 in segments(network):
        subnet = prefix(pool.subnet)
        if subnet.base <= int(parse_address(lease.address)) < subnet.end:
            v4 = f"{lease.address}/{pool.subnet.partition('/')[2]}"
            return v4, f"{lease.ipv6}/{pool6.subnet.partition('/')[2]}" if lease.ipv6 and pool6 is not None else ""
    return lease.address, lease.ipv6


def holder_of(turn: Turn, known: Lease, said: str) -> str:
    """Whom a lease is for, when its node has ``said`` so: as long as it is for a task, or for the node's entry, that one,
    whatever the node calls it."""
    if known.holder == ENTRY:
        return ENTRY
    task = turn.state.tasks.get(known.holder)
    return known.holder if task is not None and not task.over else said


def free(turn: Turn, lease: Lease) -> None:
    """Nobody uses the address any more: it may be given again."""
    core = turn.core
    turn.state.drop(lease)
    network = turn.state.networks.get(lease.network_id)
    if network is None:
        return
    for index, (pool, pool6) in enumerate(segments(network)):
        if core.ipam.contains(pool.id, lease.address):
            core.ipam = core.ipam.release_address(pool.id, lease.address, 0.0)
            if lease.ipv6 and pool6 is not None:
                core.ipam = core.ipam.release_address(pool6.id, lease.ipv6, 0.0)
            core.first_free[network.id] = min(core.first_free.get(network.id, 0), index)
            break
    turn.retry.add(network.id)
    if network.pending:
        turn.put_network(replace(network, pending=""))


def hold(turn: Turn, lease: Lease) -> None:
    """Take, at a start, exactly what a stored lease holds. Raises ``NetError`` for one that makes no sense."""
    network = turn.state.networks.get(lease.network_id)
    if network is None:
        raise Invalid(f"lease {lease.id} is of no network", code=codes.NETWORK_NOT_FOUND)
    _exact(turn, network, lease.address, lease.ipv6, paired=False)


def shared(turn: Turn, network: ClusterNetwork, holder: str, address: str = "") -> Lease:
    """An address that all nodes share, for ``holder`` (``service:<id>``, ``balancer``): the one that it has already, else a
    new one. A virtual address stays the same as long as its holder wants it."""
    for lease in turn.state.places.at("", network.id).values():
        if lease.holder == holder:
            return lease
    return grant(turn, network, "", address=address, holder=holder)


def balancer(turn: Turn, network: ClusterNetwork) -> Lease:
    """The one address, the same on every node, from which a network's virtual addresses are balanced (swarm: one for each
    node)."""
    return shared(turn, network, BALANCER)


def by_pool(network: ClusterNetwork, held: Iterable[Lease]) -> dict[str, list[str]]:
    """The addresses of a network's leases by the pool (id) that they are of; raises ``Invalid`` for one that is of none."""
    found: dict[str, list[str]] = {}
    parts = [(prefix(v4.subnet), v4, v6) for v4, v6 in segments(network)]
    for lease in held:
        number = int(parse_address(lease.address))
        part = next(((v4, v6) for subnet, v4, v6 in parts if subnet.base <= number < subnet.end), None)
        if part is None or (lease.ipv6 and part[1] is None):
            raise Invalid(f"lease {lease.id} is in no subnet of its network", code=codes.ADDRESS_OUTSIDE)
        found.setdefault(part[0].id, []).append(lease.address)
        if lease.ipv6 and part[1] is not None:
            found.setdefault(part[1].id, []).append(lease.ipv6)
    return found


def take_part(turn: Turn, node: ClusterNode, wish: NetworkWish) -> NetworkGrant | Later:
    """Let a node take part in a network: give it a reserve, and with it definition and keys."""
    network = turn.state.network(wish.network)
    may_join = network.network.attachable or (wish.own and routed.serves_in(turn.state, network.id))
    if not may_join:
        raise Forbidden(
            f"Could not attach to network {wish.network}: rpc error: code = PermissionDenied desc = network "
            f"{network.network.name} not manually attachable",
            hint="networks that containers may join are made with --attachable",
            code=codes.NETWORK_IN_USE,
        )
    _check_stays(network)
    if not turn.state.places.at(node.id, network.id):
        try:
            _give(turn, network, node.id, RESERVE if network.network.attachable else 1)
        except Exhausted as error:
            return _from_reserves(turn, network, node.id, error)
    return NetworkGrant(network.id)


def wish(turn: Turn, node: ClusterNode, asked: LeaseWish) -> tuple[Lease, ...] | Later:
    """Meet a node's wish for leases."""
    network = turn.state.network(asked.network_id)
    held = turn.state.places.at(node.id, network.id)
    if not held:
        raise Forbidden(
            f"node {node.id} does not take part in network {network.network.name}",
            hint="it asks for the network first",
            code=codes.NOT_CONNECTED,
        )
    _check_stays(network)
    if not (asked.address or asked.ipv6):
        try:
            return _give(turn, network, node.id, asked.total - len(held))
        except Exhausted as error:
            if not asked.needed:
                raise
            return _from_reserves(turn, network, node.id, error)
    known = _known(turn, network, asked)
    if known is None:
        return (grant(turn, network, node.id, address=asked.address, ipv6=asked.ipv6),)
    if known.node_id == node.id and asked.ipv6 in ("", known.ipv6) and asked.address in ("", known.address):
        return (known,)
    return _call_back(turn, network, known, asked.address or asked.ipv6)


def returned(turn: Turn, node: ClusterNode, given_back: Iterable[tuple[str, int]]) -> None:
    """A node has returned leases."""
    for lease_id, generation in given_back:
        lease = turn.state.leases.get(lease_id)
        has_it = lease is not None and lease.node_id == node.id and not lease.resting
        if lease is None or not has_it:
            turn.gone(node.id, lease_id)  # the word that took it away was lost
        elif lease.generation == generation and not holder_of(turn, lease, ""):
            free(turn, lease)


def used(turn: Turn, node: ClusterNode, uses: Iterable[tuple[str, int, str]]) -> None:
    """A node has told what it uses leases for."""
    for lease_id, generation, holder in uses:
        lease = turn.state.leases.get(lease_id)
        if lease is not None and (lease.node_id, lease.generation, lease.resting) == (node.id, generation, False):
            turn.state.put(replace(lease, holder=holder_of(turn, lease, holder)))
            turn.retry.add(lease.network_id)
            turn.reported.add(lease.id)


def adopt(turn: Turn, node: ClusterNode, held: Iterable[Lease]) -> None:
    """Take over what a node holds: the use of leases; and leases that the records lack, since they are older than what
    the node was told, if nobody else has them."""
    for lease in tuple(held)[:_ADOPTED_MAX]:
        known = turn.state.leases.get(lease.id)
        holder = RESTING if lease.resting or _is_left_over(turn, lease) else lease.holder
        if known is not None and (known.node_id, known.generation) == (node.id, lease.generation):
            turn.state.put(replace(known, holder=holder_of(turn, known, holder)))
        elif known is None and _may_have(turn, lease):
            turn.core.generation = max(turn.core.generation, lease.generation)
            turn.next_generation()
            turn.state.put(replace(lease, node_id=node.id, holder=holder, resting=False))


def _is_left_over(turn: Turn, lease: Lease) -> bool:
    """Whether a lease is for a task that is over, as its node will learn: it is wanted back then."""
    task = turn.state.tasks.get(lease.task_id)
    return bool(lease.task_id) and (task is None or task.over)


def _may_have(turn: Turn, lease: Lease) -> bool:
    """Whether a lease that only its node knows is believed: of a network that any node may join, and nobody else's. If so
    its addresses are taken."""
    network = turn.state.networks.get(lease.network_id)
    if network is None or network.removing or not network.network.attachable:
        return False
    if not 0 < lease.generation < turn.core.generation + _GENERATIONS_MISSED_MAX:
        return False
    try:
        _exact(turn, network, lease.address, lease.ipv6, paired=False)
    except NetError:
        return False  # missing in the assignment, which takes it away
    return True


def _give(turn: Turn, network: ClusterNetwork, node_id: str, count: int) -> tuple[Lease, ...]:
    """As many leases as wanted, or as there are; raises ``Exhausted`` when there is none at all."""
    given: list[Lease] = []
    for _ in range(min(count, _GIVEN_MAX)):
        try:
            given.append(grant(turn, network, node_id))
        except Exhausted:
            if not given:
                raise
            break
    return tuple(given)


def _any(turn: Turn, network: ClusterNetwork) -> tuple[str, str]:
    core, parts = turn.core, segments(network)
    for index in range(core.first_free.get(network.id, 0), len(parts)):
        pool, pool6 = parts[index]
        try:
            ipam, address = core.ipam.request_address(pool.id, "", 0.0)
            ipv6 = ""
            if pool6 is not None:
                ipam, ipv6 = ipam.request_address(pool6.id, "", 0.0)
        except Exhausted:
            core.first_free[network.id] = index + 1
            continue
        core.ipam = ipam
        if not ipam.usage(pool.id)[1] and not any(ipam.usage(later.id)[1] for later, _ in parts[index + 1 :]):
            _say_exhausted(turn, network)
        return address.partition("/")[0], ipv6.partition("/")[0]
    raise exhausted(network)


def _exact(turn: Turn, network: ClusterNetwork, address: str, ipv6: str, *, paired: bool = True) -> tuple[str, str]:
    """Take these addresses, which must lie in one segment; with ``paired`` choose the one that is not given."""
    core = turn.core
    for pool, pool6 in segments(network):
        if not core.ipam.contains(pool.id, address or ipv6) and (
            pool6 is None or not core.ipam.contains(pool6.id, ipv6 or address)
        ):
            continue
        ipam = core.ipam
        if address or paired:
            ipam, address = ipam.request_address(pool.id, address, 0.0)
        if pool6 is not None and (ipv6 or paired):
            ipam, ipv6 = ipam.request_address(pool6.id, ipv6, 0.0)
        elif ipv6:
            break
        core.ipam = ipam
        return address.partition("/")[0], ipv6.partition("/")[0]
    raise _outside(network, address or ipv6)


def _outside(network: ClusterNetwork, address: str) -> Invalid:
    subnets = ", ".join(pool.subnet for pool in network.network.pools)
    return Invalid(
        f"invalid endpoint settings:\nno configured subnet contains IP address {address}",
        hint=f"network {network.network.name} has {subnets}",
        code=codes.ADDRESS_OUTSIDE,
    )


def _known(turn: Turn, network: ClusterNetwork, asked: LeaseWish) -> Lease | None:
    """The lease that has the address asked for."""
    if asked.address:
        return turn.state.leases.get(f"{network.id}/{asked.address}")
    return next((lease for lease in turn.state.places.within(network.id) if lease.ipv6 == asked.ipv6), None)


def _call_back(turn: Turn, network: ClusterNetwork, lease: Lease, address: str) -> Later:
    """Another has the address: ask for it back if it only lies in his reserve. Raises ``Forbidden`` if not."""
    holder = turn.state.nodes.get(lease.node_id)
    if lease.resting or lease.holder not in ("", RESTING) or holder is None:
        hint = "what used it last is still being forgotten: try again in a moment" if lease.resting else ""
        raise Forbidden(
            "Address already in use",
            hint=hint or f"{address} is taken in network {network.network.name}: choose another",
            code=codes.ADDRESS_TAKEN,
        )
    if holder.state == DOWN:
        raise _away(address, holder)
    turn.recalls.setdefault(holder.id, []).append(lease.id)
    return Later(network.id, _away(address, holder))


def _from_reserves(turn: Turn, network: ClusterNetwork, node_id: str, exhausted: Exhausted) -> Later:
    """Nothing is left, but somebody is waiting: one address that lies in another's reserve, or that is still being
    forgotten, comes back for it. Raises what it is given if there is none."""
    found: Lease | None = None
    for lease in turn.state.places.within(network.id):
        node = turn.state.nodes.get(lease.node_id)
        if node is None or node.id == node_id or node.state == DOWN or lease.holder not in ("", RESTING):
            continue
        if found is None or found.holder:
            found = lease  # what lies idle comes sooner than what rests
    if found is None:
        raise exhausted
    turn.recalls.setdefault(found.node_id, []).append(found.id)
    return Later(network.id, exhausted)


def call_back_all(turn: Turn, network: ClusterNetwork) -> Later | None:
    """What is still to be returned before a network can go. Raises ``NetError`` if something of it is in use: of what the
    records say so the nodes are asked once, since who removes a container and then its network is quicker than their
    word."""
    away: NetError | None = None
    doubts: list[str] = []
    is_ending = False
    for lease in turn.state.places.within(network.id):
        node = turn.state.nodes.get(lease.node_id)
        if lease.node_id and node is None:
            continue  # its node was removed
        if _is_ending(turn, lease):
            away, is_ending = away or _in_use(network, lease, node), True
        elif lease.holder not in ("", RESTING, BALANCER, OWN, ENTRY):
            refusal = _in_use(network, lease, node)
            if turn.is_sure or node is None or node.state == DOWN or len(doubts) == _DOUBTS_MAX:
                raise refusal
            turn.recalls.setdefault(node.id, []).append(lease.id)
            doubts.append(lease.id)
            away = away or refusal
        elif node is not None and node.state == DOWN:
            raise _away(lease.address, node)
        elif node is not None:
            away = away or _away(lease.address, node)
    patience_s = _ENDING_S if is_ending else _CALL_BACK_S
    return Later(network.id, away, tuple(doubts), patience_s) if away is not None else None


def _is_ending(turn: Turn, lease: Lease) -> bool:
    """Whether who has it is on its way out: a task that is to end, or a service that is removed."""
    task = turn.state.tasks.get(lease.holder)
    service = turn.state.services.get(lease.holder.removeprefix(SERVICE))
    return (task is not None and task.desired > TaskState.RUNNING) or (service is not None and service.removing)


def _in_use(network: ClusterNetwork, lease: Lease, node: ClusterNode | None) -> NetError:
    at = f" on node {node.description.hostname or node.id}" if node is not None else ""
    service = lease.holder.removeprefix(SERVICE)
    user = f"task {lease.holder}" if service == lease.holder else f"service {service}"
    return refusals.precondition(
        f"network {network.id} is in use by {user}",
        hint=f"{lease.address} is used{at}: stop or remove it first",
        code=codes.NETWORK_IN_USE,
    )


def _away(address: str, node: ClusterNode) -> Forbidden:
    name = node.description.hostname or node.id
    return Forbidden(
        "Address already in use",
        hint=f"{address} lies in the reserve of node {name}, which does not answer: start it, or `fairlead node rm {name}`",
        code=codes.ADDRESS_RESERVED,
    )


def exhausted(network: ClusterNetwork) -> Exhausted:
    """Nothing is left in any of the network's subnets."""
    subnets = ", ".join(pool.subnet for pool in network.network.pools if not pool.v6)
    name = network.network.name
    return Exhausted(
        "no available addresses on this pool",
        hint=f"network {name} has used up {subnets}: `fairlead network update --subnet SUBNET {name}` gives it more",
        code=codes.ADDRESSES_EXHAUSTED,
    )


def _say_exhausted(turn: Turn, network: ClusterNetwork) -> None:
    present = turn.state.networks[network.id]
    if not present.pending:
        turn.put_network(replace(present, pending=str(exhausted(network))))
        turn.tell_network("exhausted", network)


def _check_stays(network: ClusterNetwork) -> None:
    if network.removing:
        raise Conflict(
            f"network {network.network.name} is being removed",
            hint="wait until it is gone",
            code=codes.NETWORK_IN_USE,
        )
