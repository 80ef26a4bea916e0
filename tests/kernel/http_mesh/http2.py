"""Frames of HTTP/2 by hand (RFC 9113): a client that may lie, and a task that streams as gRPC servers do."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import struct
from collections.abc import Iterator
from dataclasses import dataclass

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, END_HEADERS, ACK = 1, 4, 1


@dataclass(frozen=True)
class Frame:
    """One frame; ``body`` is its payload."""

    kind: int
    flags: int
    stream: int
    body: bytes = b""

    def __bytes__(self) -> bytes:
        return (
            struct.pack(">I", len(self.body))[1:] + struct.pack(">BBI", self.kind, self.flags, self.stream) + self.body
        )


def fields(*pairs: tuple[bytes, bytes]) -> bytes:
    """A block of header fields, each literal and never indexed (RFC 7541 section 6.2.3), whatever it contains."""
    return b"".join(b"\x10" + _text(name) + _text(value) for name, value in pairs)


def _text(value: bytes) -> bytes:
    if len(value) < 127:
        return bytes([len(value)]) + value
    rest, more = len(value) - 127, bytearray([127])
    while rest >= 128:
        more.append(rest % 128 + 128)
        rest //= 128
    more.append(rest)
    return bytes(more) + value


def frames(connection: socket.socket, begin: bytes = b"") -> Iterator[Frame]:
    """What comes after ``begin``, up to the end of the connection."""
    with connection.makefile("rb") as stream, contextlib.suppress(ConnectionError):
        assert stream.read(len(begin)) == begin
        while len(head := stream.read(9)) == 9:
            length = int.from_bytes(head[:3], "big")
            kind, flags, number = struct.unpack(">BBI", head[3:])
            yield Frame(kind, flags, number & 0x7FFFFFFF, stream.read(length))


class Talk:
    """A client's connection; its streams have the numbers 1, 3, 5."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        connection.sendall(PREFACE + bytes(Frame(SETTINGS, 0, 0)))
        self._frames = frames(connection)

    def send(self, *what: Frame) -> None:
        """Send frames."""
        self.connection.sendall(b"".join(bytes(frame) for frame in what))

    def read(self) -> Frame:
        """The next frame that belongs to a stream, or says that the connection ends."""
        for frame in self._frames:
            if frame.kind == SETTINGS and not frame.flags & ACK:
                self.send(Frame(SETTINGS, ACK, 0))
            elif frame.kind == PING and not frame.flags & ACK:
                self.send(Frame(PING, ACK, 0, frame.body))
            elif frame.kind not in {SETTINGS, PING, WINDOW_UPDATE}:
                return frame
        return Frame(GOAWAY, 0, 0)


class StreamingTask(socketserver.BaseRequestHandler):
    """Answers each request at once with headers, each message with the same message, and the end with trailers."""

    request: socket.socket

    def handle(self) -> None:
        """Serve a connection."""
        head = b"\x88" + fields((b"content-type", b"application/grpc"))
        trailers = fields((b"grpc-status", b"0"))
        self.request.sendall(bytes(Frame(SETTINGS, 0, 0)))
        for frame in frames(self.request, PREFACE):
            said: list[Frame] = []
            if frame.kind == SETTINGS and not frame.flags & ACK:
                said = [Frame(SETTINGS, ACK, 0)]
            elif frame.kind == PING and not frame.flags & ACK:
                said = [Frame(PING, ACK, 0, frame.body)]
            elif frame.kind == HEADERS:
                said = [Frame(HEADERS, END_HEADERS, frame.stream, head)]
            elif frame.kind == DATA:
                room = struct.pack(">I", max(1, len(frame.body)))
                said = [Frame(WINDOW_UPDATE, 0, number, room) for number in (0, frame.stream)]
                said.append(Frame(DATA, 0, frame.stream, frame.body))
            if frame.kind in {HEADERS, DATA} and frame.flags & END_STREAM:
                said.append(Frame(HEADERS, END_HEADERS | END_STREAM, frame.stream, trailers))
            self.request.sendall(b"".join(bytes(one) for one in said))
