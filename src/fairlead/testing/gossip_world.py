"""Many cores in one thread under virtual time: a network that loses, delays, cuts and lies dead as one tells it to.

Theory of operation. One heap of (time, number, what, where). An item belongs to a life of a node: what was on its way to
a process that died is dropped, as sockets are. All chance comes from one generator, so the same seed and the same calls
give the same run to the bit; ``World.digest`` is a checksum over everything that was carried, and says whether they did.

A *process* dies (``crash``): its host still answers, so datagrams to it are refused, connections broken. A *host* goes
dark (``World.cut`` around it): nothing comes back, connections hang, lifelines stand though nobody is there. A *paused*
process keeps its sockets: what comes waits, in the order it came, and so do its timers. A *muffled* one keeps its timers,
but all that it sends and gets waits. A *slow* one handles one thing at a time, each taking long.
"""

from __future__ import annotations

import heapq
import struct
from collections import deque
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any
from zlib import crc32

from fairlead.gossip.contract import Datagram, Event, Lifeline, Request
from fairlead.gossip.doors import Core
from fairlead.gossip.identity import Address

#: Every node's port; a node is told by its host.
PORT = 7946
#: Bytes of IP and UDP headers, counted with each datagram.
HEADERS_BYTES = 28
#: Things that wait for a paused process at most: a socket buffer of 212,992 bytes holds so many small datagrams.
BACKLOG_MAX = 256
#: Things that a muffled process sends at most, for the same reason; the oldest are lost.
HELD_MAX = 4096
#: Items of the story that a failure tells.
STORY = 50
#: Seconds a second time is tried: a connection's first packet, and one of its segments (Linux's TCP_TIMEOUT_INIT and
#: TCP_RTO_MIN).
SYN_RETRY_S, SEGMENT_RETRY_S = 1.0, 0.2
#: Retries of a connection's first packet (Linux's tcp_syn_retries).
SYN_RETRIES = 6
#: Seconds after which a connection to a host that went dark is found broken (our edge's keep-alive).
KEEPALIVE_S = 60.0
#: Seconds to carry a byte: 1 Gbit/s.
BYTE_S = 8e-9


@dataclass
class Faults:
    """What the network does to what it carries. Shares are between 0 and 1. A datagram that is reordered is delayed
    by up to ``reorder_s`` more. ``stream_loss`` delays what TCP carries, and never loses it."""

    delay_s: float = 100e-6
    jitter_s: float = 0.0
    loss: float = 0.0
    duplication: float = 0.0
    reordering: float = 0.0
    reorder_s: float = 0.02
    stream_loss: float = 0.0


@dataclass
class Traffic:
    """What was sent so far."""

    datagrams: int = 0
    datagram_bytes: int = 0
    requests: int = 0
    stream_bytes: int = 0
    lifelines: int = 0


@dataclass(eq=False)
class Node:
    """A host with its process. Its clock reads ``skew_s + (1 + drift) * true time``."""

    index: int
    address: Address
    core: Core | None = None
    life: int = 0
    skew_s: float = 0.0
    drift: float = 0.0
    #: Seconds that each thing takes which comes to it.
    service_s: float = 0.0
    paused: bool = False
    muffled: bool = False
    backlog: deque[tuple[Any, ...]] = field(default_factory=deque)
    #: Datagrams and requests that a muffled process has sent.
    held: deque[Datagram | Request] = field(default_factory=lambda: deque(maxlen=HELD_MAX))
    busy_until: float = 0.0
    armed: float | None = None
    #: Address -> the life of the peer to which a lifeline is held.
    lines: dict[Address, int] = field(default_factory=dict)
    requests: dict[int, int] = field(default_factory=dict)

    def clock(self, time: float) -> float:
        """What its clock says at a true time."""
        return self.skew_s + (1.0 + self.drift) * time

    def true(self, local: float) -> float:
        """When its clock says so."""
        return (local - self.skew_s) / (1.0 + self.drift)


Told = Callable[[Node, Event], None]


