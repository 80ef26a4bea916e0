"""Linux network objects as values.

Every object has a ``key`` (what makes it the same object across changes; unique in a plan) and says by its class what
it is. ``ns`` is the name of a network namespace of ours, or empty text for the node's own namespace. A key that is in
both plans with different values is changed in place where Linux can, else deleted and made anew; ``plan.diff`` knows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from fairlead.plan.ipvs import VirtualService
from fairlead.plan.returns import ReturnPaths
from fairlead.plan.xfrm import ExactXfrm, XfrmPolicy, XfrmState

Key = tuple[str, ...]

#: Every link of ours carries an alias that begins so; it is how orphans are found and strangers left alone.
ALIAS_MARK = "fairlead:"
#: The link that every namespace has, with index 1 (LOOPBACK_IFINDEX, linux/netdevice.h).
LOOPBACK = "lo"
#: Names of held namespaces that others made begin so; those of our own are hexadecimal.
FOREIGN_MARK = "x-"


@dataclass(frozen=True, slots=True)
class Netns:
    """A network namespace held by a bind mount under the run directory; its ``lo`` is up. With ``inode`` it is one that
    others made, found at ``source`` at first: it is held if it still is the one with that inode, never made, and when it
    is let go everything of ours in it is taken out, since it may live on. Its name begins with ``FOREIGN_MARK``.
    ``theirs``: who lives in it may change its addresses and routes (NET_ADMIN), so they are set with the endpoint they
    belong to and never mended; not seen when observed."""

    rank: ClassVar[int] = 1
    name: str
    inode: int = 0
    source: str = field(default="", compare=False)
    theirs: bool = field(default=False, compare=False)

    @property
    def key(self) -> Key:
        """Identity."""
        return ("netns", self.name)


@dataclass(frozen=True, slots=True)
class PortHold:
    """A bound, never listening socket that keeps other processes of the host from taking a published port."""

    rank: ClassVar[int] = 0
    proto: str
    address: str
    port: int

    @property
    def key(self) -> Key:
        """Identity."""
        return ("port", self.proto, self.address, str(self.port))


@dataclass(frozen=True, slots=True)
class Sysctl:
    """A setting below ``/proc/sys`` (slashes as separators). It stays when it is wanted no more (settings of a link
    vanish with it), and is put back when the change that set it is undone. Applied after links are made and before they are up, when ``link`` names one in the same namespace. One that the
    kernel lacks counts as off, unless a user ``asked`` for it."""

    rank: ClassVar[int] = 5
    ns: str
    path: str
    value: str
    link: str = ""
    asked: bool = False

    @property
    def key(self) -> Key:
        """Identity."""
        return ("sysctl", self.ns, self.path)


@dataclass(frozen=True, slots=True)
class Bridge:
    """An Ethernet bridge, up. ``alias`` begins with ``ALIAS_MARK``. ``mac`` fixed so that ports do not change it.
    No router advertisements are accepted on it and STP is off. With ``adopt`` a stranger's bridge of that name is taken
    as it is: nothing of it is changed, it never carries our alias, and it stays when ours would go."""

    rank: ClassVar[int] = 4
    ns: str
    name: str
    mac: str
    mtu: int
    alias: str
    adopt: bool = False

    @property
    def key(self) -> Key:
        """Identity."""
        return ("link", self.ns, self.name)


@dataclass(frozen=True, slots=True)
class Veth:
    """A pair of virtual Ethernet links: ``name`` in ``ns`` (up, a port of ``master`` when given) and ``peer`` in
    ``peer_ns``, made there with its final name and MAC in one request, up. ``isolated`` ports cannot talk to each
    other, ``hairpin`` ports get their own frames back (needed where bridged frames pass the firewall).
    ``neighbours`` are addresses that the far end takes packets for without being asked; not seen when observed."""

    rank: ClassVar[int] = 6
    ns: str
    name: str
    peer_ns: str
    peer: str
    peer_mac: str
    mtu: int
    alias: str
    master: str = ""
    isolated: bool = False
    hairpin: bool = False
    neighbours: tuple[str, ...] = field(default=(), compare=False)

    @property
    def key(self) -> Key:
        """Identity."""
        return ("link", self.ns, self.name)


@dataclass(frozen=True, slots=True)
class Vxlan:
    """A VXLAN tunnel (RFC 7348), up, a port of the bridge ``master`` of the same namespace, with its UDP socket in the
    node's own: ``local`` is the source address there, ``port`` the destination's. It learns nothing: what is on the other
    side is said by ``Fdb`` and ``Neighbour``, from which it answers ARP and neighbour solicitations itself; a frame for
    anyone else is dropped. ``mtu`` is that of the frames inside."""

    rank: ClassVar[int] = 6
    ns: str
    name: str
    vni: int
    local: str
    port: int
    mtu: int
    alias: str
    master: str

    @property
    def key(self) -> Key:
        """Identity."""
        return ("link", self.ns, self.name)


@dataclass(frozen=True, slots=True)
class Fdb:
    """Where frames for a MAC go: through the tunnel ``link`` to the node with the address ``remote``; the bridge knows it
    as well, so that they go nowhere else. Never ages."""

    rank: ClassVar[int] = 8
    ns: str
    link: str
    mac: str
    remote: str

    @property
    def key(self) -> Key:
        """Identity."""
        return ("fdb", self.ns, self.link, self.mac)


@dataclass(frozen=True, slots=True)
class Neighbour:
    """The MAC of an address behind a link, for good; a tunnel answers who asks for it."""

    rank: ClassVar[int] = 8
    ns: str
    link: str
    address: str
    mac: str

    @property
    def key(self) -> Key:
        """Identity."""
        return ("neighbour", self.ns, self.link, self.address)


@dataclass(frozen=True, slots=True)
class Exact:
    """All that a tunnel is to know is in the plans. An act, like ``Flow``: when the object appears, ``Fdb`` and
    ``Neighbour`` entries that no plan has are taken away; without it a repair leaves them alone, since who they belong to
    may not be known yet."""

    rank: ClassVar[int] = 9
    ns: str
    link: str

    @property
    def key(self) -> Key:
        """Identity."""
        return ("exact", self.ns, self.link)


@dataclass(frozen=True, slots=True)
class Address:
    """An address (``address/length``) on a link; IPv6 without duplicate detection, since we assigned it."""

    rank: ClassVar[int] = 7
    ns: str
    link: str
    cidr: str

    @property
    def key(self) -> Key:
        """Identity."""
        return ("address", self.ns, self.link, self.cidr)


@dataclass(frozen=True, slots=True)
class Route:
    """A route in the main table; ``destination`` is a prefix (``0.0.0.0/0`` and ``::/0`` are the default routes),
    ``via`` a gateway or empty for on-link. A ``local`` one stands in the local table instead: the destination is this
    very node, also for packets that come in by this link; several links may have the same."""

    rank: ClassVar[int] = 8
    ns: str
    destination: str
    link: str
    via: str = ""
    metric: int = 0
    local: bool = False

    @property
    def key(self) -> Key:
        """Identity."""
        if self.local:
            return ("route", self.ns, self.destination, "local", self.link)
        return ("route", self.ns, self.destination, str(self.metric))


@dataclass(frozen=True, slots=True)
class Table:
    """An nftables table of ours."""

    rank: ClassVar[int] = 2
    ns: str
    family: str
    name: str

    @property
    def key(self) -> Key:
        """Identity."""
        return ("table", self.ns, self.family, self.name)


@dataclass(frozen=True, slots=True)
class Set:
    """A set or (with ``value_type``) map of a table. Types are nftables' (``ipv4_addr . inet_service``); ``typeof`` is
    the expression that they come from, where a type alone does not say how long a value is. With ``counted`` each element
    counts what it matches (Linux 5.7)."""

    rank: ClassVar[int] = 2
    ns: str
    family: str
    table: str
    name: str
    type: str
    value_type: str = ""
    typeof: str = field(default="", compare=False)
    counted: bool = field(default=False, compare=False)

    @property
    def key(self) -> Key:
        """Identity."""
        return ("set", self.ns, self.family, self.table, self.name)


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain with all its rules, in nftables' grammar. ``hook`` is for example
    ``type filter hook forward priority filter`` and empty for a chain that is only jumped to."""

    rank: ClassVar[int] = 2
    ns: str
    family: str
    table: str
    name: str
    rules: tuple[str, ...]
    hook: str = ""

    @property
    def key(self) -> Key:
        """Identity."""
        return ("chain", self.ns, self.family, self.table, self.name)


