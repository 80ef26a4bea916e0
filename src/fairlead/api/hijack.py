"""Two-way byte streams over a request's connection, as Docker's attach and exec do them.

After the answer's head the connection carries raw bytes: to us standard input, from us output, either plain (terminal)
or in frames of 8 bytes head (stream number, three zero bytes, length in network order) and data. The client may close
its half (end of input) and still read. aiohttp would close then, so the transport gets a protocol of ours.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from contextlib import suppress

from aiohttp import web

from fairlead.api import versions
from fairlead.api.contract import Stream
from fairlead.api.router import Call
from fairlead.model.detach import Escape
from fairlead.model.errors import Internal

#: Number of each stream in a frame's head (Docker's stdcopy).
_STREAM_NUMBERS = {"stdin": 0, "stdout": 1, "stderr": 2}
#: Pieces of input that wait for the container before we stop reading the socket (each at most 256 KiB in asyncio).
_INBOX_MAX = 16
#: First API version with a content type of its own for framed streams.
_MULTIPLEXED_SINCE = (1, 42)

RAW_TYPE = "application/vnd.docker.raw-stream"
MULTIPLEXED_TYPE = "application/vnd.docker.multiplexed-stream"


def frame(stream: str, data: bytes) -> bytes:
    """Data with its 8-byte head."""
    return struct.pack(">BxxxL", _STREAM_NUMBERS.get(stream, 1), len(data)) + data


def content_type(version: versions.ApiVersion, *, tty: bool) -> str:
    """The content type of an output stream."""
    return MULTIPLEXED_TYPE if not tty and version >= _MULTIPLEXED_SINCE else RAW_TYPE


async def hijack(
    call: Call,
    stream: Stream,
    *,
    stdin: bool,
    outputs: frozenset[str],
    detach_keys: bytes = b"",
    left_alone: Callable[[], None] | None = None,
) -> web.StreamResponse:
    """Join a client and a running command until the command ends or the client leaves, by closing the connection or,
    in a terminal, by ``detach_keys``; ``stream`` is closed then. With ``left_alone``, that is called instead when the
    client leaves a command that goes on, and takes the stream over."""
    transport = call.request.transport
    if transport is None or not isinstance(transport, asyncio.Transport):
        await stream.close()
        raise Internal("the connection is gone")
    wire = _Wire(transport, call.request.protocol)
    transport.set_protocol(wire)
    transport.write(_head(call, stream))
    left = asyncio.Event()
    upstream = asyncio.create_task(_feed(wire, stream, left, stdin=stdin, keys=detach_keys))
    downstream = asyncio.create_task(_drain(wire, stream, outputs))
    leaving = [asyncio.create_task(event.wait()) for event in (wire.gone, left)]
    try:
        await asyncio.wait({downstream, *leaving}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        goes_on = not downstream.done()
        for task in (upstream, downstream, *leaving):
            task.cancel()
        await asyncio.gather(upstream, downstream, *leaving, return_exceptions=True)
        transport.close()
        if goes_on and left_alone is not None:
            left_alone()
        else:
            with suppress(OSError):
                await stream.close()
        await wire.gone.wait()
    return web.Response()


def _head(call: Call, stream: Stream) -> bytes:
    kind = content_type(call.version, tty=stream.tty)
    if call.request.headers.get("Upgrade"):
        lines = ["HTTP/1.1 101 UPGRADED", f"Content-Type: {kind}", "Connection: Upgrade", "Upgrade: tcp"]
    else:
        lines = ["HTTP/1.1 200 OK", f"Content-Type: {kind}"]
    lines.append(f"Api-Version: {versions.text(versions.API_MAX)}")
    return "\r\n".join([*lines, "", ""]).encode()


async def _feed(wire: _Wire, stream: Stream, left: asyncio.Event, *, stdin: bool, keys: bytes) -> None:
    """Client to command; ``left`` is set when the client typed the keys that leave."""
    escape = Escape(keys) if keys else None
    while True:
        data = await wire.receive()
        if data is None:
            break
        leaves = False
        if escape is not None and stream.tty:
            data, leaves = escape.feed(data)
        if stdin and data:
            await stream.write(data)
        if leaves:
            left.set()
            return
    if stdin:
        await stream.close_stdin()


async def _drain(wire: _Wire, stream: Stream, outputs: frozenset[str]) -> None:
    """Command to client."""
    while (piece := await stream.read()) is not None:
        name, data = piece
        if stream.tty or name in outputs:
            await wire.send(data if stream.tty else frame(name, data))


class _Wire(asyncio.Protocol):
    """The connection after the head, with flow control both ways."""

    def __init__(self, transport: asyncio.Transport, before: asyncio.BaseProtocol) -> None:
        self.gone = asyncio.Event()
        self._transport = transport
        self._before = before
        self._inbox: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._may_send = asyncio.Event()
        self._may_send.set()

    def data_received(self, data: bytes) -> None:
        self._inbox.put_nowait(data)
        if self._inbox.qsize() >= _INBOX_MAX:
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        self._inbox.put_nowait(None)
        return True

    def pause_writing(self) -> None:
        self._may_send.clear()

    def resume_writing(self) -> None:
        self._may_send.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone.set()
        self._may_send.set()
        self._before.connection_lost(exc)

    async def receive(self) -> bytes | None:
        """The next piece from the client; None at its end."""
        data = await self._inbox.get()
        if self._inbox.qsize() < _INBOX_MAX and not self._transport.is_closing():
            self._transport.resume_reading()
        return data

    async def send(self, data: bytes) -> None:
        """Bytes to the client, waiting while it does not read."""
        await self._may_send.wait()
        if not self._transport.is_closing():
            self._transport.write(data)
