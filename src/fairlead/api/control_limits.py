"""How many strangers there may be at the door between nodes (SEC-26).

A connection is a stranger until TLS has verified a certificate of the cluster. Strangers cost little and never starve
members: each source may come so often only, a handshake has 5 s, and there are at most 32 strangers at a time, of whom
the oldest goes for the newest. Who has a certificate is counted no more.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
import ssl
import struct
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress

from aiohttp import web

from fairlead.api.connections import Answer, Connections
from fairlead.model import codes
from fairlead.model.errors import Internal

log = logging.getLogger(__name__)

#: Seconds for a handshake (SEC-26): several round trips around the world, with a lost packet.
HANDSHAKE_S = 5.0
#: Seconds that a stranger may stay in all: it downloads the root and asks to join, and both take a fraction of one.
STRANGER_S = 20.0
#: Strangers at a time (SEC-26).
STRANGERS_MAX = 32
#: Connections that one source may open: so many a second over time, so many at once. A node opens one for its session and
#: one for each certificate; behind one translated address there may be a hundred nodes, which are back within seconds.
SOURCE_RATE_PER_S, SOURCE_BURST = 20.0, 60.0
#: Sources of which the rate is remembered; the one that has been away for longest is forgotten first.
_SOURCES_MAX = 4096
#: Connections that wait to be accepted.
_BACKLOG = 512
#: Seconds to wait after the machine had no descriptor for a connection that waits.
_SCARCE_S = 0.1
#: Milliseconds until a connection whose data nobody acknowledges is given up (tcp(7) TCP_USER_TIMEOUT): the time in which
#: three heartbeats are missed.
UNACKNOWLEDGED_MS = 15_000
#: Bits of an IPv6 address that one customer is given (RFC 6177), and so one source.
_V6_SOURCE_BITS = 64
#: Close with a reset: nothing of a connection that was turned away is kept (socket(7) SO_LINGER).
_ABORT = struct.pack("ii", 1, 0)


class Rates:
    """How often each source came lately: a bucket that fills at ``rate`` up to ``burst``."""

    def __init__(self, rate: float = SOURCE_RATE_PER_S, burst: float = SOURCE_BURST) -> None:
        self._rate, self._burst = rate, burst
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def admit(self, address: str, now: float) -> bool:
        """Whether one more connection from this address is heard at ``now`` (monotonic seconds)."""
        source = _source(address)
        left, at = self._buckets.pop(source, (self._burst, now))
        left = min(self._burst, left + (now - at) * self._rate)
        admitted = left >= 1.0
        self._buckets[source] = (left - 1.0 if admitted else left, now)
        if len(self._buckets) > _SOURCES_MAX:
            self._buckets.popitem(last=False)
        return admitted


class Guests(Connections):
    """The connections of the door, and who of them is a stranger, in the order in which they came."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer)
        self._strangers: dict[web.RequestHandler, asyncio.TimerHandle] = {}

    @property
    def strangers(self) -> int:
        """How many strangers have ended their handshake."""
        return len(self._strangers)

    def lodge(self, stranger: asyncio.BaseProtocol) -> None:
        """This one has shown no certificate: it may stay for a while."""
        if isinstance(stranger, web.RequestHandler):
            deadline = asyncio.get_running_loop().call_later(STRANGER_S, self.cut, stranger)
            self._strangers[stranger] = deadline

    def cut_oldest(self) -> None:
        """The stranger that came first goes."""
        if self._strangers:
            self.cut(next(iter(self._strangers)))

    def cut(self, guest: web.RequestHandler) -> None:
        """End a connection at once."""
        transport = guest.transport
        guest.force_close()
        if isinstance(transport, asyncio.Transport):
            transport.abort()
        self._forget(guest)

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        """Forget a connection."""
        super().connection_lost(handler, exc)
        self._forget(handler)

    def _forget(self, guest: web.RequestHandler) -> None:
        deadline = self._strangers.pop(guest, None)
        if deadline is not None:
            deadline.cancel()


class ControlListener:
    """Accepts connections at one port and lets ``guests`` answer them. ``context`` is asked at each of them."""

    def __init__(self, listener: socket.socket, context: Callable[[], ssl.SSLContext], guests: Guests) -> None:
        self._listener = listener
        self._context = context
        self._guests = guests
        self._rates = Rates()
        self._greeting: dict[asyncio.Task[None], None] = {}
        self._work = asyncio.get_running_loop().create_task(self._accept())

    @property
    def strangers(self) -> int:
        """How many there are, those in their handshake among them."""
        return len(self._greeting) + self._guests.strangers

    async def close(self) -> None:
        """Listen no more, and let everyone go."""
        tasks = (self._work, *self._greeting)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._listener.close()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                wire, (address, *_) = await loop.sock_accept(self._listener)
            except OSError as error:
                log.warning("cannot accept a connection: %s", error)
                await asyncio.sleep(_SCARCE_S)
                continue
            if not self._rates.admit(str(address), time.monotonic()):
                _turn_away(wire)
                continue
            if self.strangers >= STRANGERS_MAX:
                self._drop_oldest()
            task = loop.create_task(self._greet(wire))
            self._greeting[task] = None
            task.add_done_callback(lambda done: self._greeting.pop(done, None))

    def _drop_oldest(self) -> None:
        """Those who have not even ended their handshake go first."""
        if self._greeting:
            oldest = next(iter(self._greeting))
            del self._greeting[oldest]
            oldest.cancel()
        else:
            self._guests.cut_oldest()

    async def _greet(self, wire: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with suppress(OSError, TimeoutError):  # an SSLError is an OSError; a client that breaks off is no news
            wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS)
            try:
                async with asyncio.timeout(HANDSHAKE_S):
                    transport, protocol = await loop.connect_accepted_socket(
                        self._guests, wire, ssl=self._context(), ssl_handshake_timeout=HANDSHAKE_S
                    )
            except BaseException:
                wire.close()
                raise
            tls = transport.get_extra_info("ssl_object")
            if tls is None or not tls.getpeercert(binary_form=True):
                self._guests.lodge(protocol)


def listening(address: str, port: int) -> socket.socket:
    """A socket that listens there (an unspecified IPv6 address takes IPv4 too); raises ``Internal``."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind((address, port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise Internal(
            f"cannot listen at {address} port {port}: {error.strerror}",
            hint="is the address this host's, and the port free?",
            code=codes.SOCKET_FAILED,
        ) from error
    return listener


def _source(address: str) -> str:
    bare = ipaddress.ip_address(address.partition("%")[0])
    if bare.version == 6 and bare.ipv4_mapped is not None:
        return str(bare.ipv4_mapped)
    if bare.version == 6:
        return str(ipaddress.ip_network((bare, _V6_SOURCE_BITS), strict=False))
    return str(bare)


def _turn_away(wire: socket.socket) -> None:
    with wire, suppress(OSError):
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
