"""Creation and removal of networks (cnm: controller)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from fairlead.engine.core import Turn
from fairlead.ipam.pools import UsedUp
from fairlead.ipam.validate import check_pools
from fairlead.model import codes, options
from fairlead.model.addresses import is_v6
from fairlead.model.commands import CreateNetwork, RemoveNetwork
from fairlead.model.errors import Forbidden, Invalid, NotFound, Unavailable
from fairlead.model.ids import new_id
from fairlead.model.network import SWARM, Network, Pool, PoolRequest, check_new_name

#: Networks that an error names before it only counts.
_NAMED_MAX = 5


def create(turn: Turn, command: CreateNetwork) -> Network:
    """Record a network and lease its subnets; raises ``Invalid``, ``Forbidden``, ``Conflict``, ``NotFound`` or
    ``Exhausted`` with nothing changed."""
    check_new_name(command.name, taken=turn.state.network_named(command.name) is not None)
    if command.config_only or command.config_from:
        _check_config(command)
    if command.scope == SWARM or turn.core.drivers.spanning(command.driver) is not None:
        raise not_a_manager(turn)
    if command.scope not in ("", "local"):
        raise Forbidden(
            f"cannot create a network of scope {command.scope} here",
            hint="leave --scope out for a network of this host",
            code=codes.NOT_A_MANAGER,
        )
    command = _settled(turn, command)
    check_pools(command.pools, ipv6=bool(command.ipv6))
    if command.config_only:
        return _add_config(turn, command)
    return add(turn, _configured(turn, command))


def add(turn: Turn, command: CreateNetwork) -> Network:
    """The part of ``create`` that also makes the predefined networks."""
    driver_name = command.driver or "bridge"
    driver = turn.core.drivers[driver_name]
    network = Network(
        id=new_id(turn.core.chance),
        name=command.name,
        driver=driver_name,
        created=turn.at,
        ipv4=command.ipv4 is not False,
        ipv6=bool(command.ipv6),
        internal=command.internal,
        attachable=command.attachable,
        ipam_driver=command.ipam_driver or "default",
        ipam_options=dict(command.ipam_options),
        options=dict(command.options),
        labels=dict(command.labels),
        config_from=command.config_from,
    )
    options.announcement(network.options)
    options.vxlan_ids(network.options)
    if network.ipam_driver not in ("default", "null"):
        raise Invalid(
            f"could not find IPAM driver {network.ipam_driver!r}",
            hint="this node has the drivers default and null",
            code=codes.DRIVER_NOT_FOUND,
        )
    driver.check(network)
    if turn.core.connects(network) and network.ipam_driver == "default":
        network = replace(network, pools=_lease_pools(turn, network, command.pools))
        driver.check(network)
    claim(turn, network)
    turn.state.put(network)
    turn.touch_network(network)
    turn.tell_network("create", network)
    return network


def remove(turn: Turn, command: RemoveNetwork) -> Network:
    """Forget a network; refused while endpoints are in it (Docker answers 403)."""
    network = turn.state.network(command.network)
    if network.predefined:
        raise Forbidden(f"{network.name} is a pre-defined network and cannot be removed", code=codes.NETWORK_PREDEFINED)
    if network.scope == SWARM:
        raise not_a_manager(turn)
    if network.config_only:
        _check_unused(turn, network)
    check_empty(turn, network)
    forget(turn, network)
    if not network.config_only:  # Docker tells of the creation of a set of settings, and not of its end
        turn.tell_network("destroy", network)
    return network


def check_empty(turn: Turn, network: Network) -> None:
    """Raise ``Forbidden`` while endpoints are in a network."""
    endpoints = turn.state.endpoints_of_network(network.id)
    if endpoints:
        listing = ", ".join(f'name:"{endpoint.name}" id:"{endpoint.id[:12]}"' for endpoint in endpoints)
        raise Forbidden(
            f"error while removing network: network {network.name} has active endpoints ({listing})",
            hint=f"`fairlead network disconnect {network.name} {endpoints[0].name}` detaches the first",
            code=codes.NETWORK_IN_USE,
        )


def not_a_manager(turn: Turn) -> Unavailable:
    """The error for what only managers do, in Docker's words."""
    if not turn.core.node.vtep:
        return Unavailable(
            'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to '
            "swarm and try again.",
            hint="`fairlead swarm init` makes a cluster of this node; a network of this node only has the driver bridge",
            code=codes.NOT_A_MANAGER,
        )
    return Unavailable(
        "This node is not a swarm manager. Worker nodes can't be used to view or modify cluster state. "
        "Please run this command on a manager node or promote the current node to a manager.",
        hint="networks of this node only have the driver bridge and no --scope",
        code=codes.NOT_A_MANAGER,
    )


