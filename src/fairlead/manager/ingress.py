"""The network of published ports (Docker: ingress): which services are in it, and that every node is.

A port that a service publishes in mode ingress is answered by every node, with a task or without. So every node has an
address there of its own, its entry, from which it leads connections to tasks; as long as any service publishes such a port,
and no longer.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from fairlead.manager import leases, refusals
from fairlead.manager.core import Turn
from fairlead.manager.state import Change
from fairlead.model import codes
from fairlead.model.cluster import ENTRY, ClusterNetwork, ClusterNode, Lease
from fairlead.model.errors import Exhausted
from fairlead.model.network import PREDEFINED
from fairlead.model.service import INGRESS, Service, ServicePort, ServiceSpec
from fairlead.model.session import RESTING

#: Nodes that are given an entry in one turn, or lose it: the store takes 1,024 writes at once.
_NODES_AT_ONCE = 200


def of(turn: Turn) -> ClusterNetwork | None:
    """The network; None: there is none."""
    return turn.state.networks.get(turn.state.ingress_id)


def publishes(ports: Iterable[ServicePort]) -> bool:
    """Whether one of these ports is answered by every node."""
    return any(port.mode == INGRESS for port in ports)


def networks_of(turn: Turn, spec: ServiceSpec) -> tuple[str, ...]:
    """Ids of the cluster's networks in which a service's tasks are."""
    named = tuple(one.network for one in spec.task.networks if one.network not in PREDEFINED)
    ingress = of(turn) if publishes(spec.ports) else None
    return (*named, ingress.id) if ingress is not None else named


def check(turn: Turn, spec: ServiceSpec) -> None:
    """Refuse, in swarm's words, ports that need a network which is not there."""
    if not publishes(spec.ports):
        return
    network = of(turn)
    if network is None or network.removing:
        raise refusals.precondition(
            "service needs ingress network, but no ingress network is present",
            hint="`fairlead network create --driver overlay --ingress NAME` makes one, or publish in mode host",
            code=codes.NETWORK_NOT_FOUND,
        )
    if any(one.network == "host" for one in spec.task.networks):
        raise refusals.bad_argument(
            "published ports in mode ingress cannot be used with host networking",
            hint="publish nothing: the tasks use their nodes' ports",
            code=codes.SERVICE_INVALID,
        )


def user(turn: Turn, network: ClusterNetwork) -> Service | None:
    """A service that needs this network for its ports."""
    if not network.ingress:
        return None
    return next((one for one in turn.state.services.values() if not one.removing and publishes(one.ports)), None)


def follow(turn: Turn, changes: Iterable[Change]) -> None:
    """Have every node take part while a service publishes a port, and none otherwise."""
    core, network = turn.core, of(turn)
    wanted = network.id if network is not None and not network.removing and len(core.ports.ingress) else ""
    if wanted != core.entries.network_id:
        core.entries.network_id = wanted
        core.entries.due |= dict.fromkeys(turn.state.nodes)
    for change in changes:
        if isinstance(change.after, ClusterNode) and change.before is None:
            core.entries.due[change.id] = None
        elif isinstance(change.before, Lease) and change.after is None and change.before.network_id == wanted:
            core.entries.due |= core.entries.lacking
            core.entries.lacking.clear()
    for node_id in [*core.entries.due][:_NODES_AT_ONCE]:
        del core.entries.due[node_id]
        if node_id in turn.state.nodes:
            _settle(turn, node_id, wanted)


def _settle(turn: Turn, node_id: str, wanted: str) -> None:
    """Give a node its entry in a network, and take others back."""
    held = [lease for lease in turn.state.places.of(node_id) if lease.holder == ENTRY]
    for lease in held:
        if lease.network_id != wanted:
            turn.state.put(replace(lease, holder=RESTING))
            turn.recalls.setdefault(node_id, []).append(lease.id)
    if wanted and not any(lease.network_id == wanted for lease in held):
        try:
            leases.grant(turn, turn.state.networks[wanted], node_id, holder=ENTRY)
        except Exhausted:
            turn.core.entries.lacking[node_id] = None
