"""Balancing by nftables, in the namespace of who begins a connection.

One table. Two maps for each family: from a virtual address to the chain that chooses among so many, and from address and
number to a task. A chain for each number of tasks draws a number and looks the task up; it belongs to all services of that
size. So the way of a packet is two look-ups, however many services there are, a task that changes is two or three elements
in one transaction, and the choice is exact. A service whose tasks are used in turn has a chain of its own, since a counter
that several share would not go round for any of them.

Only packets that begin something pass (hooks of type ``nat``), and only those that begin here: the answers are translated
back by connection tracking, which is in the same namespace whatever way they come. The source stays as it is. A task that
calls its own service may get itself: such packets go over the loopback.

What a task gets is counted where it arrives, in its own namespace, by its address: one counter, whatever changes in the
tables of those who call it, and no packet but the first of a connection comes by. Its calls to itself are not counted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from fairlead.balance.contract import Aim
from fairlead.plan.objects import NOTHING, Backends, Chain, Element, Object, Plan, Set, Table

FAMILY, TABLE = "inet", "fairlead-balance"
#: The chain that counts connections, and how the sets begin whose elements have the counters.
ARRIVALS = "arrivals"
#: The numbers drawn are kept in the packet's mark until it is translated: nftables looks up by a mark, and not by a random
#: number itself. They begin here, so that they are nobody else's marks; a packet that leaves the namespace has none.
FIRST_MARK = 0x0FA10000
_HOOK, _EARLY_HOOK = "type nat hook output priority -100", "type filter hook output priority -300"
_ARRIVAL_HOOK = "type nat hook input priority 100"


class Nftables:
    """The default. ``index`` is how the maps begin that virtual addresses are looked up in first."""

    name = "nftables"

    def __init__(self, index: str = "index") -> None:
        self._index = index

    def base_plan(
        self, netns: str, sizes: Collection[int], untracked: Collection[str] = (), counted: Collection[str] = ()
    ) -> Plan:
        """The table, and a chain for each size."""
        if not sizes:
            return NOTHING
        rules = tuple(f"ip {end} {address} notrack" for address in untracked for end in ("daddr", "saddr"))
        aside = [Chain(netns, FAMILY, TABLE, "aside", rules, _EARLY_HOOK)] if rules else []
        arriving = list(_arrivals(netns, counted)) if counted else []
        return Plan(
            [
                *_table(netns),
                *aside,
                *arriving,
                *(_chain(netns, _drawing(size), f"random mod {size}") for size in sizes),
            ]
        )

    def aim_plan(self, netns: str, aim: Aim) -> Plan:
        """The elements of one virtual address."""
        if not aim.targets:
            return NOTHING
        size, family = len(aim.targets), "6" if ":" in aim.vip else "4"
        name = f"turn_{aim.service_id}_{family}" if aim.in_turn else _drawing(size)
        led = Backends(
            netns,
            FAMILY,
            TABLE,
            f"{self._index}{family}",
            f"slots{family}",
            aim.vip,
            f"goto {name}",
            FIRST_MARK,
            aim.targets,
        )
        return Plan([_chain(netns, name, f"inc mod {size}"), led] if aim.in_turn else [led])


def _table(netns: str) -> Iterator[Object]:
    yield Table(netns, FAMILY, TABLE)
    for digit, kind in (("4", "ipv4_addr"), ("6", "ipv6_addr")):
        yield Set(netns, FAMILY, TABLE, f"index{digit}", kind, "verdict")
        yield Set(netns, FAMILY, TABLE, f"slots{digit}", f"{kind} . mark", kind)
    yield Chain(netns, FAMILY, TABLE, "output", ("ip daddr vmap @index4", "ip6 daddr vmap @index6"), _HOOK)


def _arrivals(netns: str, counted: Collection[str]) -> Iterator[Object]:
    for digit, kind in (("4", "ipv4_addr"), ("6", "ipv6_addr")):
        yield Set(netns, FAMILY, TABLE, f"{ARRIVALS}{digit}", kind, counted=True)
    rules = (f"ip daddr @{ARRIVALS}4", f"ip6 daddr @{ARRIVALS}6")
    yield Chain(netns, FAMILY, TABLE, ARRIVALS, rules, _ARRIVAL_HOOK)
    for address in counted:
        yield Element(netns, FAMILY, TABLE, f"{ARRIVALS}{'6' if ':' in address else '4'}", address)


def _drawing(size: int) -> str:
    return f"any_of_{size}"


def _chain(netns: str, name: str, numbers: str) -> Chain:
    rules = (
        f"meta mark set numgen {numbers} offset {FIRST_MARK}",
        "dnat ip to ip daddr . meta mark map @slots4",
        "dnat ip6 to ip6 daddr . meta mark map @slots6",
    )
    return Chain(netns, FAMILY, TABLE, name, rules)
