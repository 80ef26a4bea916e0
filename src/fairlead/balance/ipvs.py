"""Balancing by the kernel's IPVS, in the namespace of who begins a connection.

What has connections (TCP, SCTP) is marked by its virtual address and led by the virtual service of that mark, its target
translated and its source left alone; the answers come back to the same namespace, where they are translated back. Everything
else is led by maps, as ``nftables`` does it: so datagrams move at once when a task goes, which IPVS can only have together
with connections that break, and a task answers a ping. A task's calls of its own service are not for it either: they may
come to the task itself, and IPVS does not bring back the answer.

IPVS knows no chance: connections go round by weight. A task that goes keeps the connections that it has and gets no more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from hashlib import blake2b

from fairlead.balance.contract import Aim
from fairlead.balance.nftables import FAMILY, TABLE, Nftables
from fairlead.plan.ipvs import VirtualService
from fairlead.plan.objects import NOTHING, Chain, Element, Object, Plan, Set

#: In turn by weight; <net/netfilter/ipvs/ip_vs_wrr.c>.
SCHEDULER = "wrr"
_CONNECTED = "{ tcp, sctp }"
#: Before IPVS looks at what the namespace itself sends (-99), and before destinations are translated by maps (-100).
_MARKING_HOOK, _REST_HOOK = "type filter hook output priority -150", "type nat hook output priority -100"


class Ipvs:
    """Where the kernel has it and the network asks for it."""

    name = "ipvs"

    def __init__(self) -> None:
        self._maps = Nftables(index="rest")

    def base_plan(
        self, netns: str, sizes: Collection[int], untracked: Collection[str] = (), counted: Collection[str] = ()
    ) -> Plan:
        """The table of the maps, with marks beside them."""
        base = self._maps.base_plan(netns, sizes, untracked, counted)
        return base | Plan(_marking(netns)) if base else NOTHING

    def aim_plan(self, netns: str, aim: Aim) -> Plan:
        """The virtual service of one virtual address, and the elements for the rest."""
        if not aim.targets:
            return NOTHING
        mark, digit = mark_of(aim.vip), "6" if ":" in aim.vip else "4"
        weights = tuple(sorted(Counter(aim.targets).items()))
        marked = Element(netns, FAMILY, TABLE, f"marks{digit}", aim.vip, f"{mark:#010x}")
        return self._maps.aim_plan(netns, aim) | Plan(
            [VirtualService(netns, aim.vip, mark, SCHEDULER, weights), marked]
        )


def mark_of(vip: str) -> int:
    """The mark of packets to a virtual address: always the same, so that connections go on over a restart; of a thousand
    addresses two have the same once in ten thousand clusters, of each family."""
    return int.from_bytes(blake2b(vip.encode(), digest_size=4).digest(), "big") or 1


def _marking(netns: str) -> Iterator[Object]:
    for digit, kind in (("4", "ipv4_addr"), ("6", "ipv6_addr")):
        yield Set(netns, FAMILY, TABLE, f"marks{digit}", kind, "mark")
        yield Set(netns, FAMILY, TABLE, f"rest{digit}", kind, "verdict")
    marks = tuple(
        f"meta l4proto {_CONNECTED} meta mark set {family} daddr map @marks{digit}"
        for family, digit in (("ip", "4"), ("ip6", "6"))
    )
    yield Chain(netns, FAMILY, TABLE, "marking", marks, _MARKING_HOOK)
    rest = tuple(
        f"meta l4proto != {_CONNECTED} {family} daddr vmap @rest{digit}"
        for family, digit in (("ip", "4"), ("ip6", "6"))
    )
    yield Chain(netns, FAMILY, TABLE, "rest", rest, _REST_HOOK)
