"""From plans by owner to the steps of one change. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Container, Iterable, Mapping

from fairlead.plan.diff import Change, Create, Delete, Step, diff
from fairlead.plan.objects import (
    NOTHING,
    Address,
    Announce,
    Backends,
    Bridge,
    Chain,
    Element,
    Exact,
    Fdb,
    Key,
    Neighbour,
    Object,
    Plan,
    Route,
    Set,
    Sysctl,
    Table,
    Veth,
    Vxlan,
)
from fairlead.plan.returns import ReturnPaths

#: What Linux drops with the link that it is on.
_ON_LINKS = (Address, Route, Sysctl, Announce, Fdb, Neighbour, ReturnPaths)
#: How keys of encryption between nodes begin, and that of the fact that all of it is known.
_ENCRYPTION, _EXACT = frozenset({"xfrm-state", "xfrm-policy"}), "exact-xfrm"


class Ledger:
    """The plans last applied, by owner. An object that several owners want stands until the last lets go of it."""

    def __init__(self) -> None:
        self._plans: dict[str, Plan] = {}
        self._holders: Counter[Key] = Counter()

    def steps(self, plans: Mapping[str, Plan]) -> tuple[Step, ...]:
        """What to do so that each owner has its new plan instead of its old one."""
        before = self.objects(plans)
        after = _merged(plans.values())
        mine = Counter(key for owner in plans for key in self._plans.get(owner, NOTHING))
        found: list[Step] = []
        for step in diff(before, after):
            item = step.after if isinstance(step, Change) else step.object
            shared = self._holders[item.key] > mine[item.key] if item.key in self._holders else False
            if not shared or (isinstance(step, Create) and item.key in before):
                found.append(step)
        return tuple(_with_dependents(found, after.values()))

    def settle(self, plans: Mapping[str, Plan]) -> None:
        """The plans stand now."""
        for owner, plan in plans.items():
            for key in self._plans.pop(owner, NOTHING):
                self._holders[key] -= 1
                if not self._holders[key]:
                    del self._holders[key]
            if plan:
                self._plans[owner] = plan
                self._holders.update(plan.keys())

    def replace(self, plans: Mapping[str, Plan]) -> None:
        """These plans stand and no others."""
        self._plans = {}
        self._holders = Counter()
        self.settle(plans)

    def objects(self, owners: Iterable[str]) -> dict[Key, Object]:
        """What stands of some owners, by key."""
        return _merged(self._plans.get(owner, NOTHING) for owner in owners)

    def everything(self) -> dict[Key, Object]:
        """All that stands, by key."""
        return _merged(self._plans.values())

    def encryption(self) -> dict[Key, Object]:
        """What stands of encryption between nodes, by key. Quick when nothing does, which is the rule."""
        if not any(key[0] in _ENCRYPTION for key in self._holders):
            return {}
        wanted = _ENCRYPTION | {_EXACT}
        return {key: item for plan in self._plans.values() for key, item in plan.items() if key[0] in wanted}

    def concerned(self, links: Collection[str], spaces: Collection[str]) -> list[str]:
        """Owners of something on these links of the node's own namespace, or in these sandboxes. Quick when a link is
        nobody's, which is the rule: links that go because we let go of them are told, too."""
        known = {name for name in links if ("link", "", name) in self._holders}
        if not known and not spaces:
            return []
        return [
            owner for owner, plan in self._plans.items() if any(_touches(item, known, spaces) for item in plan.values())
        ]

    @property
    def keys(self) -> Container[Key]:
        """Keys of all that stands."""
        return self._holders

    def peers_of(self, links: Collection[Exact]) -> dict[Key, Object]:
        """What these tunnels are to know, by key."""
        wanted = {(link.ns, link.link) for link in links}
        return {
            key: item
            for plan in self._plans.values()
            for key, item in plan.items()
            if isinstance(item, Fdb | Neighbour) and (item.ns, item.link) in wanted
        }

    def firewall(self, ns: str, changed: Mapping[str, Plan]) -> list[Object]:
        """The firewall objects of a namespace as they will be when ``changed`` is applied."""
        plans = {**self._plans, **changed}
        every = _merged(plans.values()).values()
        return [item for item in every if isinstance(item, Table | Set | Chain | Element | Backends) and item.ns == ns]


def everything(plans: Mapping[str, Plan]) -> dict[Key, Object]:
    """All objects of all owners, by key."""
    return _merged(plans.values())


def inverse(steps: Iterable[Step], before: Mapping[Key, Object]) -> list[Step]:
    """The steps that undo ``steps``; ``before`` is what stood then."""
    found: list[Step] = []
    for step in reversed(list(steps)):
        match step:
            case Create():
                found.append(Delete(step.object))
            case Delete():
                found.append(Create(step.object))
            case Change():
                found.append(Change(step.after, step.before))
    gone = [step for step in found if isinstance(step, Delete)]
    fresh = [step for step in found if not isinstance(step, Delete)]
    return _with_dependents([*gone, *fresh], before.values())


def _touches(item: Object, links: Collection[str], spaces: Collection[str]) -> bool:
    match item:
        case Veth():
            return not {item.ns, item.peer_ns}.isdisjoint(spaces) or (
                not item.ns and (item.name in links or item.master in links)
            )
        case Bridge():
            return item.ns in spaces or (not item.ns and item.name in links)
        case Vxlan() | Fdb() | Neighbour() | ReturnPaths():
            return item.ns in spaces
        case Address() | Route():
            return item.ns in spaces or (not item.ns and item.link in links)
        case _:
            return False


def _merged(plans: Iterable[Plan]) -> dict[Key, Object]:
    found: dict[Key, Object] = {}
    for plan in plans:
        found.update(plan)
    return found


def _with_dependents(steps: list[Step], after: Iterable[Object]) -> list[Step]:
    """Linux drops the addresses, routes and settings of a link with the link, and routes with the last address of
    theirs: what should be there all the same is made again."""
    remade: set[tuple[str, str]] = set()
    readdressed: set[tuple[str, str]] = set()
    created = {step.object.key for step in steps if isinstance(step, Create)}
    for step in steps:
        if not isinstance(step, Delete):
            continue
        item = step.object
        if isinstance(item, Veth | Bridge | Vxlan) and item.key in created:
            remade.add((item.ns, item.name))
            if isinstance(item, Veth):
                remade.add((item.peer_ns, item.peer))
        elif isinstance(item, Address):
            readdressed.add((item.ns, item.link))
    if not remade and not readdressed:
        return steps
    extra: list[Step] = []
    for item in after:
        if item.key in created or not isinstance(item, _ON_LINKS) or not item.link:
            continue
        link = (item.ns, item.link)
        if link in remade:
            extra.append(Create(item))
        elif link in readdressed and isinstance(item, Route):
            extra.append(Change(item, item))
    return [*steps, *extra]
