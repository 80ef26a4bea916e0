"""Steps carried out on the real kernel, in stages that batch what belongs together.

Stages: routes and addresses away; links made harmless; ports let go, ports held; namespaces made; one firewall
transaction for each namespace; encryption between nodes; settings of the node; links made, down; settings of links; per namespace one batch that
brings links up, then addresses, then routes; encryption that nobody needs any more; namespaces dropped; connection tracking; announcements. A stage does all
it can; the executor stops after the first stage with a fault unless told to go on.
"""

from __future__ import annotations

import errno
import functools
import logging
import os
import socket
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from operator import itemgetter
from typing import TypeVar

from fairlead.kernel import announce, conntrack, ipvs, netns, requests, returns, ruleset, sysctl, tables, tunnels, xfrm
from fairlead.kernel.errno import HostPortInUse, LinkInTheWay, Refused, from_os, refused, unsettable
from fairlead.kernel.machine import Machine
from fairlead.kernel.netlink import BATCH_MAX, Fault, Netlink
from fairlead.kernel.nft import Nft
from fairlead.plan.diff import Change, Create, Delete, Step
from fairlead.plan.objects import (
    Address,
    Announce,
    Backends,
    Bridge,
    Connections,
    Fdb,
    Flow,
    Key,
    Neighbour,
    Netns,
    Object,
    PortHold,
    Route,
    Sysctl,
    Veth,
    Vxlan,
)
from fairlead.plan.returns import ReturnPaths
from fairlead.plan.xfrm import Xfrm

log = logging.getLogger(__name__)

_T = TypeVar("_T", bound=Object)
_I = TypeVar("_I", bound=Object | Step)
#: All firewall objects that should stand in a namespace in the end.
Whole = Callable[[str], Sequence[Object]]
#: An answer to a deletion that means it was gone already.
_GONE = frozenset({errno.ENODEV, errno.ESRCH, errno.EADDRNOTAVAIL, errno.ENOENT, errno.ENXIO})
Failure = Refused | HostPortInUse | LinkInTheWay
#: What a link is told once it is up, in this order.
_SETUP = {kind: place for place, kind in enumerate((Bridge, Vxlan, Veth, Address, Route, Fdb, Neighbour, Announce))}
#: Between the parts of an element: that of a published port has some (``udp . 53``), a virtual address none.
_PARTS = " . "
#: Names of the stages in their order; a fault point comes before each.
STAGES = (
    "withdraw",
    "discard",
    "ports",
    "namespaces",
    "firewall",
    "ipsec",
    "settings",
    "links",
    "link-settings",
    "addressing",
    "forget-ipsec",
    "drop-namespaces",
    "flows",
    "announcements",
)
#: What a run is for: the first part of its fault points.
PHASES = ("apply", "undo", "repair")


