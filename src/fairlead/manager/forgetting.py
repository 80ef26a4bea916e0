"""Forgetting: an address whose node is gone is not free before everybody has forgotten who had it.

Of what is to be forgotten every node that may be alive is asked, and those that come back later too. When the last one has
confirmed, the addresses are freed. What is to be forgotten follows from the records: leases of nodes that are no more, and
leases that rest.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from fairlead.manager import leases
from fairlead.manager.core import Core, Turn
from fairlead.model.cluster import Lease
from fairlead.model.session import FORGET_LEASE, FORGET_NODE, Forget

#: Leases freed in one decision, so that its transaction stays small (the store takes 1,024 writes).
_SWEPT_AT_ONCE = 400


def node_left(turn: Turn, node_id: str) -> None:
    """A node was removed: have it forgotten, then free what it had."""
    _ask(turn, Forget(f"{FORGET_NODE}/{node_id}", FORGET_NODE, node_id))


def rest(turn: Turn, lease: Lease) -> None:
    """Nobody wants an address that all nodes shared (a virtual address): have it forgotten, then free it."""
    turn.state.put(replace(lease, resting=True))
    _lease_rests(turn, lease)


def _lease_rests(turn: Turn, lease: Lease) -> None:
    subject = f"{FORGET_LEASE}/{lease.id}/{lease.generation}"
    _ask(turn, Forget(subject, FORGET_LEASE, lease.id, lease.generation))


def resume(turn: Turn) -> None:
    """Find, at a start, what was being forgotten."""
    left: dict[str, None] = {}
    for lease in turn.state.leases.values():
        if lease.network_id not in turn.state.networks:
            turn.core.swept.append(lease.id)
        elif lease.resting:
            _lease_rests(turn, lease)
        elif lease.node_id and lease.node_id not in turn.state.nodes:
            left[lease.node_id] = None
    for node_id in left:
        node_left(turn, node_id)


def pending(core: Core) -> tuple[Forget, ...]:
    """Everything that is being forgotten."""
    return tuple(_parsed(subject) for subject in core.forgets.missing)


def confirmed(turn: Turn, node_id: str, subjects: Iterable[str]) -> None:
    """A node has forgotten."""
    for subject in subjects:
        if turn.core.forgets.confirm(subject, node_id):
            _done(turn, subject)


def returns(turn: Turn, node_id: str) -> None:
    """A node opens a session: it is asked like the others, whatever it said before."""
    for subject in turn.core.forgets.missing:
        turn.core.forgets.add(subject, node_id)


def excuse(turn: Turn, node_id: str) -> None:
    """A node is down or out: wait for it no more. When it comes back it is told that those addresses have other owners by
    their greater generations."""
    for subject in [*turn.core.forgets.excuse(node_id)]:
        _done(turn, subject)


def sweep(turn: Turn) -> None:
    """Free some of what has been forgotten by all."""
    for _ in range(min(len(turn.core.swept), _SWEPT_AT_ONCE)):
        lease = turn.state.leases.get(turn.core.swept.popleft())
        if lease is not None and _is_nobodys(turn, lease):
            leases.free(turn, lease)


def _ask(turn: Turn, forget: Forget) -> None:
    core = turn.core
    core.forgets.ask(forget.id, core.living())
    if core.forgets.missing[forget.id]:
        turn.forgets.append(forget)
    else:
        _done(turn, forget.id)


def _done(turn: Turn, subject: str) -> None:
    core, forget = turn.core, _parsed(subject)
    core.forgets.forget(subject)
    if forget.what == FORGET_NODE:
        core.swept.extend(lease.id for lease in turn.state.places.of(forget.subject))
    else:
        core.swept.append(forget.subject)


def _is_nobodys(turn: Turn, lease: Lease) -> bool:
    gone = bool(lease.node_id) and lease.node_id not in turn.state.nodes
    return lease.resting or gone or lease.network_id not in turn.state.networks


def _parsed(subject: str) -> Forget:
    what, _, rest = subject.partition("/")
    if what == FORGET_NODE:
        return Forget(subject, what, rest)
    lease_id, _, generation = rest.rpartition("/")
    return Forget(subject, what, lease_id, int(generation))
