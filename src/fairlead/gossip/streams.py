"""Connections of a core: requests there and back, requests that come, lifelines; all bounded in number, size and time.

A connection that comes in and says nothing is somebody's lifeline; one that sends a frame is a request, answered and
closed. Knows sockets only by what they do, and the loop by ``Turn``, so it is as pure as the core: ``aio.py`` brings both.
"""

from __future__ import annotations

import errno
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from fairlead.gossip.contract import Lifeline, Request
from fairlead.gossip.doors import Core
from fairlead.gossip.frames import FrameReader, frame
from fairlead.gossip.identity import Address

#: epoll's words for "can be read" and "can be written" (sys/epoll.h).
READ, WRITE = 1, 4
#: Bytes read of a stream at a time.
READ_BYTES = 262144
#: Connections taken at most, in all (lifelines are among them) and from one host.
INBOUND_MAX, INBOUND_HOST_MAX = 2048, 64
#: Bytes of messages that may be half read at a time: many small ones, or sixteen of the largest.
HALF_READ_BYTES_MAX = 64 * 1024 * 1024
#: Requests under way at a time; others wait. And how many wait: beyond, a request fails at once.
ASKING_MAX, WAITING_MAX = 32, 1024
#: Seconds from a request's first byte until our reply must have been taken.
SERVE_S = 10.0


@dataclass
class Traffic:
    """What was carried. ``unsent`` datagrams found no room or no way."""

    datagrams_sent: int = 0
    datagram_bytes_sent: int = 0
    datagrams_received: int = 0
    stream_bytes_sent: int = 0
    stream_bytes_received: int = 0
    unsent: int = 0
    turned_away: int = 0
    #: Bytes of messages that are half read now.
    half_read: int = 0


class Sock(Protocol):
    """A connected, or connecting, TCP socket that never blocks."""

    def fileno(self) -> int:
        """Its descriptor."""
        ...

    def send(self, data: memoryview, /) -> int:
        """How much of it was taken."""
        ...

    def recv(self, size: int, /) -> bytes:
        """What has come; empty at the end."""
        ...

    def close(self) -> None:
        """Close it."""
        ...


class Turn(Protocol):
    """The loop, and its clock."""

    def seconds(self) -> float:
        """What it says."""
        ...

    def watch(self, fd: int, handler: Callable[[int], None], mask: int) -> None:
        """Call when a descriptor is ready for what the mask says."""
        ...

    def close(self, sock: Sock) -> None:
        """Close a socket that may be watched."""
        ...

    def at(self, when: float, act: Callable[[], object]) -> None:
        """Do something at a time."""
        ...


class Stream:
    """One connection. ``heard`` gets the message, ``ended`` the error number (0: closed by either side), both once."""

    def __init__(
        self,
        turn: Turn,
        traffic: Traffic,
        sock: Sock,
        heard: Callable[[Stream, bytes], None],
        ended: Callable[[Stream, int], None],
    ) -> None:
        self._turn, self._traffic, self._sock, self._heard, self._ended = turn, traffic, sock, heard, ended
        self._reader = FrameReader()
        self._unsent = memoryview(b"")
        self._last = False
        self.over = False

    def begin(self, message: bytes | None = None) -> None:
        """Listen, and send a message when there is one."""
        self._unsent = memoryview(b"" if message is None else frame(message))
        self._turn.watch(self._sock.fileno(), self._ready, READ | (WRITE if self._unsent else 0))

    def reply(self, message: bytes) -> None:
        """Send the last message, then close."""
        self._last, self._unsent = True, memoryview(frame(message))
        self._turn.watch(self._sock.fileno(), self._ready, READ | WRITE)

    def limit(self, when: float) -> None:
        """End at a time, at the latest."""
        self._turn.at(when, partial(self.end, errno.ETIMEDOUT))

    def end(self, error: int = 0) -> None:
        """Close; the first call counts."""
        if not self.over:
            self.over = True
            self._traffic.half_read -= self._reader.held
            self._unsent, self._reader = memoryview(b""), FrameReader()
            self._turn.close(self._sock)
            self._ended(self, error)

    def _ready(self, mask: int) -> None:
        try:
            if mask & WRITE and self._unsent:
                self._write()
            if mask & ~WRITE and not self.over:
                self._read()
        except BlockingIOError:
            pass
        except OSError as fault:
            self.end(fault.errno or errno.EIO)
        except ValueError:
            self.end(errno.EPROTO)

    def _write(self) -> None:
        sent = self._sock.send(self._unsent)
        self._traffic.stream_bytes_sent += sent
        self._unsent = self._unsent[sent:]
        if self._unsent:
            return
        if self._last:
            self.end()
        else:
            self._turn.watch(self._sock.fileno(), self._ready, READ)

    def _read(self) -> None:
        data, traffic = self._sock.recv(READ_BYTES), self._traffic
        traffic.stream_bytes_received += len(data)
        if not data or traffic.half_read + len(data) > HALF_READ_BYTES_MAX:
            self.end(errno.ENOBUFS if data else 0)
            return
        if not self._reader.held:
            self.limit(self._turn.seconds() + SERVE_S)
        traffic.half_read += len(data)
        message = self._reader.feed(data)
        if message is not None:
            self._heard(self, message)


