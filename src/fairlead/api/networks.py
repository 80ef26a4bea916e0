"""Handlers of ``/networks``."""

from __future__ import annotations

from aiohttp import web

from fairlead.api import balance, networks_swarm
from fairlead.api.filters import Filters
from fairlead.api.pruning import PRUNE_FILTERS, Age, Pruned, Pruner
from fairlead.api.router import Call, Route, answer, empty
from fairlead.api.schema_network import (
    ConnectBody,
    DisconnectBody,
    NetworkCreateBody,
    network_inspect,
    network_summary,
)
from fairlead.model import codes
from fairlead.model.commands import ConnectNetwork, CreateNetwork, DisconnectNetwork, RemoveNetwork
from fairlead.model.endpoint import EndpointSettings
from fairlead.model.errors import Conflict, Forbidden, Internal, Invalid, NetError, NotFound
from fairlead.model.network import Network
from fairlead.model.sandbox import SandboxSettings
from fairlead.model.state import State


async def list_networks(call: Call) -> web.StreamResponse:
    """``GET /networks``."""
    filters = call.filters()
    state = call.node.state
    chosen = [network for network in networks_swarm.known(call).values() if _chosen(state, network, filters)]
    rows = {network.id: network_summary(network) for network in chosen}
    rows.update({str(row.get("Id", "")): row for row in await networks_swarm.rows_elsewhere(call)})
    return answer([*rows.values()])


async def inspect_network(call: Call) -> web.StreamResponse:
    """``GET /networks/{ref}``."""
    verbose = call.text("verbose", "false") or "false"
    if verbose.lower() not in ("1", "t", "true", "0", "f", "false"):
        raise Invalid(f'invalid value for verbose: strconv.ParseBool: parsing "{verbose}": invalid syntax')
    network, leader = _local(call), networks_swarm.other_leader(call)
    if leader is not None and (network is None or network.scope == networks_swarm.SWARM):
        return await networks_swarm.inspect_elsewhere(call, leader, network)
    network = networks_swarm.found(call)
    scope = call.text("scope")
    if scope and scope != network.scope:
        raise NotFound(
            f"network {call.path['ref']} not found",
            hint=f"its scope is {network.scope}, not {scope}",
            code=codes.NETWORK_NOT_FOUND,
        )
    if network.scope == networks_swarm.SWARM and networks_swarm.leads(call):
        return await networks_swarm.inspect(call, network)
    row = network_inspect(call.node.state, network, call.node.pool_usage(network.id))
    return answer({**row, **await balance.verbose(call, network.id)})


async def create_network(call: Call) -> web.StreamResponse:
    """``POST /networks/create``."""
    body = await call.body(NetworkCreateBody)
    command = body.command()
    if networks_swarm.wants_cluster(command):
        return await networks_swarm.create(call, body)
    if body.ingress:
        raise Forbidden("ingress network is not allowed for this driver", hint="`--driver overlay` makes one")
    networks_swarm.check_name(call, command.name, networks_swarm.SWARM)
    network = await call.submit(command)
    if not isinstance(network, Network):
        raise Internal(f"{CreateNetwork.__name__} was answered with {type(network).__name__}", code=codes.FAULT)
    return answer({"Id": network.id, "Warning": ""}, 201)


async def remove_network(call: Call) -> web.StreamResponse:
    """``DELETE /networks/{ref}``."""
    ref = call.path["ref"]
    network = _local(call)
    if network.scope == networks_swarm.SWARM if network else networks_swarm.is_manager(call):
        await networks_swarm.remove(call, network.id if network else ref)
    else:
        await call.submit(RemoveNetwork(ref))
    return empty(204)


async def connect(call: Call) -> web.StreamResponse:
    """``POST /networks/{ref}/connect``."""
    body = await call.body(ConnectBody)
    settings = body.endpoint.settings() if body.endpoint else EndpointSettings()
    sandbox = body.sandbox.settings() if body.sandbox else SandboxSettings()
    await call.submit(ConnectNetwork(call.path["ref"], _named(body.container), settings, sandbox))
    return empty(200)


async def disconnect(call: Call) -> web.StreamResponse:
    """``POST /networks/{ref}/disconnect``."""
    body = await call.body(DisconnectBody)
    await call.submit(DisconnectNetwork(call.path["ref"], _named(body.container), bool(body.force)))
    return empty(200)


async def _prune(call: Call) -> Pruned:
    """Remove every network that nobody uses; what is refused stays, silently."""
    filters, state = call.filters(), call.node.state
    age = Age.asked(filters)
    deleted: list[str] = []
    cluster = networks_swarm.leads(call)
    for network in sorted(networks_swarm.known(call).values(), key=lambda network: network.scope == "local"):
        swarm = network.scope == networks_swarm.SWARM
        spared = network.config_only or age.spares(network.created) or (swarm and not cluster)
        if spared or not filters.labels(network.labels) or not _dangling(state, network):
            continue
        try:
            await (networks_swarm.remove(call, network.id) if swarm else call.submit(RemoveNetwork(network.id)))
        except (Forbidden, NotFound, Conflict):
            continue
        except NetError:
            if not deleted:
                raise
            break
        deleted.append(network.name)
    return Pruned({"NetworksDeleted": deleted})


def _local(call: Call) -> Network | None:
    """The network of this node that the request names; raises ``Ambiguous``."""
    try:
        return call.node.state.network(call.path["ref"])
    except NotFound:
        return None


def _named(container: str) -> str:
    if not container:
        raise Invalid("no container was named", hint="put its name or id into the field Container")
    return container


def _dangling(state: State, network: Network) -> bool:
    return not network.predefined and not state.endpoints_of_network(network.id)


def _chosen(state: State, network: Network, filters: Filters) -> bool:
    dangling = filters.boolean("dangling")
    kinds = filters.get("type")
    if kinds and kinds[-1] not in ("builtin", "custom"):
        raise Internal(
            f"invalid filter: 'type'='{kinds[-1]}'", hint="write type=builtin or type=custom", code=codes.FILTER_INVALID
        )
    return (
        (dangling is None or dangling == _dangling(state, network))
        and (not kinds or (kinds[-1] == "builtin") == network.predefined)
        and filters.exact("driver", network.driver)
        and filters.exact("scope", network.scope)
        and filters.matches("id", network.id)
        and filters.matches("name", network.name)
        and filters.labels(network.labels)
    )


def routes() -> tuple[Route, ...]:
    """The routes of this module."""
    return (
        Route("GET", "/networks", list_networks, filters=networks_swarm.LIST_FILTERS),
        Route("POST", "/networks/create", create_network, body=NetworkCreateBody),
        Route("POST", "/networks/prune", Pruner("network", _prune, tell_space=False), filters=PRUNE_FILTERS),
        Route("GET", "/networks/{ref}", inspect_network, query={"verbose": bool, "scope": str}),
        Route("DELETE", "/networks/{ref}", remove_network),
        Route("POST", "/networks/{ref}/connect", connect, body=ConnectBody),
        Route("POST", "/networks/{ref}/disconnect", disconnect, body=DisconnectBody),
        *networks_swarm.routes(),
    )
