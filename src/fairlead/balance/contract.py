"""What a back end of balancing must be: values in, plans out."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from fairlead.plan.objects import Plan


@dataclass(frozen=True, slots=True)
class Aim:
    """What connections from one sandbox to the virtual address ``vip`` (bare) reach: each of ``targets`` (bare, the same
    family) as often as it is there, at random or ``in_turn``."""

    service_id: str
    vip: str
    targets: tuple[str, ...]
    in_turn: bool = False


class Balancer(Protocol):
    """A way to balance. Both plans hold for a namespace in which the connections begin; any port and any protocol, the
    source address kept. Connections that stand are never moved; flows without a state are, when their target goes."""

    name: str

    def base_plan(
        self, netns: str, sizes: Collection[int], untracked: Collection[str] = (), counted: Collection[str] = ()
    ) -> Plan:
        """What must exist before any aim of one of these ``sizes`` (numbers of targets) does. Packets from and to the
        IPv4 addresses ``untracked`` are left out of connection tracking, which begins where balancing does. Connections
        that come from outside to the addresses ``counted`` are counted."""

    def aim_plan(self, netns: str, aim: Aim) -> Plan:
        """What must exist for one; nothing without targets."""
