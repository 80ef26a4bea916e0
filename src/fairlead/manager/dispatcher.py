"""Dispatcher: what each node is told of what the records say. A change costs what it concerns, not what there is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from fairlead.manager import forgetting, keys, routed
from fairlead.manager.core import Session, Turn
from fairlead.manager.state import Change
from fairlead.model.cluster import ENTRY, Cluster, ClusterNetwork, ClusterNode, Lease
from fairlead.model.http_mesh import RoutedService
from fairlead.model.service import Service, Task, TaskState
from fairlead.model.session import RESTING, Assignments, Keys, ManagerView, NetworkAssignment, NodeView, Settings
from fairlead.pki import rotation
from fairlead.pki.authority import issuer_id, trusted
from fairlead.pki.ids import is_cluster_id


@dataclass(slots=True)
class _Delta:
    """What is to be told in one session."""

    networks: dict[str, None] = field(default_factory=dict)
    leases: dict[str, Lease | None] = field(default_factory=dict)
    tasks: dict[str, Task | None] = field(default_factory=dict)
    keys: bool = False
    node: bool = False
    settings: bool = False
    routes: dict[str, RoutedService | None] = field(default_factory=dict)


def full(turn: Turn, session: Session) -> None:
    """Tell a node everything."""
    networks = turn.state.networks_of(session.node_id)
    session.networks = set(networks)
    session.told += 1
    turn.push(
        session,
        Assignments(
            results_in=session.sequence(),
            full=True,
            networks=tuple(_network(turn, network_id) for network_id in networks),
            leases=tuple(turn.state.places.of(session.node_id)),
            keys=_keys(turn),
            node=_node(turn, session.node_id),
            settings=_settings(turn),
            forget=forgetting.pending(turn.core),
            recall=_left_over(turn, session.node_id),
            tasks=tuple(task for task in turn.state.roster.on_node(session.node_id).values() if _is_given(task)),
            routes=routed.every(turn.state),
        ),
    )


def tell(turn: Turn, changes: Iterable[Change], fresh: frozenset[str]) -> None:
    """Tell every node what has changed for it, but those in ``fresh``, who are told everything."""
    deltas: dict[str, _Delta] = {}
    for change in changes:
        _note(turn, change, deltas)
    concerned = {*deltas, *turn.recalls, *turn.disowned, *turn.unknown}
    if turn.forgets:
        concerned.update(turn.core.sessions)
    for node_id in concerned - fresh:
        session = turn.core.sessions.get(node_id)
        delta = deltas.get(node_id, _Delta())
        is_more = any(node_id in more for more in (turn.recalls, turn.disowned, turn.unknown))
        if session is not None and (turn.forgets or is_more or delta != _Delta()):
            _push(turn, session, delta)


def _push(turn: Turn, session: Session, delta: _Delta) -> None:
    node_id, before = session.node_id, session.networks
    for lease in delta.leases.values():
        if lease is not None and lease.network_id not in before:
            delta.networks[lease.network_id] = None
    session.networks = set(turn.state.networks_of(node_id)) if delta.leases or delta.networks else before
    applies_to = session.sequence()
    session.told += 1
    turn.push(
        session,
        Assignments(
            results_in=session.sequence(),
            applies_to=applies_to,
            networks=tuple(_network(turn, one) for one in delta.networks if one in session.networks),
            networks_gone=tuple(before - session.networks),
            leases=tuple(lease for lease in delta.leases.values() if lease is not None),
            leases_gone=(
                *(lease_id for lease_id, lease in delta.leases.items() if lease is None),
                *turn.disowned.get(node_id, ()),
            ),
            keys=_keys(turn) if delta.keys else None,
            node=_node(turn, node_id) if delta.node else None,
            settings=_settings(turn) if delta.settings else None,
            forget=tuple(turn.forgets),
            recall=tuple(turn.recalls.get(node_id, ())),
            tasks=tuple(task for task in delta.tasks.values() if task is not None),
            tasks_gone=(
                *(task_id for task_id, task in delta.tasks.items() if task is None),
                *turn.unknown.get(node_id, ()),
            ),
            routes=tuple(one for one in delta.routes.values() if one is not None),
            routes_gone=tuple(service_id for service_id, one in delta.routes.items() if one is None),
        ),
    )


def _note(turn: Turn, change: Change, deltas: dict[str, _Delta]) -> None:
    sessions = turn.core.sessions
    match change.before, change.after:
        case (Lease() | None) as before, (Lease() | None) as after if before is not None or after is not None:
            _note_lease(turn, before, after, deltas)
        case (Task() | None) as before, (Task() | None) as after if before is not None or after is not None:
            _note_task(turn, before, after, deltas)
        case (Service() | None) as before, (Service() | None) as after if before is not None or after is not None:
            _note_service(turn, before, after, deltas)
        case _, ClusterNetwork() as network:
            if change.before is not None:
                _note_network(turn, change.before, network, deltas)
        case (ClusterNode() | None) as before, (ClusterNode() | None) as after:
            _note_node(turn, before, after, deltas)
        case (Cluster() | None) as before, Cluster() as after:
            has_keys = before is None or _rings(before) != _rings(after)
            has_settings = before is None or _common(before) != _common(after)
            has_authority = before is None or before.authority != after.authority
            is_moved = before is not None and before.http_mesh != after.http_mesh
            routes = {one.id: one for one in routed.every(turn.state)} if is_moved else {}
            for node_id in sessions if has_keys or has_settings else ():
                delta = deltas.setdefault(node_id, _Delta())
                delta.routes |= routes
                delta.keys |= has_keys
                delta.settings |= has_settings
                delta.node |= has_authority
                if has_keys:
                    delta.networks |= dict.fromkeys(turn.state.networks_of(node_id))


def _note_service(turn: Turn, before: Service | None, after: Service | None, deltas: dict[str, _Delta]) -> None:
    """All nodes have the routes of all services, wherever their tasks are."""
    had = routed.of(turn.state, before) if before is not None else None
    has = routed.of(turn.state, after) if after is not None else None
    if had != has and (service := after or before) is not None:
        for node_id in turn.core.sessions:
            deltas.setdefault(node_id, _Delta()).routes[service.id] = has


def _note_lease(turn: Turn, before: Lease | None, after: Lease | None, deltas: dict[str, _Delta]) -> None:
    if before is not None and before.node_id in turn.core.sessions and not before.resting:
        deltas.setdefault(before.node_id, _Delta()).leases[before.id] = None
    if after is not None and after.node_id in turn.core.sessions and not after.resting:
        is_known = before is not None and (before.node_id, before.generation) == (after.node_id, after.generation)
        delta = deltas.setdefault(after.node_id, _Delta())
        is_given = before is not None and (before.holder == ENTRY or is_cluster_id(before.holder))
        of_task = is_given and before is not None and before.holder != after.holder
        if is_known and not of_task:  # what it is used for, the node has told itself; not that a task needs it no more
            del delta.leases[after.id]
        else:
            delta.leases[after.id] = after


def _note_task(turn: Turn, before: Task | None, after: Task | None, deltas: dict[str, _Delta]) -> None:
    """A task is told when its node is chosen and when managers want something else of it; how it is, its node knows."""
    node_id = after.node_id if after is not None else before.node_id if before is not None else ""
    if node_id not in turn.core.sessions:
        return
    if after is None:
        if before is not None and _is_given(before):
            deltas.setdefault(node_id, _Delta()).tasks[before.id] = None
    elif _is_given(after) and (before is None or not _is_given(before) or _orders(before) != _orders(after)):
        deltas.setdefault(node_id, _Delta()).tasks[after.id] = after


def _is_given(task: Task) -> bool:
    return bool(task.node_id) and task.status.state >= TaskState.ASSIGNED


def _orders(task: Task) -> object:
    """What of a task is a manager's word."""
    return task.desired, task.addresses


