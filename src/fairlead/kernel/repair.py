"""Making a whole node true after anything: what is right is left alone, the rest is made, mended or taken away."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from fairlead.kernel import host, ipvs, netns, observe, requests, ruleset, sysctl, tables, xfrm
from fairlead.kernel.errno import LinkInTheWay, Refused, from_os
from fairlead.kernel.executor import Executor
from fairlead.kernel.machine import Machine
from fairlead.plan.diff import Change, Create, Delete, Step, diff
from fairlead.plan.objects import (
    Address,
    Announce,
    Bridge,
    Connections,
    Exact,
    Fdb,
    Flow,
    Key,
    Neighbour,
    Netns,
    Object,
    Plan,
    PortHold,
    Route,
    Sysctl,
    Table,
    Veth,
    Vxlan,
)
from fairlead.plan.render import line
from fairlead.plan.returns import ReturnPaths
from fairlead.plan.xfrm import ExactXfrm, Xfrm

_OBSERVED = (Netns, Bridge, Veth, Vxlan, Address, Route, Fdb, Neighbour)
#: What is made at every repair, and so is nothing to tell.
_ALWAYS = (PortHold, Announce, Exact, ExactXfrm, ReturnPaths)
#: What others may damage without taking the namespace along.
_MENDED = _OBSERVED[1:]


def repair(machine: Machine, desired: Mapping[Key, Object]) -> list[str]:
    """Do it; what was done, in words, one line for each thing; lines that begin with ``could not`` tell what still is
    wrong. Raises ``Refused`` when the kernel cannot be asked at all, or refuses the node's own firewall, without which
    nothing may be opened; then nothing was done."""
    try:
        Path(machine.netns_dir).mkdir(parents=True, exist_ok=True)
        words = _clear_files(machine)
        _adopt(machine, desired.values())
        seen = observe.look(machine)
        steps = _steps(machine, seen, desired)
    except OSError as error:
        raise from_os(error, "look at the network") from error
    standing = {item.name for item in seen.objects if isinstance(item, Netns)}
    executor = Executor(machine, go_on=True, phase="repair", theirs=theirs_in(desired.values()), standing=desired)
    words += _firewall(machine, desired, standing, executor)
    wanted = _names(desired.values()) if seen.trash else set()
    in_the_way = [link for link in seen.trash if (link.ns, link.name) in wanted]
    with suppress(OSError):
        words += _clear_trash(machine, in_the_way)
    executor.run(steps)
    words += ipvs.compare(machine.path, observe.namespaces(machine.netns_dir)[0], desired.values(), machine.fading)
    _doubt(machine, desired.values())
    with suppress(OSError):
        words += _clear_trash(machine, [link for link in seen.trash if link not in in_the_way])
    words += [_words(step) for step in steps if not isinstance(_object(step), _ALWAYS)]
    words += [f"could not mend: {failure}" for failure in executor.failures]
    return words


def _adopt(machine: Machine, desired: Iterable[Object]) -> None:
    """Know the strangers' bridges that serve us. One that is a link of another kind meanwhile is told of when it is to
    be made."""
    with machine.enter("") as netlink:
        for item in desired:
            if isinstance(item, Bridge) and item.adopt and item.name not in machine.adoptions:
                with suppress(LinkInTheWay):
                    machine.adoptions.take(netlink, item)


def _doubt(machine: Machine, desired: Collection[Object]) -> None:
    """What had an address of our networks before us may have left connections behind; of those behind bridges, where all
    who are there are known."""
    bridges = {item.name for item in desired if isinstance(item, Bridge) and not item.ns}
    ours = (item for item in desired if isinstance(item, Address) and not item.ns and item.link in bridges)
    prefixes = [item.cidr for item in ours if item.link not in machine.adoptions]
    living = [item.address for item in desired if isinstance(item, Connections)]
    published = [item for item in desired if isinstance(item, Flow) and not item.ns]
    host_addresses: list[str] = ["127.0.0.1", "::1"]
    with suppress(OSError), machine.enter("") as netlink:
        host_addresses += [cidr.partition("/")[0] for cidr in host.facts(netlink).addresses]
    machine.stale.doubt(prefixes, living, published, host_addresses)


def mend(machine: Machine, desired: Mapping[Key, Object], theirs: Collection[str]) -> list[str]:
    """As ``repair``, for some owners only and what is theirs alone: what others added is left alone, and so are sandboxes
    that are not there, since those end with what lives in them. ``theirs``: see ``theirs_in``. Raises ``Refused``."""
    wanted = {key: item for key, item in desired.items() if isinstance(item, _MENDED)}
    spaces = {space for item in wanted.values() for space in _spaces(item)} - {""}
    try:
        seen = observe.look(machine, spaces)
        standing = {item.name for item in seen.objects if isinstance(item, Netns)} | {""}
        wanted = {key: item for key, item in wanted.items() if standing.issuperset(_spaces(item))}
        actual = Plan(item for item in seen.objects if item.key in wanted)
        steps = _mending(seen, actual, Plan(wanted.values()), theirs)
        settings = [item for item in desired.values() if isinstance(item, Sysctl) and item.ns in standing]
        steps += [Create(item) for item in _unset(machine, settings, Plan(seen.objects))]
        steps += _ways_back(steps, desired.values(), standing)
        steps = _sparing(steps, theirs)
    except OSError as error:
        raise from_os(error, "look at the network") from error
    executor = Executor(machine, go_on=True, phase="repair", theirs=theirs)
    executor.run(steps)
    told = [_words(step) for step in steps if not isinstance(_object(step), _ALWAYS)]
    return [*told, *(f"could not mend: {failure}" for failure in executor.failures)]


def _ways_back(steps: Iterable[Step], desired: Iterable[Object], standing: Collection[str]) -> list[Step]:
    """Those of sandboxes in which something is mended: a route or a link may have been theirs."""
    spaces = {space for step in steps for space in _spaces(_object(step))} - {""}
    return [Create(item) for item in desired if isinstance(item, ReturnPaths) and item.ns in spaces & {*standing}]


def _spaces(item: Object) -> set[str]:
    return (
        {item.ns, item.peer_ns}
        if isinstance(item, Veth)
        else {item.ns}
        if isinstance(item, Bridge | Vxlan | Address | Route | Fdb | Neighbour)
        else {""}
    )


def _object(step: Step) -> Object:
    return step.after if isinstance(step, Change) else step.object


def _words(step: Step) -> str:
    verb = {Create: "made", Delete: "removed", Change: "mended"}[type(step)]
    return f"{verb} {line(_object(step))}"


def _clear_files(machine: Machine) -> list[str]:
    """Take away files of namespaces that ended with the machine's last life."""
    _, stale = observe.namespaces(machine.netns_dir)
    for name in stale:
        netns.delete(machine.path(name))
    return [f"removed the empty file of namespace {name}" for name in stale]


