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
        self._work = asyncio.get_running_loop().create_task(self._accept())

    async def close(self) -> None:
        """Listen no more; connections that are through go on."""
        for task in (self._work, *self._greeting):
            task.cancel()
        await asyncio.gather(self._work, *self._greeting, return_exceptions=True)
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
                next(iter(self._greeting)).cancel()
            task = loop.create_task(self._greet(wire))
            self._greeting[task] = None
            task.add_done_callback(lambda done: self._greeting.pop(done, None))

    async def _greet(self, wire: socket.socket) -> None:
        try:
            with suppress(OSError, ssl.SSLError, TimeoutError):
                await asyncio.get_running_loop().connect_accepted_socket(
                    self._protocol, wire, ssl=self._context, ssl_handshake_timeout=_HANDSHAKE_S
                )
                return
            wire.close()
        except asyncio.CancelledError:
            wire.close()
            raise


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
            f"cannot listen at {door.address} port {door.port}: {error.strerror}", hint="is the address this host's?"
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
