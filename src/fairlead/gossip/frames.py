"""One connection: messages on it (four bytes of length, then so many bytes; one there, one back), its limits.

Knows a socket only by what it does, and the loop by ``Turn``, so it is as pure as the core: ``aio.py`` brings both.
"""

from __future__ import annotations

import errno
import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from fairlead.gossip.contract import STREAM_BYTES_MAX

_LENGTH = struct.Struct(">I")
#: Bytes before each message.
LENGTH_BYTES = _LENGTH.size
#: epoll's words for "can be read" and "can be written" (sys/epoll.h).
READ, WRITE = 1, 4
#: Bytes read of a stream at a time.
READ_BYTES = 262144
#: Bytes of messages that may be half read at a time: many small ones, or sixteen of the largest.
HALF_READ_BYTES_MAX = 64 * 1024 * 1024
#: Seconds from a request's first byte until our reply must have been taken.
SERVE_S = 10.0


def frame(data: bytes) -> bytes:
    """A message as it is sent."""
    return _LENGTH.pack(len(data)) + data


class FrameReader:
    """Puts one message together out of what comes."""

    __slots__ = ("_limit", "_parts", "held", "wanted")

    def __init__(self, limit: int = STREAM_BYTES_MAX) -> None:
        self._parts: list[bytes] = []
        self._limit = limit
        #: Bytes that have come.
        self.held = 0
        #: Bytes of the whole frame, its length included; 0 before that is known.
        self.wanted = 0

    def feed(self, data: bytes) -> bytes | None:
        """Take what came; the message when it is whole. Raises ``ValueError`` when it says to be longer than
        ``limit``, or is followed by something."""
        self._parts.append(data)
        self.held += len(data)
        if not self.wanted and self.held >= LENGTH_BYTES:
            self._parts = [b"".join(self._parts)]
            self.wanted = LENGTH_BYTES + int(_LENGTH.unpack_from(self._parts[0])[0])
            if self.wanted > LENGTH_BYTES + self._limit:
                raise ValueError(f"a message of {self.wanted} bytes")
        if not self.wanted or self.held < self.wanted:
            return None
        if self.held > self.wanted:
            raise ValueError("more than one message")
        return b"".join(self._parts)[LENGTH_BYTES:]


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
        limit: int = STREAM_BYTES_MAX,
    ) -> None:
        self._turn, self._traffic, self._sock, self._heard, self._ended = turn, traffic, sock, heard, ended
        self._reader = FrameReader(limit)
        #: When somebody who looks is to end it, and in how many seconds after the first byte that is.
        self.deadline, self.patience_s = math.inf, math.inf
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

    @property
    def idle(self) -> bool:
        """Whether nothing has come, and nothing is to be sent."""
        return not self._reader.held and not self._unsent

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
            self.deadline = min(self.deadline, self._turn.seconds() + self.patience_s)
        traffic.half_read += len(data)
        message = self._reader.feed(data)
        if message is not None:
            self._heard(self, message)
