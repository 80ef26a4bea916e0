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
    with contextlib.ExitStack() as stack:
        file = _open(files.log)
        if file is None:
            return
        stack.enter_context(file)
        growth = stack.enter_context(_Growth(files.state, open_monitor if follow else None))
        with edge("reading the log"):
            file.seek(start_of_tail(file, tail) if tail is not None else 0)
        rest = b""
        while True:
            over = not follow or growth.over or has_ended(files)
            while block := file.read(BLOCK_BYTES):
                records, rest = split(rest + block)
                for record in records:
                    line = parse(record)
                    if line is not None and (since is None or epoch(line.stamp) >= since):
                        yield line
                await asyncio.sleep(0)  # a long log must not keep the loop from others
            if over:
                return
            await growth.wait()


def has_ended(files: Files) -> bool:
    """Whether conmon has written how the container ended."""
    return files.exit.exists()


def _open(log: Path) -> IO[bytes] | None:
    with edge("reading the log"), contextlib.suppress(FileNotFoundError):
        return log.open("rb")
    return None


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
