"""Connections to a daemon over TCP with mutual TLS. Loaded only when one is meant: ``ssl`` costs a short command dear."""

from __future__ import annotations

import contextlib
import functools
import select
import socket
import ssl
import threading
from pathlib import Path

from fairlead.api.client import ApiError, Client
from fairlead.model.errors import Invalid

#: Seconds to wait for a daemon far away to take the connection.
_CONNECT_S = 20.0
#: Bytes handed on at a time: the largest TLS record (RFC 8446 section 5.1).
_PIECE_BYTES = 16 * 1024
#: The port that Docker's engine uses for TLS.
_DEFAULT_PORT = 2376


def client(host: str, dry_run: str, ca: str, cert: str, key: str) -> Client:
    """The client of ``tcp://HOST[:PORT]``; raises ``Invalid`` for files or an address that cannot be."""
    context = ssl.create_default_context()
    try:
        context.load_verify_locations(_file(ca))
        context.load_cert_chain(_file(cert), _file(key))
    except (OSError, ssl.SSLError) as error:
        raise Invalid(f"cannot use the TLS files {ca}, {cert}, {key}: {error}", hint="each is a PEM file") from error
    name, colon, port = host.removeprefix("tcp://").rpartition(":")
    if not colon or not port.isdigit():
        name, port = host.removeprefix("tcp://"), str(_DEFAULT_PORT)
    return Client(host, dry_run=dry_run, dial=functools.partial(_dial, context, name.strip("[]"), int(port)))


def _file(path: str) -> str:
    return str(Path(path).expanduser())


def _dial(context: ssl.SSLContext, name: str, port: int) -> socket.socket:
    wire = socket.create_connection((name, port), _CONNECT_S)
    try:
        relay = _Relay(wire, context, name)
        relay.greet()
        wire.settimeout(None)
        return relay.start()
    except ssl.SSLError as error:
        wire.close()
        raise ApiError(400, f"no trust between this client and {name}:{port}: {error}", kind="forbidden") from error
    except OSError:
        wire.close()
        raise


class _Relay:
    """TLS outside, plain bytes inside, each way in a thread. Python's own TLS socket knows no halves: it cannot say that
    it sends no more and read on, which is how a command in a container learns the end of its input."""

    def __init__(self, wire: socket.socket, context: ssl.SSLContext, name: str) -> None:
        self._wire = wire
        self._received, self._to_send = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._received, self._to_send, server_hostname=name)
        self._turn = threading.Lock()

    def greet(self) -> None:
        """The handshake; raises ``ssl.SSLError`` without trust, ``OSError`` when the other end goes."""
        while True:
            try:
                self._tls.do_handshake()
                return
            except ssl.SSLWantReadError:
                pass
            finally:
                self._wire.sendall(self._to_send.read())
            data = self._wire.recv(_PIECE_BYTES)
            if not data:
                raise ConnectionResetError("the other end closed the connection")
            self._received.write(data)

    def start(self) -> socket.socket:
        """The plain end."""
        ours, theirs = socket.socketpair()
        for work in (self._inward, self._outward):
            threading.Thread(target=work, args=(ours,), daemon=True).start()
        return theirs

    def _inward(self, ours: socket.socket) -> None:
        """Daemon to us, and the end of it."""
        with contextlib.suppress(OSError):  # of our own end: whoever read there has gone
            sealed = b""
            while True:
                if plain := self._opened(sealed):
                    ours.sendall(plain)
                if not (sealed := self._wire.recv(_PIECE_BYTES)):
                    break
        with contextlib.suppress(OSError):
            ours.shutdown(socket.SHUT_WR)

    def _opened(self, sealed: bytes) -> bytes:
        """All that can be read in plain, now that this has come. In one turn: what waited to be read while our half is
        ended would be lost."""
        pieces = []
        with self._turn, contextlib.suppress(ssl.SSLWantReadError, ssl.SSLZeroReturnError):
            self._received.write(sealed)
            while piece := self._tls.read(_PIECE_BYTES):
                pieces.append(piece)
        return b"".join(pieces)

    def _outward(self, ours: socket.socket) -> None:
        """Us to daemon: the end of our half as TLS's own, the whole end as the connection's."""
        with contextlib.suppress(OSError):
            while data := ours.recv(_PIECE_BYTES):
                with self._turn:
                    self._tls.write(data)
                    sealed = self._to_send.read()
                self._wire.sendall(sealed)
            poll = select.poll()
            poll.register(ours, 0)
            if any(event & select.POLLHUP for _, event in poll.poll(0)):
                self._wire.shutdown(socket.SHUT_RDWR)
                return
            with self._turn:
                with contextlib.suppress(ssl.SSLWantReadError):
                    self._tls.unwrap()
                sealed = self._to_send.read()
            self._wire.sendall(sealed)
