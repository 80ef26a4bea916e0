"""The two ways to talk with a container: joining its own streams, and those of a command beside it.

Both have the shape of the API's ``Stream``: ``tty``, ``read``, ``write``, ``close_stdin``, ``close``.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import termios
from collections.abc import Coroutine
from pathlib import Path

from fairlead.model import codes
from fairlead.model.errors import Internal
from fairlead.runtime.processes import Child, readable_soon, writable_soon

#: conmon marks each packet with the stream it came from (conmon: stdpipe_t).
STREAM_OF_MARK: dict[int, str] = {2: "stdout", 3: "stderr"}
#: Bytes of one packet from conmon: the mark and what one read of its gives (conmon: STDIO_BUF_SIZE 8192).
PACKET_BYTES_MAX = 1 + 8192
#: Bytes of one packet to conmon. Reason: it reads a packet into 32 KiB (CONN_SOCK_BUF_SIZE) and the kernel drops the
#: rest of a longer one. Our choice below it.
INPUT_BYTES_MAX = 8192
#: Bytes taken at once from a command's pipe: the capacity of a pipe (pipe(7)).
PIPE_BYTES = 1 << 16


class AttachStream:
    """The streams of a container. It may be made before the container starts: reading and writing wait until
    ``connect`` or ``abandon`` is called, so that not a byte of output is missed."""

    def __init__(self, *, tty: bool = False) -> None:
        self.tty = tty
        self._socket: asyncio.Future[socket.socket | None] = asyncio.get_running_loop().create_future()
        self._closed = False
        self._waiting = 0

    def connect(self, bundle: Path, *, tty: bool) -> None:
        """Join the container whose conmon listens in ``bundle``. Raises ``OSError``; the stream then waits on."""
        if self._closed or self._socket.done():
            return
        joined = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        folder = os.open(bundle, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            joined.connect(f"/proc/self/fd/{folder}/attach")  # the path itself may exceed a socket address
        except OSError:
            joined.close()
            raise
        finally:
            os.close(folder)
        self.tty = tty
        self._socket.set_result(joined)

    def abandon(self) -> None:
        """There will be no container to join: reading ends."""
        if not self._socket.done():
            self._socket.set_result(None)

    async def read(self) -> tuple[str, bytes] | None:
        """The next piece of output; None at the container's end, or when we left."""
        joined = await asyncio.shield(self._socket)
        while joined is not None and not self._closed:
            try:
                packet = joined.recv(PACKET_BYTES_MAX)
            except BlockingIOError:
                await self._until(readable_soon(joined.fileno()))
                continue
            except OSError:
                return None
            if not packet:
                return None
            stream = STREAM_OF_MARK.get(packet[0])
            if stream is not None and len(packet) > 1:
                return stream, packet[1:]
        return None

    async def write(self, data: bytes) -> None:
        """Bytes for standard input; lost when the container has ended or has no open input."""
        joined = await asyncio.shield(self._socket)
        start = 0
        while joined is not None and not self._closed and start < len(data):
            try:
                start += joined.send(data[start : start + INPUT_BYTES_MAX])
            except BlockingIOError:
                await self._until(writable_soon(joined.fileno()))
            except OSError:
                return

    async def close_stdin(self) -> None:
        """End of input: the container reads end of file, unless it has a terminal."""
        joined = await asyncio.shield(self._socket)
        if joined is not None and not self._closed:
            with contextlib.suppress(OSError):
                joined.shutdown(socket.SHUT_WR)

    async def close(self) -> None:
        """Leave; conmon closes the input of a container without terminal when one who joined it leaves. A read or
        write that waits comes back at once."""
        if self._closed:
            return
        self._closed = True
        self.abandon()
        joined = self._socket.result()
        if joined is not None:
            with contextlib.suppress(OSError):
                joined.shutdown(socket.SHUT_RDWR)  # wakes those who wait; the last of them closes
            if self._waiting == 0:
                joined.close()

    async def _until(self, change: Coroutine[object, object, None]) -> None:
        """Wait for a change of the socket, which is not closed under those who wait."""
        self._waiting += 1
        try:
            await change
        finally:
            self._waiting -= 1
            joined = self._socket.result()
            if self._closed and self._waiting == 0 and joined is not None:
                joined.close()


