"""Networks of the whole cluster: made, grown by further subnets, removed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from fairlead.ipam.pools import UsedUp
from fairlead.ipam.prefixes import prefix
from fairlead.ipam.validate import check_pools
from fairlead.manager import ingress, leases, refusals
from fairlead.manager.core import Turn
from fairlead.model import codes, options
from fairlead.model.addresses import is_v6
from fairlead.model.cluster import ClusterNetwork
from fairlead.model.cluster_commands import CreateClusterNetwork, GrowNetwork, RemoveClusterNetwork
from fairlead.model.commands import CreateNetwork
from fairlead.model.errors import Conflict, Forbidden, Invalid
from fairlead.model.ids import new_id
from fairlead.model.network import Network, Pool, PoolRequest, check_new_name
from fairlead.model.tunnel import inner_mtu

#: Name of the network of published ports (Docker).
INGRESS = "ingress"


def create(turn: Turn, command: CreateClusterNetwork) -> ClusterNetwork:
    """Record a network and allocate its subnets, gateways and VNIs."""
    request = command.request
    _check(turn, command)
    check_pools(request.pools, ipv6=bool(request.ipv6))
    network = Network(
        id=new_id(turn.core.chance),
        name=request.name,
        driver="overlay",
        created=turn.at,
        scope="swarm",
        ipv6=bool(request.ipv6),
        internal=request.internal,
        attachable=request.attachable,
        ipam_driver=request.ipam_driver or "default",
        ipam_options=dict(request.ipam_options),
        options=_with_mtu(turn, request),
        labels=dict(request.labels),
        ingress=command.ingress,
    )
    made = ClusterNetwork(_grown(turn, network, request.pools or (PoolRequest(),)), turn.at, command.ingress)
    turn.state.put(made)
    turn.tell_network("create", made)
    return made


def grow(turn: Turn, command: GrowNetwork) -> ClusterNetwork:
    """Give a network further subnets."""
    present = turn.state.network(command.network)
    refusals.check_version(command.version, present.version)
    if present.removing:
        raise Conflict(f"network {present.network.name} is being removed", code=codes.NETWORK_IN_USE)
    if present.ingress:
        raise _one_subnet()
    if not command.pools:
        raise Invalid("no subnet is given", hint="name at least one, or an empty one to have it chosen")
    check_pools(command.pools, ipv6=present.network.ipv6)
    network = _grown(turn, present.network, command.pools)
    grown = turn.put_network(replace(present, network=network, pending=""))
    turn.tell_network("update", grown)
    return grown


def remove(turn: Turn, command: RemoveClusterNetwork) -> ClusterNetwork | leases.Later:
    """Forget a network, once no node has anything of it."""
    present = turn.state.network(command.network)
    _check_unused(turn, present)
    later = leases.call_back_all(turn, present)
    if later is not None:
        if not (present.removing or later.doubts):
            turn.put_network(replace(present, removing=True))
        return later
    forget(turn, present)
    return present


def is_encrypted(turn: Turn, network_id: str) -> bool:
    """Whether a network's packets are encrypted between nodes."""
    known = turn.state.networks.get(network_id)
    return known is not None and options.encrypted(known.network.options)


def _check_unused(turn: Turn, network: ClusterNetwork) -> None:
    publisher = ingress.user(turn, network)
    if publisher is not None:
        raise refusals.precondition(
            f"ingress network cannot be removed because service {publisher.id} depends on it",
            hint=f"`fairlead service rm {publisher.spec.name}` first, or publish its ports in mode host",
            code=codes.NETWORK_IN_USE,
        )
    for service in turn.state.services.values():
        if not service.removing and any(one.network == network.id for one in service.spec.task.networks):
            raise refusals.precondition(
                f"network {network.id} is in use by service {service.id}",
                hint=f"`fairlead service rm {service.spec.name}` first",
                code=codes.NETWORK_IN_USE,
            )


def forget(turn: Turn, network: ClusterNetwork) -> None:
    """Give subnets and VNIs back and drop the record; what leases there still are rested, and are swept."""
    core, state = turn.core, turn.state
    core.swept.extend(lease.id for lease in state.places.within(network.id))
    core.swept.extend(lease.id for lease in state.places.resting(network.id))
    for pool in network.network.pools:
        core.ipam = core.ipam.release_pool(pool.id)
    for vni in options.vxlan_ids(network.network.options):
        core.vnis = core.vnis.release(vni)
    core.samples.forget(network.id)
    core.first_free.pop(network.id, None)
    state.drop(network)
    turn.tell_network("remove", network)