class Executor:
    """One run over some steps. ``touched`` are the steps that may have had an effect, in order."""

    def __init__(
        self,
        machine: Machine,
        *,
        whole: Whole | None = None,
        go_on: bool = False,
        phase: str = "apply",
        theirs: Collection[str] = (),
        standing: Container[Key] = (),
    ) -> None:
        self._machine = machine
        self._phase = phase
        self._whole = whole
        self._go_on = go_on
        #: Namespaces in which a route of others is not replaced: a container's own may be what keeps its traffic in a tunnel.
        self._theirs = theirs
        #: Keys of what is to stand beside what this run makes: no leftover.
        self._standing = standing
        self._indices: dict[tuple[str, str], int] = {}
        self._senders: dict[Key, socket.socket] = {}
        #: Links and namespaces that were made, by key, far ends of pairs also.
        self._made: set[Key] = set()
        self.failures: list[Failure] = []
        self.touched: list[Step] = []
        #: Firewall transactions to run as soon as the namespaces are made, by namespace.
        self.later: dict[str, str] = {}

    def run(self, steps: Sequence[Step]) -> None:
        """Carry the steps out; what went wrong is in ``failures``."""
        gone = [step.object for step in steps if isinstance(step, Delete)]
        # one that others made lives on: what is ours in it must be taken out
        dead = {item.name for item in gone if isinstance(item, Netns) and not item.inode}
        stages: tuple[Callable[[], None], ...] = (
            lambda: self._withdraw(gone, dead),
            lambda: self._discard(gone, dead),
            lambda: self._ports(steps),
            lambda: self._namespaces(steps),
            lambda: self._firewall(steps, dead),
            lambda: self._encrypt(steps),
            lambda: self._settings([item for item in _fresh(steps, Sysctl) if not item.link]),
            lambda: self._links(steps),
            lambda: self._settings([item for item in _fresh(steps, Sysctl) if item.link]),
            lambda: self._addressing(steps, dead),
            lambda: self._encrypt_no_more(steps),
            lambda: self._drop_namespaces(steps),
            lambda: self._flows(steps, dead),
            lambda: self._announcements(steps),
        )
        for name, stage in zip(STAGES, stages, strict=True):
            self._machine.reach(f"{self._phase}.{name}")
            stage()
            if self.failures and not self._go_on:
                self._drop_senders()
                return
        self._machine.reach(f"{self._phase}.done")

    def _touch(self, step: Step) -> None:
        self.touched.append(step)
        if isinstance(step, Create):
            self._made |= _places(step.object)

    def _fail(self, failure: Failure) -> None:
        self.failures.append(failure)

    def _withdraw(self, gone: Sequence[Object], dead: set[str]) -> None:
        """Routes, then addresses, then what tunnels know, of links that stay."""
        doomed = (item for item in gone if isinstance(item, Bridge | Veth | Vxlan) and not self._adopted(item))
        lost = {end for item in doomed for end in _ends(item)}
        by_ns: dict[str, list[Address | Route | Fdb | Neighbour]] = {}
        for kind in (Route, Address, Neighbour, Fdb):
            for item in gone:
                if isinstance(item, kind):
                    self._touch(Delete(item))
                    if item.ns not in dead and (item.ns, item.link) not in lost:
                        by_ns.setdefault(item.ns, []).append(item)
        for ns, items in by_ns.items():
            self._in_namespace(ns, items, self._withdraw_batch)

    def _withdraw_batch(self, netlink: Netlink, items: Sequence[Address | Route | Fdb | Neighbour]) -> None:
        batch: list[tuple[Object, bytearray]] = []
        for item in items:
            index = self._index(item.ns, item.link)
            if not index:
                continue
            if isinstance(item, Fdb | Neighbour):
                batch.extend((item, request) for request in tunnels.entry(item, index, present=False))
            elif not self._shared(item):
                batch.append((item, _request(item, index, present=False)))
        self._send(netlink, batch, "remove", tolerated=_GONE)

    def _discard(self, gone: Sequence[Object], dead: set[str]) -> None:
        links = [item for item in gone if isinstance(item, Bridge | Veth)]
        ends = [item for item in gone if isinstance(item, Vxlan)]
        for link in (*ends, *links):
            self._touch(Delete(link))
        ours = [link for link in links if not (self._adopted(link) and self._machine.adoptions.give_back(link.name))]
        try:
            tunnels.delete(self._machine, ends)
            self._machine.trash.take(ours, dead)
        except OSError as error:
            self._fail(from_os(error, "take links away"))

    def _ports(self, steps: Sequence[Step]) -> None:
        for step in steps:
            if isinstance(step, Delete) and isinstance(step.object, PortHold):
                self._touch(step)
                self._machine.holds.release(step.object)
        for item in _fresh(steps, PortHold):
            try:
                self._machine.holds.take(item)
                self._touch(Create(item))
            except (Refused, HostPortInUse) as failure:
                self._fail(failure)
                if not self._go_on:
                    return

    def _namespaces(self, steps: Sequence[Step]) -> None:
        for item in _fresh(steps, Netns):
            try:
                if item.inode:
                    netns.hold(self._machine.path(item.name), item.source, item.inode)
                else:
                    netns.create(self._machine.path(item.name))
                self._touch(Create(item))
                self._machine.listen(item.name)
            except OSError as error:
                self._fail(from_os(error, f"make network namespace {item.name}", item))

    def _drop_namespaces(self, steps: Sequence[Step]) -> None:
        for step in steps:
            if isinstance(step, Delete) and isinstance(step.object, Netns):
                self._touch(step)
                self._machine.unlisten(step.object.name)
                try:
                    netns.delete(self._machine.path(step.object.name))
                except OSError as error:
                    self._fail(from_os(error, f"drop network namespace {step.object.name}", step.object))

    def _firewall(self, steps: Sequence[Step], dead: set[str]) -> None:
        by_ns: dict[str, list[Step]] = {}
        for step in steps:
            item = step.after if isinstance(step, Change) else step.object
            if isinstance(item, ruleset.Firewall) and item.ns not in dead:
                by_ns.setdefault(item.ns, []).append(step)
        # virtual services stand before packets are marked for them, and go after
        self._virtual([step for step in steps if not isinstance(step, Delete)], dead)
        for ns, script in self.later.items():
            self._change_firewall(ns, functools.partial(Nft.run, script=script))
        for ns, group in by_ns.items():
            whole = functools.partial(self._whole, ns) if self._whole is not None else None
            if self._change_firewall(ns, functools.partial(tables.change, ns=ns, steps=group, whole=whole)):
                self.touched.extend(group)
        self._virtual([step for step in steps if isinstance(step, Delete)], dead)

    def _virtual(self, steps: Sequence[Step], dead: set[str]) -> None:
        done, failures = ipvs.change(self._machine.path, steps, dead, self._machine.fading)
        self.touched.extend(done)
        self.failures.extend(failures)

    def _change_firewall(self, ns: str, work: Callable[[Nft], object]) -> bool:
        """Whether it was done; what stood in the way is told otherwise."""
        try:
            with self._machine.firewall(ns, keep=True) as nft:
                work(nft)
        except Refused as failure:
            self._fail(failure)
        except OSError as error:
            self._fail(from_os(error, "reach the firewall"))
        else:
            return True
        return False

    def _encrypt(self, steps: Sequence[Step]) -> None:
        """After what drops clear packets stands, and before there is a tunnel to send them."""
        done, failures = xfrm.put(steps)
        for step in done:
            self._touch(step)
        self.failures.extend(failures)

    def _encrypt_no_more(self, steps: Sequence[Step]) -> None:
        """After all that could fail: what is undone finds the states as they were."""
        for step in steps:
            if isinstance(step, Delete) and isinstance(step.object, Xfrm):
                self._touch(step)
        self.failures.extend(xfrm.drop(steps))

    def _settings(self, settings: Sequence[Sysctl]) -> None:
        by_ns: dict[str, list[Sysctl]] = {}
        for item in settings:
            by_ns.setdefault(item.ns, []).append(item)
        for ns, items in by_ns.items():
            try:
                with netns.inside(self._machine.path(ns)):
                    for item in items:
                        self._set(item)
            except OSError as error:
                self._fail(from_os(error, f"enter network namespace {ns}"))

    def _set(self, item: Sysctl) -> None:
        before = None if self._is_new(item) else sysctl.read(item.path)
        if before is not None and before != " ".join(item.value.split()):
            self._touch(Change(replace(item, value=before), item))
        try:
            sysctl.write(item.path, item.value, lacking_is_off=not item.asked)
        except OSError as error:
            self._fail(
                unsettable(item, error) if item.asked else from_os(error, f"set {item.path} to {item.value}", item)
            )

    def _is_new(self, item: Sysctl) -> bool:
        """Whether it goes with what was made in this run, and need not be put back."""
        return not self._made.isdisjoint((("netns", item.ns), ("link", item.ns, item.link)))

    def _links(self, steps: Sequence[Step]) -> None:
        self._make_all(steps, Bridge)
        if not self.failures or self._go_on:
            self._make_tunnels(_created(steps, Vxlan))
        if not self.failures or self._go_on:
            self._make_all(steps, Veth)

    def _make_tunnels(self, items: Sequence[Vxlan]) -> None:
        for item in items:
            try:
                tunnels.make(self._machine, item, self._standing)
                self._touch(Create(item))
            except Refused as failure:
                self._fail(failure)

    def _make_all(self, steps: Sequence[Step], kind: type[Bridge] | type[Veth]) -> None:
        by_ns: dict[str, list[Bridge | Veth]] = {}
        for item in _created(steps, kind):
            by_ns.setdefault(item.ns, []).append(item)
        for ns, items in by_ns.items():
            for start in range(0, len(items), BATCH_MAX):
                self._in_namespace(ns, items[start : start + BATCH_MAX], self._make_links)

    def _make_links(self, netlink: Netlink, items: Sequence[Bridge | Veth]) -> None:
        made: list[tuple[Object, bytearray]] = []
        with ExitStack() as descriptors:
            opened: dict[str, int] = {}
            for item in items:
                if isinstance(item, Bridge) and item.adopt and self._adopt(netlink, item):
                    continue
                request = self._link_request(item, opened, descriptors)
                if request is not None:
                    made.append((item, request))
            # what was refused is not ours: its name may be a stranger's or another owner's
            refusals = self._send(netlink, made, "make")
            for done, _ in made:
                if done.key not in refusals:
                    self._touch(Create(done))
                    self._learn(done)
        for item in items:
            if self._adopted(item):
                continue
            for name in [item.name, *([item.peer] if isinstance(item, Veth) and item.peer_ns == item.ns else [])]:
                sysctl.quieten(name)

    def _adopt(self, netlink: Netlink, item: Bridge) -> bool:
        """Whether a bridge need not, or must not, be made, since a link of that name is there."""
        try:
            taken = self._machine.adoptions.take(netlink, item)
        except LinkInTheWay as failure:
            self._fail(failure)
            return True
        if taken:
            self._touch(Create(item))
        return taken

    def _adopted(self, item: Object) -> bool:
        return isinstance(item, Bridge) and item.adopt and not item.ns and item.name in self._machine.adoptions

    def _shared(self, item: Address | Route) -> bool:
        """Whether it is an address that the owner of an adopted bridge gave it."""
        return isinstance(item, Address) and not item.ns and self._machine.adoptions.shares(item.link, item.cidr)

    def _link_request(self, item: Bridge | Veth, opened: dict[str, int], descriptors: ExitStack) -> bytearray | None:
        if isinstance(item, Bridge):
            return requests.bridge(item)
        master = self._index(item.ns, item.master) if item.master else 0
        if item.master and not master:
            self._fail(refused(f"make {item.name}: there is no bridge {item.master}", errno.ENODEV, item=item))
            return None
        if item.peer_ns == item.ns:
            return requests.veth(item, -1, master)
        if item.peer_ns not in opened:
            try:
                path = self._machine.path(item.peer_ns) or "/proc/self/ns/net"
                opened[item.peer_ns] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except OSError as error:
                self._fail(from_os(error, f"make {item.name}", item))
                return None
            descriptors.callback(os.close, opened[item.peer_ns])
        return requests.veth(item, opened[item.peer_ns], master)

    def _learn(self, item: Object) -> None:
        """Remember the index that the kernel gave to a link of the node's own namespace."""
        if isinstance(item, Bridge | Veth) and not item.ns:
            index = self._indices[item.ns, item.name] = socket.if_nametoindex(item.name)
            self._machine.own_indices.add(index)

    def _addressing(self, steps: Sequence[Step], dead: set[str]) -> None:
        """Links up, then addresses, then routes, in one batch for each namespace, the node's own first; then ways back."""
        by_ns: dict[str, list[Step]] = {"": []}
        placed: list[tuple[int, Step]] = []
        for step in steps:
            place = None if isinstance(step, Delete) else _SETUP.get(type(_aim(step)))
            if place is not None:
                placed.append((place, step))
        placed.sort(key=itemgetter(0))
        for _, step in placed:
            item = _aim(step)
            if isinstance(item, Netns | PortHold):
                continue
            by_ns.setdefault(item.ns, []).append(step)
            if isinstance(item, Veth) and item.peer_ns != item.ns:
                by_ns.setdefault(item.peer_ns, []).append(step)
        for ns, group in by_ns.items():
            if group:
                self._in_namespace(ns, group, functools.partial(self._address_batch, ns))
        if not self.failures or self._go_on:
            self._ways_back(steps, dead)

    def _ways_back(self, steps: Sequence[Step], dead: set[str]) -> None:
        for step in steps:
            item = _aim(step)
            if not isinstance(item, ReturnPaths) or item.ns in dead:
                continue
            self._touch(step)
            try:
                (returns.drop if isinstance(step, Delete) else returns.put)(self._machine, item)
            except Refused as failure:
                self._fail(failure)
            except OSError as error:
                self._fail(from_os(error, _words(item), item))

    def _address_batch(self, ns: str, netlink: Netlink, steps: Sequence[Step]) -> None:
        batch: list[tuple[Object, bytearray]] = []
        places: dict[str, int] = {}
        for step in steps:
            item = _aim(step)
            if isinstance(item, Announce):
                self._open_sender(item)
            elif isinstance(item, Address | Route):
                self._touch(step)
                index = self._index(ns, item.link)
                if index and not self._shared(item):
                    strict = isinstance(item, Route) and isinstance(step, Create) and (not ns or ns in self._theirs)
                    marked = item.link in self._machine.adoptions and not ns
                    batch.append((item, _request(item, index, present=True, strict=strict, marked=marked)))
                elif not index:
                    self._fail(refused(f"make {_words(item)}: there is no link {item.link}", errno.ENODEV, item=item))
            elif isinstance(item, Fdb | Neighbour):
                self._touch(step)
                index = places.get(item.link) or places.setdefault(item.link, self._index(ns, item.link))
                if index:
                    batch.extend((item, request) for request in tunnels.entry(item, index, present=True))
                else:
                    self._fail(refused(f"make {_words(item)}: there is no link {item.link}", errno.ENODEV, item=item))
            elif isinstance(item, Bridge | Veth | Vxlan):
                if isinstance(step, Change):
                    self._touch(step)
                batch.extend((item, request) for request in self._up_requests(step, item, ns))
        self._send(netlink, batch, "set up")

    def _up_requests(self, step: Step, item: Bridge | Veth | Vxlan, ns: str) -> Iterator[bytearray]:
        if isinstance(item, Vxlan):
            index, master = self._index(ns, item.name), self._index(ns, item.master)
            if index and master:
                yield from requests.adjust_vxlan(item, index, master)
            else:
                lacking = item.master if index else item.name
                self._fail(refused(f"make {_words(item)}: there is no link {lacking}", errno.ENODEV, item=item))
        elif self._adopted(item):
            yield requests.raise_link(self._index(ns, item.name))
        elif item.ns == ns:
            index = self._index(ns, item.name)
            if isinstance(step, Create):
                if not index:
                    self._fail(refused(f"make {_words(item)}: it is gone already", errno.ENODEV, item=item))
                    return
                yield requests.bring_up(index, item.alias, item if isinstance(item, Veth) else None)
            elif isinstance(item, Bridge):
                yield requests.adjust_bridge(item, index)
            else:
                yield from requests.adjust_veth(item, index, self._index(ns, item.master) if item.master else 0)
        if isinstance(item, Veth) and item.ns == ns:
            for address in item.neighbours:
                yield requests.neighbour(self._index(ns, item.name), address, item.peer_mac)
        if isinstance(item, Veth) and item.peer_ns == ns:
            index = self._index(ns, item.peer)
            if isinstance(step, Create):
                if not index:
                    self._fail(refused(f"make {_words(item)}: its peer is gone already", errno.ENODEV, item=item))
                    return
                yield requests.bring_up(index, item.alias + requests.PEER_SUFFIX)
            else:
                yield requests.adjust_peer(item, index)

    def _flows(self, steps: Sequence[Step], dead: set[str]) -> None:
        self._unbalance(steps, dead)
        for step in steps:
            if isinstance(step, Delete) and isinstance(step.object, Connections):
                self._machine.stale.add(step.object.address)
        self._machine.stale.settle([item.address for item in _created(steps, Connections)])
        fresh = _created(steps, Flow)
        gone = [step.object for step in steps if isinstance(step, Delete) and isinstance(step.object, Flow)]
        gone += [flow for before, targets in _deserted(steps, dead) for flow in _flows_to(before, targets)]
        for ns in {flow.ns for flow in (*fresh, *gone)}:
            try:
                with netns.inside(self._machine.path(ns)):
                    conntrack.forget([f for f in fresh if f.ns == ns], [f for f in gone if f.ns == ns])
            except OSError as error:
                if ns:
                    continue  # a namespace that is gone tracks nothing
                self._fail(from_os(error, "forget connections of published ports"))

    def _unbalance(self, steps: Sequence[Step], dead: set[str]) -> None:
        """Flows to targets that are none any more are to begin anew."""
        lost: dict[str, set[tuple[str, str]]] = {}
        for before, targets in _deserted(steps, dead):
            if _PARTS not in before.address:
                lost.setdefault(before.ns, set()).update((before.address, target) for target in targets)
        for ns, pairs in lost.items():
            try:
                with netns.inside(self._machine.path(ns)):
                    if pairs and sysctl.read(conntrack.COUNT) not in (None, "0"):
                        conntrack.forget_balanced(pairs)
            except OSError as error:
                log.warning("flows to backends that are gone stay in %s: %s", ns, error)

    def _announcements(self, steps: Sequence[Step]) -> None:
        for step in steps:
            if isinstance(step, Delete) and isinstance(step.object, Announce):
                self._machine.announcer.stop(step.object)
        for item in _created(steps, Announce):
            sender = self._senders.pop(item.key, None)
            if sender is not None:
                self._touch(Create(item))
                self._machine.announcer.start(item, sender)

    def _drop_senders(self) -> None:
        while self._senders:
            self._machine.announcer.drop(self._senders.popitem()[1])

    def _open_sender(self, item: Announce) -> None:
        """Done while the thread is in the namespace anyway; entering it costs more than the rest."""
        try:
            self._senders[item.key] = announce.sender_here()
        except OSError as error:
            log.warning("cannot announce the addresses of %s: %s", item.link, error.strerror)

    def _in_namespace(self, ns: str, items: Sequence[_I], work: Callable[[Netlink, Sequence[_I]], None]) -> None:
        try:
            with self._machine.enter(ns) as netlink:
                work(netlink, items)
        except OSError as error:
            self._fail(from_os(error, f"work in network namespace {ns or 'of the node'}"))

    def _index(self, ns: str, name: str) -> int:
        """The index of a link of the namespace that the thread is in; 0 when there is none."""
        known = self._indices.get((ns, name), 0)
        if not known:
            try:
                known = socket.if_nametoindex(name)
            except OSError:
                return 0
        return known

    def _send(
        self, netlink: Netlink, batch: Sequence[tuple[Object, bytearray]], verb: str, tolerated: Iterable[int] = ()
    ) -> set[Key]:
        """The keys of the objects that were refused."""
        refusals: set[Key] = set()
        answers: list[Fault | None] = netlink.request([request for _, request in batch])
        for (item, _), fault in zip(batch, answers, strict=True):
            if fault is not None and fault.code not in tolerated and not self._there(item, fault):
                self._fail(refused(f"{verb} {_words(item)}", fault.code, fault.text, item))
                refusals.add(item.key)
        return refusals

    def _there(self, item: Object, fault: Fault) -> bool:
        """Whether it only could not be made because one is there: routes of the local table are never replaced, nor is
        what others put in a namespace of theirs."""
        return isinstance(item, Route) and (item.local or item.ns in self._theirs) and fault.code == errno.EEXIST


