"""A protocol of nothing much, to test with what runs a core: who hears a word tells it on; calls each second."""

from __future__ import annotations

from collections.abc import Sequence

from fairlead.gossip.contract import Datagram, Event, Lifeline, Request, Wish
from fairlead.gossip.identity import Address


class Tiny:
    """Tells each new word to its friends once, every second ``tick`` to the first of them when ``calling``."""

    def __init__(self, friends: Sequence[Address] = (), now: float = 0.0, *, calling: bool = False) -> None:
        self.friends = list(friends)
        self.heard: list[tuple[float, bytes, Address]] = []
        self.words: set[bytes] = set()
        self.refusals: list[tuple[float, Address]] = []
        self.lost: list[tuple[float, Address]] = []
        self.replies: dict[int, tuple[float, bytes | None]] = {}
        self.ticks: list[float] = []
        self.wishes: list[Wish] = []
        #: Hosts at which members are.
        self.members: set[str] = {"127.0.0.1", "::1"}
        self._due = now + 1.0 if calling else None

    def receive(self, data: bytes, sender: Address, now: float) -> None:
        self.heard.append((now, data, sender))
        if data not in self.words:
            self.words.add(data)
            self.wishes += [Datagram(friend, data) for friend in self.friends]

    def serve(self, data: bytes, sender: Address, now: float) -> bytes:
        self.heard.append((now, data, sender))
        return data[::-1]

    def answered(self, request_id: int, data: bytes | None, now: float) -> None:
        assert request_id not in self.replies
        self.replies[request_id] = (now, data)

    def known(self, host: str) -> bool:
        return host in self.members

    def refused(self, peer: Address, now: float, *, sure: bool) -> None:
        self.refusals.append((now, peer))

    def lifeline_lost(self, peer: Address, now: float) -> None:
        self.lost.append((now, peer))

    def tick(self, now: float) -> None:
        assert self._due is not None and now >= self._due
        self.ticks.append(now)
        self._due += 1.0
        if self.friends:
            self.wishes.append(Datagram(self.friends[0], b"tick"))

    def next_deadline(self) -> float | None:
        return self._due

    def outgoing(self, now: float) -> Sequence[Wish]:
        wishes, self.wishes = self.wishes, []
        return wishes

    def events(self) -> Sequence[Event]:
        return ()

    def say(self, to: Address, data: bytes) -> None:
        self.wishes.append(Datagram(to, data))

    def ask(self, number: int, to: Address, data: bytes, timeout_s: float = 2.0) -> None:
        self.wishes.append(Request(number, to, data, timeout_s))

    def hold(self, to: Address, *, held: bool = True) -> None:
        self.wishes.append(Lifeline(to, held))
