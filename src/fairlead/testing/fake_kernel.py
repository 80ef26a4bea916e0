"""A Linux in memory, with the surface of ``fairlead.kernel.apply.Kernel``: same steps, same rules, no root, no time.

It keeps the rules that matter to who plans: a link needs its namespace and master, a route its gateway on the link, an
element its set, a jump its chain; a port is held once; a namespace takes all that is in it along. A failing change
leaves nothing behind. The kernel tests run the same scenarios on it and on the real one.
"""

from __future__ import annotations

import errno
import ipaddress
import re
import socket
from collections.abc import Callable, Mapping, Sequence

from fairlead.kernel import xfrm
from fairlead.kernel.errno import Refused, from_bind, refused
from fairlead.kernel.reckoning import Ledger, everything
from fairlead.kernel.repair import doubtful
from fairlead.model.events import HostChanged
from fairlead.plan.diff import Change, Create, Delete, Step, diff
from fairlead.plan.objects import (
    Address,
    Announce,
    Backends,
    Bridge,
    Chain,
    Connections,
    Element,
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
    Set,
    Sysctl,
    Table,
    Veth,
    Vxlan,
)
from fairlead.plan.render import line
from fairlead.plan.returns import ReturnPaths
from fairlead.plan.xfrm import ExactXfrm, Xfrm, XfrmPolicy, XfrmState
from fairlead.testing.fake_ipsec import FakeIpsec

_WILDCARDS = ("0.0.0.0", "::")
_TARGET = re.compile(r"\b(?:jump|goto) ([A-Za-z][\w./-]*)")
#: A set that a rule names; ``@th,64,128`` is a place in the packet.
_SET = re.compile(r"@(?!(?:ll|nh|th),)([A-Za-z][\w./-]*)")
#: Order in which the real one makes things (settings of links after links).
_ORDER = (
    PortHold,
    Netns,
    Table,
    Set,
    Chain,
    Element,
    Backends,
    XfrmState,
    XfrmPolicy,
    Bridge,
    Vxlan,
    Veth,
    Sysctl,
    Address,
    Route,
    Fdb,
    Neighbour,
    Flow,
    Connections,
    Announce,
    Exact,
    ReturnPaths,
    ExactXfrm,
)
#: What Linux removes with the link that it is on.
_ON_LINKS = (Address, Route, Sysctl, Fdb, Neighbour, ReturnPaths)
#: What is no state.
_ACTS = (Flow, Connections, Announce, Exact, ExactXfrm, ReturnPaths)
_NAME_MAX = 15

#: A host with one address, from the range for documentation (RFC 5737).
PLAIN_HOST = HostChanged(("127.0.0.0/8", "192.0.2.0/24"), ("127.0.0.1/8", "192.0.2.1/24"))


