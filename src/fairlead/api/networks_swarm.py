"""Networks of the whole cluster, as ``/networks`` shows them beside those of this node.

Where this node leads, they are its brain's; another manager asks the leader, whose answers are merged with what is
known here: the containers of this node. A worker has those networks in which it takes part, among its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

import msgspec
from aiohttp import web

from fairlead.api import balance
from fairlead.api.contract_swarm import Leader
from fairlead.api.filters import Filters
from fairlead.api.router import Call, Route, answer, empty
from fairlead.api.schema import encode, stamp
from fairlead.api.schema_network import NetworkCreateBody, members_json, network_inspect, network_summary
from fairlead.api.schema_swarm import NetworkUpdateBody
from fairlead.api.swarm import led
from fairlead.model import codes
from fairlead.model.cluster import ClusterNetwork
from fairlead.model.cluster_commands import CreateClusterNetwork, GrowNetwork, RemoveClusterNetwork
from fairlead.model.commands import CreateNetwork
from fairlead.model.errors import KINDS, Conflict, Forbidden, Internal, NetError, NotFound, Unavailable
from fairlead.model.network import Network
from fairlead.model.state import find_network

SWARM = "swarm"
#: Filters of a list of networks.
LIST_FILTERS = ("dangling", "driver", "id", "label", "name", "scope", "type")
#: Drivers whose networks span nodes by nature (Docker: data scope global).
SPANNING = frozenset({"overlay"})

Row = dict[str, object]


def wants_cluster(command: CreateNetwork) -> bool:
    """Whether a network that is to be made is one of the cluster; raises ``Forbidden`` for what cannot be."""
    if command.config_only:
        return False
    if command.scope == "local" and command.driver in SPANNING:
        raise Forbidden(
            f"cannot downgrade network scope for {command.driver} networks",
            hint="leave --scope out",
            code=codes.NOT_A_MANAGER,
        )
    return command.scope == SWARM or command.driver in SPANNING


async def create(call: Call, body: NetworkCreateBody) -> web.StreamResponse:
    """Make a network of the cluster; raises ``Forbidden`` where that cannot be done."""
    try:
        leader = call.node.swarm.leader()
    except Unavailable as error:
        raise Forbidden(error.message, hint=error.hint, code=codes.NOT_A_MANAGER) from error
    if leader is not None:
        status, data = await leader.pass_on("POST", call.request.path_qs, encode(body))
        return web.Response(status=status, body=data, content_type="application/json")
    check_name(call, body.name, "local")
    command = CreateClusterNetwork(body.command(), bool(body.ingress))
    made = await call.finish(call.node.swarm.brain.ask(command))
    if not isinstance(made, ClusterNetwork):
        raise Internal(f"{CreateClusterNetwork.__name__} was answered with {type(made).__name__}", code=codes.FAULT)
    return answer({"Id": made.id, "Warning": made.pending}, 201)


def check_name(call: Call, name: str, scope: str) -> None:
    """Whether no network of this scope that is known here has the name: commands name networks of both, and one name
    must not mean two. Raises ``Conflict``."""
    if any(network.name == name and network.scope == scope for network in known(call).values()):
        raise Conflict(
            f"network with name {name} already exists",
            hint="`fairlead network ls` lists what is there; choose another name",
            code=codes.NETWORK_EXISTS,
        )


def leads(call: Call) -> bool:
    """Whether this node has the cluster's networks itself."""
    try:
        return call.node.swarm.leader() is None
    except Unavailable:
        return False


def is_manager(call: Call) -> bool:
    """Whether this node can have networks of the cluster removed."""
    return leads(call) or other_leader(call) is not None


def other_leader(call: Call) -> Leader | None:
    """The leader, on a manager that does not lead."""
    try:
        return call.node.swarm.leader()
    except Unavailable:
        return None


def known(call: Call) -> Mapping[str, Network]:
    """Networks by id, of this node and, where it leads, of the cluster."""
    own = call.node.state.networks
    if not leads(call):
        return own
    return {**own, **{key: item.network for key, item in call.node.swarm.brain.networks.items()}}


async def rows_elsewhere(call: Call) -> list[Row]:
    """The cluster's networks as the leader lists them for the same request; none when it does not answer: those of this
    node can still be told."""
    leader = other_leader(call)
    if leader is None:
        return []
    try:
        status, data = await leader.pass_on("GET", call.request.path_qs, b"")
    except NetError:
        return []
    if status != web.HTTPOk.status_code:
        return []
    return [row for row in msgspec.json.decode(data, type=list[Row]) if row.get("Scope") == SWARM]


