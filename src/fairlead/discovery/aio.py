"""The DNS edge: one thread, one epoll set, the sockets of all sandboxes. Decides nothing about the protocol.

The hot path is: read, look up the octets after the id, write. Whatever is not found there is asked of ``resolver``
under the lock that also guards changes of the tables, so that a change is in force when its call returns. Sockets and
connections are touched by the DNS thread only; other threads post what is to be done with them.
"""

from __future__ import annotations

import errno
import logging
import os
import random
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from fairlead.discovery.cache import NOTHING, Shelf, WireCache
from fairlead.discovery.names import DNS_PORT, Tables
from fairlead.discovery.resolver import Answer, Forward, View, resolve
from fairlead.discovery.stream import CONNECTIONS_MAX, Stream, frame
from fairlead.discovery.upstream import Close, Forwarder, Reply, Send

#: Packets taken from one socket before the others get their turn.
DRAIN_MAX = 64
#: Octets read for one query; queries with EDNS options stay far below (a plain one has at most 271).
QUERY_SIZE = 2048
#: Octets read for one reply or from a connection: the longest DNS message with its length.
REPLY_SIZE = 65_537
#: Seconds between looks at the deadlines of TCP connections: how exact their limits are.
SWEEP_S = 0.25
#: Seconds that ``close`` waits for the thread; it only ever waits in epoll, so this is a bug's limit.
JOIN_S = 5.0

_log = logging.getLogger("fairlead.discovery")
_READ, _WRITE = select.EPOLLIN, select.EPOLLOUT

#: Makes a socket in a sandbox's namespace: (namespace name, family, type). Called in the DNS thread; may raise OSError.
SocketFactory = Callable[[str, int, int], socket.socket]


@dataclass(frozen=True, slots=True)
class Statistics:
    """Counts since the start: UDP queries answered from the cache and otherwise, packets that could not be sent or
    read; forwarded queries with their fate; and how many sandboxes, connections and cache entries there are now."""

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


class _Client(Protocol):
    def reply(self, data: bytes) -> None:
        """Hand a message to whoever asked."""


class _Box:
    """One sandbox."""

    __slots__ = ("cache", "connections", "id", "listener", "udp", "view")

    def __init__(
        self, sandbox_id: str, udp: socket.socket, listener: socket.socket, view: View, cache: WireCache
    ) -> None:
        self.id, self.udp, self.listener, self.view, self.cache = sandbox_id, udp, listener, view, cache
        self.connections = 0


class _Packet:
    """A UDP client waiting for a forwarded answer."""

    __slots__ = ("_peer", "_socket")

    def __init__(self, sock: socket.socket, peer: tuple[str, int]) -> None:
        self._socket, self._peer = sock, peer

    def reply(self, data: bytes) -> None:
        """Send the answer; a client that is gone is no fault."""
        try:
            self._socket.sendto(data, self._peer)
        except OSError as error:
            _log.debug("dns reply not sent", extra={"errno": error.errno})


class _Connection:
    """A TCP connection, from a client or to a server; ``closed`` once nothing more can come of it."""

    __slots__ = ("_out", "_poll", "box", "closed", "socket", "stream")

    def __init__(self, poll: select.epoll, sock: socket.socket, box: _Box | None, out: bytes = b"") -> None:
        self._poll, self.socket, self.box = poll, sock, box
        self.stream = Stream(time.monotonic())
        self._out = bytearray(out)
        self.closed = False
        sock.setblocking(False)

    def reply(self, data: bytes) -> None:
        """Queue a message and send what goes."""
        if not self.closed:
            self.stream.answered(time.monotonic())
            self._out += frame(data)
            self.flush()

    def flush(self) -> None:
        """Send what is queued; ask for another turn if not all of it goes."""
        try:
            while self._out:
                del self._out[: self.socket.send(self._out)]
        except BlockingIOError:
            pass
        except OSError:
            self.closed = True
        if not self.closed:
            self._poll.modify(self.socket, _READ | _WRITE if self._out else _READ)

    def read(self, now: float) -> list[bytes]:
        """The messages that have arrived; afterwards ``closed`` if the other side has ended or broken the rules."""
        try:
            data = self.socket.recv(REPLY_SIZE)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        messages = self.stream.receive(data, now)
        self.closed = self.closed or self.stream.closed
        return messages


def _host_socket(_netns: str, family: int, kind: int) -> socket.socket:
    return socket.socket(family, kind)