class ExecStream:
    """The streams of a command beside a container: pipes, or one pseudo-terminal for all three."""

    def __init__(self, child: Child, outputs: dict[int, str], stdin: int | None, *, tty: bool) -> None:
        """``outputs`` maps the descriptors to read to stream names, ``stdin`` is the one to write to; they become
        ours to close."""
        self.tty = tty
        self._child = child
        self._outputs = outputs
        self._stdin = stdin
        self._discarding = False
        self._changed: asyncio.Future[None] | None = None
        for descriptor in {*outputs, *([] if stdin is None else [stdin])}:
            os.set_blocking(descriptor, False)

    async def read(self) -> tuple[str, bytes] | None:
        """The next piece of output; None when the command has ended and all it wrote was read, or when we left."""
        while self._outputs and not self._discarding:
            over = self._child.exit_code is not None
            piece = self._take()
            if piece is not None:
                return piece
            if over:  # something it left behind may hold the pipes open for ever
                break
            if self._outputs:
                await self._wait_change()
        if self._discarding:
            return None
        await asyncio.shield(self._child.ended)
        self._release()
        return None

    async def write(self, data: bytes) -> None:
        """Bytes for standard input; lost when the command reads no more."""
        rest = memoryview(data)
        while rest and self._stdin is not None:
            try:
                rest = rest[os.write(self._stdin, rest) :]
            except BlockingIOError:
                await writable_soon(self._stdin)
            except OSError:
                return

    async def close_stdin(self) -> None:
        """End of input; a terminal has none (its user types ^D)."""
        if not self.tty:
            self._close_input()

    async def close(self) -> None:
        """Leave: what the command still writes is thrown away, so that it does not stop at a full pipe."""
        if self._discarding:
            return
        self._discarding = True
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)
        if not self.tty:
            self._close_input()
        loop = asyncio.get_running_loop()
        for descriptor in list(self._outputs):
            loop.remove_reader(descriptor)
            loop.add_reader(descriptor, self._discard, descriptor)
        self._child.ended.add_done_callback(lambda _: self._release())

    def set_size(self, height: int, width: int) -> None:
        """Tell the terminal's size; nothing for pipes. Raises ``OSError``."""
        if self.tty and self._outputs:
            termios.tcsetwinsize(next(iter(self._outputs)), (height, width))

    def _take(self) -> tuple[str, bytes] | None:
        for descriptor, stream in list(self._outputs.items()):
            try:
                data = os.read(descriptor, PIPE_BYTES)
            except BlockingIOError:
                continue
            except OSError:  # EIO: the last user of the terminal is gone
                data = b""
            if data:
                return stream, data
            self._drop(descriptor)
        return None

    async def _wait_change(self) -> None:
        """Until there is output, or the command ends, or we leave."""
        loop = asyncio.get_running_loop()
        changed = self._changed = loop.create_future()

        def note(_: object = None) -> None:
            if not changed.done():
                changed.set_result(None)

        watched = list(self._outputs)
        for descriptor in watched:
            loop.add_reader(descriptor, note)
        self._child.ended.add_done_callback(note)
        try:
            await changed
        finally:
            self._child.ended.remove_done_callback(note)
            for descriptor in watched:
                if descriptor in self._outputs and not self._discarding:
                    loop.remove_reader(descriptor)

    def _discard(self, descriptor: int) -> None:
        try:
            if os.read(descriptor, PIPE_BYTES):
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        self._drop(descriptor)

    def _drop(self, descriptor: int) -> None:
        if self._outputs.pop(descriptor, None) is not None:
            asyncio.get_running_loop().remove_reader(descriptor)
            if self._stdin == descriptor:
                self._stdin = None
            os.close(descriptor)

    def _close_input(self) -> None:
        if self._stdin is not None and self._stdin not in self._outputs:
            os.close(self._stdin)
        self._stdin = None

    def _release(self) -> None:
        self._close_input()
        for descriptor in list(self._outputs):
            self._drop(descriptor)


def join_now(stream: AttachStream, bundle: Path, *, tty: bool) -> None:
    """Connect a stream to a running container; raises ``Internal``."""
    try:
        stream.connect(bundle, tty=tty)
    except OSError as fault:
        raise Internal(f"cannot attach to the container: {fault.strerror}", code=codes.START_FAILED) from fault
