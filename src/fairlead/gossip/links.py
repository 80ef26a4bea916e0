"""The way to each neighbour: how much may be under way, and when it is better to open a stream.

Packets go out at once as long as few are under way. After each ``FLIGHT`` of them a *ticket* is sent behind; until the
neighbour gives it back, only one more flight may follow, so no socket's buffer is overrun and no clock paces anything.
More than ``STREAM_AT`` packets in a queue, or one that is too large for a datagram, go over a stream; the next follow when
it has been answered.

Of packets that are to be confirmed the receiver says that they have come (``Got``). Those that it does not name in the
time that it usually takes (as TCP reckons it, RFC 6298) are sent again.
"""

from __future__ import annotations

import heapq
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from fairlead.gossip.blocks import PACKET_BYTES
from fairlead.gossip.identity import Address, NodeId
from fairlead.gossip.keyring import name_of
from fairlead.gossip.members import Members
from fairlead.gossip.messages import Back, Done, Flood, Got, Message, Ticket
from fairlead.gossip.outbox import Outbox

#: Packets between two tickets; two flights of 1,400 bytes fit a socket's default buffer beside those of others.
FLIGHT = 16
FLIGHTS_MAX = 2
#: Packets in a queue from which on a stream is cheaper than datagrams.
STREAM_AT = 64
#: Bytes of one flood: what is under way twice when a stream breaks.
FLOOD_BYTES = 512 * 1024
#: Packets, and their bytes, queued for all neighbours together; more are dropped, and repaired when it is quiet.
QUEUED_MAX, QUEUED_BYTES_MAX = 65536, 64 * 1024 * 1024
#: Seconds after which a ticket is lost: these, or several round trips.
TICKET_S = 0.1
#: Seconds beyond the usual after which a packet is sent again: before it is known what is usual, and at least; they grow
#: each time by this factor. From this time on it is sent twice at once, since one after the other was lost.
AGAIN_FIRST_S, AGAIN_S = 0.01, 0.005
AGAIN_GROWTH = 1.5
#: Seconds by which this node may look too late whether something is due, and for which it waits then, at most.
LATE_S, LATE_S_MAX = 0.005, 0.2
AGAIN_TWICE, AGAIN_MAX = 2, 7
#: Packets sent again of which it is still of use to hear that both have come, at most.
_VAIN_NAMES = 1024
#: Packets that wait for a ``Got`` at most, over all neighbours.
UNCONFIRMED_MAX = 8192
#: Names in one ``Got``.
_NAMES_MAX = 64


@dataclass(slots=True)
class _Usual:
    """How long a neighbour takes to confirm: mean and mean deviation, seconds (RFC 6298, section 2)."""

    mean: float = 0.0
    deviation: float = 0.0
    known: bool = False

    def took(self, time: float) -> None:
        """It took so long this time."""
        if self.known:
            self.deviation += (abs(self.mean - time) - self.deviation) / 4
            self.mean += (time - self.mean) / 8
        else:
            self.mean, self.deviation, self.known = time, time / 2, True

    def patience(self, rtt: float) -> float:
        """After how long it is late, where a round trip takes ``rtt`` just now."""
        if not self.known:
            return AGAIN_FIRST_S + 3 * rtt
        return max(self.mean, rtt) + max(AGAIN_S, 3 * self.deviation)


@dataclass(slots=True)
class _Pending:
    """A packet that waits to be confirmed."""

    packet: bytes
    since: float
    tries: int = 0
    #: How often it was sent, and how long the first answer took.
    sent: int = 1
    took: float = 0.0
    #: Whether it was due, and then waited for once more.
    late: bool = False


@dataclass(slots=True)
class _Link:
    #: Packets, and whether each is to be confirmed.
    queue: deque[tuple[bytes, bool]] = field(default_factory=deque)
    sent: int = 0
    tickets: OrderedDict[int, float] = field(default_factory=OrderedDict)
    streaming: bool = False
    usual: _Usual = field(default_factory=_Usual)