class DnsServer:
    """The embedded DNS of all sandboxes of a node. All methods may be called from any thread and return at once;
    ``socket_factory`` makes the sockets to servers that are asked from a sandbox's namespace."""

    def __init__(self, socket_factory: SocketFactory = _host_socket, chance: random.Random | None = None) -> None:
        self._factory = socket_factory
        self._chance = chance or random.SystemRandom()
        self._lock = threading.Lock()
        self._tables = Tables()
        self._shelf = Shelf()
        self._forwarder: Forwarder[_Client] = Forwarder(self._chance)
        self._boxes: dict[str, _Box] = {}
        self._connections: dict[int, _Connection] = {}
        self._dials: dict[int, socket.socket] = {}
        self._handlers: dict[int, Callable[[int], None]] = {}
        self._commands: deque[Callable[[], None]] = deque()
        self._hits = self._misses = self._faults = 0
        self._next_sweep = 0.0
        self._stopping = False
        self._epoll = select.epoll()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._watch(self._wake, self._obey)
        self._thread = threading.Thread(target=self._run, name="fairlead-dns", daemon=True)

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def close(self) -> None:
        """Stop serving and close all sockets, those handed in included."""
        self._post(self._stop)
        if self._thread.is_alive():
            self._thread.join(JOIN_S)
        self._obey(0)
        for box in list(self._boxes.values()):
            self._discard(box)
        self._epoll.close()
        os.close(self._wake)

    def add_sandbox(self, sandbox_id: str, udp: socket.socket, listener: socket.socket, view: View) -> None:
        """Serve a sandbox on a bound UDP socket and a listening TCP socket, which are ours from now on. A sandbox of
        the same id is removed first."""
        self.remove_sandbox(sandbox_id)
        udp.setblocking(False)
        listener.setblocking(False)
        with self._lock:
            box = _Box(sandbox_id, udp, listener, view, WireCache(self._tables, view.networks, self._shelf))
            self._boxes[sandbox_id] = box
        self._post(lambda: self._admit(box))

    def update_view(self, sandbox_id: str, view: View) -> None:
        """Change what a sandbox may see, in force on return; unknown sandboxes are passed over."""
        with self._lock:
            box = self._boxes.get(sandbox_id)
            if box is not None:
                box.cache.close()
                box.view, box.cache = view, WireCache(self._tables, view.networks, self._shelf)

    def remove_sandbox(self, sandbox_id: str) -> None:
        """Stop serving a sandbox; its sockets are closed soon after. Unknown sandboxes are passed over."""
        with self._lock:
            box = self._boxes.pop(sandbox_id, None)
        if box is not None:
            self._post(lambda: self._discard(box))

    def register(
        self, network_id: str, network_name: str, endpoint_id: str, names: tuple[str, ...], ipv4: str, ipv6: str
    ) -> None:
        """As ``Tables.register``; the names resolve on return."""
        with self._lock:
            self._tables.register(network_id, network_name, endpoint_id, names, ipv4, ipv6)

    def unregister(self, network_id: str, endpoint_id: str) -> None:
        """As ``Tables.unregister``; the names are gone on return."""
        with self._lock:
            self._tables.unregister(network_id, endpoint_id)

    def statistics(self) -> Statistics:
        """A snapshot of the counts."""
        counts = self._forwarder.counts
        return Statistics(
            hits=self._hits,
            misses=self._misses,
            faults=self._faults,
            forwarded=counts.forwarded,
            failed=counts.failed,
            refused=counts.refused,
            unbelieved=counts.unbelieved,
            sandboxes=len(self._boxes),
            connections=len(self._connections),
            entries=self._shelf.total,
        )

    def _post(self, command: Callable[[], None]) -> None:
        self._commands.append(command)
        os.eventfd_write(self._wake, 1)

    def _obey(self, _mask: int) -> None:
        with suppress(BlockingIOError):
            os.eventfd_read(self._wake)
        while self._commands:
            self._commands.popleft()()

    def _stop(self) -> None:
        self._stopping = True

    def _watch(self, fd: int, handler: Callable[[int], None], mask: int = _READ) -> None:
        self._handlers[fd] = handler
        self._epoll.register(fd, mask)

    def _forget(self, sock: socket.socket) -> None:
        """Close a socket of ours, which also takes it out of the epoll set."""
        self._handlers.pop(sock.fileno(), None)
        sock.close()

    def _run(self) -> None:
        poll, handlers = self._epoll.poll, self._handlers
        while not self._stopping:
            for fd, mask in poll(self._timeout(), DRAIN_MAX):
                handler = handlers.get(fd)
                if handler is None:
                    continue
                try:
                    handler(mask)
                except Exception:  # noqa: BLE001 - the one thread of all sandboxes must outlive a fault in one
                    self._faults += 1
                    _log.exception("dns handler failed")

    def _timeout(self) -> float:
        """Seconds until something is due; whatever is due already is done first."""
        deadline = self._forwarder.next_deadline()
        if deadline is None and not self._connections:
            return -1.0
        now = time.monotonic()
        if deadline is not None and deadline <= now:
            self._act(self._forwarder.tick(now))
            deadline = self._forwarder.next_deadline()
        if self._connections and now >= self._next_sweep:
            self._next_sweep = now + SWEEP_S
            for connection in list(self._connections.values()):
                if connection.stream.deadline <= now:
                    self._hang_up(connection)
        due = min(deadline or float("inf"), self._next_sweep if self._connections else float("inf"))
        return max(0.0, due - now) if due != float("inf") else -1.0

    def _admit(self, box: _Box) -> None:
        if self._boxes.get(box.id) is box:
            self._watch(box.udp.fileno(), lambda _mask: self._serve(box))
            self._watch(box.listener.fileno(), lambda _mask: self._accept(box))

    def _discard(self, box: _Box) -> None:
        with self._lock:
            box.cache.close()
        self._act(self._forwarder.forget(box.id))
        for connection in [each for each in self._connections.values() if each.box is box]:
            self._hang_up(connection)
        self._forget(box.udp)
        self._forget(box.listener)

    def _serve(self, box: _Box) -> None:
        """The hot path: up to ``DRAIN_MAX`` packets of one sandbox."""
        tables, receive, send = self._tables, box.udp.recvfrom, box.udp.sendto
        hits = 0
        try:
            for _ in range(DRAIN_MAX):
                data, peer = receive(QUERY_SIZE)
                cache = box.cache
                if cache.epoch != tables.epoch:
                    with self._lock:
                        cache.refresh()
                body = next(cache.entries.get(data[2:], NOTHING), None)
                if body is None:
                    self._ask(box, data, _Packet(box.udp, peer))
                else:
                    send(data[:2] + body, peer)
                    hits += 1
        except BlockingIOError:
            pass
        except OSError:
            self._faults += 1
        self._hits += hits

    def _ask(self, box: _Box, query: bytes, client: _Client, *, tcp: bool = False) -> None:
        """The long path: let the resolver decide, and do as it says."""
        self._misses += 1
        with self._lock:
            outcome = resolve(self._tables, box.view, query, self._chance, tcp=tcp)
            if isinstance(outcome, Answer) and outcome.keep and not tcp:
                box.cache.keep(query[2:], outcome.bodies)
        if isinstance(outcome, Answer):
            client.reply(query[:2] + outcome.bodies[0])
        elif isinstance(outcome, Forward):
            self._act(self._forwarder.ask(box.id, client, outcome, tcp, time.monotonic()))

    def _accept(self, box: _Box) -> None:
        try:
            sock, _peer = box.listener.accept()
        except OSError:
            self._faults += 1
            return
        if box.connections >= CONNECTIONS_MAX:
            sock.close()
            return
        connection = _Connection(self._epoll, sock, box)
        self._connections[sock.fileno()] = connection
        box.connections += 1
        self._watch(sock.fileno(), lambda mask: self._converse(connection, box, mask))

    def _converse(self, connection: _Connection, box: _Box, mask: int) -> None:
        if mask & _WRITE:
            connection.flush()
        for message in connection.read(time.monotonic()):
            self._ask(box, message, connection, tcp=True)
        if connection.closed:
            self._hang_up(connection)

    def _hang_up(self, connection: _Connection) -> None:
        connection.closed = True
        if self._connections.pop(connection.socket.fileno(), None) and connection.box:
            connection.box.connections -= 1
        self._forget(connection.socket)

    def _act(self, acts: Iterable[Send | Close | Reply[_Client]]) -> None:
        """Carry out what the forwarder says, in order."""
        for act in acts:
            if isinstance(act, Reply):
                act.client.reply(act.data)
            elif isinstance(act, Close):
                sock = self._dials.pop(act.token, None)
                if sock is not None:
                    self._forget(sock)
            elif not self._dial(act):
                self._act(self._forwarder.fail(act.token, time.monotonic()))

    def _dial(self, send: Send) -> bool:
        """Open a socket to a server and send, or prepare to; False if that is not possible."""
        box = self._boxes.get(send.owner)
        family = socket.AF_INET6 if ":" in send.server.address else socket.AF_INET
        make = _host_socket if send.server.from_host else self._factory
        try:
            kind = socket.SOCK_STREAM if send.tcp else socket.SOCK_DGRAM
            sock = self._dials[send.token] = make(box.view.netns if box else "", family, kind)
            sock.setblocking(False)
            try:
                sock.bind(("", send.port))
            except OSError:
                _log.debug("dns source port taken", extra={"port": send.port})
            if sock.connect_ex((send.server.address, DNS_PORT)) not in (0, errno.EINPROGRESS):
                return False
            if send.tcp:
                connection = _Connection(self._epoll, sock, None, frame(send.data))
                self._watch(sock.fileno(), lambda mask: self._hear(send.token, connection, mask), _WRITE)
            else:
                sock.send(send.data)
                self._watch(sock.fileno(), lambda _mask: self._listen(send.token, sock))
        except OSError:
            return False
        return True

    def _listen(self, token: int, sock: socket.socket) -> None:
        """A UDP reply, or word that the server is not there."""
        try:
            data = sock.recv(REPLY_SIZE)
        except BlockingIOError:
            return
        except OSError:
            self._act(self._forwarder.fail(token, time.monotonic()))
            return
        self._act(self._forwarder.receive(token, data, time.monotonic()))

    def _hear(self, token: int, connection: _Connection, mask: int) -> None:
        """A TCP server has connected, replied or ended."""
        now = time.monotonic()
        if mask & _WRITE:
            connection.flush()
        if not connection.closed and mask & ~_WRITE:
            for message in connection.read(now):
                self._act(self._forwarder.receive(token, message, now))
        if connection.closed:
            self._act(self._forwarder.fail(token, now))