class Streams:
    """All connections of a core. ``dial`` begins one, or raises ``OSError``; ``tell`` calls a door of the core with the
    time added, and carries out what it wishes then."""

    def __init__(
        self,
        turn: Turn,
        traffic: Traffic,
        core: Core,
        dial: Callable[[Address], Sock],
        tell: Callable[..., object],
    ) -> None:
        self._turn, self._traffic, self._core, self._dial, self._tell = turn, traffic, core, dial, tell
        self._all: set[Stream] = set()
        self._hosts: Counter[str] = Counter()
        self._lines: dict[Address, Stream | None] = {}
        self._asking = 0
        self._waiting: deque[Request] = deque()

    def close(self) -> None:
        """Break all of them."""
        self._waiting.clear()
        self._lines.clear()
        for stream in list(self._all):
            stream.end()

    def accept(self, sock: Sock, sender: Address) -> None:
        """Somebody has connected."""
        if self._hosts[sender.host] >= INBOUND_HOST_MAX or self._hosts.total() >= INBOUND_MAX:
            self._traffic.turned_away += 1
            sock.close()
            return
        self._hosts[sender.host] += 1
        self._stream(sock, partial(self._serve, sender), partial(self._gone, sender.host)).begin()

    def ask(self, request: Request) -> None:
        """Carry a request, when it is its turn."""
        if self._asking < ASKING_MAX:
            self._ask(request)
        elif len(self._waiting) < WAITING_MAX:
            self._waiting.append(request)
        else:
            self._turn.at(0.0, partial(self._tell, self._core.answered, request.id, None))

    def hold(self, line: Lifeline) -> None:
        """Hold a lifeline, or let it go."""
        if not line.open:
            stream = self._lines.pop(line.to, None)
            if stream is not None:
                stream.end()
        elif line.to not in self._lines:
            self._lines[line.to] = None
            try:
                stream = self._stream(self._dial(line.to), _ignore, partial(self._lost, line.to))
            except OSError as fault:
                self._turn.at(0.0, partial(self._broken, line.to, fault.errno or errno.EIO))
                return
            self._lines[line.to] = stream
            stream.begin()

    def _stream(
        self, sock: Sock, heard: Callable[[Stream, bytes], None], ended: Callable[[Stream, int], None]
    ) -> Stream:
        stream = Stream(self._turn, self._traffic, sock, heard, ended)
        self._all.add(stream)
        return stream

    def _serve(self, sender: Address, stream: Stream, message: bytes) -> None:
        reply = self._tell(self._core.serve, message, sender)
        if isinstance(reply, bytes) and reply:
            stream.reply(reply)
        else:
            stream.end()

    def _gone(self, host: str, stream: Stream, _error: int) -> None:
        self._all.discard(stream)
        self._hosts[host] -= 1
        if not self._hosts[host]:
            del self._hosts[host]

    def _ask(self, request: Request) -> None:
        self._asking += 1
        replies: list[bytes] = []

        def heard(stream: Stream, message: bytes) -> None:
            replies.append(message)
            stream.end()

        try:
            stream = self._stream(self._dial(request.to), heard, partial(self._asked, request, replies))
        except OSError as fault:
            self._turn.at(0.0, partial(self._asked, request, replies, None, fault.errno or errno.EIO))
            return
        stream.limit(self._turn.seconds() + request.timeout_s)
        stream.begin(request.data)

    def _asked(self, request: Request, replies: list[bytes], stream: Stream | None, error: int) -> None:
        if stream is not None:
            self._all.discard(stream)
        self._asking -= 1
        if error == errno.ECONNREFUSED:
            self._tell(self._core.refused, request.to)
        self._tell(self._core.answered, request.id, replies[0] if replies else None)
        if self._waiting and self._asking < ASKING_MAX:
            self._ask(self._waiting.popleft())

    def _lost(self, to: Address, stream: Stream, error: int) -> None:
        self._all.discard(stream)
        if self._lines.get(to) is stream:
            self._broken(to, error)

    def _broken(self, to: Address, error: int) -> None:
        if self._lines.pop(to, self) is self:
            return
        if error == errno.ECONNREFUSED:
            self._tell(self._core.refused, to)
        self._tell(self._core.lifeline_lost, to)


def _ignore(stream: Stream, _message: bytes) -> None:
    stream.end(errno.EPROTO)
