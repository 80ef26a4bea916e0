"""The DNS edge: one thread, one epoll set, the sockets of all sandboxes. Decides nothing about the protocol.

The hot path is: read, look up the octets after the id, write. Whatever is not found there is asked of ``resolver``
under the lock that also guards changes of the tables, so that a change is in force when its call returns. Sockets and
connections are touched by the DNS thread only; other threads post what is to be done with them.
"""

from __future__ import annotations

import ctypes
import errno
import logging
import os
import random
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from functools import partial

from fairlead.discovery.batch import QUERY_SIZE, Batch, Calls
from fairlead.discovery.cache import NOTHING, Shelf, WireCache
from fairlead.discovery.clients import Box, Client, KeepingClient, PacketClient, Statistics, StreamClient
from fairlead.discovery.connections import Connection
from fairlead.discovery.dialler import Dialler, Outside
from fairlead.discovery.names import Tables
from fairlead.discovery.resolver import Answer, Forward, View, find, resolve
from fairlead.discovery.stream import CONNECTIONS_MAX, CONNECTIONS_TOTAL_MAX
from fairlead.discovery.upstream import Forwarder, Send
from fairlead.discovery.wire import TTL_S

#: Events taken from epoll at a time.
EVENTS_MAX = 64
#: Seconds between looks at the deadlines of TCP connections: how exact their limits are.
SWEEP_S = 0.25
#: Seconds that queries over TCP may take of one turn of the loop, after which UDP is looked at again (SEC-18).
SLICE_S = 0.001
#: Seconds that ``close`` waits for the thread; it only ever waits in epoll, so this is a bug's limit.
JOIN_S = 5.0

_log = logging.getLogger("fairlead.discovery")
_READ, _WRITE = select.EPOLLIN, select.EPOLLOUT
#: A made-up event that ends every turn.
_TURN_END = (-2, 0)

#: Sockets to servers live for one query, so they are the plain ones below ``socket.socket``, which cost a third.
_Socket = socket.SocketType
_Box = Box[socket.socket]
_Stream = StreamClient[socket.socket]

#: Makes sockets in a sandbox's namespace: (namespace name, family, type, how many). Called in the DNS thread; may raise
#: OSError, and then has made none.
SocketFactory = Callable[[str, int, int, int], list[socket.socket]]


_libc = ctypes.PyDLL(None)  # keeps the interpreter's lock: the calls never wait, and handing it over costs more
_CALLS = Calls(
    address=lambda room: ctypes.addressof((ctypes.c_char * len(room)).from_buffer(room)),
    pointer=ctypes.c_void_p,
    receive=_libc.recvmmsg,
    send=_libc.sendmmsg,
    flags=int(socket.MSG_DONTWAIT),
)


def _host_sockets(_netns: str, family: int, kind: int, count: int) -> list[socket.socket]:
    return [socket.socket(family, kind) for _ in range(count)]


