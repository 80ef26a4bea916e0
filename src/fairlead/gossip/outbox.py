"""What a node wants sent: sealed, counted, and with each request who waits for its answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from fairlead.gossip.blocks import PACKET_BYTES
from fairlead.gossip.contract import STREAM_BYTES_MAX, Datagram, Lifeline, Request, Wish
from fairlead.gossip.identity import Address, NodeId
from fairlead.gossip.keyring import Keyring, Sealer, short, unseal
from fairlead.gossip.members import Member
from fairlead.gossip.messages import Message
from fairlead.gossip.wire import decode, encode

#: Requests under way at most; a joining node has three, a flooding one as many as children.
REQUESTS_MAX = 512
#: Seconds until a request has failed: long enough for a megabyte on a slow link, short enough that another is asked.
REQUEST_S = 2.0

Then = Callable[[Message | None, float], None]


class Outbox:
    """Gathers datagrams, requests and lifelines until the edge takes them."""

    def __init__(self, own: NodeId, epoch: int, keyring: Keyring, counters: Counter[str]) -> None:
        self.own = short(own)
        self.keyring = keyring
        self.counters = counters
        self._sealer = Sealer(own, epoch, keyring)
        self._wishes: list[Wish] = []
        self._waiting: dict[int, Then] = {}
        self._requests = 0

    def taken(self) -> list[Wish]:
        """All that is to be sent, in order; it is the caller's from now on."""
        wishes, self._wishes = self._wishes, []
        return wishes

    def seal(self, message: Message, to: Member | None = None) -> bytes:
        """A message as a packet, for one member or (None) for all who get it."""
        return self._sealer.seal(encode(message), short(to.id) if to else None)

    def send(self, to: Address, packet: bytes) -> None:
        """Send a sealed packet as it is."""
        self.counters["packets_sent"] += 1
        self.counters["bytes_sent"] += len(packet)
        self._wishes.append(Datagram(to, packet))

    def tell(self, to: Member, message: Message) -> None:
        """Send a member a message; by stream what fits no datagram."""
        packet = self.seal(message, to)
        if len(packet) <= PACKET_BYTES:
            self.send(to.card.address, packet)
        else:
            self.ask(to.card.address, packet, _nothing)

    def ask(self, to: Address, packet: bytes, then: Then, timeout_s: float = REQUEST_S) -> bool:
        """Send a sealed packet by stream; ``then`` gets the answer or None, later. False: it is too much, and not
        sent."""
        if len(self._waiting) >= REQUESTS_MAX or len(packet) > STREAM_BYTES_MAX:
            self.counters["requests_refused"] += 1
            return False
        self._requests += 1
        self._waiting[self._requests] = then
        self.counters["requests_sent"] += 1
        self.counters["bytes_streamed"] += len(packet)
        self._wishes.append(Request(self._requests, to, packet, timeout_s))
        return True

    def answered(self, request: int, data: bytes | None, now: float) -> None:
        """The answer to a request; None or what cannot be opened: it has failed."""
        then = self._waiting.pop(request, None)
        if then is None:
            return
        opened = unseal(self.keyring, data, self.own) if data else None
        message = decode(opened.payload) if opened else None
        if message is None:
            self.counters["requests_failed"] += 1
        then(message, now)

    def hold(self, to: Address, *, there: bool) -> None:
        """Have a lifeline to an address, or none."""
        self._wishes.append(Lifeline(to, there))


def _nothing(_answer: Message | None, _now: float) -> None:
    """What was sent needs no answer."""
