"""What the edge keeps for each sandbox and for each client that waits: values without a decision or a system call."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from fairlead.discovery.batch import REPLY_SIZE, Batch, address
from fairlead.discovery.cache import WireCache
from fairlead.discovery.connections import Connection
from fairlead.discovery.resolver import View


@dataclass(frozen=True, slots=True)
class Statistics:
    """Counts since the start: UDP queries answered from the cache (``hits``), all other queries (``misses``), packets
    that could not be sent or read (``faults``); forwarded queries with their fate; and how many sandboxes,
    connections and cache entries there are now."""

    hits: int
    misses: int
    faults: int
    forwarded: int
    failed: int
    refused: int
    unbelieved: int
    sandboxes: int
    connections: int
    entries: int


class PacketSocket(Protocol):
    """A UDP socket that answers are sent by."""

    def fileno(self) -> int:
        """Its descriptor."""

    def sendto(self, data: bytes, address: tuple[str, int], /) -> int:
        """Send one packet; raises ``OSError``."""


class Client(Protocol):
    """Whoever asked."""

    def reply(self, data: bytes) -> None:
        """Hand the answer over; a client that is gone is no fault."""

    def ignore(self) -> None:
        """There will be no answer."""


AnySocket = TypeVar("AnySocket")


class Box(Generic[AnySocket]):
    """One sandbox: its sockets, what it may see, its ready answers, the number of its TCP connections."""

    __slots__ = ("cache", "connections", "id", "listener", "udp", "view")

    def __init__(self, sandbox_id: str, udp: AnySocket, listener: AnySocket, view: View, cache: WireCache) -> None:
        self.id, self.udp, self.listener, self.view, self.cache = sandbox_id, udp, listener, view, cache
        self.connections = 0


class PacketClient:
    """A UDP client; its answer leaves with the others of ``batch``, if it is not too long for that."""

    __slots__ = ("_batch", "_peer", "_socket")

    def __init__(self, sock: PacketSocket, peer: bytes, batch: Batch) -> None:
        self._socket, self._peer, self._batch = sock, peer, batch

    def reply(self, data: bytes) -> None:
        """Send the answer."""
        if len(data) <= REPLY_SIZE:
            self._batch.queue(self._socket.fileno(), self._peer, data)
        else:
            with suppress(OSError):
                self._socket.sendto(data, address(self._peer))

    def ignore(self) -> None:
        """Send nothing."""


class KeepingClient:
    """A client whose reply from outside is kept for those who ask the same; ``lock`` guards the tables."""

    __slots__ = ("_cache", "_client", "_end", "_epoch", "_key", "_lock")

    def __init__(
        self,
        client: Client,
        cache: WireCache,
        query: bytes,
        end: int,
        epoch: int,
        lock: AbstractContextManager[object],
    ) -> None:
        self._client, self._cache, self._key, self._end, self._epoch = client, cache, query[2:], end, epoch
        self._lock = lock

    def reply(self, data: bytes) -> None:
        """Send the answer, then see to keeping it."""
        self._client.reply(data)
        with self._lock:
            self._cache.keep_reply(self._key, data, self._end, self._epoch)

    def ignore(self) -> None:
        """Send nothing."""


class StreamClient(Generic[AnySocket]):
    """A TCP client with the queries of its that wait for their turn; ``clock`` gives monotonic seconds."""

    __slots__ = ("_clock", "box", "connection", "pending", "socket")

    def __init__(
        self, sock: AnySocket, box: Box[AnySocket], connection: Connection, clock: Callable[[], float]
    ) -> None:
        self.socket, self.box, self.connection, self._clock = sock, box, connection, clock
        self.pending: deque[bytes] = deque()

    def reply(self, data: bytes) -> None:
        """Send the answer."""
        self.connection.reply(data, self._clock())

    def ignore(self) -> None:
        """Close: whoever sends what is no query over TCP is not listened to any longer."""
        self.connection.closed = True
