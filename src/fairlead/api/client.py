"""A client of the Engine API for programs that must start fast: HTTP/1.1 over a Unix socket.

It writes and reads HTTP itself: importing ``http.client`` costs as much as all of the rest of a short command (20 to
30 ms, our measurement), and of HTTP only lengths, chunks and the switch to raw bytes are needed. One connection for
each call, since a connection over a Unix socket costs less than keeping one in order. Not for use inside an event
loop: every call waits.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Protocol

from fairlead.api.words import human_duration as human_duration
from fairlead.model import codes
from fairlead.model.codes import Code
from fairlead.model.errors import NetError

#: Where a daemon answers when nothing else is said.
DEFAULT_HOST = "unix:///run/fairlead/fairlead.sock"
#: Bytes asked of a socket or file at a time.
_CHUNK_BYTES = 64 * 1024
#: Longest line of a response's head that we take (bytes); aiohttp's own limit is 8190.
_LINE_BYTES_MAX = 64 * 1024
#: Bytes of the head of a frame in a multiplexed stream.
_FRAME_HEAD_BYTES = 8
#: Header of a request whose answer is to be what it would do (``plan`` or ``start``), and of such an answer.
DRY_RUN = "Fairlead-Dry-Run"
#: First HTTP status of an error.
_ERROR_STATUS = 400
_STREAM_NAMES = {0: "stdout", 1: "stdout", 2: "stderr"}
_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~")

Query = Mapping[str, str | int | bool | None]


class Source(Protocol):
    """What is read to be sent."""

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes, empty at the end."""


class ApiError(NetError):
    """The daemon answered with an error; ``status`` is the HTTP status, ``cause`` what made it fail, if it said so."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        hint: str = "",
        kind: str = "internal",
        cause: str = "",
        code: Code | None = None,
    ) -> None:
        super().__init__(message, hint=hint, code=code)
        self.status = status
        self.kind = kind
        self.cause = cause


class DaemonUnreachable(ApiError):
    """Nobody answers at the socket."""

    def __init__(self, host: str, reason: str) -> None:
        super().__init__(
            503,
            f"Cannot connect to the Fairlead daemon at {host}. Is the daemon running?",
            hint=f"start it with `fairlead daemon`, or point FAIRLEAD_HOST at its socket ({reason})",
            kind="unavailable",
            code=codes.DAEMON_UNREACHABLE,
        )


class Planned(Exception):
    """What a call would have done, line by line; nothing was changed."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("nothing was changed")
        self.lines = lines


