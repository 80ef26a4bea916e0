"""Connections of a core: requests there and back, requests that come, lifelines; all bounded in number, size and time.

A connection that comes in and says nothing is somebody's lifeline; one that sends a frame is a request, answered and
closed (``inbound.py``). As pure as the core, see ``frames.py``.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable
from functools import partial

from fairlead.gossip.contract import STREAM_BYTES_MAX, Lifeline, Request
from fairlead.gossip.doors import Core
from fairlead.gossip.frames import Sock, Stream, Traffic, Turn
from fairlead.gossip.identity import Address
from fairlead.gossip.inbound import Inbound

#: Requests under way at a time; others wait. How many wait and their bytes: beyond, a request fails at once.
ASKING_MAX, WAITING_MAX, WAITING_BYTES_MAX = 32, 1024, 32 * 1024 * 1024


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
        self._inbound = Inbound(turn, traffic, core.known, self._serve)
        self._lines: dict[Address, Stream | None] = {}
        self._asking = 0
        self._waiting: deque[Request] = deque()
        self._waiting_bytes = 0

    def close(self) -> None:
        """Break all of them."""
        self._waiting.clear()
        self._lines.clear()
        self._inbound.close()
        for stream in list(self._all):
            stream.end()

    def accept(self, sock: Sock, sender: Address) -> None:
        """Somebody has connected."""
        self._inbound.accept(sock, sender)

    def ask(self, request: Request) -> None:
        """Carry a request, when it is its turn."""
        if self._asking < ASKING_MAX:
            self._ask(request)
        elif len(self._waiting) < WAITING_MAX and self._waiting_bytes + len(request.data) <= WAITING_BYTES_MAX:
            self._waiting.append(request)
            self._waiting_bytes += len(request.data)
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
                stream = self._stream(self._dial(line.to), _ignore, partial(self._lost, line.to), 0)
            except OSError as fault:
                self._turn.at(0.0, partial(self._broken, line.to, fault.errno or errno.EIO))
                return
            self._lines[line.to] = stream
            stream.begin()

    def _stream(
        self,
        sock: Sock,
        heard: Callable[[Stream, bytes], None],
        ended: Callable[[Stream, int], None],
        limit: int = STREAM_BYTES_MAX,
    ) -> Stream:
        stream = Stream(self._turn, self._traffic, sock, heard, ended, limit)
        self._all.add(stream)
        return stream

    def _serve(self, sender: Address, message: bytes) -> bytes:
        reply = self._tell(self._core.serve, message, sender)
        return reply if isinstance(reply, bytes) else b""

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
            self._tell(partial(self._core.refused, sure=True), request.to)
        self._tell(self._core.answered, request.id, replies[0] if replies else None)
        if self._waiting and self._asking < ASKING_MAX:
            waiting = self._waiting.popleft()
            self._waiting_bytes -= len(waiting.data)
            self._ask(waiting)

    def _lost(self, to: Address, stream: Stream, error: int) -> None:
        self._all.discard(stream)
        if self._lines.get(to) is stream:
            self._broken(to, error)

    def _broken(self, to: Address, error: int) -> None:
        if self._lines.pop(to, self) is self:
            return
        if error == errno.ECONNREFUSED:
            self._tell(partial(self._core.refused, sure=True), to)
        self._tell(self._core.lifeline_lost, to)


def _ignore(stream: Stream, _message: bytes) -> None:
    stream.end(errno.EPROTO)