def stay(turn: Turn, network_id: str) -> None:
    """Its removal is given up: nodes may use the network again."""
    present = turn.state.networks.get(network_id)
    if present is not None and present.removing:
        turn.put_network(replace(present, removing=False))


def hold(turn: Turn, network: ClusterNetwork, addresses: Mapping[str, Sequence[str]]) -> None:
    """Take, at a start, exactly what a stored network holds, with the addresses that are leased (pool id -> addresses);
    raises ``NetError`` if it makes no sense."""
    core = turn.core
    ipam, taken = core.ipam, core.vnis
    for pool in network.network.pools:
        ipam, _, _ = ipam.request_pool(subnet=pool.subnet, ip_range=pool.ip_range, v6=pool.v6)
        if pool.id in addresses:
            ipam = ipam.hold_addresses(pool.id, addresses[pool.id])
        for address in filter(None, (pool.gateway, *pool.aux.values())):
            ipam, _ = ipam.request_address(pool.id, address, 0.0)
    for vni in options.vxlan_ids(network.network.options):
        taken = taken.take(vni, network.network.name)
    core.ipam, core.vnis = ipam, taken


def _check(turn: Turn, command: CreateClusterNetwork) -> None:
    """What makes no network of the cluster, whatever its subnets."""
    request = command.request
    check_new_name(request.name, taken=turn.state.network_named(request.name) is not None)
    if request.driver not in ("", "overlay"):
        raise refusals.bad_argument(
            f"unsupported network driver {request.driver} for a network of scope swarm",
            hint="networks of the whole cluster have the driver overlay",
            code=codes.DRIVER_NOT_FOUND,
        )
    if request.config_only or request.config_from:
        raise Forbidden(
            "a network of scope swarm can be neither a configuration network nor made from one",
            hint="leave out --config-only and --config-from",
            code=codes.CONFIG_ONLY,
        )
    if request.ipv4 is False:
        raise Invalid("IPv4 cannot be disabled in a Swarm scoped network", code=codes.OPTION_INVALID)
    if request.ipam_driver not in ("", "default"):
        raise Invalid(
            f"could not find IPAM driver {request.ipam_driver!r}",
            hint="networks of the cluster have the driver default",
            code=codes.DRIVER_NOT_FOUND,
        )
    if options.encrypted(request.options):
        _check_encryption(turn, request)
    if options.balancer(request.options) == options.IPVS:
        _check_ipvs(turn, request)
    if command.ingress:
        _check_ingress(turn, request)


def _check_ipvs(turn: Turn, request: CreateNetwork) -> None:
    """The node that leads must have it. Others that do not have it balance by nftables, which is the same to who is served."""
    for node in turn.state.nodes.values():
        fault = node.description.no_ipvs
        if node.leader and fault:
            raise refusals.precondition(
                f"cannot create network {request.name} with {options.BALANCER}={options.IPVS}: {fault}",
                hint=f"load the module on {node.description.hostname}, or leave out --opt {options.BALANCER}",
                code=codes.NO_IPVS,
            )


def _check_encryption(turn: Turn, request: CreateNetwork) -> None:
    """The node that leads must be able to encrypt. Others tell so themselves when a container is to join there."""
    for node in turn.state.nodes.values():
        fault = node.description.no_encryption
        if node.leader and fault:
            raise refusals.precondition(
                f"cannot create the encrypted network {request.name}: {fault}",
                hint=f"load what is missing on {node.description.hostname}, or leave out --opt encrypted",
                code=codes.NO_ENCRYPTION,
            )


def _check_ingress(turn: Turn, request: CreateNetwork) -> None:
    present = next((one for one in turn.state.networks.values() if one.ingress), None)
    if present is not None:
        raise refusals.exists(
            f"ingress network ({present.id}) is already present",
            hint=f"`fairlead network rm {present.network.name}` first",
            code=codes.NETWORK_EXISTS,
        )
    if request.attachable:
        raise refusals.bad_argument(
            "ingress network cannot be attachable", hint="leave out --attachable", code=codes.OPTION_INVALID
        )
    if sum(1 for pool in request.pools if not _is_v6(pool)) > 1:
        raise _one_subnet()


def _one_subnet() -> Invalid:
    """Tasks know by the MAC which node a connection came in by: no gateway may be between them."""
    return Invalid(
        "the ingress network has one subnet",
        hint="`fairlead network rm` it, and make one with a larger --subnet",
        code=codes.OPTION_INVALID,
    )


def _with_mtu(turn: Turn, request: CreateNetwork) -> dict[str, str]:
    """The options with an MTU that fits the data path of every node, unless one is given."""
    given = dict(request.options)
    if options.mtu(given, 0, v6=bool(request.ipv6)):
        return given
    described = [node.description for node in turn.state.nodes.values()]
    least = min((one.mtu for one in described if one.mtu), default=1500)
    outer_v6 = any(is_v6(one.data_path) for one in described if one.data_path)
    return given | {options.MTU: str(inner_mtu(least, v6=outer_v6, encrypted=options.encrypted(given)))}


