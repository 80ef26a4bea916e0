"""Nodes: admitted, heard of, changed, removed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from fairlead.manager import charter, forgetting, keys, leases, refusals
from fairlead.manager.core import Session, Turn
from fairlead.model import codes, options
from fairlead.model.addresses import is_v6
from fairlead.model.cluster import (
    ACTIVE,
    DOWN,
    DRAIN,
    MANAGER,
    PAUSE,
    READY,
    UNKNOWN,
    WORKER,
    ClusterNode,
    NodeDescription,
    NodeSpec,
)
from fairlead.model.cluster_commands import Admission, AdmitNode, RemoveNode, RenewNode, SessionOpened, UpdateNode
from fairlead.model.errors import Forbidden
from fairlead.model.session import Dismissed
from fairlead.model.tunnel import inner_mtu
from fairlead.pki.ids import new_cluster_id
from fairlead.pki.tokens import role_for

#: Heartbeats that a node may miss (swarmkit: grace multiplier 3), and more after a manager's start (6).
_MISSED_MAX = 3
_MISSED_MAX_AT_START = 6
#: Seconds for which a removed node is remembered after its certificate must have ended (swarmkit: 7 days).
_REMEMBERED_S = 7 * 86400.0


def admit(turn: Turn, command: AdmitNode) -> Admission:
    """Make a node of who shows a token."""
    cluster = turn.state.cluster
    role = role_for(command.token, cluster.worker_token, cluster.manager_token)
    for node in turn.state.nodes.values():
        gossip_key = node.description.gossip_key
        if node.public_key == command.public_key or (gossip_key and gossip_key == command.description.gossip_key):
            raise Forbidden(
                "this request to join was made before: its key belongs to a node of the cluster",
                hint=f"node {node.id} has it; a node that joins anew makes a new key",
                code=codes.JOIN_REPLAYED,
            )
    _check_availability(command.availability)
    node = make(turn, role, command.description, command.public_key, command.address, command.availability)
    return Admission(node.id, role, cluster.id)


def make(
    turn: Turn, role: str, description: NodeDescription, public_key: str, address: str, availability: str
) -> ClusterNode:
    """Record a new node."""
    node = ClusterNode(
        id=new_cluster_id(turn.core.chance),
        created=turn.at,
        updated=turn.at,
        spec=NodeSpec(role, availability),
        description=description,
        role=role,
        address=address,
        public_key=public_key,
    )
    turn.state.put(node)
    turn.tell_node("create", node)
    _expect(turn, node.id, _MISSED_MAX_AT_START)
    return node


def renew(turn: Turn, command: RenewNode) -> Admission:
    """What the new certificate of a node must say."""
    node = turn.state.nodes.get(command.node_id)
    if node is None:
        raise Forbidden(
            f"node {command.node_id} is not part of the cluster",
            hint="it was removed; it can join again as a new node",
            code=codes.NODE_OUT,
        )
    if command.public_key:
        turn.put_node(replace(node, public_key=command.public_key))
    return Admission(node.id, node.spec.role, turn.state.cluster.id)


def update(turn: Turn, command: UpdateNode) -> ClusterNode:
    """Change a node's spec."""
    node, spec = turn.state.node(command.node), command.spec
    refusals.check_version(command.version, node.version)
    if spec.role not in (WORKER, MANAGER):
        raise refusals.bad_argument(
            f"unrecognized role {spec.role!r}", hint="worker or manager", code=codes.CLUSTER_SPEC_INVALID
        )
    _check_availability(spec.availability)
    if node.spec.role == MANAGER and spec.role == WORKER and not _other_managers(turn, node):
        raise refusals.precondition(
            "attempting to demote the last manager of the swarm",
            hint="`fairlead node promote OTHER` first",
            code=codes.NODE_IS_MANAGER,
        )
    changed = turn.put_node(replace(node, spec=spec))
    if changed is not node:
        turn.tell_node("update", changed, **_difference(node.spec, spec))
    return changed


def remove(turn: Turn, command: RemoveNode) -> ClusterNode:
    """Throw a node out: nobody believes it any more, and keys that it knows are replaced."""
    node = turn.state.node(command.node)
    if node.spec.role == MANAGER:
        raise refusals.precondition(
            f"node {node.id} is a cluster manager and is a member of the raft cluster. It must be demoted to worker "
            "before removal",
            hint=f"`fairlead node demote {node.description.hostname or node.id}` first",
            code=codes.NODE_IS_MANAGER,
        )
    if node.state != DOWN and not command.force:
        raise refusals.precondition(
            f"node {node.id} is not down and can't be removed",
            hint="`fairlead swarm leave` on that node first, or --force to throw it out",
            code=codes.NODE_NOT_DOWN,
        )
    cluster = turn.state.cluster
    until = turn.at + cluster.spec.certificate_s + _REMEMBERED_S
    turn.put_cluster(
        replace(
            cluster,
            removed=_remembered(cluster.removed, node.id, until, turn.at),
            removed_keys=_remembered(cluster.removed_keys, node.description.gossip_key, until, turn.at),
        )
    )
    session = turn.core.sessions.pop(node.id, None)
    if session is not None:
        turn.push(session, Dismissed("the node was removed from the cluster", removed=True))
    turn.state.drop(node)
    turn.core.heartbeats.forget(node.id)
    _excuse(turn, node.id)
    forgetting.node_left(turn, node.id)
    keys.rotate(turn)
    charter.follow_authority(turn)
    turn.tell_node("remove", node)
    return node


