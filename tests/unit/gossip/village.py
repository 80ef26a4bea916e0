"""A few cores under virtual time, joined by a router that loses, cuts and delays as it is told."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from random import Random

from fairlead.gossip import blocks
from fairlead.gossip.blocks import Block, Head, Span, draft_blocks, draft_head, sign
from fairlead.gossip.contract import Datagram, Event, GossipSettings, Lifeline, Request
from fairlead.gossip.gossip import Gossip
from fairlead.gossip.identity import Address, Identity, NodeId
from fairlead.gossip.keyring import Keyring
from fairlead.gossip.members import Standing

KEY = bytes(range(32))
NET = "n" * 64
DELAY_S = 0.0005
TCP_S = 0.0015


def address_of(number: int) -> Address:
    return Address(f"10.0.{number // 250}.{number % 250 + 1}", 7946)


def identity_of(number: int) -> Identity:
    return Identity(number.to_bytes(4, "big") * 8)


def write_blocks(identity: Identity, scope: str, epoch: int, first: int, events: Iterable[blocks.Event]) -> list[Block]:
    """Signed blocks."""
    drafts = draft_blocks(identity.id, scope, epoch, first, events)
    return [said for said in sign(identity, drafts) if isinstance(said, Block)]


def write_head(
    identity: Identity, scope: str, epoch: int, version: int, live: Sequence[Span], *, complete: bool
) -> Head:
    """A signed head."""
    (head,) = sign(identity, [draft_head(identity.id, scope, epoch, version, live, complete=complete)])
    assert isinstance(head, Head)
    return head


class Village:
    """Nodes by number. ``now`` goes on only by ``run``."""

    def __init__(self, count: int = 0, seed: int = 1, settings: GossipSettings | None = None) -> None:
        self.now = 1000.0
        self.chance = Random(seed)
        self.settings = settings or GossipSettings()
        self.nodes: dict[int, Gossip] = {}
        self.at: dict[Address, int] = {}
        self.events: dict[int, list[Event]] = {}
        self.loss = 0.0
        #: Numbers of nodes that cannot be reached, nor reach anybody.
        self.holes: set[int] = set()
        self.cut: Callable[[int, int], bool] = lambda _one, _other: False
        self.bytes = 0
        self.packets = 0
        self.streamed = 0
        self.frozen: set[int] = set()
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._order = 0
        self._alarms: dict[int, float] = {}
        self._lines: set[tuple[int, Address]] = set()
        for number in range(count):
            self.start(number)
            if number:
                self.nodes[number].join([address_of(0)], self.now)
                self.drain(number)

    def start(self, number: int, epoch: int = 1, address: Address | None = None, key: bytes = KEY) -> Gossip:
        address = address or address_of(number)
        node = Gossip(
            identity_of(number), epoch, address, Keyring(key), self.settings, Random(self.chance.random()), self.now
        )
        self.nodes[number] = node
        self.at[address] = number
        self.events.setdefault(number, [])
        self.drain(number)
        return node

    def stop(self, number: int) -> None:
        """The process dies: its host refuses."""
        del self.nodes[number]
        self.at = {address: one for address, one in self.at.items() if one != number}
        for holder, address in list(self._lines):
            if holder == number:
                self._lines.discard((holder, address))
            elif address == address_of(number) and holder in self.nodes and not self.apart(holder, number):
                self._lines.discard((holder, address))
                self.later(DELAY_S, partial(self._lost, holder, address))

    def id(self, number: int) -> NodeId:
        return identity_of(number).id

    def apart(self, one: int, other: int) -> bool:
        return one in self.holes or other in self.holes or self.cut(one, other)

    def later(self, delay: float, act: Callable[[], None]) -> None:
        self._order += 1
        heapq.heappush(self._heap, (self.now + delay, self._order, act))

    def drain(self, number: int) -> None:
        node = self.nodes.get(number)
        if node is None:
            return
        for wish in node.outgoing(self.now):
            if isinstance(wish, Datagram):
                self._datagram(number, wish)
            elif isinstance(wish, Request):
                self._request(number, wish)
            elif isinstance(wish, Lifeline):
                (self._lines.add if wish.open else self._lines.discard)((number, wish.to))
                if wish.open and wish.to not in self.at:
                    self.later(DELAY_S, partial(self._lost, number, wish.to))
        self.events[number] += node.events()
        deadline = node.next_deadline()
        if deadline is not None and deadline < self._alarms.get(number, float("inf")):
            self._alarms[number] = deadline
            self.later(max(deadline - self.now, 0.0), lambda: self._alarm(number, deadline))

    def run(self, seconds: float) -> None:
        until = self.now + seconds
        while self._heap and self._heap[0][0] <= until:
            self.now, _, act = heapq.heappop(self._heap)
            act()
        self.now = until

    def run_until(self, true: Callable[[], bool], seconds: float) -> float:
        """How long it takes until something is so; fails when it is not in time."""
        start = self.now
        while not true():
            assert self.now - start < seconds, f"not so after {seconds} s"
            self.run(DELAY_S)
        return self.now - start

    def do(self, number: int, act: Callable[[Gossip], object]) -> None:
        """Have a node do something, then let it send."""
        act(self.nodes[number])
        self.drain(number)

    def put(self, number: int, key: str, value: str, scope: str = NET, table: str = "t") -> None:
        self.do(number, lambda node: node.put(scope, table, key, value.encode(), self.now))

    def delete(self, number: int, key: str, scope: str = NET) -> None:
        self.do(number, lambda node: node.delete(scope, "t", key, self.now))

    def attach(self, *numbers: int, scope: str = NET) -> None:
        for number in numbers or tuple(self.nodes):
            self.do(number, lambda node: node.attach(scope, self.now))

    def value(self, number: int, key: str, scope: str = NET) -> str | None:
        record = self.nodes[number].tables.get(scope, "t", key)
        return record.value.decode() if record else None

    def all_have(self, key: str, value: str | None, scope: str = NET, but: tuple[int, ...] = ()) -> bool:
        return all(self.value(number, key, scope) == value for number in self.nodes if number not in but)

    def standing(self, at: int, of: int) -> Standing | None:
        member = self.nodes[at].members.get(self.id(of))
        return member.standing if member else None

    def all_see(self, of: int, standing: Standing, but: tuple[int, ...] = ()) -> bool:
        return all(self.standing(at, of) is standing for at in self.nodes if at not in {of, *but})

    def agree(self) -> bool:
        sums = {(node.members.sums.total, node.tables.digest(["", NET])) for node in self.nodes.values()}
        return len(sums) == 1 and all(len(node.members.ring) == len(self.nodes) for node in self.nodes.values())

    def settled(self, seconds: float = 5.0) -> Village:
        self.run_until(self.agree, seconds)
        return self

    def _alarm(self, number: int, deadline: float) -> None:
        if self._alarms.get(number) == deadline:
            del self._alarms[number]
            if number in self.nodes and number not in self.frozen:
                self.nodes[number].tick(self.now)
                self.drain(number)

    def _lost(self, number: int, address: Address) -> None:
        if number in self.nodes:
            self.nodes[number].lifeline_lost(address, self.now)
            self.drain(number)

    def _datagram(self, number: int, wish: Datagram) -> None:
        self.bytes += len(wish.data) + 28
        self.packets += 1
        source = next(address for address, one in self.at.items() if one == number)
        if self.chance.random() < self.loss:
            return
        self.later(DELAY_S, lambda: self._arrive(number, source, wish))

    def _arrive(self, number: int, source: Address, wish: Datagram) -> None:
        there = self.at.get(wish.to)
        if there is None:
            if number in self.nodes and number not in self.holes:
                self.nodes[number].refused(wish.to, self.now, sure=False)
                self.drain(number)
        elif there in self.nodes and not self.apart(number, there):
            self.nodes[there].receive(wish.data, source, self.now)
            self.drain(there)

    def _request(self, number: int, wish: Request) -> None:
        self.streamed += len(wish.data)
        source = next(address for address, one in self.at.items() if one == number)

        def answer(data: bytes | None) -> None:
            if number in self.nodes:
                self.nodes[number].answered(wish.id, data, self.now)
                self.drain(number)

        def arrive() -> None:
            there = self.at.get(wish.to)
            if there is None:
                if number in self.nodes and number not in self.holes:
                    self.nodes[number].refused(wish.to, self.now, sure=True)
                answer(None)
                return
            if there not in self.nodes or self.apart(number, there):
                self.later(wish.timeout_s, lambda: answer(None))
                return
            reply = self.nodes[there].serve(wish.data, Address(source.host, 50000), self.now)
            self.streamed += len(reply)
            self.drain(there)
            self.later(TCP_S, lambda: answer(reply or None))

        self.later(TCP_S, arrive)
