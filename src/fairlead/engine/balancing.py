"""Connections to the virtual addresses of services, balanced in every sandbox of their networks.

Who is behind a virtual address is told with the names of endpoints (``PeerNames.backend``): here of our own once they are
ready, by gossip of those of other nodes. So no manager is needed, and a task is led to from the moment on in which it may be
found by name. A plan belongs to one endpoint and one service: a task that changes costs two or three map elements in
each sandbox of the network.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from fairlead.balance.board import Board, Task
from fairlead.balance.contract import Balancer
from fairlead.discovery.names import DNS_ADDRESS
from fairlead.engine import ingress
from fairlead.engine.core import BALANCE, Core, Turn, balance_owner
from fairlead.engine.hearsay import NAMES_TTL_S
from fairlead.engine.outcome import Crew, Message, Register, Unregister
from fairlead.model import options
from fairlead.model.addresses import bare
from fairlead.model.balance import ServiceSeen, TaskSeen
from fairlead.model.cluster import PeerNames
from fairlead.model.endpoint import Endpoint
from fairlead.model.events import BalancersFound
from fairlead.model.network import Network
from fairlead.model.state import lease_at
from fairlead.plan.objects import NOTHING, Plan

#: How names of endpoints begin under which services are registered; no endpoint's id has a blank.
_ENTRY = "service "


def put(turn: Turn, network: Network, names: PeerNames, *, is_local: bool) -> None:
    """An endpoint is ready, here or elsewhere; one that is behind no virtual address (any more) changes nothing."""
    if names.backend is None:
        drop(turn, network.id, names.endpoint_id)
        return
    turn.core.boards.setdefault(network.id, Board())
    task = Task(names.backend, bare(names.ipv4), bare(names.ipv6), is_local, names.ports, next(iter(names.names), ""))
    _change(turn, network.id, names.endpoint_id, task)


def drop(turn: Turn, network_id: str, endpoint_id: str) -> None:
    """An endpoint gets nothing any more."""
    if network_id in turn.core.boards:
        _change(turn, network_id, endpoint_id, None)


def locals_of(core: Core, owners: Collection[str]) -> set[tuple[str, str]]:
    """(network, endpoint) of this node's own endpoints in the networks of these plan owners, and of those that were."""
    networks = {owner.split(":")[1] for owner in owners if owner.startswith(BALANCE)}
    found: set[tuple[str, str]] = set()
    for network_id in networks & core.boards.keys():
        found |= {(network_id, endpoint_id) for endpoint_id in core.boards[network_id].local()}
        found |= {(network_id, endpoint.id) for endpoint in core.state.endpoints_of_network(network_id)}
    return found


def touch(turn: Turn, endpoint: Endpoint) -> None:
    """An endpoint has joined a network that spans nodes, or has left it: its plans are to be derived anew."""
    board = turn.core.boards.get(endpoint.network_id)
    if board is not None:
        turn.owners |= {balance_owner(endpoint, service_id): None for service_id in ("", *board)}


def plan(core: Core, endpoint_id: str, service_id: str) -> Plan:
    """What must exist so that connections from an endpoint's sandbox reach a service; without a service, what must exist
    for any."""
    endpoint = core.state.endpoints.get(endpoint_id)
    board = core.boards.get(endpoint.network_id) if endpoint is not None else None
    if endpoint is None or board is None or not core.works(endpoint):
        return NOTHING
    if core.state.networks[endpoint.network_id].ingress:
        return ingress.entry_plan(core, endpoint, board, service_id)
    sandbox = core.state.sandboxes.get(endpoint.sandbox_id)
    if sandbox is None or not sandbox.netns:
        return NOTHING
    balancer = _balancer(core, core.state.networks[endpoint.network_id])
    if not service_id:
        # in namespaces of others our resolver is led to by connection tracking, in our own past it
        untracked = () if sandbox.foreign else (DNS_ADDRESS,)
        return balancer.base_plan(sandbox.netns, board.sizes, untracked, _counted(endpoint))
    found = NOTHING
    if endpoint.settings.backend is not None and endpoint.settings.backend.service_id == service_id:
        balancer = core.balancers[options.NFTABLES]  # it may get itself, which no other can do
    for aim in board.aims(service_id, bare(endpoint.ipv4 or endpoint.ipv6)):
        if not _is_place(core, endpoint.network_id, aim.vip):
            found |= balancer.aim_plan(sandbox.netns, aim)
    return found


def plans(core: Core) -> dict[str, Plan]:
    """Those of all endpoints, by owner."""
    return {
        balance_owner(endpoint, service_id): plan(core, endpoint.id, service_id)
        for network_id, board in core.boards.items()
        for endpoint in core.state.endpoints_of_network(network_id)
        for service_id in ("", *board)
    }