async def inspect(call: Call, network: Network) -> web.StreamResponse:
    """A network of the cluster, where this node leads: also how long its addresses will last."""
    usage = call.node.swarm.brain.usage(network.id)
    row = network_inspect(call.node.state, network, usage.subnets)
    addresses: dict[str, object] = {
        "Subnets": {key: _filling(*pair) for key, pair in sorted(usage.subnets.items())},
        "Reserved": usage.reserved,
        "Resting": usage.resting,
        "ExhaustedAt": stamp(usage.exhausted_at),
    }
    status = {"IPAM": addresses, **({"Pending": usage.pending} if usage.pending else {})}
    return answer({**row, "Status": status, **await balance.verbose(call, network.id)})


def _filling(used: int, left: int) -> dict[str, int]:
    return {"IPsInUse": used, "DynamicIPsAvailable": left}


async def inspect_elsewhere(call: Call, leader: Leader, local: Network | None) -> web.StreamResponse:
    """A network as the leader knows it, with the containers of this node; ``local`` is what this node has of that name.
    Raises ``NotFound``."""
    status, data = await leader.pass_on("GET", call.request.path_qs, b"")
    row = msgspec.json.decode(data, type=Row) if status == web.HTTPOk.status_code else {}
    if row.get("Scope") != SWARM:
        if local is None:
            raise NotFound(f"network {call.path['ref']} not found", code=codes.NETWORK_NOT_FOUND)
        row = network_inspect(call.node.state, local, call.node.pool_usage(local.id))
        return answer({**row, **await balance.verbose(call, local.id)})
    identifier = str(row.get("Id", ""))
    members = members_json(call.node.state, identifier)
    told = {**row, "Containers": members, **await balance.verbose(call, identifier)}
    return web.Response(body=encode(told), content_type="application/json")


async def remove(call: Call, ref: str) -> None:
    """Remove a network of the cluster; raises what the leader refuses with."""
    leader = call.node.swarm.leader()
    if leader is None:
        await call.finish(call.node.swarm.brain.ask(RemoveClusterNetwork(ref)))
        return
    status, data = await leader.pass_on("DELETE", f"/networks/{quote(ref, safe='')}", b"")
    if status >= web.HTTPBadRequest.status_code:
        raise refusal(status, data)


def refusal(status: int, data: bytes) -> NetError:
    """The error that another manager's answer tells."""
    try:
        body = msgspec.json.decode(data, type=Row)
    except msgspec.DecodeError:
        body = {}
    hint = str(body.get("hint", ""))
    message = str(body.get("message", "") or f"the leading manager answered with status {status}")
    kind = KINDS.get(str(body.get("kind", "")), Internal)
    return kind(message.removesuffix(f"\n{hint}"), hint=hint, code=codes.find(str(body.get("code", ""))))


def found(call: Call) -> Network:
    """The network that the request names, among those known here; raises ``NotFound`` or ``Ambiguous``."""
    return find_network(call.path["ref"], known(call))


async def _list(call: Call) -> web.StreamResponse:
    """``GET /networks`` of another manager: the cluster's."""
    filters = call.filters()
    networks = [item.network for item in call.node.swarm.brain.networks.values()]
    return answer([network_summary(network) for network in networks if _chosen(network, filters)])


async def _inspect(call: Call) -> web.StreamResponse:
    return await inspect(call, call.node.swarm.brain.network(call.path["ref"]).network)


async def _create(call: Call) -> web.StreamResponse:
    return await create(call, await call.body(NetworkCreateBody))


async def _remove(call: Call) -> web.StreamResponse:
    await remove(call, call.path["ref"])
    return empty(204)


async def grow(call: Call) -> web.StreamResponse:
    """``POST /fairlead/networks/{ref}/update``: further subnets for a network of the cluster."""
    body = await call.body(NetworkUpdateBody)
    brain = call.node.swarm.brain
    network = brain.network(call.path["ref"])
    await call.finish(brain.ask(GrowNetwork(network.id, body.pools())))
    return empty(200)


def _chosen(network: Network, filters: Filters) -> bool:
    """Whether a network passes the filters that look at nothing but itself."""
    return (
        filters.exact("driver", network.driver)
        and filters.exact("scope", network.scope)
        and filters.exact("type", "custom")
        and filters.matches("id", network.id)
        and filters.matches("name", network.name)
        and filters.labels(network.labels)
    )


def shared_routes() -> tuple[Route, ...]:
    """What managers answer for each other."""
    return (
        Route("GET", "/networks", led(_list), filters=LIST_FILTERS),
        Route("POST", "/networks/create", led(_create), body=NetworkCreateBody),
        Route("GET", "/networks/{ref}", led(_inspect), query={"verbose": bool, "scope": str}),
        Route("DELETE", "/networks/{ref}", led(_remove)),
        *routes(),
    )


def routes() -> tuple[Route, ...]:
    """The routes of this module that Docker's API has not."""
    return (Route("POST", "/fairlead/networks/{ref}/update", led(grow), body=NetworkUpdateBody),)
