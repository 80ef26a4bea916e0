"""Connections of the API: how many there may be, who goes first, and what a client may do that has closed its half.

Nobody is turned away for what others leave lying about: a connection without a request costs nothing to lose, so when
there are too many, the one that has been idle for longest is closed. That covers clients that never send a whole head
(slowloris), since a request counts only once its head is there.
"""

from __future__ import annotations

import asyncio
import resource
import select
from collections.abc import Awaitable, Callable

from aiohttp import StreamReader, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage

#: Connections without a request that are kept. A client keeps one or two for its next request; what is beyond this
#: many is no client's.
IDLE_MAX = 256
#: Part of the process's file descriptors that connections may hold; the rest is for containers, the store and netlink.
_SHARE = 0.5
#: Bytes of a request line or header field: filters stand in the query, and lists of labels can be long.
_LINE_BYTES = 64 * 1024
#: Header fields of one request; Docker's client sends six.
_HEADERS_MAX = 100
#: Seconds that a connection may wait for its next request, and a new one for the head of its first.
_IDLE_S = 300.0

Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Connection(web.RequestHandler):
    """One connection. A client may close its half after a request and still read the answer; one that is gone is
    told from that by the kernel (POLLHUP), and what was asked by it is ended."""

    __slots__ = ("_half_closed", "asked")

    def __init__(self, server: Connections, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            server,
            loop=loop,
            access_log=None,  # type: ignore[arg-type] # None turns it off, which the annotation forgets
            keepalive_timeout=_IDLE_S,
            max_line_size=_LINE_BYTES,
            max_field_size=_LINE_BYTES,
            max_headers=_HEADERS_MAX,
        )
        self.asked: web.BaseRequest | None = None
        self._half_closed = False

    def eof_received(self) -> bool:  # type: ignore[override] # the base class leaves it to asyncio, which closes
        """Stay open for the answers to whole requests of a client that can still read."""
        bodies = [*([self.asked.content] if self.asked else ()), *(body for _, body in self._messages)]
        self._half_closed = bool(bodies) and bodies[-1].is_eof() and not _is_gone(self.transport)
        return self._half_closed

    def rest(self) -> None:
        """The request is answered; without another one waiting, a half-closed connection has nothing more to do."""
        self.asked = None
        if self._half_closed and not self._messages:
            self.close()


class Connections(web.Server):
    """All connections of the API; makes them and keeps their number within bounds."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(self._answered, request_factory=self._received, handler_cancellation=True)
        self._answer = answer
        self._idle: dict[Connection, None] = {}
        self._most = int(resource.getrlimit(resource.RLIMIT_NOFILE)[0] * _SHARE)

    def __call__(self) -> Connection:
        """The protocol of a new connection."""
        return Connection(self, self._loop)

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """Note a connection; the longest idle one goes when there are too many."""
        super().connection_made(handler, transport)
        if isinstance(handler, Connection):
            self._idle[handler] = None
        crowded = len(self._idle) > IDLE_MAX or len(self._connections) > self._most
        if crowded and self._idle:
            oldest = next(iter(self._idle))
            del self._idle[oldest]
            oldest.force_close()

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        """Forget a connection."""
        super().connection_lost(handler, exc)
        if isinstance(handler, Connection):
            self._idle.pop(handler, None)

    def _received(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: web.RequestHandler,
        writer: AbstractStreamWriter,
        task: asyncio.Task[None],
    ) -> web.BaseRequest:
        """The request whose head has come. Noted here and not when it is answered, which is a turn later."""
        request = web.BaseRequest(message, payload, protocol, writer, task, self._loop)
        if isinstance(protocol, Connection):
            protocol.asked = request
            self._idle.pop(protocol, None)
        return request

    async def _answered(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = request.protocol
        try:
            return await self._answer(request)
        finally:
            if isinstance(connection, Connection):
                self._rested(connection)

    def _rested(self, connection: Connection) -> None:
        connection.rest()
        if connection in self._connections:
            self._idle[connection] = None


def _is_gone(transport: asyncio.BaseTransport | None) -> bool:
    """Whether the other end has closed both halves. Behind TLS there are no halves: the end of one is the end."""
    wire = transport.get_extra_info("socket") if transport else None
    if transport is None or wire is None or transport.get_extra_info("sslcontext") is not None:
        return True
    poll = select.poll()
    poll.register(wire.fileno(), 0)
    return any(event & select.POLLHUP for _, event in poll.poll(0))