def forget(turn: Turn, network: Network) -> None:
    """Give the subnets back and drop the record."""
    if network.id not in turn.core.unusable:
        for pool in network.pools if network.scope != SWARM else ():
            turn.core.ipam = turn.core.ipam.release_pool(pool.id)
        unclaim(turn, network)
    turn.state.drop(network)
    turn.touch_network(network)


def hold(turn: Turn, network: Network) -> None:
    """Lease again, at a restart or an undone removal, exactly what a stored network holds."""
    if network.id in turn.core.unusable:
        return
    claim(turn, network)
    ipam = turn.core.ipam
    for pool in network.pools if network.scope != SWARM else ():
        ipam, _, _ = ipam.request_pool(subnet=pool.subnet, ip_range=pool.ip_range, v6=pool.v6)
        for address in filter(None, (pool.gateway, *pool.aux.values())):
            ipam, _ = ipam.request_address(pool.id, address, now=turn.now)
    turn.core.ipam = ipam


def _settled(turn: Turn, command: CreateNetwork) -> CreateNetwork:
    """The command with the daemon's options for new networks of its driver, and with its address families decided."""
    if command.config_from:
        return command
    given = dict(command.options)
    if not command.config_only:
        given = {**turn.core.settings.default_network_opts.get(command.driver or "bridge", {}), **given}
    ipv4, ipv6 = options.families(given, command.ipv4, command.ipv6)
    return replace(command, options=given, ipv4=ipv4, ipv6=ipv6)


def _check_config(command: CreateNetwork) -> None:
    """What a set of settings, and a network made from one, may not say (cnm 1.4)."""
    if command.config_only and command.config_from:
        raise Forbidden(
            "a configuration network cannot depend on another configuration network",
            hint="leave out --config-only or --config-from",
            code=codes.CONFIG_ONLY,
        )
    if command.config_only and (command.internal or command.attachable or command.scope):
        raise Forbidden(
            "configuration network can only contain network specific fields. Network operator fields like "
            "[ ingress | internal | attachable | scope ] are not supported.",
            hint="give them to the networks that are made from it",
            code=codes.CONFIG_ONLY,
        )
    own = command.pools or command.labels or command.ipam_options or command.ipam_driver not in ("", "default")
    if command.config_from and (own or command.ipv6 or command.ipv4 is False):
        raise Forbidden(
            "user specified configurations are not supported if the network depends on a configuration network",
            hint=f"{command.config_from} decides subnets, labels and address families",
            code=codes.CONFIG_ONLY,
        )
    if command.config_from and command.options:
        raise Forbidden(
            "network driver options are not supported if the network depends on a configuration network",
            hint=f"{command.config_from} decides the options",
            code=codes.CONFIG_ONLY,
        )


def _add_config(turn: Turn, command: CreateNetwork) -> Network:
    """Record a set of settings: scope and driver are always ``local`` and ``null``, nothing is leased or made."""
    network = Network(
        id=new_id(turn.core.chance),
        name=command.name,
        driver="null",
        created=turn.at,
        ipv4=command.ipv4 is not False,
        ipv6=bool(command.ipv6),
        ipam_driver=command.ipam_driver or "default",
        ipam_options=dict(command.ipam_options),
        options=dict(command.options),
        labels=dict(command.labels),
        config_only=True,
        wanted_pools=command.pools,
    )
    options.announcement(network.options)
    options.vxlan_ids(network.options)
    turn.state.put(network)
    turn.tell_network("create", network)
    return network


def _configured(turn: Turn, command: CreateNetwork) -> CreateNetwork:
    """The command with what its config-only network says; raises ``NotFound``."""
    if not command.config_from:
        return command
    source = turn.state.network_named(command.config_from)
    if source is None or not source.config_only:
        raise NotFound(
            f'configuration network "{command.config_from}" not found',
            hint=f"`fairlead network create --config-only {command.config_from}` makes it",
            code=codes.CONFIG_ONLY,
        )
    return replace(
        command,
        ipv4=source.ipv4,
        ipv6=source.ipv6,
        ipam_driver=source.ipam_driver,
        ipam_options=source.ipam_options,
        pools=source.wanted_pools,
        options=source.options,
        labels=source.labels,
    )


