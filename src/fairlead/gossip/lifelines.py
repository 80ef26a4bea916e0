"""Connections that say nothing, and by breaking say that a process is gone.

Each node holds one to the next few nodes on the ring. A process that dies closes its connections at once, so its
predecessors look at it within milliseconds; a host that vanishes closes nothing, and is found by probing.
"""

from __future__ import annotations

from fairlead.gossip.identity import Address
from fairlead.gossip.members import Members
from fairlead.gossip.outbox import Outbox
from fairlead.gossip.swim import Swim


class Lifelines:
    """Which connections a node wants, and what it does when one breaks."""

    def __init__(self, members: Members, outbox: Outbox, swim: Swim, count: int) -> None:
        self._members = members
        self._outbox = outbox
        self._swim = swim
        self._count = count
        self._held: set[Address] = set()
        self._at = -1

    def hold(self) -> None:
        """Want connections to the next nodes on the ring, and no others."""
        if self._at == self._members.changes:
            return
        self._at = self._members.changes
        wanted = {member.card.address for member in self._members.successors(self._count)}
        for address in sorted(wanted ^ self._held, key=str):
            self._outbox.hold(address, there=address in wanted)
        self._held = wanted

    def lost(self, address: Address, now: float) -> None:
        """One broke, or could not be made: look at the node at once, and hold it again if it lives."""
        member = self._members.at(address)
        if address not in self._held or member is None:
            return
        self._held.discard(address)
        self._at = -1
        self._swim.suspicious(member.id, now)