class Links:
    """Queues to all neighbours. ``loss`` is told when something did not arrive, ``drained`` when a stream failed."""

    def __init__(
        self,
        members: Members,
        outbox: Outbox,
        counters: Counter[str],
        rtt: Callable[[NodeId], float],
        loss: Callable[[float], None],
    ) -> None:
        self._members = members
        self._outbox = outbox
        self._counters = counters
        self._rtt = rtt
        self._loss = loss
        self._links: dict[NodeId, _Link] = {}
        self._ticket = 0
        #: Links with tickets under way.
        self._paced: dict[NodeId, None] = {}
        #: (Neighbour, name of a packet) -> the packet; and when each is due again.
        self._unconfirmed: dict[tuple[NodeId, bytes], _Pending] = {}
        #: What all neighbours together usually take: for those of which that is not known.
        self._usual = _Usual()
        self._due: list[tuple[float, NodeId, bytes]] = []
        self._names: dict[NodeId | Address, list[bytes]] = {}
        #: Those that were sent again and came at last: were all of them late, not lost?
        self._again_came: OrderedDict[tuple[NodeId, bytes], _Pending] = OrderedDict()
        self.queued = self.queued_bytes = 0

    def push(self, to: NodeId, packet: bytes, now: float, *, confirm: bool = False) -> None:
        """Send a sealed packet, after what waits already; with ``confirm`` again and again until it has come."""
        link = self._links.get(to)
        if link is None:
            link = self._links[to] = _Link()
        if self.queued >= QUEUED_MAX or self.queued_bytes + len(packet) > QUEUED_BYTES_MAX:
            self._counters["queue_dropped"] += 1
            return
        link.queue.append((packet, confirm))
        self.queued += 1
        self.queued_bytes += len(packet)
        self._pump(to, link, now)

    def got(self, by: NodeId, names: Collection[bytes], now: float) -> None:
        """A neighbour has these packets."""
        link = self._links.get(by)
        usual = link.usual if link else _Usual()
        for name in names:
            pending = self._unconfirmed.pop((by, name), None)
            if pending is None:
                self._late(by, name, usual)
            elif not pending.tries:
                usual.took(now - pending.since)
                self._usual.took(now - pending.since)
            else:
                pending.took = now - pending.since
                self._again_came[by, name] = pending
                if len(self._again_came) > _VAIN_NAMES:
                    self._again_came.popitem(last=False)

    def _late(self, by: NodeId, name: bytes, usual: _Usual) -> None:
        """A further answer to a packet that was sent more than once."""
        pending = self._again_came.get((by, name))
        if pending is None:
            return
        pending.sent -= 1
        if pending.sent == 1:
            # As many answers as packets: nothing was lost, and the first answer to the first one.
            del self._again_came[by, name]
            self._counters["packets_again_in_vain"] += 1
            usual.took(pending.took)
            self._usual.took(pending.took)

    def confirm(self, to: NodeId | Address, name: bytes) -> None:
        """Tell a neighbour, or whoever it is that is at an address, that its packet has come, with what else there is to
        tell it."""
        names = self._names.setdefault(to, [])
        if len(names) < _NAMES_MAX:
            names.append(name)

    def flush(self) -> None:
        """Send the confirmations."""
        if not self._names:
            return
        names, self._names = self._names, {}
        for to, some in names.items():
            got = Got(tuple(some))
            if isinstance(to, Address):
                self._outbox.send(to, self._outbox.seal(got))
            elif (member := self._members.get(to)) is not None:
                self._outbox.tell(member, got)

    def back(self, by: NodeId, number: int, now: float) -> None:
        """A ticket has come back: all before it have arrived or never will."""
        link = self._links.get(by)
        if link is None or number not in link.tickets:
            return
        for ticket in [ticket for ticket in link.tickets if ticket <= number]:
            del link.tickets[ticket]
        if not link.tickets:
            self._paced.pop(by, None)
        self._pump(by, link, now)

    def give_back(self, to: NodeId, number: int) -> None:
        """Return a neighbour's ticket."""
        member = self._members.get(to)
        if member is not None:
            self._outbox.tell(member, Back(number))

    def deadline(self) -> float | None:
        """When ``tick`` is wanted next."""
        dues = [next(iter(self._links[to].tickets.values())) + self._patience(to) for to in self._paced]
        if self._due:
            dues.append(self._due[0][0])
        return min(dues, default=None)

    def tick(self, now: float) -> None:
        """Send again what is not confirmed; give up waiting for tickets."""
        while self._due and self._due[0][0] <= now:
            due, to, name = heapq.heappop(self._due)
            pending = self._unconfirmed.get((to, name))
            if pending is not None and now - due > LATE_S and not pending.late:
                # This node was late itself: the answer may have come, and not been read yet.
                pending.late = True
                heapq.heappush(self._due, (now + min(now - due, LATE_S_MAX), to, name))
            elif pending is not None:
                self._send_again(to, name, pending, now)
        for to in [
            to for to in self._paced if next(iter(self._links[to].tickets.values())) + self._patience(to) <= now
        ]:
            link = self._links[to]
            link.tickets.clear()
            self._paced.pop(to, None)
            self._counters["tickets_lost"] += 1
            self._pump(to, link, now)

    def drop(self, to: NodeId) -> None:
        """A neighbour is gone: nothing waits for it."""
        link = self._links.pop(to, None)
        self._paced.pop(to, None)
        if link is not None:
            self.queued -= len(link.queue)
            self.queued_bytes -= sum(len(packet) for packet, _ in link.queue)

    def _send_again(self, to: NodeId, name: bytes, pending: _Pending, now: float) -> None:
        member = self._members.get(to)
        if pending.tries >= AGAIN_MAX or member is None or not member.reachable:
            del self._unconfirmed[to, name]
            return
        pending.tries += 1
        pending.late = False
        heapq.heappush(self._due, (now + self._again(to, pending.tries), to, name))
        for _ in range(2 if pending.tries >= AGAIN_TWICE else 1):
            self._counters["packets_again"] += 1
            pending.sent += 1
            self._outbox.send(member.card.address, pending.packet)

    def _pump(self, to: NodeId, link: _Link, now: float) -> None:
        member = self._members.get(to)
        if member is None:
            self.drop(to)
            return
        queue = link.queue
        while queue and not link.streaming:
            if len(queue) > STREAM_AT or len(queue[0][0]) > PACKET_BYTES:
                self._flood(to, link)
                return
            if len(link.tickets) >= FLIGHTS_MAX:
                return
            packet, confirm = queue.popleft()
            self.queued -= 1
            self.queued_bytes -= len(packet)
            self._outbox.send(member.card.address, packet)
            if confirm and len(self._unconfirmed) < UNCONFIRMED_MAX:
                name = name_of(packet)
                self._unconfirmed[to, name] = _Pending(packet, now)
                heapq.heappush(self._due, (now + self._again(to, 0), to, name))
            link.sent += 1
            if link.sent >= FLIGHT:
                link.sent = 0
                self._ticket += 1
                link.tickets[self._ticket] = now
                self._paced[to] = None
                self._outbox.tell(member, Ticket(self._ticket))

    def _flood(self, to: NodeId, link: _Link) -> None:
        member = self._members.get(to)
        if member is None:
            return
        packets: list[bytes] = []
        size = 0
        while link.queue and (not packets or size + len(link.queue[0][0]) <= FLOOD_BYTES):
            packets.append(link.queue.popleft()[0])
            size += len(packets[-1]) + 3
            self.queued_bytes -= len(packets[-1])
        self.queued -= len(packets)
        link.streaming = True
        self._counters["floods"] += 1

        def then(answer: Message | None, now: float) -> None:
            link.streaming = False
            if not isinstance(answer, Done):
                self._counters["floods_lost"] += 1
                self._loss(now)
            if self._links.get(to) is link:
                self._pump(to, link, now)

        packet = self._outbox.seal(Flood(tuple(packets)), member)
        if not self._outbox.ask(member.card.address, packet, then):
            link.streaming = False

    def _patience(self, to: NodeId) -> float:
        return max(TICKET_S, 8 * self._rtt(to))

    def _again(self, to: NodeId, tries: int) -> float:
        link = self._links.get(to)
        usual = link.usual if link and link.usual.known else self._usual
        return usual.patience(self._rtt(to)) * AGAIN_GROWTH ** max(0, tries - 1)
