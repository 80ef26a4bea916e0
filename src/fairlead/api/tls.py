"""The API over TCP: only with mutual TLS, since whoever speaks to it is root of the host.

A client is nobody until its certificate is checked. Until then it costs little (SEC-26): a handshake has a time limit,
and of many that are under way the oldest is given up for the newest, so that a flood of them starves no one.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from fairlead.model import codes
from fairlead.model.addresses import parse_address
from fairlead.model.errors import Internal, Invalid

log = logging.getLogger(__name__)

#: Seconds that a client gets for its handshake: several round trips around the world, with a lost packet.
_HANDSHAKE_S = 5.0
#: Handshakes under way at a time; one takes a few milliseconds of computing.
_HANDSHAKES_MAX = 32
#: Connections that wait to be accepted.
_BACKLOG = 128
#: Seconds to wait after the machine had no descriptor for a connection that waits.
_SCARCE_S = 0.1
_PORT_MAX = 65535
#: Bytes handed on at a time: the largest TLS record (RFC 8446 section 5.1).
_PIECE_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Paths of PEM files: the authority that signs clients, our own certificate, and its key."""

    ca: str
    cert: str
    key: str


@dataclass(frozen=True, slots=True)
class TcpDoor:
    """Where to listen: an address of this host, a port, and the files of both sides' proof."""

    address: str
    port: int
    files: TlsFiles

    @classmethod
    def parse(cls, url: str, files: TlsFiles, *, verify: bool) -> TcpDoor:
        """From ``tcp://ADDRESS:PORT``; raises ``Invalid``, also for a door without mutual TLS."""
        kind, separator, place = url.partition("://")
        address, colon, port = place.rpartition(":")
        number = int(port) if port.isascii() and port.isdigit() and len(port) <= 5 else 0
        if kind != "tcp" or not separator or not colon or not 1 <= number <= _PORT_MAX:
            raise Invalid(f"invalid address to listen at: {url!r}", hint="write tcp://ADDRESS:PORT")
        if not verify or not (files.ca and files.cert and files.key):
            raise Invalid(
                f"{url}: the API is open over TCP with mutual TLS only",
                hint="give --tlsverify, --tlscacert, --tlscert and --tlskey",
            )
        return cls(str(parse_address(address.strip("[]"), "address to listen at")), number, files)


class TcpListener:
    """Accepts clients with a certificate and hands their connections to ``protocol``."""

    def __init__(
        self, listener: socket.socket, context: ssl.SSLContext, protocol: Callable[[], asyncio.Protocol]
    ) -> None:
        self._listener = listener
        self._context = context
        self._protocol = protocol
        self._greeting: dict[asyncio.Task[None], None] = {}
        self._relaying: set[asyncio.Task[None]] = set()
        self._work = asyncio.get_running_loop().create_task(self._accept())

    async def close(self) -> None:
        """Listen no more, and let everyone go."""
        tasks = (self._work, *self._greeting, *self._relaying)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._listener.close()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                wire, _ = await loop.sock_accept(self._listener)
            except OSError as error:
                log.warning("cannot accept a connection: %s", error)
                await asyncio.sleep(_SCARCE_S)
                continue
            if len(self._greeting) >= _HANDSHAKES_MAX:
                oldest = next(iter(self._greeting))
                del self._greeting[oldest]
                oldest.cancel()
            task = loop.create_task(self._serve(wire))
            self._greeting[task] = None
            task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._greeting.pop(task, None)
        self._relaying.discard(task)

    async def _serve(self, wire: socket.socket) -> None:
        task = asyncio.current_task()
        with wire, suppress(OSError, TimeoutError):  # an SSLError is an OSError; a client that breaks off is no news
            relay = _Relay(wire, self._context)
            async with asyncio.timeout(_HANDSHAKE_S):
                await relay.greet()
            if task is not None:
                self._greeting.pop(task, None)
                self._relaying.add(task)
            await relay.run(self._protocol)


class _Relay:
    """TLS outside, plain bytes inside. asyncio's own TLS closes a connection when the client ends its half, which
    Docker's client does before it reads the output of a container; so the halves are kept apart here."""

    def __init__(self, wire: socket.socket, context: ssl.SSLContext) -> None:
        self._wire = wire
        self._received, self._to_send = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._received, self._to_send, server_side=True)
        self._sending = asyncio.Lock()

    async def greet(self) -> None:
        """The handshake; raises ``ssl.SSLError`` when the client cannot prove who it is, ``OSError`` when it goes."""
        try:
            while True:
                try:
                    self._tls.do_handshake()
                    return
                except ssl.SSLWantReadError:
                    await self._flush()
                    await self._receive()
        finally:
            await self._flush()

    async def run(self, protocol: Callable[[], asyncio.Protocol]) -> None:
        """Hand the bytes on both ways until the server has said all or the client is gone."""
        ours, theirs = socket.socketpair()
        with ours:
            ours.setblocking(False)
            await asyncio.get_running_loop().connect_accepted_socket(protocol, theirs)
            ways = [asyncio.ensure_future(self._inward(ours)), asyncio.ensure_future(self._outward(ours))]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)

    async def _inward(self, ours: socket.socket) -> None:
        """Client to server. Ends when the client is gone; the end of its half is only handed on."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                data = self._tls.read(_PIECE_BYTES)
            except ssl.SSLWantReadError:
                await self._flush()
                await self._receive()
                continue
            except ssl.SSLZeroReturnError:
                data = b""
            if not data:
                break
            await loop.sock_sendall(ours, data)
        ours.shutdown(socket.SHUT_WR)
        while await loop.sock_recv(self._wire, _PIECE_BYTES):
            pass

    async def _outward(self, ours: socket.socket) -> None:
        """Server to client, and the end of it."""
        while data := await asyncio.get_running_loop().sock_recv(ours, _PIECE_BYTES):
            self._tls.write(data)
            await self._flush()
        with suppress(ssl.SSLError):
            self._tls.unwrap()
        await self._flush()

    async def _receive(self) -> None:
        data = await asyncio.get_running_loop().sock_recv(self._wire, _PIECE_BYTES)
        if not data:
            raise ConnectionResetError("the client is gone")
        self._received.write(data)

    async def _flush(self) -> None:
        async with self._sending:
            if data := self._to_send.read():
                await asyncio.get_running_loop().sock_sendall(self._wire, data)


def listen(door: TcpDoor, protocol: Callable[[], asyncio.Protocol]) -> TcpListener:
    """Open a door; raises ``Invalid`` for files that are no certificates, ``Internal`` when the port cannot be had."""
    context = _context(door.files)
    family = socket.AF_INET6 if ":" in door.address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((door.address, door.port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise Internal(
            f"cannot listen at {door.address} port {door.port}: {error.strerror}",
            hint="is the address this host's?",
            code=codes.SOCKET_FAILED,
        ) from error
    return TcpListener(listener, context, protocol)


def _context(files: TlsFiles) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        context.load_verify_locations(files.ca)
        context.load_cert_chain(files.cert, files.key)
    except (OSError, ssl.SSLError) as error:
        raise Invalid(
            f"cannot use the TLS files {files.ca}, {files.cert}, {files.key}: {error}",
            hint="each is a PEM file; the key must be that of the certificate",
        ) from error
    return context
