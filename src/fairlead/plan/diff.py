"""(what exists, what should) -> ordered steps.

Order of a change: what goes away goes first, in reverse rank (routes and links before the firewall elements that
guarded them), then what is new or different, in rank order (port holds, namespaces, firewall, bridges, settings, pairs,
addresses, routes). So a port is held before anything is opened to it, a network is guarded before its bridge exists, and
loses its guard only after the bridge has gone: closed at every moment between two steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fairlead.plan.ipvs import VirtualService
from fairlead.plan.objects import Backends, Bridge, Chain, Fdb, Key, Neighbour, Object, Sysctl, Table, Veth, Vxlan
from fairlead.plan.returns import ReturnPaths
from fairlead.plan.xfrm import XfrmPolicy


@dataclass(frozen=True, slots=True)
class Delete:
    """Make ``object`` not exist; it may be gone already."""

    object: Object


@dataclass(frozen=True, slots=True)
class Create:
    """Make ``object`` exist; it does not."""

    object: Object


@dataclass(frozen=True, slots=True)
class Change:
    """Turn ``before`` into ``after`` in place; both have the same key."""

    before: Object
    after: Object


Step = Delete | Create | Change


def changes_in_place(before: Object, after: Object) -> bool:
    """Whether Linux can turn ``before`` into ``after`` without a moment in which neither exists."""
    match before, after:
        case (Sysctl(), Sysctl()) | (Table(), Table()) | (Fdb(), Fdb()) | (Neighbour(), Neighbour()):
            return True
        case (Backends(), Backends()) | (XfrmPolicy(), XfrmPolicy()) | (ReturnPaths(), ReturnPaths()):
            return True
        case VirtualService(), VirtualService():
            return True
        case Chain(), Chain():
            return before.hook == after.hook
        case Bridge(), Bridge():
            return True
        case Veth(), Veth():
            same = (before.peer_ns, before.peer, before.peer_mac) == (after.peer_ns, after.peer, after.peer_mac)
            return same
        case Vxlan(), Vxlan():
            return (before.vni, before.local, before.port) == (after.vni, after.local, after.port)
        case _:
            return False


def diff(actual: Mapping[Key, Object], desired: Mapping[Key, Object]) -> tuple[Step, ...]:
    """The steps that turn ``actual`` into ``desired``. ``Sysctl`` objects that are no longer desired are left alone.

    Properties: ``diff(p, p)`` is empty; applying ``diff(a, b)`` to ``a`` gives ``b``. Cost is that of the two plans
    (or other mappings by key) given, so callers pass the plans of one owner, not of the whole node.
    """
    gone: list[Object] = []
    fresh: list[Step] = []
    for key, item in actual.items():
        wanted = desired.get(key)
        if wanted is None:
            if not isinstance(item, Sysctl):
                gone.append(item)
        elif wanted != item and not changes_in_place(item, wanted):
            gone.append(item)
    for key, target in desired.items():
        present = actual.get(key)
        if present is None or (present != target and not changes_in_place(present, target)):
            fresh.append(Create(target))
        elif present != target:
            fresh.append(Change(present, target))
    gone.sort(key=lambda item: -item.rank)
    fresh.sort(key=_rank)
    return (*(Delete(item) for item in gone), *fresh)


def _rank(step: Step) -> int:
    return step.after.rank if isinstance(step, Change) else step.object.rank
