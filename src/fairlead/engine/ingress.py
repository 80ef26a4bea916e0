"""Plans of published ports of services: what leads from this node's entry to tasks, and what lets tasks answer.

Which tasks are ready, and which ports they are behind, is told with their names by gossip, as for virtual addresses: no
manager is asked. ``entries`` makes the entry.
"""

from __future__ import annotations

from fairlead.balance import ingress
from fairlead.balance.board import Board
from fairlead.balance.ingress import BUCKETS, Door, Interior
from fairlead.drivers.bridge import firewall, policy
from fairlead.engine.core import Core, Turn, interior_owner
from fairlead.engine.leaders import leaders
from fairlead.model import options
from fairlead.model.addresses import bare
from fairlead.model.backend import CLIENT_IP, ROUND_ROBIN, PublishedPort
from fairlead.model.endpoint import Endpoint, PortBinding
from fairlead.model.network import Network
from fairlead.plan.objects import NOTHING, Plan


def entry_of(core: Core, network_id: str) -> Endpoint | None:
    """This node's entry in a network."""
    for endpoint in core.state.endpoints_of_network(network_id):
        sandbox = core.state.sandboxes.get(endpoint.sandbox_id)
        if sandbox is not None and sandbox.own and not sandbox.netns:
            return endpoint
    return None


def entry_plan(core: Core, endpoint: Endpoint, board: Board, service_id: str) -> Plan:
    """What must exist so that this node answers the ports of a service; without a service, what must exist for any.
    Nothing, of an endpoint that is no entry."""
    entry, network = entry_of(core, endpoint.network_id), core.state.networks[endpoint.network_id]
    if entry is None or entry.id != endpoint.id:
        return NOTHING
    door = _door(core, network)
    if not service_id:
        return door.base_plan(board.sizes) | Plan(firewall.passage(ingress.LINK, "mesh_leaving"))
    tasks = board.slots(service_id)
    if not tasks:
        return NOTHING
    told, found = tasks[0].backend, NOTHING
    how = {CLIENT_IP: "client", ROUND_ROBIN: "turn"}.get(told.algorithm, "")
    if how == "client":
        tasks = board.buckets(service_id, BUCKETS)
    for port in told.published:
        if (port.protocol, port.published) in core.busy or not _has(core, port.host_ip):
            continue
        for digit in "46":
            targets = [task.ipv4 if digit == "4" else task.ipv6 for task in tasks]
            if all(targets) and (not port.host_ip or (":" in port.host_ip) == (digit == "6")):
                found |= door.port_plan(service_id, port, digit, targets, how, snat=told.snat)
        found |= _asked(core, port)
    return found


def published(core: Core) -> set[tuple[str, int]]:
    """Ports (protocol, number) that this node answers for services."""
    return {
        (port.protocol, port.published)
        for network_id, board in core.boards.items()
        if _is_ingress(core, network_id) and entry_of(core, network_id) is not None
        for service_id in board
        for task in board.slots(service_id)[:1]
        for port in task.backend.published
    }


def interior_plan(core: Core, endpoint_id: str) -> Plan:
    """What must exist in the sandbox of a task, so that it is reached at its published ports, and answers its clients."""
    endpoint = core.state.endpoints.get(endpoint_id)
    backend = endpoint.settings.backend if endpoint is not None else None
    if endpoint is None or backend is None or not core.works(endpoint):
        return NOTHING
    network, sandbox = core.state.networks[endpoint.network_id], core.state.sandboxes.get(endpoint.sandbox_id)
    if not network.ingress or sandbox is None or not core.node.vtep:
        return NOTHING
    leading = leaders(core, sandbox)
    out = tuple(bare(led.ipv6 if v6 else led.ipv4) for v6, led in leading.items() if led is not None)
    interior = Interior(
        sandbox.netns,
        endpoint.ifname,
        tuple(pool.subnet for pool in network.pools),
        tuple(filter(None, (bare(endpoint.ipv4), bare(endpoint.ipv6)))),
        out,
    )
    ports = {(port.protocol, port.target) for port in backend.published}
    return interior.plan(ports, _entries(core, network.id))


def interior_plans(core: Core) -> dict[str, Plan]:
    """Those of all tasks, by owner."""
    networks = [network.id for network in core.state.networks.values() if network.ingress]
    every = [one.id for network_id in networks for one in core.state.endpoints_of_network(network_id)]
    return {interior_owner(endpoint_id): interior_plan(core, endpoint_id) for endpoint_id in every}


def touch(turn: Turn, endpoint: Endpoint) -> None:
    """An endpoint has joined a network, or left it."""
    if turn.network_of(endpoint).ingress:
        turn.owners[interior_owner(endpoint.id)] = None


def touch_tasks(turn: Turn, network: Network) -> None:
    """Entries have come or gone: the tasks of this node answer to others. Those that are just being started are looked at
    again when they run: their sandbox may not be there yet."""
    for endpoint in turn.state.endpoints_of_network(network.id) if network.ingress else ():
        container = turn.state.containers.get(endpoint.container_id)
        if container is not None and container.running:
            turn.owners[interior_owner(endpoint.id)] = None


def _entries(core: Core, network_id: str) -> set[str]:
    """The MACs of all nodes' entries."""
    told, own = core.hearsay.get(network_id), entry_of(core, network_id)
    found = {peer.mac for peer in told.peers.values() if ingress.is_entry(peer.mac)} if told is not None else set()
    return found | {own.mac} if own is not None else found


def _door(core: Core, network: Network) -> Door:
    guard = policy.PREROUTING if core.node.ask_host_firewall else ()
    forwards = network.ipv6 and core.node.forward
    return Door(firewall.FAMILY, firewall.TABLE, options.mtu(network.options, core.node.mtu), guard, forwards)


def _asked(core: Core, port: PublishedPort) -> Plan:
    """Where the host's own filters decide: that they are to be asked about this port."""
    if not core.node.ask_host_firewall:
        return NOTHING
    bindings = [
        PortBinding(port.protocol, port.target, address, port.published)
        for address in ([port.host_ip] if port.host_ip else ["0.0.0.0", "::"])
    ]
    return Plan(policy.elements(bindings))


def _has(core: Core, address: str) -> bool:
    """Whether this host has an address; the empty one stands for all that it has."""
    return not address or any(bare(cidr) == address for cidr in core.host.addresses)


def _is_ingress(core: Core, network_id: str) -> bool:
    network = core.state.networks.get(network_id)
    return network is not None and network.ingress
