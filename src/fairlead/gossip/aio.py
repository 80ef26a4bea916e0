"""The gossip edge: a core on real sockets. Decides nothing about the protocol.

One thread and one epoll set carry any number of cores (a daemon has one, a benchmark a hundred). A plain loop, for
between a datagram and a core there is nothing then but a call.

A core has one UDP and one listening TCP socket at the same port. What came is given to it, all that is there, then its
wishes are carried out, once. That nobody listens at an address is told to the core from wherever it is learned:
connections refused, and ICMP's "port unreachable" out of the socket's error queue.
"""

from __future__ import annotations

import errno
import heapq
import logging
import math
import os
import select
import socket
import struct
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any, Generic, TypeVar

from fairlead.gossip.contract import Datagram, Event, Lifeline, Request
from fairlead.gossip.doors import Core
from fairlead.gossip.frames import READ, Sock, Traffic
from fairlead.gossip.identity import Address
from fairlead.gossip.streams import Streams

#: Bytes of the UDP socket's buffers: a burst of 1,000 records (a 1.4 KB packet takes 2.3 KB there) while we are busy.
UDP_BUFFER_BYTES = 4 * 1024 * 1024
#: Bytes of the largest datagram, and how many are read before wishes are carried out.
DATAGRAM_BYTES_MAX, DATAGRAMS_TURN = 65536, 256
#: Seconds of silence before the kernel asks whether a connection's far end is there; between questions; how many.
KEEPALIVE = ((socket.TCP_KEEPIDLE, 30), (socket.TCP_KEEPINTVL, 10), (socket.TCP_KEEPCNT, 3))
SENDERS_MAX = 16384  # addresses kept ready: those of a large cluster
ACCEPT_AGAIN_S = 0.5  # until connections are taken again after one could not be
PORT_ATTEMPTS = 16  # random ports tried until one is free for UDP and TCP
#: asm-generic/socket.h, linux/in.h, linux/in6.h, linux/errqueue.h: what Python's socket does not name.
_RCVBUFFORCE, _SNDBUFFORCE, _IP_RECVERR, _IPV6_RECVERR, _BIND_ADDRESS_NO_PORT = 33, 32, 11, 25, 24
_ERROR = struct.Struct("=I")

_log = logging.getLogger("fairlead.gossip")
C = TypeVar("C", bound=Core)
T = TypeVar("T")
Factory = Callable[[int, int], socket.socket]  # of a family and type, in the namespace that connections begin in


class Loop:
    """One thread's turn: sockets that are ready, what others asked to be done, what is due."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._handlers: dict[int, Callable[[int], None]] = {self._wake: self._obey}
        self._epoll.register(self._wake, READ)
        self._posted: deque[Callable[[], None]] = deque()
        self._due: list[tuple[float, int, Callable[[], object]]] = []
        self._number = 0
        self._stopping = False

    def run(self) -> None:
        """Go round until ``stop``."""
        while not self._stopping:
            wait = max(0.0, self._due[0][0] - time.monotonic()) if self._due else -1
            for fd, mask in self._epoll.poll(wait, DATAGRAMS_TURN):
                handler = self._handlers.get(fd)
                if handler is not None:
                    self._attempt(handler, mask)
            now = time.monotonic()
            while self._due and self._due[0][0] <= now:
                self._attempt(heapq.heappop(self._due)[2])
        self._epoll.close()
        os.close(self._wake)

    def stop(self) -> None:
        """End ``run`` soon; from any thread."""
        self.post(lambda: setattr(self, "_stopping", True))

    def post(self, act: Callable[[], None]) -> None:
        """Do something in the loop's thread; from any thread."""
        self._posted.append(act)
        os.eventfd_write(self._wake, 1)

    def at(self, when: float, act: Callable[[], object]) -> None:
        """Do something at a time of ``time.monotonic``; in the loop's thread."""
        self._number += 1
        heapq.heappush(self._due, (when, self._number, act))

    seconds = staticmethod(time.monotonic)

    def watch(self, fd: int, handler: Callable[[int], None], mask: int = READ) -> None:
        """Call when a descriptor is ready; once more for another mask."""
        if fd in self._handlers:
            self._epoll.modify(fd, mask)
        else:
            self._epoll.register(fd, mask)
        self._handlers[fd] = handler

    def close(self, sock: Sock) -> None:
        """Close a socket, watched or not."""
        self._handlers.pop(sock.fileno(), None)
        sock.close()

    def _obey(self, _mask: int) -> None:
        with suppress(BlockingIOError):
            os.eventfd_read(self._wake)
        while self._posted:
            self._attempt(self._posted.popleft())

    def _attempt(self, act: Callable[..., object], *arguments: int) -> None:
        try:
            act(*arguments)
        except Exception:  # noqa: BLE001 - the one thread of all cores must outlive a fault in one
            _log.exception("gossip turn failed")


def listen(address: Address, factory: Factory = socket.socket) -> tuple[socket.socket, socket.socket]:
    """A UDP and a listening TCP socket at an address; with port 0 at any that is free for both. Raises ``OSError``."""
    attempts = 1 if address.port else PORT_ATTEMPTS
    while True:
        attempts -= 1
        listener, udp = (factory(_family(address), kind) for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM))
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((address.host, address.port))
            udp.bind(listener.getsockname())
            listener.listen(1024)
        except OSError:
            listener.close()
            udp.close()
            if not attempts:
                raise
        else:
            return udp, listener


