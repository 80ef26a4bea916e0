"""TCP connections and forwarding sockets: what to do with them, through the narrow faces that they are handed in by.

Nothing here opens a socket or reads a clock; ``aio`` does, and calls these when epoll says so.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Protocol

from fairlead.discovery.names import DNS_PORT
from fairlead.discovery.stream import QUERY_SIZE_MAX, UNREAD_MAX, Stream, frame
from fairlead.discovery.upstream import Send
from fairlead.discovery.wire import TCP_SIZE

#: Octets read at a time: the longest DNS message with its length.
READ_SIZE = TCP_SIZE + 2


class Socket(Protocol):
    """What is needed of a non-blocking socket; errors are ``OSError``, ``BlockingIOError`` when it has nothing yet."""

    def recv(self, size: int, /) -> bytes:
        """Octets that have arrived."""

    def send(self, data: bytes | bytearray, /) -> int:
        """Send; how many octets went."""

    def bind(self, address: tuple[str, int], /) -> None:
        """Take a local address and port."""

    def connect_ex(self, address: tuple[str, int], /) -> int:
        """Connect; 0 or an error number."""


class Connection:
    """A TCP connection, from a client or, with the ``first`` message to send, to a server; ``closed`` once nothing more can come of it. ``want_write`` is
    called with whether room to send is awaited, whenever that changes."""

    __slots__ = ("_out", "_socket", "_waiting", "_want_write", "closed", "stream")

    def __init__(self, sock: Socket, want_write: Callable[[bool], None], now: float, first: bytes = b"") -> None:
        self.stream = Stream(now, TCP_SIZE if first else QUERY_SIZE_MAX)
        self.closed = False
        self._socket = sock
        self._want_write = want_write
        self._waiting = bool(first)
        self._out = bytearray(frame(first)) if first else bytearray()

    def reply(self, data: bytes, now: float) -> None:
        """Queue the answer to a message that was read, and send what goes."""
        if not self.closed:
            self.stream.answered(now)
            self._out += frame(data)
            self.flush()
            if len(self._out) > UNREAD_MAX:
                self.closed = True

    def flush(self) -> None:
        """Send what is queued; ask for another turn if not all of it goes."""
        try:
            while self._out:
                del self._out[: self._socket.send(self._out)]
        except BlockingIOError:
            pass
        except OSError:
            self.closed = True
            return
        if self._waiting != bool(self._out):
            self._waiting = bool(self._out)
            self._want_write(self._waiting)

    def read(self, now: float) -> list[bytes]:
        """The messages that have arrived; afterwards ``closed`` if the other side has ended or broken the rules."""
        try:
            data = self._socket.recv(READ_SIZE)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        messages = self.stream.receive(data, now)
        self.closed = self.closed or self.stream.closed
        return messages


def dial(sock: Socket, send: Send) -> bool:
    """Point a fresh socket at the server of ``send``, from its random source port if that is free (else from one that
    the kernel draws); over UDP also send the query. False if the server cannot be reached from here."""
    try:
        sock.bind(("", send.port))
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            return False
    try:
        if sock.connect_ex((send.server.address, DNS_PORT)) not in (0, errno.EINPROGRESS):
            return False
        return send.tcp or sock.send(send.data) == len(send.data)
    except OSError:
        return False


def hear(sock: Socket) -> bytes | None:
    """A UDP reply; empty if there is none yet, None if the server is not there."""
    try:
        return sock.recv(READ_SIZE)
    except BlockingIOError:
        return b""
    except OSError:
        return None