def _grown(turn: Turn, network: Network, requests: Sequence[PoolRequest]) -> Network:
    """The network with these subnets beside its own: IPv4 and IPv6 alike many, and a VNI for each pair."""
    v4 = [one for one in requests if not _is_v6(one)]
    v6 = [one for one in requests if _is_v6(one)] if network.ipv6 else []
    had_v4 = sum(1 for pool in network.pools if not pool.v6)
    had_v6 = len(network.pools) - had_v4
    if not had_v4 and not v4:
        v4 = [PoolRequest()]
    if network.ipv6:
        v6 += [PoolRequest(subnet="::/0")] * (had_v4 + len(v4) - had_v6 - len(v6))
    if had_v6 + len(v6) > had_v4 + len(v4):
        raise Invalid(
            "there are more IPv6 subnets than IPv4 subnets",
            hint="each segment of an overlay network has an IPv4 subnet and may have an IPv6 subnet beside it",
            code=codes.SUBNET_INVALID,
        )
    pools = tuple(_lease(turn, network, request) for request in (*v4, *v6))
    grown = replace(network, pools=(*network.pools, *pools))
    return replace(grown, options=_with_vnis(turn, grown))


def _with_vnis(turn: Turn, network: Network) -> dict[str, str]:
    """The options with one VNI for each segment; those that were named, or had before, first."""
    core = turn.core
    subnets = [pool.subnet for pool in network.pools if not pool.v6]
    named = options.vxlan_ids(network.options)
    if len(named) > len(subnets):
        raise Invalid(
            f"{len(named)} vxlan ids are given for {len(subnets)} subnets",
            hint="each IPv4 subnet is a segment with one VNI",
            code=codes.VNI_TAKEN,
        )
    known = turn.state.networks.get(network.id)
    held = len(options.vxlan_ids(known.network.options)) if known is not None else 0
    for vni, subnet in zip(named[held:], subnets[held:], strict=False):
        core.vnis = core.vnis.take(vni, subnet)
    chosen = []
    for _ in subnets[len(named) :]:
        core.vnis, vni = core.vnis.take_any(turn.state.counters.vni)
        turn.state.put(replace(turn.state.counters, vni=vni + 1))
        chosen.append(vni)
    return network.options | {options.VXLAN_IDS: ",".join(str(vni) for vni in (*named, *chosen))}


def _is_v6(request: PoolRequest) -> bool:
    return ":" in (request.subnet or request.gateway or request.ip_range)


def _lease(turn: Turn, network: Network, request: PoolRequest) -> Pool:
    core = turn.core
    try:
        ipam, pool_id, subnet = core.ipam.request_pool(
            subnet="" if request.subnet == "::/0" else request.subnet,
            ip_range=request.ip_range,
            v6=_is_v6(request),
            avoid=_taken_elsewhere(turn),
        )
    except UsedUp as error:
        raise UsedUp(
            error.message,
            hint=f"{error.hint.partition(':')[0]}: remove unused networks, or name a --subnet",
            code=codes.POOLS_EXHAUSTED,
        ) from error
    _check_apart(turn, subnet)
    ipam, gateway = ipam.request_address(pool_id, request.gateway, 0.0)
    for address in request.aux.values():
        ipam, _ = ipam.request_address(pool_id, address, 0.0)
    core.ipam = ipam
    return Pool(
        id=pool_id,
        subnet=subnet,
        ip_range=request.ip_range,
        gateway=gateway.partition("/")[0],
        aux=dict(request.aux),
        asked=bool(request.gateway or request.ip_range),
    )


def _taken_elsewhere(turn: Turn) -> tuple[str, ...]:
    """What nodes have addresses in or routes to; automatic choice keeps away from it."""
    return tuple(sorted({prefix for node in turn.state.nodes.values() for prefix in node.description.prefixes}))


def _check_apart(turn: Turn, subnet: str) -> None:
    """Local networks may share a subnet with different ranges; segments of overlays may not."""
    if turn.core.ipam.space.holds(prefix(subnet)):
        holders = [
            one.network.name
            for one in turn.state.networks.values()
            if any(pool.subnet == subnet for pool in one.network.pools)
        ]
        raise Forbidden(
            "invalid pool request: Pool overlaps with other one on this address space",
            hint=f"{subnet} is a subnet of {holders[0] if holders else 'this network already'}: choose another",
            code=codes.SUBNET_TAKEN,
        )