class Client:
    """The API of the daemon at ``host`` (``unix:///path``). With ``dry_run`` (``plan``, or ``start`` to see what the
    start of a created container does too) every call that would change something raises ``Planned`` instead.
    ``dial`` makes the connections to a host of another kind."""

    def __init__(
        self, host: str = DEFAULT_HOST, *, dry_run: str = "", dial: Callable[[], socket.socket] | None = None
    ) -> None:
        if dial is None and (not host.startswith("unix://") or not host.removeprefix("unix://")):
            raise ApiError(
                400, f"unsupported daemon address {host!r}", hint="write unix:///path/to/socket, or tcp://HOST:PORT"
            )
        self.host = host
        self._dial = dial or self._dial_socket
        self._dry_run = dry_run

    def get(self, path: str, query: Query | None = None) -> object:
        """The JSON answer of a GET; raises ``ApiError``."""
        return self.call("GET", path, query)

    def post(self, path: str, body: object = None, query: Query | None = None) -> object:
        """The JSON answer of a POST, None when there is none; raises ``ApiError``."""
        return self.call("POST", path, query, body)

    def delete(self, path: str, query: Query | None = None) -> object:
        """The JSON answer of a DELETE, None when there is none; raises ``ApiError``."""
        return self.call("DELETE", path, query)

    def call(self, method: str, path: str, query: Query | None = None, body: object = None) -> object:
        """One exchange of JSON; raises ``ApiError``."""
        with self.open(method, path, query, body) as reply:
            data = reply.read()
        return json.loads(data) if data.strip() else None

    def open(self, method: str, path: str, query: Query | None = None, body: object = None) -> Reply:
        """An answer whose body is read bit by bit; raises ``ApiError`` unless the status tells success."""
        data = b"" if body is None else json.dumps(body).encode()
        return self._exchange(method, path, query, [data], {"Content-Length": str(len(data))})

    def upload(self, path: str, source: Source, query: Query | None = None, *, method: str = "POST") -> object:
        """Send the bytes of a file; raises ``ApiError``."""
        headers = {"Transfer-Encoding": "chunked", "Content-Type": "application/x-tar"}
        with self._exchange(method, path, query, _chunks(source), headers) as reply:
            data = reply.read()
        return json.loads(data) if data.strip() else None

    def hijack(self, path: str, query: Query | None = None, body: object = None) -> Reply:
        """A two-way byte stream by POST: write to ``reply.connection``, read with ``reply.frames()`` or ``pieces()``."""
        data = b"" if body is None else json.dumps(body).encode()
        headers = {"Content-Length": str(len(data)), "Connection": "Upgrade", "Upgrade": "tcp"}
        return self._exchange("POST", path, query, [data], headers)

    def _dial_socket(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(self.host.removeprefix("unix://"))
        except OSError:
            connection.close()
            raise
        return connection

    def _exchange(
        self, method: str, path: str, query: Query | None, body: Iterable[bytes], headers: Mapping[str, str]
    ) -> Reply:
        try:
            connection = self._dial()
        except OSError as error:
            raise DaemonUnreachable(self.host, error.strerror or str(error)) from error
        reply = Reply(connection)
        try:
            fields = {"Host": "fairlead", "Content-Type": "application/json", "Connection": "close", **headers}
            if self._dry_run:
                fields[DRY_RUN] = self._dry_run
            head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
            # A pipe that breaks here is a daemon that refused early; its answer says why.
            with suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(f"{method} {_target(path, query)} HTTP/1.1\r\n{head}\r\n".encode("ascii"))
                for piece in body:
                    connection.sendall(piece)
            reply.begin()
        except OSError as error:
            reply.close()
            raise ApiError(500, f"the connection to the daemon broke: {error}", hint="see the daemon's log") from error
        except BaseException:
            reply.close()
            raise
        return reply


class Reply:
    """An answer: status, headers (lower-case names), and a body that is read once."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.status = 0
        self.headers: dict[str, str] = {}
        self._file = connection.makefile("rb")

    def __enter__(self) -> Reply:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let the connection go."""
        self._file.close()
        self.connection.close()

    def end_input(self) -> None:
        """Tell the other end that nothing more is sent; its answer can still be read."""
        self.connection.shutdown(socket.SHUT_WR)

    def begin(self) -> None:
        """Read the head; raises the error that the answer tells, if it tells one."""
        self.status = self._status()
        self.headers = dict(self._header_fields())
        if self.status >= _ERROR_STATUS:
            raise _error(self.status, self.read())
        if DRY_RUN.lower() in self.headers:
            raise Planned(list(map(str, json.loads(self.read()))))

    def read(self) -> bytes:
        """All of the body."""
        return b"".join(self.pieces())

    def pieces(self) -> Iterator[bytes]:
        """The body as it comes."""
        if self.status in (204, 304):
            return iter(())
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            return self._chunked()
        length = self.headers.get("content-length")
        return self._sized(int(length)) if length is not None else iter(self._some, b"")

    def lines(self) -> Iterator[bytes]:
        """The body line by line, each when it is whole."""
        rest = b""
        for piece in self.pieces():
            *whole, rest = (rest + piece).split(b"\n")
            yield from whole
        if rest:
            yield rest

    def frames(self) -> Iterator[tuple[str, bytes]]:
        """The body as (``stdout`` or ``stderr``, bytes), out of Docker's multiplexed stream."""
        rest = b""
        for piece in self.pieces():
            rest += piece
            while len(rest) >= _FRAME_HEAD_BYTES:
                end = _FRAME_HEAD_BYTES + int.from_bytes(rest[4:8], "big")
                if len(rest) < end:
                    break
                yield _STREAM_NAMES.get(rest[0], "stdout"), rest[_FRAME_HEAD_BYTES:end]
                rest = rest[end:]

    def _status(self) -> int:
        line = self._file.readline(_LINE_BYTES_MAX)
        version, _, rest = line.partition(b" ")
        if not version.startswith(b"HTTP/1.") or not rest[:3].isdigit():
            raise ApiError(500, "the daemon closed the connection without an answer", hint="see the daemon's log")
        return int(rest[:3])

    def _header_fields(self) -> Iterator[tuple[str, str]]:
        while (line := self._file.readline(_LINE_BYTES_MAX)) not in (b"\r\n", b"\n", b""):
            name, _, value = line.decode("latin-1").partition(":")
            yield name.strip().lower(), value.strip()

    def _some(self) -> bytes:
        return self._file.read1(_CHUNK_BYTES)

    def _sized(self, left: int) -> Iterator[bytes]:
        while left > 0 and (piece := self._file.read(min(left, _CHUNK_BYTES))):
            left -= len(piece)
            yield piece

    def _chunked(self) -> Iterator[bytes]:
        while size := int(self._file.readline(_LINE_BYTES_MAX).partition(b";")[0] or b"0", 16):
            yield self._file.read(size)
            self._file.readline(_LINE_BYTES_MAX)


def quote(text: str) -> str:
    """Text as one segment of a path or value of a query."""
    return "".join(chr(byte) if byte in _PLAIN else f"%{byte:02X}" for byte in text.encode("utf-8", "surrogateescape"))


def _target(path: str, query: Query | None) -> str:
    pairs = [f"{quote(name)}={quote(_word(value))}" for name, value in (query or {}).items() if value is not None]
    return f"{path}?{'&'.join(pairs)}" if pairs else path


def _word(value: str | int | bool | None) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)


def _chunks(source: Source) -> Iterator[bytes]:
    while piece := source.read(_CHUNK_BYTES):
        yield f"{len(piece):x}\r\n".encode() + piece + b"\r\n"
    yield b"0\r\n\r\n"


def _error(status: int, data: bytes) -> ApiError:
    """The error in an answer's body; the hint stands in ``message`` too, for Docker's clients."""
    try:
        body: object = json.loads(data)
    except ValueError:
        body = None
    fields = body if isinstance(body, dict) else {}
    message = str(fields.get("message") or data.decode("utf-8", "replace").strip() or f"HTTP status {status}")
    hint, kind, cause = (str(fields.get(name, "")) for name in ("hint", "kind", "cause"))
    code = codes.find(str(fields.get("code", "")))
    plain = message.removesuffix(f"\n{hint}") if hint else message
    return ApiError(status, plain, hint=hint, kind=kind or "internal", cause=cause, code=code)
