"""Shared keys: made here, held by every node before any uses them.

A ring at rest has one key. A rotation goes in three steps, each persisted and pushed, each begun only when every node
that may be alive has confirmed the step before:

1. the new key is added; everybody still seals with the old one;
2. the new key becomes the primary one; the old one still opens;
3. the old one is dropped.

The rings say themselves at which step they are, so a manager that starts anew goes on. A node that was away is given the
rings as they are now, however many rotations it has missed. A rotation that is asked for during another adds one more key,
which the same steps then lead to.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import replace

from fairlead.manager.core import Core, Session, Turn
from fairlead.model import codes
from fairlead.model.cluster import Cluster, Key, Ring
from fairlead.model.errors import Conflict
from fairlead.model.ids import Chance
from fairlead.model.session import HeldKeys, KeyReport

#: Seconds between two rotations (swarmkit: 12 h).
ROTATION_S = 12 * 3600.0
#: Bits of a key's secret.
_SECRET_BITS = 256
_SUBJECT = "keys"


def new_secret(chance: Chance) -> str:
    """A fresh secret: 32 bytes in hexadecimal."""
    return f"{chance.getrandbits(_SECRET_BITS):064x}"


def first_rings(chance: Chance) -> tuple[Ring, Ring]:
    """The rings of a new cluster: gossip's and the data path's."""
    gossip, data = Key(1, new_secret(chance)), Key(2, new_secret(chance))
    return Ring((gossip,), gossip.tag), Ring((data,), data.tag)


def network_ring(cluster: Cluster, network_id: str) -> Ring:
    """The keys of one network's gossip scope: for each tag of the cluster's gossip ring one that only managers can derive."""

    def derived(key: Key) -> Key:
        text = f"network {network_id} {key.tag}".encode()
        return Key(key.tag, hmac.new(bytes.fromhex(cluster.network_secret), text, hashlib.sha256).hexdigest())

    ring = cluster.gossip_keys
    return Ring(tuple(derived(key) for key in ring.keys), ring.primary)


def is_rotating(cluster: Cluster) -> bool:
    """Whether a rotation is under way."""
    return len(cluster.gossip_keys.keys) > 1


def due_at(cluster: Cluster) -> float:
    """When the next rotation is due (epoch seconds)."""
    return cluster.keys_made + ROTATION_S


def rotate(turn: Turn) -> None:
    """Make new keys and begin to distribute them."""
    cluster = turn.state.cluster
    rings = (cluster.gossip_keys, cluster.data_keys)
    newest = max(key.tag for ring in rings for key in ring.keys)
    gossip, data = (
        replace(ring, keys=(*ring.keys, Key(newest + 1 + index, new_secret(turn.core.chance))))
        for index, ring in enumerate(rings)
    )
    turn.put_cluster(replace(cluster, gossip_keys=gossip, data_keys=data, keys_made=turn.at))
    resume(turn)


def rotate_now(turn: Turn) -> Cluster:
    """The same because somebody asks for it; raises ``Conflict`` while a rotation is under way."""
    if is_rotating(turn.state.cluster):
        names = [turn.state.nodes[node_id].description.hostname for node_id in laggards(turn.core)]
        raise Conflict(
            f"keys are being rotated, and not confirmed yet by {', '.join(names) or 'all'}",
            hint="`fairlead node ls` shows who is away; a node that is down is waited for no more",
            code=codes.KEYS_ROTATING,
        )
    rotate(turn)
    return turn.state.cluster


def resume(turn: Turn) -> None:
    """Wait for the confirmations of the present step, and go on if there is nobody to wait for."""
    core = turn.core
    while is_rotating(turn.state.cluster):
        core.keys.ask(_SUBJECT, [node_id for node_id in core.living() if not _confirmed(turn, node_id)])
        if core.keys.missing[_SUBJECT]:
            return
        _step(turn)
    core.keys.forget(_SUBJECT)


def reported(turn: Turn, session: Session, report: KeyReport) -> None:
    """A node has told which keys it holds and uses."""
    session.keys = report
    if not is_rotating(turn.state.cluster):
        return
    if not _confirmed(turn, session.node_id):
        turn.core.keys.add(_SUBJECT, session.node_id)
    elif turn.core.keys.confirm(_SUBJECT, session.node_id):
        _step(turn)
        resume(turn)


def excuse(turn: Turn, node_id: str) -> None:
    """A node is down or out: wait for it no more."""
    if any([*turn.core.keys.excuse(node_id)]):
        _step(turn)
        resume(turn)


def laggards(core: Core) -> tuple[str, ...]:
    """Nodes that the present step of a rotation waits for."""
    return tuple(sorted(core.keys.missing.get(_SUBJECT, ())))


def _step(turn: Turn) -> None:
    """Everybody has confirmed: switch to the newest keys, or if that is done drop the others."""
    cluster = turn.state.cluster
    gossip, data = (_stepped(ring) for ring in (cluster.gossip_keys, cluster.data_keys))
    turn.put_cluster(replace(cluster, gossip_keys=gossip, data_keys=data))


def _stepped(ring: Ring) -> Ring:
    newest = _newest(ring)
    return Ring((newest,), newest.tag) if ring.primary == newest.tag else replace(ring, primary=newest.tag)


def _newest(ring: Ring) -> Key:
    return max(ring.keys, key=lambda key: key.tag)


def _confirmed(turn: Turn, node_id: str) -> bool:
    session = turn.core.sessions.get(node_id)
    cluster = turn.state.cluster
    return session is not None and all(
        _holds(held, ring)
        for held, ring in ((session.keys.gossip, cluster.gossip_keys), (session.keys.data, cluster.data_keys))
    )


def _holds(held: HeldKeys, ring: Ring) -> bool:
    newest = _newest(ring).tag
    return newest in held.tags and (ring.primary != newest or held.primary == newest)
