"""Forwarding: asking outside servers in turn, and believing only their replies.

Each attempt has its own socket (the edge's), a random source port, a random id and random letter case in the name
(draft-vixie-dnsext-dns0x20): an outsider has to guess all of them (RFC 5452). A reply counts if it comes over the
attempt's connected socket, carries its id and repeats its question octet by octet. A server that answers with the
right id but other letter case is asked once more in plain case, with new id and port. Where many wrong replies come,
somebody is guessing: the server is asked once more over TCP, where guesses do not arrive.

    attempt --reply--> answered                 --SERVFAIL, REFUSED, timeout, broken socket--> next server
       ^----- other case: once, plain ----'     no server left --> SERVFAIL to the client
       ^----- many wrong replies: TCP ----'

A server that was silent is asked after the others of its sandbox for a while.

Pure: drain the returned acts in order after each call; ``tick`` when ``next_deadline`` has passed.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from fairlead.discovery import wire
from fairlead.discovery.resolver import Forward, Upstream
from fairlead.model.ids import Chance

#: Servers tried for one query (Docker's maxExtDNS, glibc's MAXNS).
SERVERS_MAX = 3
#: Seconds that a server has for its reply (Docker's extIOTimeout).
TIMEOUT_S = 4.0
#: Seconds for which a server that let its time go by is asked after the others of its sandbox. Without it, programs that
#: give up after 5 s (resolv.conf(5)) would never reach the third server behind two dead ones.
LAST_S = 30.0
#: Wrong replies to one attempt before it is made over TCP: one that is late or doubled is no attack, and 32 guesses at
#: 16 bits of id and the letter case are none that succeeds.
DOUBTS_MAX = 32
#: Queries of one sandbox that may wait at a time (Docker's maxConcurrent).
OUTSTANDING_MAX = 1024
#: Queries of all sandboxes that may wait; each holds a socket. The sandbox with most of them gives way.
OUTSTANDING_TOTAL_MAX = 4096
#: Source ports drawn from: 16384-65535 are 15.6 bits (the kernel's own choice has 14.8) and leave low ports alone.
PORT_FIRST = 16_384
PORT_COUNT = 49_152

_CASE_BITS = bytes(0x20 if chr(octet).isascii() and chr(octet).isalpha() else 0 for octet in range(256))
_FAILURES = frozenset({wire.SERVFAIL, wire.REFUSED})
_ERRORS = frozenset({wire.FORMERR, wire.SERVFAIL, wire.NOTIMP, wire.REFUSED})

Client = TypeVar("Client")


class Send(NamedTuple):
    """Open a socket under ``token`` to the server, from source port ``port`` if it is free, and send ``data``."""

    token: int
    owner: str
    server: Upstream
    tcp: bool
    port: int
    data: bytes


class Close(NamedTuple):
    """Close the socket of ``token``; nothing that still arrives on it counts."""

    token: int


class Reply(NamedTuple, Generic[Client]):
    """Hand ``data`` to the client."""

    client: Client
    data: bytes


@dataclass(slots=True)
class _Exchange(Generic[Client]):
    owner: str
    client: Client
    forward: Forward
    tcp: bool
    index: int = 0
    plain: bool = False
    doubts: int = 0
    sent: bytes = b""

    def over_tcp(self) -> bool:
        """Whether the present attempt is."""
        return self.tcp or self.doubts >= DOUBTS_MAX


@dataclass(slots=True)
class Counts:
    """What has happened since the start: queries forwarded, given up, refused for want of room; packets that were
    not the awaited reply."""

    forwarded: int = 0
    failed: int = 0
    refused: int = 0
    unbelieved: int = 0


class Forwarder(Generic[Client]):
    """All waiting queries of a node; ``owner`` (a sandbox) bounds how many one may have."""

    def __init__(
        self, chance: Chance, outstanding_max: int = OUTSTANDING_MAX, total_max: int = OUTSTANDING_TOTAL_MAX
    ) -> None:
        self.counts = Counts()
        self._chance = chance
        self._outstanding_max, self._total_max = outstanding_max, total_max
        self._waiting: dict[int, _Exchange[Client]] = {}
        self._deadlines: deque[tuple[float, int]] = deque()
        self._owners: dict[str, dict[int, None]] = {}
        self._silent: dict[str, dict[Upstream, float]] = {}
        self._token = 0

    def ask(
        self, owner: str, client: Client, forward: Forward, tcp: bool, now: float
    ) -> list[Send | Close | Reply[Client]]:
        """Forward a query. Over its limit an owner is answered REFUSED at once; so is, when all together are over
        theirs, the oldest query of the owner with most."""
        own, waiting = len(self._owners.get(owner, ())), len(self._waiting)
        full = waiting >= self._total_max
        if own >= self._outstanding_max or (full and own * len(self._owners) >= waiting):
            self.counts.refused += 1
            return [Reply(client, wire.failure(forward.query, forward.end, wire.REFUSED))]
        given_up = self._make_room() if full else []
        self.counts.forwarded += 1
        if owner in self._silent:
            forward = forward._replace(upstreams=self._in_order(owner, forward.upstreams, now))
        return [*given_up, self._attempt(_Exchange(owner, client, forward, tcp), now)]

    def receive(self, token: int, data: bytes, now: float) -> list[Send | Close | Reply[Client]]:
        """A packet arrived on the socket of ``token``. Never raises; what is not the awaited reply is counted."""
        exchange = self._waiting.get(token)
        if exchange is None:
            return []
        sent, end = exchange.sent, exchange.forward.end
        question, asked = data[12:end], sent[12:end]
        if len(data) < wire.HEADER_SIZE or data[:2] != sent[:2] or not data[2] & 0x80 or data[2] & 0x78:
            return self._doubt(token, exchange, now)
        rcode = data[3] & 0x0F
        questions = data[4:6]
        if questions == b"\0\0" and rcode in _ERRORS:
            return self.fail(token, now)
        if questions != b"\0\1" or (question != asked and question.lower() != asked.lower()):
            return self._doubt(token, exchange, now)
        if question != asked:
            exchange.plain = True
            return [self._drop(token), self._attempt(exchange, now)]
        if rcode in _FAILURES:
            return self.fail(token, now)
        query = exchange.forward.query
        reply = query[:2] + data[2:12] + query[12:end] + data[end:]
        if exchange.over_tcp() and not exchange.tcp and len(reply) > wire.UDP_SIZE:
            reply = wire.cut(reply, end)
        return [self._drop(token), Reply(exchange.client, reply)]

    def fail(self, token: int, now: float) -> list[Send | Close | Reply[Client]]:
        """The socket of ``token`` could not be made, broke or ended: on to the next server."""
        exchange = self._waiting.get(token)
        if exchange is None:
            return []
        dropped = self._drop(token)
        exchange.index += 1
        exchange.plain, exchange.doubts = False, 0
        if exchange.index < min(SERVERS_MAX, len(exchange.forward.upstreams)):
            return [dropped, self._attempt(exchange, now)]
        self.counts.failed += 1
        forward = exchange.forward
        return [dropped, Reply(exchange.client, wire.failure(forward.query, forward.end, wire.SERVFAIL))]

    def tick(self, now: float) -> list[Send | Close | Reply[Client]]:
        """Give up every attempt whose time is over."""
        acts: list[Send | Close | Reply[Client]] = []
        while self._deadlines and (self._deadlines[0][0] <= now or self._deadlines[0][1] not in self._waiting):
            token = self._deadlines.popleft()[1]
            exchange = self._waiting.get(token)
            if exchange is not None:
                server = exchange.forward.upstreams[exchange.index]
                self._silent.setdefault(exchange.owner, {})[server] = now + LAST_S
            acts += self.fail(token, now)
        return acts

    def next_deadline(self) -> float | None:
        """Monotonic seconds at which ``tick`` is wanted; None while nothing waits."""
        while self._deadlines and self._deadlines[0][1] not in self._waiting:
            self._deadlines.popleft()
        return self._deadlines[0][0] if self._deadlines else None

    def forget(self, owner: str) -> list[Send | Close | Reply[Client]]:
        """Drop all queries of an owner without a reply, and what is known of its servers."""
        self._silent.pop(owner, None)
        return [self._drop(token) for token in tuple(self._owners.get(owner, ()))]

    def _make_room(self) -> list[Send | Close | Reply[Client]]:
        greediest = max(self._owners.values(), key=len)
        token = next(iter(greediest))
        exchange = self._waiting[token]
        self.counts.refused += 1
        forward = exchange.forward
        return [self._drop(token), Reply(exchange.client, wire.failure(forward.query, forward.end, wire.REFUSED))]

    def _in_order(self, owner: str, upstreams: tuple[Upstream, ...], now: float) -> tuple[Upstream, ...]:
        """The servers as they are to be tried: those that were silent lately last."""
        silent = {server: until for server, until in self._silent[owner].items() if until > now}
        if silent:
            self._silent[owner] = silent
        else:
            del self._silent[owner]
        return tuple(sorted(upstreams, key=silent.__contains__))

    def _doubt(self, token: int, exchange: _Exchange[Client], now: float) -> list[Send | Close | Reply[Client]]:
        self.counts.unbelieved += 1
        if exchange.over_tcp():
            return []
        exchange.doubts += 1
        return [self._drop(token), self._attempt(exchange, now)] if exchange.over_tcp() else []

    def _attempt(self, exchange: _Exchange[Client], now: float) -> Send:
        token = self._token = self._token + 1
        query, upstreams, end = exchange.forward
        name = query[12 : end - 4]
        draw = self._chance.getrandbits(len(name) * 8 + 48)
        if not exchange.plain:
            name = _mixed(name, draw >> 48)
        exchange.sent = (draw & 0xFFFF).to_bytes(2, "big") + query[2:12] + name + query[end - 4 :]
        self._waiting[token] = exchange
        self._owners.setdefault(exchange.owner, {})[token] = None
        self._deadlines.append((now + TIMEOUT_S, token))
        port = PORT_FIRST + ((draw >> 16) & 0xFFFFFFFF) % PORT_COUNT
        return Send(token, exchange.owner, upstreams[exchange.index], exchange.over_tcp(), port, exchange.sent)

    def _drop(self, token: int) -> Close:
        owner = self._waiting.pop(token).owner
        tokens = self._owners[owner]
        del tokens[token]
        if not tokens:
            del self._owners[owner]
        return Close(token)


def _mixed(name: bytes, bits: int) -> bytes:
    """The name with random letter case; length octets are below 64, so only letters change."""
    flips = int.from_bytes(name.translate(_CASE_BITS), "big") & bits
    return (int.from_bytes(name, "big") ^ flips).to_bytes(len(name), "big")