def _steps(machine: Machine, seen: observe.Seen, desired: Mapping[Key, Object]) -> list[Step]:
    actual = Plan(item for item in seen.objects if not doubtful(item, desired))
    wanted = Plan(
        item for item in desired.values() if isinstance(item, (*_OBSERVED, Xfrm)) and not xfrm.lost(item, actual)
    )
    theirs = theirs_in(desired.values())
    steps = _mending(seen, actual, wanted, theirs)
    steps += [Delete(hold) for hold in machine.holds.held if hold.key not in desired]
    steps += [Create(item) for item in desired.values() if isinstance(item, PortHold)]
    steps += [Create(item) for item in desired.values() if isinstance(item, Announce | ReturnPaths)]
    steps += [Create(item) for item in _unset(machine, desired.values(), actual)]
    return _sparing(steps, theirs)


def doubtful(item: Object, desired: Mapping[Key, Object]) -> bool:
    """Whether a tunnel that stays knows it from before, and who has it now is still to be told; so with encryption."""
    if xfrm.doubtful(item, desired):
        return True
    if not isinstance(item, Fdb | Neighbour) or item.key in desired:
        return False
    return ("link", item.ns, item.link) in desired and ("exact", item.ns, item.link) not in desired


def _mending(seen: observe.Seen, actual: Plan, wanted: Plan, theirs: Collection[str]) -> list[Step]:
    """The steps for what can be seen."""
    known = {key: _with_their_end(item, wanted.get(key), theirs) for key, item in actual.items()}
    steps = list(diff(known, wanted))
    stepped = {_object(step).key for step in steps}
    down = [*seen.down, *(link for link in seen.far_down if link.peer_ns not in theirs)]
    steps += [Change(link, link) for link in down if link.key not in stepped and link.key in wanted]
    return [*steps, *_reattached(steps, actual, wanted)]


def theirs_in(desired: Iterable[Object]) -> set[str]:
    """Namespaces whose network is the business of those who live there."""
    return {item.name for item in desired if isinstance(item, Netns) and item.theirs}


def _with_their_end(item: Object, wanted: Object | None, theirs: Collection[str]) -> Object:
    """A pair whose far end they gave another name or address is the pair that was made, as long as that end is there."""
    if (
        isinstance(item, Veth)
        and isinstance(wanted, Veth)
        and item.peer_ns in theirs
        and item.peer_ns == wanted.peer_ns
    ):
        return replace(item, peer=wanted.peer, peer_mac=wanted.peer_mac)
    return item