@dataclass(frozen=True, slots=True)
class Element:
    """One element of a set, or of a map when ``value`` is given, in nftables' grammar
    (``"br0" . "br0"``, ``tcp . 8080``, ``jump in_nat``)."""

    rank: ClassVar[int] = 3
    ns: str
    family: str
    table: str
    set: str
    element: str
    value: str = ""

    @property
    def key(self) -> Key:
        """Identity."""
        return ("element", self.ns, self.family, self.table, self.set, self.element)


@dataclass(frozen=True, slots=True)
class Backends:
    """Where connections to an address (or a published port: protocol and number, maybe an address before them; then targets
    are addresses with ports) are led: elements of two maps as one object, since there are many. ``index`` has the address with ``verdict`` (a jump to the chain that chooses), ``slots`` has the address and a mark with a target,
    for each of ``targets``; marks count up from ``first_mark``. Only elements that differ are changed, in one transaction.
    What is tracked without being a connection (UDP) is forgotten when its target is none any more, so that it moves."""

    rank: ClassVar[int] = 3
    ns: str
    family: str
    table: str
    index: str
    slots: str
    address: str
    verdict: str
    first_mark: int
    targets: tuple[str, ...]

    @property
    def key(self) -> Key:
        """Identity."""
        return ("backends", self.ns, self.family, self.table, self.index, self.address)

    def elements(self) -> Iterator[Element]:
        """All of it, element by element."""
        where = (self.ns, self.family, self.table)
        yield Element(*where, self.index, self.address, self.verdict)
        for mark, target in enumerate(self.targets, self.first_mark):
            yield Element(*where, self.slots, f"{self.address} . {mark:#010x}", target)


