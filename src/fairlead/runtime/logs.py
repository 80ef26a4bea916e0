r"""The output of a container, from the file that conmon writes.

Each record is ``STAMP STREAM TAG TEXT\n``; the tag is ``F`` for a line that had its newline and ``P`` for a piece that
had none (conmon reads 8 KiB at a time). Following waits with inotify on the state folder, which sees both the log
growing and the exit status appearing.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from pathlib import Path
from typing import IO

from fairlead.model.runspec import LogLine
from fairlead.runtime import rotation
from fairlead.runtime.layout import Files
from fairlead.runtime.mounts import edge
from fairlead.runtime.processes import watch_end

#: Bytes read at a time, backwards when the tail is looked for. Our choice: one read of a page-cache-friendly size.
BLOCK_BYTES = 1 << 16
#: inotify(7) events (linux/inotify.h): content changed, a name appeared by rename, a name appeared.
IN_MODIFY, IN_MOVED_TO, IN_CREATE = 0x02, 0x80, 0x100

_libc = ctypes.CDLL(None, use_errno=True)


def parse(record: bytes) -> LogLine | None:
    """One record without its newline; None when it is not whole or not of conmon's making."""
    parts = record.split(b" ", 3)
    if len(parts) != 4 or parts[1] not in (b"stdout", b"stderr"):
        return None
    stamp, stream, tag, text = parts
    whole = stamp.decode("ascii", "replace").replace("+00:00", "Z")
    return LogLine(stream.decode("ascii"), text if tag == b"P" else text + b"\n", whole)


def epoch(stamp: str) -> float:
    """Epoch seconds of a stamp (RFC 3339 with nanoseconds); 0 for one that cannot be read."""
    head, point, tail = stamp.partition(".")
    digits = tail.rstrip("Z").partition("+")[0]
    try:
        seconds = datetime.fromisoformat(f"{head.rstrip('Z')}+00:00").timestamp()
    except ValueError:
        return 0.0
    return seconds + (float(f"0.{digits}") if point and digits.isdecimal() else 0.0)


async def read(
    files: Files, open_monitor: Callable[[], int | None], *, follow: bool, tail: int | None, since: float | None
) -> AsyncIterator[LogLine]:
    """Lines of a log from the first, the ``tail`` last ones, or ``since`` epoch seconds; with ``follow`` until the
    container ends. ``open_monitor`` gives a pidfd of its conmon while that lives. Raises ``Internal``."""
    if not files.log.exists():
        return
    with contextlib.ExitStack() as stack:
        growth = stack.enter_context(_Growth(files.state, open_monitor if follow else None))
        with edge("reading the log"):
            queue = _Queue(files, tail)
            stack.callback(queue.close)
        rest = b""
        while True:
            over = not follow or growth.over or has_ended(files)
            while block := queue.block():
                records, rest = split(rest + block)
                for record in records:
                    line = parse(record)
                    if line is not None and (since is None or epoch(line.stamp) >= since):
                        yield line
                await asyncio.sleep(0)  # a long log must not keep the loop from others
            if over:
                return
            await growth.wait()


class _Queue:
    """The files of a log one behind the other, also those that come while we read."""

    def __init__(self, files: Files, tail: int | None) -> None:
        self._files = files
        self._open = rotation.open_all(files)
        if tail is not None:
            self._skip(tail)

    def block(self) -> bytes:
        """The next bytes; nothing at the end of the last file."""
        while self._open:
            first = self._open[0]
            replaced = len(self._open) > 1 or self._newer()
            data = first.read(BLOCK_BYTES)
            if data or not replaced:
                return data
            first.close()
            del self._open[0]
        return b""

    def close(self) -> None:
        """Close what is open."""
        for file in self._open:
            file.close()

    def _newer(self) -> bool:
        """Whether the file that we read was replaced; those that came after it are in the queue then."""
        current = os.fstat(self._open[0].fileno()).st_ino
        try:
            if os.stat(self._files.log).st_ino == current:
                return False
        except FileNotFoundError:
            return False
        found = rotation.open_all(self._files)
        numbers = [os.fstat(file.fileno()).st_ino for file in found]
        at = numbers.index(current) + 1 if current in numbers else 0
        for file in found[:at]:
            file.close()
        self._open += found[at:]
        return True

    def _skip(self, lines: int) -> None:
        """Leave only the ``lines`` last lines to read."""
        wanted = lines
        for index in range(len(self._open) - 1, -1, -1):
            file = self._open[index]
            start = start_of_tail(file, wanted)
            file.seek(start)
            if start or not wanted:
                for older in self._open[:index]:
                    older.close()
                del self._open[:index]
                return
            wanted -= _count(file)


