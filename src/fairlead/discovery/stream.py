"""Framing and limits of DNS over TCP: each message follows its length in two octets (RFC 1035 section 4.2.2).

Pure: octets in, messages out, deadlines for the edge. A stream that is ``closed`` has nothing more to say; every
fault closes, nothing is retried.
"""

from __future__ import annotations

from fairlead.discovery.wire import EDNS_SIZE_MAX, HEADER_SIZE, TCP_SIZE

#: Seconds that a client may leave a connection without a whole message and without an open question.
IDLE_S = 2.0
#: Seconds that a connection may live at all; enough for a slow forwarded query with a change of server.
TOTAL_S = 10.0
#: Open connections of one sandbox; a stub resolver needs one.
CONNECTIONS_MAX = 64
#: Open connections of all sandboxes; the oldest makes room. With 136 KB at most for each: 140 MB.
CONNECTIONS_TOTAL_MAX = 1024
#: Longest query that a client may send, in octets; as over UDP, with room to spare for options.
QUERY_SIZE_MAX = EDNS_SIZE_MAX
#: Octets of answers that may wait for a client to read, beyond what the kernel holds for it already (megabytes).
UNREAD_MAX = 2 * TCP_SIZE
#: Questions of one connection that may wait for an answer (RFC 7766 section 6.2.1.1 allows several).
WAITING_MAX = 64


def frame(message: bytes) -> bytes:
    """A message with its length before it."""
    return len(message).to_bytes(2, "big") + message


class Stream:
    """One connection's incoming side, for messages of ``size_max`` octets. ``receive`` after each read, ``answered``
    after each reply; when ``closed`` or ``deadline`` has passed, close the connection."""

    __slots__ = ("_buffer", "_end", "_idle", "_size_max", "_waiting", "closed")

    def __init__(self, now: float, size_max: int = QUERY_SIZE_MAX) -> None:
        self.closed = False
        self._size_max = size_max
        self._buffer = b""
        self._waiting = 0
        self._idle = now + IDLE_S
        self._end = now + TOTAL_S

    @property
    def deadline(self) -> float:
        """Monotonic seconds at which the connection has had its time."""
        return self._end if self._waiting else min(self._idle, self._end)

    def receive(self, data: bytes, now: float) -> list[bytes]:
        """The messages that ``data`` completes; no data means that the other side has ended."""
        if not data or self.closed:
            self.closed = True
            return []
        buffer = self._buffer + data if self._buffer else data
        messages: list[bytes] = []
        at = 0
        while len(buffer) - at >= 2:
            size = (buffer[at] << 8) | buffer[at + 1]
            if not HEADER_SIZE <= size <= self._size_max:
                self.closed = True
                return messages
            if len(buffer) - at - 2 < size:
                break
            messages.append(buffer[at + 2 : at + 2 + size])
            at += 2 + size
        self._buffer = buffer[at:]
        if messages:
            self._idle = now + IDLE_S
            self._waiting += len(messages)
            self.closed = self._waiting > WAITING_MAX
        return messages

    def answered(self, now: float) -> None:
        """One message has been dealt with."""
        self._waiting -= 1
        self._idle = now + IDLE_S