@dataclass(frozen=True, slots=True)
class Flow:
    """Connection tracking entries of a published port. Not state but an act: when the object appears, entries whose
    original destination port is ``host_port`` go (they were not translated yet); when it disappears, those whose reply
    comes from ``address``:``port`` (they would go on to a dead container; moby 8795). Acts run after all other steps."""

    rank: ClassVar[int] = 9
    ns: str
    proto: str
    host_port: int
    address: str
    port: int

    @property
    def key(self) -> Key:
        """Identity."""
        return ("flow", self.ns, self.proto, str(self.host_port), self.address, str(self.port))


@dataclass(frozen=True, slots=True)
class Connections:
    """All connection tracking entries in which an address takes part. An act, like ``Flow``: when the object appears or
    disappears the entries go, so that who has the address next inherits nothing from who had it before."""

    rank: ClassVar[int] = 9
    ns: str
    address: str

    @property
    def key(self) -> Key:
        """Identity."""
        return ("connections", self.ns, self.address)


@dataclass(frozen=True, slots=True)
class Announce:
    """Telling the neighbours of a link where its addresses are: gratuitous ARP (RFC 5227 section 3, a broadcast request
    for one's own address) and unsolicited neighbour advertisement (RFC 4861 section 7.2.6). An act, like ``Flow``:
    when the object appears the first of ``messages`` is sent at once, the others follow every ``interval_ms``, until the
    object disappears. Addresses are without length, or empty."""

    rank: ClassVar[int] = 9
    ns: str
    link: str
    mac: str
    ipv4: str
    ipv6: str
    messages: int
    interval_ms: int

    @property
    def key(self) -> Key:
        """Identity."""
        return ("announce", self.ns, self.link)


Object = (
    Netns
    | PortHold
    | Sysctl
    | Bridge
    | Veth
    | Address
    | Route
    | Table
    | Set
    | Chain
    | Element
    | Backends
    | Flow
    | Connections
    | Announce
    | Vxlan
    | Fdb
    | Neighbour
    | Exact
    | XfrmState
    | XfrmPolicy
    | ExactXfrm
    | VirtualService
    | ReturnPaths
)


class Plan(Mapping[Key, Object]):
    """An immutable set of objects, by key. Two objects of one key in one plan are our bug (``ValueError``)."""

    __slots__ = ("_objects",)

    def __init__(self, objects: Iterable[Object] = ()) -> None:
        self._objects: dict[Key, Object] = {}
        for item in objects:
            if self._objects.setdefault(item.key, item) != item:
                raise ValueError(f"two different objects with key {item.key}")

    def __getitem__(self, key: Key) -> Object:
        return self._objects[key]

    def __iter__(self) -> Iterator[Key]:
        return iter(self._objects)

    def __len__(self) -> int:
        return len(self._objects)

    def __repr__(self) -> str:
        return f"Plan({list(self._objects.values())!r})"

    def __or__(self, other: Plan) -> Plan:
        """Both together; the same key with different values is our bug (``ValueError``)."""
        return Plan([*self._objects.values(), *other.values()])


#: A plan without objects: what should exist of something that is gone.
NOTHING = Plan()