def has_ended(files: Files) -> bool:
    """Whether conmon has written how the container ended."""
    return files.exit.exists()


def split(data: bytes) -> tuple[list[bytes], bytes]:
    """Whole records, and the beginning of one that is not there in full."""
    *records, rest = data.split(b"\n")
    return records, rest


def start_of_tail(file: IO[bytes], lines: int) -> int:
    """The offset at which the last ``lines`` lines begin; pieces without newline belong to the line they end in."""
    at, data = file.seek(0, os.SEEK_END), b""
    if lines <= 0:
        return at
    while at > 0:
        step = min(BLOCK_BYTES, at)
        at -= step
        file.seek(at)
        data = file.read(step) + data
        starts = _line_starts(data, whole=at == 0)
        if len(starts) >= lines:
            return at + starts[-lines]
    return 0


def _count(file: IO[bytes]) -> int:
    """Lines of a user in a whole file, which is then at its beginning."""
    starts = len(_line_starts(file.read(), whole=True))
    file.seek(0)
    return starts


def _line_starts(data: bytes, *, whole: bool) -> list[int]:
    """Offsets in ``data`` where a user's line begins; the first record counts only if ``whole``."""
    starts, at, fresh = [], 0, whole
    for record in data.split(b"\n")[:-1]:
        if fresh:
            starts.append(at)
        parts = record.split(b" ", 3)
        fresh = len(parts) == 4 and parts[2] == b"F"
        at += len(record) + 1
    return starts


class _Growth:
    """Waits for a change in a folder or the end of the monitor; does nothing without a way to open the monitor."""

    def __init__(self, folder: Path, open_monitor: Callable[[], int | None] | None) -> None:
        self.over = False
        self._folder = folder
        self._open_monitor = open_monitor
        self._inotify = -1
        self._changed = asyncio.Event()
        self._call_off: Callable[[], None] | None = None

    def __enter__(self) -> _Growth:
        if self._open_monitor is None:
            return self
        with edge("watching the log"):
            self._inotify = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
            mask = IN_MODIFY | IN_MOVED_TO | IN_CREATE
            if self._inotify < 0 or _libc.inotify_add_watch(self._inotify, os.fsencode(self._folder), mask) < 0:
                code = ctypes.get_errno()
                self._close()
                raise OSError(code, os.strerror(code), str(self._folder))
        monitor = self._open_monitor()
        if monitor is None:
            self.over = True
        else:
            self._call_off = watch_end(monitor, self._ended)
        asyncio.get_running_loop().add_reader(self._inotify, self._drain)
        return self

    def __exit__(self, *_: object) -> None:
        if self._call_off is not None:
            self._call_off()
        self._close()

    async def wait(self) -> None:
        """Until something changed since the last call."""
        await self._changed.wait()
        self._changed.clear()

    def _ended(self) -> None:
        self.over = True
        self._changed.set()

    def _drain(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._inotify, BLOCK_BYTES)
        self._changed.set()

    def _close(self) -> None:
        if self._inotify >= 0:
            asyncio.get_running_loop().remove_reader(self._inotify)
            os.close(self._inotify)
            self._inotify = -1