class FakeKernel:
    """``facts`` is what the host has; ``objects`` all that stands; ``history`` the steps that were carried out."""

    def __init__(self, netns_dir: str = "", facts: HostChanged = PLAIN_HOST) -> None:
        self.netns_dir = netns_dir
        self.facts = facts
        self.objects: dict[Key, Object] = {}
        self.history: list[Step] = []
        self._ledger = Ledger()
        self.ipsec = FakeIpsec(self._ledger, lambda: self.objects)
        self._doomed: set[Key] = set()
        self._taken: list[PortHold] = []
        self._watchers: list[Callable[[HostChanged], None]] = []

    def fail_next(self, key: Key) -> None:
        """The next time that the object of this key is made or changed, the kernel refuses."""
        self._doomed.add(key)

    def occupy(self, proto: str, address: str, port: int) -> None:
        """Another process of the host has this port."""
        self._taken.append(PortHold(proto, address, port))

    def change_host(self, facts: HostChanged) -> None:
        """A stranger changes the host; watchers hear of it."""
        self.facts = facts
        for tell in self._watchers:
            tell(facts)

    async def apply(self, plans: Mapping[str, Plan]) -> None:
        """As the real one: all or nothing."""
        steps = self._ledger.steps(plans)
        self._carry_out(steps)
        self._ledger.settle(plans)
        links = [step.object for step in steps if isinstance(step, Create) and isinstance(step.object, Exact)]
        wanted = self._ledger.peers_of(links)
        exact = {(link.ns, link.link) for link in links}
        for item in list(self.objects.values()):
            old = isinstance(item, Fdb | Neighbour) and (item.ns, item.link) in exact
            if old and item.key not in wanted:
                del self.objects[item.key]
        if any(isinstance(step, Create) and isinstance(step.object, ExactXfrm) for step in steps):
            self.ipsec.sweep()

    async def repair(self, plans: Mapping[str, Plan]) -> list[str]:
        """As the real one, except that a refusal is raised."""
        desired = everything(plans)
        steps = diff(
            {key: item for key, item in self._state().items() if not doubtful(item, desired)},
            {key: item for key, item in desired.items() if self._is_wanted(item)},
        )
        self._carry_out(steps)
        for item in desired.values():
            if isinstance(item, Sysctl):
                self.objects[item.key] = item
        self._ledger.replace(plans)
        verbs = {Create: "made", Delete: "removed", Change: "mended"}
        return [f"{verbs[type(step)]} {line(_object(step))}" for step in steps]

    async def observe(self) -> Plan:
        """As the real one: what stands, without settings and acts."""
        return Plan(self._state().values())

    async def host_facts(self) -> HostChanged:
        """``facts``."""
        return self.facts

    async def watch(self, callback: Callable[[HostChanged], None]) -> None:
        """Be told by ``change_host``."""
        self._watchers = [callback]

    async def sockets_in(self, netns_name: str, specs: Sequence[tuple[int, int, str, int]]) -> list[socket.socket]:
        """Sockets of the wanted family and type, on the loopback address and a free port of the test's own host."""
        if netns_name and ("netns", netns_name) not in self.objects:
            raise refused(f"open a socket in network namespace {netns_name}", errno.ENOENT)
        made: list[socket.socket] = []
        for family, kind, _, _ in specs:
            made.append(socket.socket(family, kind))
            made[-1].bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
            if kind == socket.SOCK_STREAM:
                made[-1].listen()
            made[-1].setblocking(False)
        return made

    async def close(self) -> None:
        """Ports are let go; the rest stands."""
        self.objects = {key: item for key, item in self.objects.items() if not isinstance(item, PortHold)}
        self._watchers = []

    def _state(self) -> dict[Key, Object]:
        return {key: item for key, item in self.objects.items() if not isinstance(item, (Sysctl, *_ACTS))}

    def _is_wanted(self, item: Object) -> bool:
        return not isinstance(item, (Sysctl, *_ACTS)) and not xfrm.lost(item, self.objects)

    def _carry_out(self, steps: Sequence[Step]) -> None:
        before = dict(self.objects)
        deletions = [step for step in steps if isinstance(step, Delete)]
        others: list[Step] = [step for step in steps if not isinstance(step, Delete)]
        others.sort(key=lambda step: _ORDER.index(type(_object(step))))
        try:
            for deletion in deletions:
                self._remove(deletion.object)
            for step in others:
                self._make(step)
            self._check_references()
        except (Refused, OSError):
            self.objects = before
            raise
        self.history.extend([*deletions, *others])

    def _make(self, step: Step) -> None:
        item = _object(step)
        if item.key in self._doomed:
            self._doomed.discard(item.key)
            raise refused(f"make {line(item)}", errno.EIO, item=item)
        if (
            item.key in self.objects
            and isinstance(step, Create)
            and not isinstance(item, Sysctl | Address | Route | Xfrm)
        ):
            raise refused(f"make {line(item)}", errno.EEXIST, item=item)
        self._check(item)
        if not isinstance(item, _ACTS):
            self.objects[item.key] = item

    def _check(self, item: Object) -> None:
        match item:
            case PortHold():
                self._check_port(item)
            case Netns():
                return
            case Bridge() | Veth():
                self._check_link(item)
            case Address():
                self._need(self._has_link(item.ns, item.link), item, errno.ENODEV)
            case Route():
                self._check_route(item)
            case Sysctl():
                self._need_namespace(item.ns, item)
                self._need(not item.link or self._has_link(item.ns, item.link), item, errno.ENOENT)
            case Table():
                self._need_namespace(item.ns, item)
            case Set() | Chain():
                self._need(("table", item.ns, item.family, item.table) in self.objects, item, errno.ENOENT)
            case Element():
                owner = ("set", item.ns, item.family, item.table, item.set)
                self._need(owner in self.objects, item, errno.ENOENT)
            case Backends():
                for name in (item.index, item.slots):
                    place = ("set", item.ns, item.family, item.table, name)
                    self._need(place in self.objects, item, errno.ENOENT)
            case Vxlan():
                self._check_tunnel(item)
            case Fdb() | Neighbour() | ReturnPaths():
                self._need(self._has_link(item.ns, item.link), item, errno.ENODEV)
            case Flow() | Connections() | Announce() | Exact() | ExactXfrm() | XfrmState() | XfrmPolicy():
                return

    def _check_port(self, item: PortHold) -> None:
        for other in (*self._taken, *self.objects.values()):
            if isinstance(other, PortHold) and _collide(item, other):
                raise from_bind(item, OSError(errno.EADDRINUSE, "in use"))

    def _check_link(self, item: Bridge | Veth | Vxlan) -> None:
        names = [(item.ns, item.name)]
        if isinstance(item, Veth):
            names.append((item.peer_ns, item.peer))
            self._need_namespace(item.peer_ns, item)
            master = self.objects.get(("link", item.ns, item.master)) if item.master else None
            self._need(not item.master or isinstance(master, Bridge), item, errno.ENODEV)
        self._need_namespace(item.ns, item)
        for ns, name in names:
            self._need(0 < len(name) <= _NAME_MAX, item, errno.ERANGE)
            holder = self._link(ns, name)
            self._need(holder is None or holder.key == item.key, item, errno.EEXIST)

    def _check_tunnel(self, item: Vxlan) -> None:
        self._check_link(item)
        self._need(isinstance(self.objects.get(("link", item.ns, item.master)), Bridge), item, errno.ENODEV)
        for other in self.objects.values():
            if isinstance(other, Vxlan) and other.key != item.key:
                self._need((other.vni, other.port) != (item.vni, item.port), item, errno.EEXIST)

    def _check_route(self, item: Route) -> None:
        self._need(self._has_link(item.ns, item.link), item, errno.ENODEV)
        if item.via:
            gateway = ipaddress.ip_address(item.via)
            near = any(
                gateway in ipaddress.ip_network(other.cidr, strict=False)
                for other in self.objects.values()
                if isinstance(other, Address) and (other.ns, other.link) == (item.ns, item.link)
            )
            self._need(near, item, errno.ENETUNREACH)

    def _check_references(self) -> None:
        """What rules and elements refer to, after all changes: nft takes a transaction as a whole."""
        for item in self.objects.values():
            if isinstance(item, Chain):
                texts: Sequence[str] = item.rules
            elif isinstance(item, Element):
                texts = (item.value,)
            elif isinstance(item, Backends):
                texts = (item.verdict,)
            else:
                continue
            for text in texts:
                for target in _TARGET.findall(text):
                    self._need(("chain", item.ns, item.family, item.table, target) in self.objects, item, errno.ENOENT)
                for name in _SET.findall(text):
                    self._need(("set", item.ns, item.family, item.table, name) in self.objects, item, errno.ENOENT)

    def _need(self, condition: bool, item: Object, code: int) -> None:
        if not condition:
            raise refused(f"make {line(item)}", code, item=item)

    def _need_namespace(self, ns: str, item: Object) -> None:
        self._need(not ns or ("netns", ns) in self.objects, item, errno.ENOENT)

    def _link(self, ns: str, name: str) -> Bridge | Veth | Vxlan | None:
        for item in self.objects.values():
            if isinstance(item, Bridge | Veth | Vxlan) and (item.ns, item.name) == (ns, name):
                return item
            if isinstance(item, Veth) and (item.peer_ns, item.peer) == (ns, name):
                return item
        return None

    def _has_link(self, ns: str, name: str) -> bool:
        return self._link(ns, name) is not None

    def _remove(self, gone: Object) -> None:
        """Remove an object and what Linux removes with it."""
        self.objects.pop(gone.key, None)
        ends: set[tuple[str, str]] = set()
        if isinstance(gone, Bridge | Veth | Vxlan):
            ends.add((gone.ns, gone.name))
        if isinstance(gone, Veth):
            ends.add((gone.peer_ns, gone.peer))
        for item in list(self.objects.values()):
            if _inside(item, gone) or (isinstance(item, _ON_LINKS) and (item.ns, item.link) in ends):
                self._remove(item)
            elif isinstance(gone, Bridge) and isinstance(item, Veth) and (item.ns, item.master) == (gone.ns, gone.name):
                self.objects[item.key] = _freed(item)


