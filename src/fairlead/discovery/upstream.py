"""Forwarding: asking outside servers in turn, and believing only their replies.

Each attempt has its own socket (the edge's), a random source port, a random id and random letter case in the name
(draft-vixie-dnsext-dns0x20): an outsider has to guess all of them (RFC 5452). A reply counts if it comes over the
attempt's connected socket, carries its id and repeats its question octet by octet. A server that answers with the
right id but other letter case is asked once more in plain case, with new id and port.

    attempt --reply--> answered                 --SERVFAIL, REFUSED, timeout, broken socket--> next server
       ^----- other case: once, plain ----'     no server left --> SERVFAIL to the client

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
#: Queries of one sandbox that may wait at a time (Docker's maxConcurrent).
OUTSTANDING_MAX = 1024
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
    sent: bytes = b""


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

    def __init__(self, chance: Chance, outstanding_max: int = OUTSTANDING_MAX) -> None:
        self.counts = Counts()
        self._chance = chance
        self._outstanding_max = outstanding_max
        self._waiting: dict[int, _Exchange[Client]] = {}
        self._deadlines: deque[tuple[float, int]] = deque()
        self._owners: dict[str, int] = {}
        self._token = 0

    def ask(
        self, owner: str, client: Client, forward: Forward, tcp: bool, now: float
    ) -> list[Send | Close | Reply[Client]]:
        """Forward a query; over its limit an owner is answered REFUSED at once."""
        if self._owners.get(owner, 0) >= self._outstanding_max:
            self.counts.refused += 1
            return [Reply(client, wire.failure(forward.query, forward.end, wire.REFUSED))]
        self.counts.forwarded += 1
        self._owners[owner] = self._owners.get(owner, 0) + 1
        return [self._attempt(_Exchange(owner, client, forward, tcp), now)]

    def receive(self, token: int, data: bytes, now: float) -> list[Send | Close | Reply[Client]]:
        """A packet arrived on the socket of ``token``. Never raises; what is not the awaited reply is counted."""
        exchange = self._waiting.get(token)
        if exchange is None:
            return []
        sent, end = exchange.sent, exchange.forward.end
        question, asked = data[12:end], sent[12:end]
        if len(data) < wire.HEADER_SIZE or data[:2] != sent[:2] or not data[2] & 0x80 or data[2] & 0x78:
            self.counts.unbelieved += 1
            return []
        rcode = data[3] & 0x0F
        questions = data[4:6]
        if questions == b"\0\0" and rcode in _ERRORS:
            return self.fail(token, now)
        if questions != b"\0\1" or (question != asked and question.lower() != asked.lower()):
            self.counts.unbelieved += 1
            return []
        if question != asked:
            exchange.plain = True
            return [self._drop(token), self._attempt(exchange, now)]
        if rcode in _FAILURES:
            return self.fail(token, now)
        query = exchange.forward.query
        reply = query[:2] + data[2:12] + query[12:end] + data[end:]
        return [self._drop(token), self._done(exchange, reply)]

    def fail(self, token: int, now: float) -> list[Send | Close | Reply[Client]]:
        """The socket of ``token`` could not be made, broke or ended: on to the next server."""
        exchange = self._waiting.get(token)
        if exchange is None:
            return []
        dropped = self._drop(token)
        exchange.index += 1
        exchange.plain = False
        if exchange.index < min(SERVERS_MAX, len(exchange.forward.upstreams)):
            return [dropped, self._attempt(exchange, now)]
        self.counts.failed += 1
        forward = exchange.forward
        return [dropped, self._done(exchange, wire.failure(forward.query, forward.end, wire.SERVFAIL))]

    def tick(self, now: float) -> list[Send | Close | Reply[Client]]:
        """Give up every attempt whose time is over."""
        acts: list[Send | Close | Reply[Client]] = []
        while self._deadlines and (self._deadlines[0][0] <= now or self._deadlines[0][1] not in self._waiting):
            acts += self.fail(self._deadlines.popleft()[1], now)
        return acts

    def next_deadline(self) -> float | None:
        """Monotonic seconds at which ``tick`` is wanted; None while nothing waits."""
        while self._deadlines and self._deadlines[0][1] not in self._waiting:
            self._deadlines.popleft()
        return self._deadlines[0][0] if self._deadlines else None

    def forget(self, owner: str) -> list[Send | Close | Reply[Client]]:
        """Drop all queries of an owner without a reply."""
        tokens = [token for token, exchange in self._waiting.items() if exchange.owner == owner]
        self._owners.pop(owner, None)
        return [self._drop(token) for token in tokens]

    def _attempt(self, exchange: _Exchange[Client], now: float) -> Send:
        token = self._token = self._token + 1
        query, upstreams, end = exchange.forward
        name = query[12 : end - 4]
        draw = self._chance.getrandbits(len(name) * 8 + 48)
        if not exchange.plain:
            name = _mixed(name, draw >> 48)
        exchange.sent = (draw & 0xFFFF).to_bytes(2, "big") + query[2:12] + name + query[end - 4 :]
        self._waiting[token] = exchange
        self._deadlines.append((now + TIMEOUT_S, token))
        port = PORT_FIRST + ((draw >> 16) & 0xFFFFFFFF) % PORT_COUNT
        return Send(token, exchange.owner, upstreams[exchange.index], exchange.tcp, port, exchange.sent)

    def _drop(self, token: int) -> Close:
        del self._waiting[token]
        return Close(token)

    def _done(self, exchange: _Exchange[Client], data: bytes) -> Reply[Client]:
        left = self._owners.get(exchange.owner, 0) - 1
        if left > 0:
            self._owners[exchange.owner] = left
        else:
            self._owners.pop(exchange.owner, None)
        return Reply(exchange.client, data)


def _mixed(name: bytes, bits: int) -> bytes:
    """The name with random letter case; length octets are below 64, so only letters change."""
    flips = int.from_bytes(name.translate(_CASE_BITS), "big") & bits
    return (int.from_bytes(name, "big") ^ flips).to_bytes(len(name), "big")