def _sparing(steps: list[Step], theirs: Collection[str]) -> list[Step]:
    """Without what would put addresses, routes and settings of links in their namespaces back: only those on a pair that
    is made now are, and all that lack where a pair goes for good, since that is a disconnect which was cut short."""
    if not theirs:
        return steps
    made = {
        step.object.key: step.object for step in steps if isinstance(step, Create) and isinstance(step.object, Veth)
    }
    fresh = {end for pair in made.values() for end in ((pair.ns, pair.name), (pair.peer_ns, pair.peer))}
    left = {
        step.object.peer_ns
        for step in steps
        if isinstance(step, Delete) and isinstance(step.object, Veth) and step.object.key not in made
    }

    def due(step: Step) -> bool:
        item = _object(step)
        if not isinstance(item, Address | Route | Sysctl) or item.ns not in theirs or not item.link:
            return True
        return (item.ns, item.link) in fresh or (item.ns in left and isinstance(step, Create))

    return [step for step in steps if due(step)]


def _reattached(steps: Iterable[Step], actual: Plan, wanted: Plan) -> list[Step]:
    """Addresses and routes that stand on a link which is made anew, and are lost with it."""
    lost: set[tuple[str, str]] = set()
    for step in steps:
        if isinstance(step, Delete) and isinstance(step.object, Veth | Bridge | Vxlan):
            lost.add((step.object.ns, step.object.name))
            if isinstance(step.object, Veth):
                lost.add((step.object.peer_ns, step.object.peer))
    return [
        Create(item)
        for item in wanted.values()
        if isinstance(item, Address | Route | Fdb | Neighbour)
        and (item.ns, item.link) in lost
        and actual.get(item.key) == item
    ]


def _unset(machine: Machine, desired: Iterable[Object], actual: Plan) -> list[Sysctl]:
    by_ns: dict[str, list[Sysctl]] = {}
    for item in desired:
        if isinstance(item, Sysctl):
            by_ns.setdefault(item.ns, []).append(item)
    found: list[Sysctl] = []
    for ns, items in by_ns.items():
        if ns and ("netns", ns) not in actual:
            found.extend(items)
            continue
        with netns.inside(machine.path(ns)):
            # a switch that this kernel does not have is off
            found.extend(item for item in items if (sysctl.read(item.path) or "0") != " ".join(item.value.split()))
    return found


def _firewall(machine: Machine, desired: Mapping[Key, Object], standing: set[str], executor: Executor) -> list[str]:
    """Our tables anew, whole, in one transaction for each namespace: connections that stand go on, since connection
    tracking does not belong to them. Those of namespaces that are still to be made come with these."""
    by_ns: dict[str, list[Object]] = {"": []}
    for item in desired.values():
        if isinstance(item, ruleset.Firewall):
            by_ns.setdefault(item.ns, []).append(item)
    words: list[str] = []
    for ns in sorted({*by_ns, *standing}):
        objects = by_ns.get(ns, [])
        if ns and ns not in standing:
            executor.later[ns] = ruleset.ruleset(objects)
            continue
        try:
            with machine.firewall(ns) as nft:
                present = tables.remake(nft, ns, objects)
        except Refused as failure:
            if not ns:
                raise
            executor.failures.append(failure)
            continue
        except OSError as error:
            if not ns:
                raise from_os(error, "reach the firewall") from error
            executor.failures.append(from_os(error, "reach the firewall"))
            continue
        wanted = {item.key: item for item in objects if isinstance(item, Table)}
        words += [f"removed {line(table)}" for key, table in present.items() if key not in wanted]
        words += [f"made {line(table)}" for key, table in wanted.items() if key not in present]
    return words


def _names(desired: Iterable[Object]) -> set[tuple[str, str]]:
    """Where links are to be, and how they are called there: a half-made one that has the name already must go first."""
    names: set[tuple[str, str]] = set()
    for item in desired:
        if isinstance(item, Bridge | Veth | Vxlan):
            names.add((item.ns, item.name))
        if isinstance(item, Veth):
            names.add((item.peer_ns, item.peer))
    return names


def _clear_trash(machine: Machine, links: Iterable[observe.SeenLink]) -> list[str]:
    """Delete links that were on their way out, or never finished."""
    words: list[str] = []
    by_ns: dict[str, list[observe.SeenLink]] = {}
    for link in links:
        by_ns.setdefault(link.ns, []).append(link)
    for ns, group in by_ns.items():
        with machine.enter(ns) as netlink:
            slots = [machine.trash.slot(ns, bridge=link.kind == "bridge") for link in group]
            netlink.request([requests.regroup(link.index, slot) for link, slot in zip(group, slots, strict=True)])
        words += [f"removed leftover link {link.name}" for link in group]
    machine.trash.purge()
    return words