def _object(step: Step) -> Object:
    return step.after if isinstance(step, Change) else step.object


def _freed(port: Veth) -> Veth:
    return Veth(port.ns, port.name, port.peer_ns, port.peer, port.peer_mac, port.mtu, port.alias)


def _inside(item: Object, gone: Object) -> bool:
    """Whether ``item`` cannot be without ``gone``, a namespace, table or set."""
    match gone:
        case Netns():
            spaces = (item.ns, item.peer_ns) if isinstance(item, Veth) else (getattr(item, "ns", ""),)
            return gone.name in spaces
        case Table():
            where = (gone.ns, gone.family, gone.name)
            return isinstance(item, Set | Chain | Element | Backends) and (item.ns, item.family, item.table) == where
        case Set():
            place = (gone.ns, gone.family, gone.table, gone.name)
            if isinstance(item, Backends):
                return (item.ns, item.family, item.table) == place[:3] and gone.name in (item.index, item.slots)
            return isinstance(item, Element) and (item.ns, item.family, item.table, item.set) == place
        case _:
            return False


def _collide(first: PortHold, second: PortHold) -> bool:
    same = (first.proto, first.port, ":" in first.address) == (second.proto, second.port, ":" in second.address)
    wild = first.address in _WILDCARDS or second.address in _WILDCARDS
    return same and (wild or first.address == second.address)