def seen(core: Core, network_id: str) -> tuple[ServiceSeen, ...]:
    """The services of a network that have virtual addresses, by name, as this node knows them."""
    network, board = core.state.networks.get(network_id), core.boards.get(network_id)
    if network is None or board is None:
        return ()
    found = []
    for service_id in board:
        known, endpoints = board.seen(service_id), board.endpoints(service_id)
        tasks = {endpoint_id: task for endpoint_id in endpoints if (task := board.task(endpoint_id)) is not None}
        if known is None or not tasks:
            continue
        told = next(iter(tasks.values())).backend
        crew = [_task_seen(core, network_id, endpoint_id, task) for endpoint_id, task in tasks.items()]
        found.append(
            ServiceSeen(
                network_id,
                network.name,
                service_id,
                next(iter(known.names), service_id),
                known.vip4,
                known.vip6,
                told.algorithm,
                told.prefer_local,
                board.ports(service_id),
                tuple(sorted(crew, key=lambda one: one.name)),
            )
        )
    return tuple(sorted(found, key=lambda one: one.name))


def _task_seen(core: Core, network_id: str, endpoint_id: str, task: Task) -> TaskSeen:
    told = core.hearsay.get(network_id)
    peer = told.peers.get(endpoint_id) if told is not None else None
    host = core.node.vtep if task.local else peer.vtep if peer is not None else ""
    return TaskSeen(task.name, endpoint_id, task.ipv4, task.ipv6, host, task.backend.weight, task.local)


def found(turn: Turn, event: BalancersFound) -> None:
    """The kernel can balance by IPVS, or cannot any more: what asks for it is made anew."""
    core = turn.core
    before, core.node = core.node, replace(core.node, ipvs=event.ipvs)
    for network_id in core.boards if core.node != before else ():
        if options.balancer(core.state.networks[network_id].options) == options.IPVS:
            for endpoint in core.state.endpoints_of_network(network_id):
                touch(turn, endpoint)


def _balancer(core: Core, network: Network) -> Balancer:
    """What a network asks for; where this node's kernel does not have it, what every one has."""
    wanted = options.balancer(network.options)
    return core.balancers[wanted if core.node.ipvs else options.NFTABLES]


def _counted(endpoint: Endpoint) -> tuple[str, ...]:
    """The addresses at which connections to a task come in."""
    addresses = (bare(endpoint.ipv4), bare(endpoint.ipv6)) if endpoint.settings.backend is not None else ()
    return tuple(filter(None, addresses))


def _is_place(core: Core, network_id: str, address: str) -> bool:
    """Whether an endpoint has the address: no service takes its connections away, whatever is said."""
    told = core.hearsay.get(network_id)
    return (told is not None and address in told.claims) or lease_at(core.state, network_id, address) is not None


def _change(turn: Turn, network_id: str, endpoint_id: str, task: Task | None) -> None:
    board = turn.core.boards[network_id]
    before, sizes = board.task(endpoint_id), len(board.sizes)
    turn.undo.append(lambda: _set(board, endpoint_id, before))
    _changed(turn, network_id, _set(board, endpoint_id, task), anew=len(board.sizes) != sizes)


def _set(board: Board, endpoint_id: str, task: Task | None) -> set[str]:
    return board.drop(endpoint_id) if task is None else board.put(endpoint_id, task)


def _changed(turn: Turn, network_id: str, services: Collection[str], *, anew: bool) -> None:
    for endpoint in turn.state.endpoints_of_network(network_id) if services else ():
        if anew:
            turn.owners[balance_owner(endpoint)] = None
        turn.owners |= {balance_owner(endpoint, service_id): None for service_id in services}
    turn.say(*(_entry(turn.core, network_id, service_id) for service_id in sorted(services)))
    turn.say(*(Crew(network_id, service_id) for service_id in sorted(services)))


def newest(core: Core, message: Message) -> Message:
    """What is to be said now instead of a message of before: a service's names may lead elsewhere since."""
    if isinstance(message, Register | Unregister) and message.endpoint_id.startswith(_ENTRY):
        return _entry(core, message.network_id, message.endpoint_id.removeprefix(_ENTRY))
    return message


def _entry(core: Core, network_id: str, service_id: str) -> Register | Unregister:
    """A service's virtual addresses, registered among the endpoints of a network."""
    network, board = core.state.networks.get(network_id), core.boards.get(network_id)
    seen = board.seen(service_id) if board is not None else None
    if board is None or seen is None or network is None or not seen.names:
        return Unregister(network_id, f"{_ENTRY}{service_id}")
    who = (network_id, network.name, f"{_ENTRY}{service_id}", seen.names)
    return Register(*who, seen.vip4, seen.vip6, NAMES_TTL_S, board.ports(service_id))
