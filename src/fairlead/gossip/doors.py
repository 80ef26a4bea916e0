"""The doors of a core, as those see them who run one: the sockets of ``aio.py``, and the simulator in ``testing``.

Both only carry: what comes is given to a door, then all wishes and events are taken out, then the clock is set.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from fairlead.gossip.contract import Event, Wish
from fairlead.gossip.identity import Address


class Core(Protocol):
    """What is run. ``now`` is in seconds of one clock that never goes back. After each call but the last three, take
    ``outgoing`` and ``events`` until the next one, and call ``tick`` at ``next_deadline``."""

    def receive(self, data: bytes, sender: Address, now: float) -> None:
        """A datagram came."""
        ...

    def serve(self, data: bytes, sender: Address, now: float) -> bytes:
        """A request came by stream: the reply, empty when there is none to give."""
        ...

    def answered(self, request_id: int, data: bytes | None, now: float) -> None:
        """The reply to a ``Request``, or None: there will be none."""
        ...

    def known(self, host: str) -> bool:
        """Whether a member is at a host. ``now`` is not wanted, and nothing changes."""
        ...

    def refused(self, peer: Address, now: float, *, sure: bool) -> None:
        """The host of a peer said that nobody listens there: ``sure`` when it refused a connection, for which it must have
        seen the number in our packet; of a datagram anybody can say it (ICMP quotes what all can guess)."""
        ...

    def lifeline_lost(self, peer: Address, now: float) -> None:
        """A ``Lifeline`` broke, or could not be made."""
        ...

    def tick(self, now: float) -> None:
        """Do what is due."""
        ...

    def next_deadline(self) -> float | None:
        """When to call ``tick``; None: not before something else happens."""
        ...

    def outgoing(self, now: float) -> Sequence[Wish]:
        """What is to be sent or opened since the last call."""
        ...

    def events(self) -> Sequence[Event]:
        """What has happened since the last call."""
        ...