class Fabric:
    """Who can reach whom, and the story of what happened."""

    def __init__(self) -> None:
        self.now = 0.0
        self.nodes: list[Node] = []
        self._number = 0
        self._cuts: dict[int, tuple[frozenset[int], frozenset[int], bool]] = {}
        self._story: deque[tuple[Any, ...]] = deque(maxlen=STORY)

    def cut(self, some: Collection[Node], others: Collection[Node] | None = None, *, one_way: bool = False) -> int:
        """Nothing passes between ``some`` and ``others`` (None: all that are not among ``some``), or with ``one_way``
        nothing from the first to the second; a name for ``heal``."""
        first = frozenset(node.index for node in some)
        second = (
            frozenset(range(len(self.nodes))) - first if others is None else frozenset(node.index for node in others)
        )
        self._number += 1
        self._cuts[self._number] = (first, second, one_way)
        self._note("cut", None, sorted(first), sorted(second))
        return self._number

    def heal(self, name: int | None = None) -> None:
        """Mend one cut, or all."""
        self._note("heal", None, name)
        for known in list(self._cuts) if name is None else [name]:
            self._cuts.pop(known, None)

    def passes(self, source: Node, target: Node) -> bool:
        """Whether what is sent from one host to another can arrive."""
        a, b = source.index, target.index
        return not any(
            (a in first and b in second) or (not one_way and a in second and b in first)
            for first, second, one_way in self._cuts.values()
        )

    def joined(self, one: Node, other: Node) -> bool:
        """Whether packets pass both ways."""
        return not self._cuts or (self.passes(one, other) and self.passes(other, one))

    def story(self) -> str:
        """What happened last, a line each."""
        lines = []
        for time, what, index, arguments in self._story:
            name = what if isinstance(what, str) else what.__name__.strip("_")
            words = " ".join(_word(argument) for argument in arguments)
            lines.append(f"  {time:12.6f} {name:13} {'' if index is None else index:>4} {words}")
        return "\n".join(lines)

    def _note(self, what: str, node: Node | None, *arguments: Any) -> None:
        self._story.append((self.now, what, None if node is None else node.index, arguments))