def _left_over(turn: Turn, node_id: str) -> tuple[str, ...]:
    """Leases of a node whose task has ended, or that rest there: they are wanted back."""
    return tuple(one.id for one in turn.state.places.of(node_id) if one.holder == RESTING)


def _note_network(turn: Turn, before: object, network: ClusterNetwork, deltas: dict[str, _Delta]) -> None:
    assert isinstance(before, ClusterNetwork)
    if (before.network, before.removing) == (network.network, network.removing):
        return
    for node_id in turn.state.places.nodes(network.id):
        if node_id in turn.core.sessions:
            deltas.setdefault(node_id, _Delta()).networks[network.id] = None


def _note_node(turn: Turn, before: ClusterNode | None, after: ClusterNode | None, deltas: dict[str, _Delta]) -> None:
    if _serves(before) != _serves(after):
        for node_id in turn.core.sessions:
            deltas.setdefault(node_id, _Delta()).settings = True
    if after is not None and after.id in turn.core.sessions:
        is_same = before is not None and (before.spec, before.issuer) == (after.spec, after.issuer)
        if not is_same:
            deltas.setdefault(after.id, _Delta()).node = True


def _serves(node: ClusterNode | None) -> object:
    """What others are told of a node that is a manager."""
    if node is None or not node.manager_address:
        return None
    return node.manager_address, node.description.gossip_key


def _rings(cluster: Cluster) -> object:
    return cluster.gossip_keys, cluster.data_keys


def _common(cluster: Cluster) -> object:
    return (
        cluster.authority,
        cluster.removed,
        cluster.spec.heartbeat_s,
        cluster.spec.certificate_s,
        cluster.http_mesh,
    )


def _network(turn: Turn, network_id: str) -> NetworkAssignment:
    known = turn.state.networks[network_id]
    return NetworkAssignment(
        replace(known.network, ingress=known.ingress), keys.network_ring(turn.state.cluster, network_id), known.removing
    )


def _keys(turn: Turn) -> Keys:
    cluster = turn.state.cluster
    return Keys(cluster.gossip_keys, cluster.data_keys)


def _node(turn: Turn, node_id: str) -> NodeView:
    node, authority = turn.state.nodes[node_id], turn.state.cluster.authority
    is_old = rotation.is_rotating(authority) and node.issuer != issuer_id(authority)
    spec = node.spec
    return NodeView(node.id, spec.role, spec.availability, spec.name, spec.labels, renew=is_old)


def _settings(turn: Turn) -> Settings:
    cluster = turn.state.cluster
    return Settings(
        cluster_id=cluster.id,
        managers=tuple(
            ManagerView(node.id, node.manager_address, node.description.gossip_key)
            for node in turn.state.nodes.values()
            if node.manager_address
        ),
        roots=trusted(cluster.authority),
        intermediate=cluster.authority.cross,
        heartbeat_s=cluster.spec.heartbeat_s,
        certificate_s=cluster.spec.certificate_s,
        data_path_port=cluster.data_path_port,
        removed=tuple(cluster.removed),
        removed_keys=tuple(cluster.removed_keys),
        http_mesh=cluster.http_mesh,
    )
