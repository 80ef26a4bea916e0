"""This node's entry into the network of published ports: made and taken away as managers lease an address for it.

The entry is an endpoint whose interface is in the node's own namespace. From it connections are led to tasks (``ingress``).
"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

from fairlead.balance import ingress as mesh
from fairlead.engine import endpoints
from fairlead.engine.core import Core, Turn, balance_owner
from fairlead.engine.ingress import entry_of, touch_tasks
from fairlead.engine.outcome import Wake
from fairlead.model import options
from fairlead.model.addresses import bare
from fairlead.model.cluster import ENTRY, Lease
from fairlead.model.endpoint import Endpoint, EndpointSettings
from fairlead.model.errors import NetError, PortInUse
from fairlead.model.events import EntryDue, HostChanged, Notice
from fairlead.model.ids import new_id
from fairlead.model.network import Network
from fairlead.model.sandbox import Sandbox, SandboxSettings
from fairlead.model.state import leases_of_network
from fairlead.plan.objects import PortHold

#: What the entry's sandbox is called (Docker). It is the node's own namespace.
NAME = "ingress-sbox"
#: Seconds until what could not be made is tried again, and a port that a program of the host had.
AGAIN_S = 30.0


def due(turn: Turn, network: Network, after_s: float = 0.0) -> None:
    """Have the entry looked at: in a turn of its own, which may fail for itself."""
    if network.ingress:
        turn.say(Wake(f"entry {network.id}", after_s, EntryDue(network.id)))


def again(event: EntryDue) -> Wake:
    """Look at it later once more: it could not be made."""
    return Wake(f"entry {event.network_id}", AGAIN_S, event)


def moved(core: Core, host: HostChanged) -> tuple[Wake, ...]:
    """The host is another: some of its addresses may be those of ports, or none any more."""
    before, core.host = core.host, host
    if (before.addresses, before.prefixes) == (host.addresses, host.prefixes):
        return ()
    networks = (network.id for network in core.state.networks.values() if network.ingress)
    return tuple(Wake(f"entry {network_id}", 0.0, EntryDue(network_id)) for network_id in networks)


def align(turn: Turn, event: EntryDue) -> None:
    """Have an entry in a network if this node is given one, and none if not; look again at ports that were in use."""
    network = turn.state.networks.get(event.network_id)
    if network is None or not network.ingress or not turn.core.node.vtep:
        return
    entry, lease = entry_of(turn.core, network.id), _lease(turn.core, network.id)
    if entry is not None and (lease is None or bare(entry.ipv4) != lease.address):
        _close(turn, entry)
        entry = None
    if entry is None and lease is not None:
        clash = _clash(turn.core, network)
        if clash:
            reason = f"its subnet meets {clash}, which this host uses: published ports are not answered here"
            turn.notices.append(
                Notice("network", "unusable", network.id, {"name": network.name, "reason": reason}, turn.at)
            )
            due(turn, network, AGAIN_S)
            return
        entry = _open(turn, network, lease)
    turn.core.busy.clear()
    board = turn.core.boards.get(network.id)
    if entry is not None and board is not None:
        turn.owners |= {balance_owner(entry, service_id): None for service_id in board}


def in_use(turn: Turn, error: NetError) -> bool:
    """Whether a port could not be published since a program of this host has it: then it stays that program's, and is tried
    for again."""
    hold = getattr(error, "object", None) if isinstance(error, PortInUse) else None
    if not isinstance(hold, PortHold):
        return False
    place = (hold.proto, hold.port)
    network = next((one for one in turn.state.networks.values() if one.ingress), None)
    if network is None or place in turn.core.busy:
        return False
    turn.core.busy[place] = error.message
    due(turn, network, AGAIN_S)
    reason = f"{error.message}: the cluster's published port is not answered by this node"
    turn.notices.append(Notice("port", "in use", f"{hold.port}/{hold.proto}", {"reason": reason}, turn.at))
    return True


def _open(turn: Turn, network: Network, lease: Lease) -> Endpoint:
    """Make the entry: an interface in the node's own namespace."""
    sandbox = Sandbox(
        id=new_id(turn.core.chance),
        container_id="",
        netns="",
        settings=SandboxSettings(name=NAME, dns_mode="off"),
        passing=True,
        own=True,
    )
    turn.state.put(sandbox)
    asked = EndpointSettings(
        ipv4=lease.address,
        ipv6=lease.ipv6,
        mac=mesh.entry_mac(lease.address),
        driver_opts={options.ENDPOINT_IFNAME: mesh.LINK},
    )
    made = endpoints.join(turn, sandbox, None, network, asked)
    touch_tasks(turn, network)
    return made


def _close(turn: Turn, entry: Endpoint) -> None:
    network, sandbox = turn.network_of(entry), turn.state.sandboxes[entry.sandbox_id]
    endpoints.leave(turn, entry)
    turn.state.drop(replace(sandbox, endpoints=()))
    touch_tasks(turn, network)


def _lease(core: Core, network_id: str) -> Lease | None:
    found = (one for one in leases_of_network(core.state, network_id) if one.task_id == ENTRY and not one.resting)
    return next(found, None)


def _clash(core: Core, network: Network) -> str:
    """A prefix of the host that the network's routes would take from it, or whose route would take theirs."""
    for pool in network.pools:
        subnet = ip_network(pool.subnet)
        for text in core.host.prefixes:
            prefix = ip_network(text, strict=False)
            if prefix.version == subnet.version and prefix.prefixlen >= subnet.prefixlen and subnet.overlaps(prefix):
                return text
    return ""