class GossipServer(Generic[C]):
    """One core on a bound UDP and a listening TCP socket, which are ours from now on. ``told`` hears every
    event, in the loop's thread; ``factory`` makes sockets for connections there, which come from the core's address."""

    def __init__(
        self,
        loop: Loop,
        core: C,
        sockets: tuple[socket.socket, socket.socket],
        told: Callable[[Event], None],
        factory: Factory = socket.socket,
    ) -> None:
        self.core, self.traffic, self._loop, self._told, self._factory = core, Traffic(), loop, told, factory
        self._udp, self._listener = sockets
        self.address = Address(*self._udp.getsockname()[:2])
        self._armed, self._closed = math.inf, False
        self._known: dict[Any, Address] = {}
        self._streams = Streams(loop, self.traffic, core, self._dial, self._tell)

    def start(self) -> None:
        """Begin; in the loop's thread, or before it runs."""
        for option in (_RCVBUFFORCE, _SNDBUFFORCE):
            with suppress(PermissionError):  # without the privilege the system's default must do
                self._udp.setsockopt(socket.SOL_SOCKET, option, UDP_BUFFER_BYTES)
        over_ipv6 = self._udp.family == socket.AF_INET6
        self._udp.setsockopt(
            *((socket.IPPROTO_IPV6, _IPV6_RECVERR) if over_ipv6 else (socket.IPPROTO_IP, _IP_RECVERR)), 1
        )
        for sock, handler in ((self._udp, self._receive), (self._listener, self._accept)):
            sock.setblocking(False)
            self._loop.watch(sock.fileno(), handler)
        self._settle(time.monotonic())

    def do(self, command: Callable[[C, float], T]) -> Future[T]:
        """Call the core from any thread: ``command`` gets it and the time; then what it wishes is carried out."""
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()  # who waits may go; what was told is done

        def act() -> None:
            now = time.monotonic()
            try:
                future.set_result(command(self.core, now))
            except Exception as fault:  # noqa: BLE001 - it is the caller's
                future.set_exception(fault)
            self._settle(now)

        self._loop.post(act)
        return future

    def close(self) -> None:
        """Close all sockets, as the end of a process does; in the loop's thread, or after it."""
        self._closed = True
        for sock in (self._udp, self._listener):
            self._loop.close(sock)
        self._streams.close()

    def _settle(self, now: float) -> None:
        """Carry out wishes, tell events, set the alarm."""
        if self._closed:
            return
        core = self.core
        for wish in core.outgoing(now):
            if type(wish) is Datagram:
                self._send(wish.data, (wish.to.host, wish.to.port))
            elif isinstance(wish, Request):
                self._streams.ask(wish)
            elif isinstance(wish, Lifeline):
                self._streams.hold(wish)
        for event in core.events():
            self._told(event)
        deadline = core.next_deadline()
        if deadline is not None and deadline < self._armed:
            self._armed = deadline
            self._loop.at(deadline, partial(self._alarm, deadline))

    def _alarm(self, deadline: float) -> None:
        if self._armed == deadline:
            self._armed = math.inf
            self._tell(self.core.tick)

    def _tell(self, door: Callable[..., Any], *arguments: object) -> Any:
        now = time.monotonic()
        answer = None if self._closed else door(*arguments, now)
        self._settle(now)
        return answer

    def _send(self, data: bytes, to: tuple[str, int]) -> None:
        traffic = self.traffic
        for _ in range(2):  # the first may fail by an error that waited here for another datagram
            try:
                self._udp.sendto(data, to)
            except BlockingIOError:
                break
            except OSError:
                continue
            traffic.datagrams_sent += 1
            traffic.datagram_bytes_sent += len(data)
            return
        traffic.unsent += 1

    def _receive(self, mask: int) -> None:
        now = time.monotonic()
        if mask & select.EPOLLERR:
            self._hear_refusals(now)
        read, known, receive = self._udp.recvfrom, self._known, self.core.receive
        for _ in range(DATAGRAMS_TURN):
            try:
                data, name = read(DATAGRAM_BYTES_MAX)
            except BlockingIOError:
                break
            except OSError:
                continue
            sender = known.get(name)
            if sender is None:
                if len(known) >= SENDERS_MAX:
                    known.clear()
                sender = known[name] = Address(name[0], name[1])
            self.traffic.datagrams_received += 1
            receive(data, sender, now)
        self._settle(now)

    def _hear_refusals(self, now: float) -> None:
        with suppress(BlockingIOError):
            while True:
                _, notes, _, name = self._udp.recvmsg(0, 512, socket.MSG_ERRQUEUE)
                for _, _, note in notes:
                    if name and _ERROR.unpack_from(note)[0] == errno.ECONNREFUSED:
                        self.core.refused(Address(name[0], name[1]), now, sure=False)

    def _accept(self, _mask: int) -> None:
        try:
            sock, name = self._listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError:  # no descriptor is left, say: whoever waits there makes the listener ready all the time
            self._loop.watch(self._listener.fileno(), self._accept, 0)
            self._loop.at(time.monotonic() + ACCEPT_AGAIN_S, self._accept_again)
            return
        sock.setblocking(False)
        with suppress(OSError):  # it may be gone already
            _tune(sock)
        self._streams.accept(sock, Address(name[0], name[1]))

    def _accept_again(self) -> None:
        if not self._closed:
            self._loop.watch(self._listener.fileno(), self._accept)

    def _dial(self, to: Address) -> socket.socket:
        sock = self._factory(_family(to), socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            _tune(sock)
            if _family(to) == self._udp.family:
                sock.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
                sock.bind((self.address.host, 0))
            with suppress(BlockingIOError):
                sock.connect((to.host, to.port))
        except OSError:
            sock.close()
            raise
        return sock


def _family(address: Address) -> int:
    return socket.AF_INET6 if ":" in address.host else socket.AF_INET


def _tune(sock: socket.socket) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in KEEPALIVE:
        sock.setsockopt(socket.IPPROTO_TCP, option, value)