class DnsServer:
    """The embedded DNS of all sandboxes of a node. All methods may be called from any thread and return at once;
    ``socket_factory`` makes the sockets to servers that are asked from a sandbox's namespace."""

    def __init__(self, socket_factory: SocketFactory = _host_sockets, chance: random.Random | None = None) -> None:
        self._factory = socket_factory
        self._chance = chance or random.SystemRandom()
        self._lock = threading.Lock()
        self._tables = Tables()
        self._shelf = Shelf(time.monotonic)
        self._forwarder: Forwarder[Client] = Forwarder(self._chance)
        outside = Outside(self._open, self._watch, self._attend, self._want_write, self._forget, time.monotonic)
        self._dialler: Dialler[_Socket] = Dialler(self._forwarder, outside)
        self._boxes: dict[str, _Box] = {}
        self._clients: dict[int, _Stream] = {}
        self._busy: deque[_Stream] = deque()
        self._handlers: dict[int, Callable[[int], None]] = {}
        self._commands: deque[Callable[[], None]] = deque()
        self._hits = self._misses = self._faults = 0
        self._spare: list[socket.socket] = []
        self._spare_for: tuple[str, int, int] | None = None
        self._wanted = 1
        self._next_sweep = 0.0
        self._stopping = False
        self._batch, self._later = Batch(_CALLS), Batch(_CALLS)
        self._epoll = select.epoll()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._handlers[_TURN_END[0]] = self._tick
        self._handlers[self._wake] = self._obey
        self._epoll.register(self._wake, _READ)
        self._thread = threading.Thread(target=self._run, name="fairlead-dns", daemon=True)

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def close(self) -> None:
        """Stop serving and close all sockets, those handed in included; once is enough."""
        if self._epoll.closed:
            return
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
            box = Box(sandbox_id, udp, listener, view, WireCache(self._tables, view.networks, self._shelf))
            self._boxes[sandbox_id] = box
        self._post(lambda: self._admit(box))

    def update_view(self, sandbox_id: str, view: View) -> None:
        """Change what a sandbox may see, in force on return; unknown sandboxes are passed over. If nothing may go out
        any more, what waits for a reply from outside is dropped."""
        with self._lock:
            box = self._boxes.get(sandbox_id)
            if box is not None:
                box.cache.close()
                box.view, box.cache = view, WireCache(self._tables, view.networks, self._shelf)
        if not view.forward:
            self._post(lambda: self._dialler.forget(sandbox_id))

    def remove_sandbox(self, sandbox_id: str) -> None:
        """Stop serving a sandbox; its sockets are closed soon after. Unknown sandboxes are passed over."""
        with self._lock:
            box = self._boxes.pop(sandbox_id, None)
        if box is not None:
            self._post(lambda: self._discard(box))

    def register(
        self,
        network_id: str,
        network_name: str,
        endpoint_id: str,
        names: tuple[str, ...],
        ipv4: str,
        ipv6: str,
        ttl_s: int = TTL_S,
        ports: tuple[str, ...] = (),
    ) -> None:
        """As ``Tables.register``; the names resolve on return."""
        with self._lock:
            self._tables.register(network_id, network_name, endpoint_id, names, ipv4, ipv6, ttl_s, ports)

    def unregister(self, network_id: str, endpoint_id: str) -> None:
        """As ``Tables.unregister``; the names are gone on return."""
        with self._lock:
            self._tables.unregister(network_id, endpoint_id)

    def find(self, sandbox_id: str, name: str) -> tuple[str, ...]:
        """As ``resolver.find``, as a sandbox sees it; nothing for one that is not served."""
        with self._lock:
            box = self._boxes.get(sandbox_id)
            return find(self._tables, box.view, name) if box else ()

    def statistics(self) -> Statistics:
        """A snapshot of the counts."""
        return Statistics(
            hits=self._hits,
            misses=self._misses,
            faults=self._faults,
            **asdict(self._forwarder.counts),
            sandboxes=len(self._boxes),
            connections=len(self._clients),
            entries=self._shelf.total,
        )

    def _post(self, command: Callable[[], None]) -> None:
        self._commands.append(command)
        if not self._epoll.closed:
            os.eventfd_write(self._wake, 1)

    def _obey(self, _mask: int) -> None:
        with suppress(BlockingIOError):
            os.eventfd_read(self._wake)
        while self._commands:
            self._commands.popleft()()

    def _stop(self) -> None:
        self._stopping = True

    def _watch(self, sock: _Socket, handler: Callable[[int], None], mask: int = _READ) -> None:
        fd = sock.fileno()
        self._handlers[fd] = handler
        self._epoll.register(fd, mask)

    def _forget(self, sock: _Socket) -> None:
        """Close a socket of ours, which also takes it out of the epoll set."""
        self._handlers.pop(sock.fileno(), None)
        sock.close()

    def _run(self) -> None:
        poll, handlers = self._epoll.poll, self._handlers
        while not self._stopping:
            self._later.flush()
            for fd, mask in (*poll(self._due_s(), EVENTS_MAX), _TURN_END):
                handler = handlers.get(fd)
                try:
                    if handler is not None:
                        handler(mask)
                except Exception:  # noqa: BLE001 - the one thread of all sandboxes must outlive a fault in one
                    self._faults += 1
                    _log.exception("dns handler failed")

    def _due_s(self) -> float:
        """Seconds until something is due; -1 if nothing is."""
        if self._busy:
            return 0.0
        deadline = self._forwarder.next_deadline()
        if self._clients:
            deadline = self._next_sweep if deadline is None else min(deadline, self._next_sweep)
        return -1.0 if deadline is None else max(0.0, deadline - time.monotonic())

    def _tick(self, _mask: int) -> None:
        if not self._clients and not self._busy and self._forwarder.next_deadline() is None:
            return
        now = time.monotonic()
        self._work(now + SLICE_S)
        self._dialler.tick(now)
        if now >= self._next_sweep:
            self._next_sweep = now + SWEEP_S
            for client in list(self._clients.values()):
                if client.connection.closed or client.connection.stream.deadline <= now:
                    self._hang_up(client)

    def _admit(self, box: _Box) -> None:
        if self._boxes.get(box.id) is box:
            self._watch(box.udp, partial(self._serve, box))
            self._watch(box.listener, partial(self._accept, box), _READ | select.EPOLLET)

    def _discard(self, box: _Box) -> None:
        self._later.flush()
        with self._lock:
            box.cache.close()
        self._dialler.forget(box.id)
        for client in [each for each in self._clients.values() if each.box is box]:
            self._hang_up(client)
        self._forget(box.udp)
        self._forget(box.listener)

    def _serve(self, box: _Box, _mask: int) -> None:
        """The hot path: up to ``SLOTS`` packets of one sandbox."""
        tables, batch, fd, ready = self._tables, self._batch, box.udp.fileno(), 0
        queries, sizes = batch.queries, batch.query_sizes
        misses: list[tuple[bytes, Client]] = []
        for slot in range(batch.receive(fd)):
            at = slot * QUERY_SIZE
            query = queries[at : at + sizes[slot]].tobytes()
            cache = box.cache
            if cache.epoch != tables.epoch:
                with self._lock:
                    cache.refresh()
            body = next(cache.entries.get(query[2:], NOTHING), None)
            if body is None:
                misses.append((query, PacketClient(box.udp, batch.peer(slot), self._later)))
            else:
                batch.put(ready, slot, query[:2] + body)
                ready += 1
        if ready:
            self._faults += batch.send(fd, ready)
            self._hits += ready
        if misses:
            self._ask_all(box, misses)

    def _ask_all(self, box: _Box, misses: list[tuple[bytes, Client]]) -> None:
        """Sockets for all that may have to go out are made at one visit to the sandbox's namespace."""
        self._wanted = len(misses)
        try:
            for query, client in misses:
                self._ask(box, query, client)
                self._wanted -= 1
        finally:
            self._wanted = 1
            for sock in self._spare:
                sock.close()
            self._spare.clear()
            self._spare_for = None

    def _ask(self, box: _Box, query: bytes, client: Client, *, tcp: bool = False) -> None:
        """The long path: let the resolver decide, and do as it says."""
        self._misses += 1
        with self._lock:
            cache, epoch = box.cache, self._tables.epoch
            outcome = resolve(self._tables, box.view, query, self._chance, tcp=tcp)
            if isinstance(outcome, Answer) and outcome.keep:
                cache.keep(query[2:], outcome.bodies)
        if isinstance(outcome, Answer):
            client.reply(query[:2] + outcome.bodies[0])
        elif isinstance(outcome, Forward):
            if not tcp:
                client = KeepingClient(client, cache, query, outcome.end, epoch, self._lock)
            self._dialler.ask(box.id, client, outcome, tcp=tcp)
        else:
            client.ignore()

    def _accept(self, box: _Box, _mask: int) -> None:
        """Take what is waiting; the next edge comes with the next client, so an error cannot make the loop spin."""
        while True:
            try:
                sock, _peer = box.listener.accept()
            except BlockingIOError:
                return
            except OSError:
                self._faults += 1
                return
            if box.connections >= CONNECTIONS_MAX:
                sock.close()
                continue
            if len(self._clients) >= CONNECTIONS_TOTAL_MAX:
                self._hang_up(next(iter(self._clients.values())))
            sock.setblocking(False)
            connection = Connection(sock, partial(self._want_write, sock), time.monotonic())
            client = self._clients[sock.fileno()] = StreamClient(sock, box, connection, time.monotonic)
            box.connections += 1
            self._watch(sock, partial(self._converse, client))

    def _converse(self, client: _Stream, mask: int) -> None:
        connection = client.connection
        if mask & _WRITE:
            connection.flush()
        if mask & ~_WRITE:
            messages = connection.read(time.monotonic())
            if messages and not client.pending:
                self._busy.append(client)
            client.pending.extend(messages)
        if connection.closed:
            self._hang_up(client)

    def _work(self, until: float) -> None:
        """Queries over TCP, one of each client in turn, for as long as UDP may wait."""
        while self._busy:
            client = self._busy.popleft()
            if not client.connection.closed:
                self._ask(client.box, client.pending.popleft(), client, tcp=True)
            if client.connection.closed:
                self._hang_up(client)
            elif client.pending:
                self._busy.append(client)
            if time.monotonic() >= until:
                return

    def _hang_up(self, client: _Stream) -> None:
        client.connection.closed = True
        if self._clients.pop(client.socket.fileno(), None):
            client.box.connections -= 1
            self._forget(client.socket)

    def _open(self, send: Send) -> _Socket:
        """A socket to a server, in the namespace that its queries leave from."""
        family = socket.AF_INET6 if ":" in send.server.address else socket.AF_INET
        kind = socket.SOCK_STREAM if send.tcp else socket.SOCK_DGRAM
        if send.server.from_host:
            return _Socket(family, kind | socket.SOCK_NONBLOCK)
        box = self._boxes.get(send.owner)
        if box is None:
            raise OSError(errno.ENETDOWN, "the sandbox is gone")
        place = (box.view.netns, family, kind)
        if place != self._spare_for or not self._spare:
            for sock in self._spare:
                sock.close()
            self._spare, self._spare_for = self._factory(*place, self._wanted), place
        sock = self._spare.pop()
        sock.setblocking(False)
        return sock

    def _attend(self, sock: _Socket, handler: Callable[[bool, bool], None]) -> None:
        self._watch(sock, lambda mask: handler(bool(mask & ~_WRITE), bool(mask & _WRITE)), _WRITE)

    def _want_write(self, sock: _Socket, more: bool) -> None:
        self._epoll.modify(sock, _READ | _WRITE if more else _READ)