class World(Fabric):
    """The network and all nodes; ``told`` hears every event of every core at once."""

    def __init__(self, seed: int, faults: Faults | None = None, told: Told | None = None) -> None:
        super().__init__()
        self.seed = seed
        self.chance = Random(seed)
        self.faults = faults or Faults()
        self.traffic = Traffic()
        self.digest = 0
        self.steps = 0
        #: Hears every datagram that is sent: a listener on the wire.
        self.carried: Callable[[bytes], object] | None = None
        self._told = told
        self._where: dict[Address, Node] = {}
        self._heap: list[tuple[Any, ...]] = []

    # -- nodes

    def add(self) -> Node:
        """A host without a process."""
        index = len(self.nodes)
        host = f"10.{index >> 16}.{index >> 8 & 255}.{index & 255}"
        node = Node(index, Address(host, PORT))
        self.nodes.append(node)
        self._where[node.address] = node
        return node

    def start(self, node: Node, core: Core) -> None:
        """Start a process on a host that has none; others that are started at the same time can be reached already."""
        assert node.core is None, "it runs"
        node.core = core
        node.life += 1
        node.paused = node.muffled = False
        node.busy_until = self.now
        self._push(self.now, World._start, node)

    def crash(self, node: Node) -> None:
        """A process dies, its host lives: whoever holds a connection to it hears so."""
        self._note("crash", node)
        life = node.life
        node.core, node.armed = None, None
        node.life += 1
        node.lines.clear()
        node.requests.clear()
        node.backlog.clear()
        node.held.clear()
        for other in self.nodes:
            if other.lines.get(node.address) == life:
                self._push(self.now + self._delay(), World._line_broken, other, node, life)

    def pause(self, node: Node, duration_s: float) -> None:
        """A process stands still for a while."""
        if node.core is not None and not node.paused:
            self._note("pause", node)
            node.paused = True
            self._push(self.now + duration_s, World._resume, node, control=True)

    def muffle(self, node: Node, duration_s: float) -> None:
        """A process does not get at its messages for a while, in or out, though it runs: what Lifeguard's authors did to
        their slow members."""
        if node.core is not None and not node.muffled:
            self._note("muffle", node)
            node.muffled = True
            life = node.life
            self.at(self.now + duration_s, lambda: self._unmuffle(node, life))

    def settle(self, node: Node) -> None:
        """Take a core's wishes and events, and set its alarm. Needed after every call to a core from outside."""
        core = node.core
        if core is None:
            return
        local = node.clock(self.now)
        for wish in core.outgoing(local):
            if isinstance(wish, Lifeline):
                self._line(node, wish)
            elif node.muffled:
                node.held.append(wish)
            else:
                self._carry(node, wish)
        for event in core.events():
            if self._told is not None:
                self._told(node, event)
        deadline = core.next_deadline()
        if deadline is not None:
            when = max(self.now, node.true(deadline))
            if node.armed is None or when < node.armed:
                node.armed = when
                self._push(when, World._alarm, node, when)

    # -- time

    def at(self, time: float, act: Callable[[], object]) -> None:
        """Do something at a time to come."""
        self._push(time, World._act, None, act, control=True)

    def run(self, duration_s: float) -> None:
        """Let so much time pass."""
        self.run_until(lambda: False, duration_s, every=1 << 62)

    def run_until(self, done: Callable[[], bool], limit_s: float, *, every: int = 1) -> bool:
        """Let time pass until ``done``, asked after every so many items, or for ``limit_s``; whether it was done."""
        end = self.now + limit_s
        heap, left = self._heap, every
        while heap and heap[0][0] <= end:
            self.step()
            left -= 1
            if not left:
                left = every
                if done():
                    return True
        self.now = max(self.now, end)
        return done()

    def step(self) -> None:
        """The next item."""
        item = heapq.heappop(self._heap)
        time, _, what, node, life, arguments = item
        self.now = max(self.now, time)
        self.steps += 1
        if node is None:
            what(self, *arguments)
            return
        if life is not None:
            if life != node.life:
                return
            if node.paused or (node.muffled and what not in {World._alarm, World._start}):
                if len(node.backlog) < BACKLOG_MAX or what is not World._arrive:
                    node.backlog.append(item)
                return
            if node.service_s and what not in {World._late, World._start}:
                begin = max(self.now, node.busy_until)
                node.busy_until = begin + node.service_s
                if begin > self.now:
                    self._push(begin, World._late, node, what, arguments)
                    return
        self._story.append((self.now, what, node.index, arguments))
        self.digest = crc32(struct.pack("<dI", self.now, node.index), self.digest)
        what(self, node, *arguments)
        self.settle(node)

    @contextmanager
    def telling(self) -> Iterator[None]:
        """A failure inside tells the seed and what happened last."""
        try:
            yield
        except BaseException as fault:
            fault.add_note(
                f"seed {self.seed}, at {self.now:.6f} s, after {self.steps} steps; before that:\n{self.story()}"
            )
            raise

    # -- what is on its way

    def _push(
        self, time: float, what: Callable[..., None], node: Node | None, *arguments: Any, control: bool = False
    ) -> None:
        self._number += 1
        life = None if control or node is None else node.life
        heapq.heappush(self._heap, (time, self._number, what, node, life, arguments))

    def _again(self, time: float, item: tuple[Any, ...]) -> None:
        self._number += 1
        heapq.heappush(self._heap, (time, self._number, *item[2:]))

    def _late(self, node: Node, what: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        what(self, node, *arguments)

    def _start(self, node: Node) -> None:
        """Nothing; after it its first wishes are carried out."""

    def _act(self, act: Callable[[], object]) -> None:
        act()

    def _delay(self) -> float:
        faults = self.faults
        return faults.delay_s + (self.chance.random() * faults.jitter_s if faults.jitter_s else 0.0)

    def _carry(self, source: Node, wish: Datagram | Request) -> None:
        if type(wish) is Datagram:
            self._send(source, wish.to, wish.data)
        else:
            assert isinstance(wish, Request)
            self._ask(source, wish)

    def _unmuffle(self, node: Node, life: int) -> None:
        if node.life != life:
            return
        self._note("unmuffle", node)
        node.muffled = False
        waiting, node.backlog = list(node.backlog), deque()
        for item in waiting:
            self._again(self.now, item)
        while node.held:
            self._carry(node, node.held.popleft())

    def _send(self, source: Node, to: Address, data: bytes) -> None:
        traffic, faults, chance = self.traffic, self.faults, self.chance
        traffic.datagrams += 1
        traffic.datagram_bytes += len(data) + HEADERS_BYTES
        if self.carried is not None:
            self.carried(data)
        self.digest = crc32(data, self.digest)
        target = self._where.get(to)
        if target is None or (self._cuts and not self.passes(source, target)):
            return
        copies = 2 if faults.duplication and chance.random() < faults.duplication else 1
        for _ in range(copies):
            if faults.loss and chance.random() < faults.loss:
                continue
            delay = self._delay()
            if faults.reordering and chance.random() < faults.reordering:
                delay += chance.random() * faults.reorder_s
            if target.core is None:
                if not self._cuts or self.passes(target, source):
                    self._push(self.now + delay + self._delay(), World._refused, source, to)
            else:
                self._push(self.now + delay, World._arrive, target, data, source.address)

    def _arrive(self, node: Node, data: bytes, sender: Address) -> None:
        assert node.core is not None
        node.core.receive(data, sender, node.clock(self.now))

    def _refused(self, node: Node, peer: Address) -> None:
        assert node.core is not None
        node.core.refused(peer, node.clock(self.now), sure=False)

    def _alarm(self, node: Node, when: float) -> None:
        assert node.core is not None
        if node.armed != when:
            return  # an earlier one was set since
        node.armed = None
        deadline, local = node.core.next_deadline(), node.clock(self.now)
        # true() and clock() round: what is due within a nanosecond is due
        if deadline is not None and deadline <= local + 1e-9:
            node.core.tick(max(local, deadline))

    def _resume(self, node: Node) -> None:
        self._note("resume", node)
        node.paused = False
        waiting, node.backlog = list(node.backlog), deque()
        if self.chance.random() < 0.5:
            # an event loop may look at its clocks before it looks at its sockets
            waiting.sort(key=lambda item: item[2] is not World._alarm)
        for item in waiting:
            self._again(self.now, item)

    # -- streams

    def _stream_delay(self, size: int) -> float:
        """A connection's making, and its data's way."""
        faults, delay = self.faults, 3 * self._delay() + size * BYTE_S
        if faults.stream_loss:
            retry = SYN_RETRY_S
            while self.chance.random() < faults.stream_loss and retry < 64:
                delay, retry = delay + retry, 2 * retry
            for _ in range(1 + size // 14600):
                if self.chance.random() < faults.stream_loss:
                    delay += SEGMENT_RETRY_S
        return delay

    def _ask(self, source: Node, request: Request) -> None:
        self.traffic.requests += 1
        self.traffic.stream_bytes += len(request.data)
        self.digest = crc32(request.data, self.digest)
        source.requests[request.id] = source.life
        self._push(self.now + request.timeout_s, World._replied, source, request.id, None)
        target = self._where.get(request.to)
        if target is None or not self.joined(source, target):
            return
        if target.core is None:
            self._push(self.now + 2 * self._delay(), World._turned_away, source, request.id, request.to)
            return
        delay = self._stream_delay(len(request.data))
        self._push(self.now + delay, World._serve, target, source, source.life, request.id, request.data)

    def _serve(self, node: Node, source: Node, life: int, request_id: int, data: bytes) -> None:
        assert node.core is not None
        if not self.joined(source, node):
            return
        # streams come from a port of their own
        sender = Address(source.address.host, 32768 + request_id % 28000)
        reply = node.core.serve(data, sender, node.clock(self.now))
        self.traffic.stream_bytes += len(reply)
        self.digest = crc32(reply, self.digest)
        if source.life == life:
            delay = self._delay() + len(reply) * BYTE_S
            if self.faults.stream_loss and self.chance.random() < self.faults.stream_loss:
                delay += SEGMENT_RETRY_S
            self._push(self.now + delay, World._replied, source, request_id, reply or None)

    def _turned_away(self, node: Node, request_id: int, peer: Address) -> None:
        assert node.core is not None
        if request_id in node.requests:
            node.core.refused(peer, node.clock(self.now), sure=True)
            self._replied(node, request_id, None)

    def _replied(self, node: Node, request_id: int, data: bytes | None) -> None:
        assert node.core is not None
        if node.requests.pop(request_id, None) is not None:
            node.core.answered(request_id, data, node.clock(self.now))

    # -- lifelines

    def _line(self, source: Node, wish: Lifeline) -> None:
        if not wish.open:
            source.lines.pop(wish.to, None)
        elif wish.to not in source.lines:
            source.lines[wish.to] = 0
            self._push(self.now + 2 * self._delay(), World._line_made, source, wish.to, 0)

    def _line_made(self, node: Node, to: Address, attempt: int) -> None:
        assert node.core is not None
        if node.lines.get(to) != 0:
            return
        target = self._where.get(to)
        if target is not None and self.joined(node, target):
            if target.core is None:
                del node.lines[to]
                node.core.refused(to, node.clock(self.now), sure=True)
                node.core.lifeline_lost(to, node.clock(self.now))
            else:
                node.lines[to] = target.life
                self.traffic.lifelines += 1
        elif attempt < SYN_RETRIES:
            self._push(self.now + SYN_RETRY_S * 2**attempt, World._line_made, node, to, attempt + 1)
        else:
            del node.lines[to]
            node.core.lifeline_lost(to, node.clock(self.now))

    def _line_broken(self, node: Node, peer: Node, life: int) -> None:
        assert node.core is not None
        if node.lines.get(peer.address) != life:
            return
        if not self.joined(node, peer):
            self._push(self.now + KEEPALIVE_S, World._line_broken, node, peer, life)
            return
        del node.lines[peer.address]
        node.core.lifeline_lost(peer.address, node.clock(self.now))


def _word(argument: Any) -> str:
    if isinstance(argument, bytes):
        return f"{len(argument)} B"
    return f"node {argument.index}" if isinstance(argument, Node) else str(argument)