def opened(turn: Turn, event: SessionOpened) -> Session | None:
    """A node has opened a session; answers it, None if the node is not one of ours or it is an old one."""
    node = turn.state.nodes.get(event.node_id)
    if node is None:
        stranger = Session(event.node_id, event.session, event.hello.keys)
        turn.push(stranger, Dismissed("the node is not part of the cluster", removed=True))
        return None
    known = turn.core.sessions.get(node.id)
    if known is not None and known.number > event.session:
        return None
    if known is not None and known.number < event.session:
        turn.push(known, Dismissed("the node has opened another session"))
    session = turn.core.sessions[node.id] = Session(node.id, event.session, event.hello.keys)
    is_manager = event.role == MANAGER
    present = replace(
        node,
        description=event.hello.description,
        role=event.role,
        issuer=event.issuer,
        address=event.address or node.address,
        manager_address=event.hello.manager_address if is_manager else "",
        state=READY,
        message="",
        down_since=0.0,
    )
    if turn.put_node(present) is not node and node.state != READY:
        turn.tell_node("update", present, **{"state.new": READY, "state.old": node.state})
    if node.state == UNKNOWN or node.description.mtu != present.description.mtu:
        _warn_of_mtu(turn, present)
    _expect(turn, node.id, _MISSED_MAX)
    leases.adopt(turn, node, event.hello.leases)
    keys.reported(turn, session, event.hello.keys)
    forgetting.returns(turn, node.id)
    charter.follow_authority(turn)
    return session


def described(turn: Turn, node: ClusterNode, description: NodeDescription) -> None:
    """What a node says of itself has changed."""
    changed = turn.put_node(replace(node, description=description))
    if description.mtu != node.description.mtu:
        _warn_of_mtu(turn, changed)


def heard(turn: Turn, node: ClusterNode) -> None:
    """A sign of life."""
    if node.state == UNKNOWN:
        turn.put_node(replace(node, state=READY, message=""))
    _expect(turn, node.id, _MISSED_MAX)


def lost(turn: Turn, node_id: str, message: str) -> None:
    """A node is down; when it comes back it opens another session."""
    node = turn.state.nodes.get(node_id)
    if node is None or node.state == DOWN:
        return
    session = turn.core.sessions.pop(node_id, None)
    if session is not None:
        turn.push(session, Dismissed(message))
    changed = turn.put_node(replace(node, state=DOWN, message=message, down_since=turn.at))
    turn.core.heartbeats.forget(node_id)
    turn.tell_node("update", changed, **{"state.new": DOWN, "state.old": node.state})
    _excuse(turn, node_id)
    turn.retry.update(turn.state.networks_of(node_id))


def restart(turn: Turn) -> None:
    """A manager starts: what has no session is unknown until it is heard of, and has longer time for it."""
    for node in list(turn.state.nodes.values()):
        if node.id in turn.core.sessions:
            _expect(turn, node.id, _MISSED_MAX)
        elif node.state != DOWN:
            turn.put_node(replace(node, state=UNKNOWN, message="the manager has started anew"))
            _expect(turn, node.id, _MISSED_MAX_AT_START)


def _remembered(known: Mapping[str, float], more: str, until: float, at: float) -> dict[str, float]:
    """What is remembered with one more, without what may be forgotten."""
    return {one: end for one, end in known.items() if end > at} | ({more: until} if more else {})


def _excuse(turn: Turn, node_id: str) -> None:
    keys.excuse(turn, node_id)
    forgetting.excuse(turn, node_id)


def _expect(turn: Turn, node_id: str, periods: int) -> None:
    turn.core.heartbeats.expect(node_id, turn.now + periods * turn.state.cluster.spec.heartbeat_s)


def _other_managers(turn: Turn, node: ClusterNode) -> bool:
    return any(one.spec.role == MANAGER and one.id != node.id for one in turn.state.nodes.values())


def _check_availability(availability: str) -> None:
    if availability not in (ACTIVE, PAUSE, DRAIN):
        raise refusals.bad_argument(
            f"invalid availability {availability!r}", hint="active, pause or drain", code=codes.CLUSTER_SPEC_INVALID
        )


def _difference(before: NodeSpec, after: NodeSpec) -> dict[str, str]:
    """Attributes of a node event (Docker: what.new, what.old)."""
    found: dict[str, str] = {}
    for what in ("role", "availability", "name"):
        if getattr(before, what) != getattr(after, what):
            found |= {f"{what}.new": getattr(after, what), f"{what}.old": getattr(before, what)}
    return found


def _warn_of_mtu(turn: Turn, node: ClusterNode) -> None:
    """Say when packets of a network are too large for a node's data path."""
    outer, v6 = node.description.mtu, is_v6(node.description.data_path)
    for network in turn.state.networks.values():
        size = options.mtu(network.network.options, 0)
        room = inner_mtu(outer, v6=v6, encrypted=options.encrypted(network.network.options))
        if node.description.mtu and size > room:
            turn.tell_network("mtu", network, node=node.id, mtu=str(size), data_path_mtu=str(node.description.mtu))