def _deserted(steps: Iterable[Step], dead: set[str]) -> Iterator[tuple[Backends, set[str]]]:
    """Backends that have lost targets, and which."""
    for step in steps:
        before = step.before if isinstance(step, Change) else step.object
        if isinstance(step, Create) or not isinstance(before, Backends) or before.ns in dead:
            continue
        after = step.after if isinstance(step, Change) else None
        kept = after.targets if isinstance(after, Backends) else ()
        yield before, {*before.targets} - {*kept}


def _flows_to(backends: Backends, targets: Iterable[str]) -> Iterator[Flow]:
    """Of a published port, what is tracked to targets without being a connection."""
    service = backends.address.split(_PARTS)[-2:]
    if service[0] == "udp":
        for target in targets:
            address, port = target.split(_PARTS)
            yield Flow(backends.ns, service[0], int(service[1]), address, int(port))


def _created(steps: Iterable[Step], kind: type[_T]) -> list[_T]:
    return [step.object for step in steps if isinstance(step, Create) and isinstance(step.object, kind)]


def _fresh(steps: Iterable[Step], kind: type[_T]) -> list[_T]:
    """What is to be, whether it was something else before or nothing."""
    found = [step.after if isinstance(step, Change) else step.object for step in steps if not isinstance(step, Delete)]
    return [item for item in found if isinstance(item, kind)]


def _places(item: Object) -> set[Key]:
    if isinstance(item, Netns):
        return {item.key}
    return {("link", *end) for end in _ends(item)} if isinstance(item, Bridge | Veth | Vxlan) else set()


def _aim(step: Step) -> Object:
    """What is to be, or goes."""
    return step.after if isinstance(step, Change) else step.object


def _ends(link: Bridge | Veth | Vxlan) -> Iterator[tuple[str, str]]:
    yield link.ns, link.name
    if isinstance(link, Veth):
        yield link.peer_ns, link.peer


def _request(
    item: Address | Route, index: int, *, present: bool, strict: bool = False, marked: bool = False
) -> bytearray:
    if isinstance(item, Address):
        return requests.address(item, index, present=present, marked=marked)
    if item.local:
        return requests.local_route(item, index, present=present)
    return requests.route(item, index, present=present, strict=strict)


def _words(item: Object) -> str:
    match item:
        case Address():
            return f"address {item.cidr} on {item.link}"
        case Route():
            return f"route to {item.destination} on {item.link}"
        case Bridge() | Veth() | Vxlan():
            return f"link {item.name}"
        case _:
            return " ".join(item.key)