def _check_unused(turn: Turn, config: Network) -> None:
    """Raises ``Forbidden`` when a network was made from these settings."""
    for network in turn.state.networks.values():
        if network.config_from == config.name:
            raise Forbidden(
                f'configuration network "{config.name}" is in use',
                hint=f"`fairlead network rm {network.name}` first",
                code=codes.CONFIG_ONLY,
            )


def _lease_pools(turn: Turn, network: Network, requests: tuple[PoolRequest, ...]) -> tuple[Pool, ...]:
    wanted = [request for request in requests if _family(request) != "6" or network.ipv6]
    if network.ipv4 and not any(_family(request) == "4" for request in wanted):
        wanted.insert(0, PoolRequest())
    if network.ipv6 and not any(_family(request) == "6" for request in wanted):
        wanted.append(PoolRequest(subnet="::/0"))
    if not network.ipv4:
        wanted = [request for request in wanted if _family(request) == "6"]
    return tuple(_lease(turn, network, request) for request in wanted)


def _family(request: PoolRequest) -> str:
    return "6" if ":" in (request.subnet or request.gateway or request.ip_range) else "4"


def _lease(turn: Turn, network: Network, request: PoolRequest) -> Pool:
    v6 = _family(request) == "6"
    try:
        ipam, pool_id, subnet = turn.core.ipam.request_pool(
            subnet="" if request.subnet == "::/0" else request.subnet,
            ip_range=request.ip_range,
            v6=v6,
            avoid=(*turn.core.host.prefixes, *_name_servers(turn), *_spanning(turn)),
        )
    except UsedUp as error:
        raise UsedUp(error.message, hint=f"{error.hint}{_unused(turn)}") from error
    gateway = ""
    if request.gateway or not turn.core.drivers.skips_gateway(network, v6=v6):
        ipam, gateway = ipam.request_address(pool_id, request.gateway, now=turn.now)
    for address in request.aux.values():
        ipam, _ = ipam.request_address(pool_id, address, now=turn.now)
    turn.core.ipam = ipam
    return Pool(
        id=pool_id,
        subnet=subnet,
        ip_range=request.ip_range,
        gateway=gateway.partition("/")[0],
        aux=dict(request.aux),
        asked=bool(request.gateway or request.ip_range),
    )


def _name_servers(turn: Turn) -> Iterator[str]:
    """The host's name servers as prefixes: a network over one of them would cut everybody off from it (Docker)."""
    for server in turn.core.resolver.servers:
        if "%" not in server:
            yield f"{server}/{128 if is_v6(server) else 32}"


def _spanning(turn: Turn) -> Iterator[str]:
    """Subnets of the cluster's networks: a container may be in one of them and in a network of this node."""
    for network in turn.state.networks.values():
        if network.scope == SWARM:
            yield from (pool.subnet for pool in network.pools)


def _unused(turn: Turn) -> str:
    """Which networks could go, as the end of a sentence."""
    state = turn.state
    idle = [one.name for one in state.networks.values() if one.pools and not one.predefined]
    idle = [name for name in idle if not state.endpoints_of_network(state.network(name).id)]
    more = f" and {len(idle) - _NAMED_MAX} more" if len(idle) > _NAMED_MAX else ""
    return f"; nobody is in {', '.join(idle[:_NAMED_MAX])}{more}" if idle else ""


def claim(turn: Turn, network: Network) -> None:
    """Keep other networks from what this one's driver needs for itself; raises ``Forbidden`` when one has it."""
    claims = turn.core.claims
    for one in _claims(turn, network):
        holder = turn.state.networks.get(claims.get(one, ""))
        if holder is not None and holder.id != network.id:
            raise Forbidden(
                f"cannot create network {network.name}: conflicts with network {holder.name}: {one}",
                hint=f"remove {holder.name} first, or choose another name for the device",
                code=codes.DEVICE_CLAIMED,
            )
        claims[one] = network.id
        turn.undo.append(partial(claims.pop, one, None))


def _claims(turn: Turn, network: Network) -> frozenset[str]:
    return frozenset() if network.config_only else turn.core.drivers[network.driver].claims(network, turn.core.node)


def unclaim(turn: Turn, network: Network) -> None:
    """Let others have it."""
    for one in _claims(turn, network):
        turn.core.claims.pop(one, None)
        turn.undo.append(partial(turn.core.claims.__setitem__, one, network.id))
