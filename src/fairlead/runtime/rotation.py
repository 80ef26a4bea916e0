"""Logs of several files. conmon bounds one file: when it is full, a fresh one takes its place and the old is gone. A
second name of the file in use keeps the old one; each time a fresh one appears, we give the old its number.

    log        in use, conmon's          log.held   the same file, so that it outlives its replacement
    log.1      the one before            log.2 …    older ones

While no daemon runs, the bound holds all the same: what conmon replaces a second time is lost then.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from fairlead.runtime.layout import Files

#: inotify(7): a name appeared by rename; and the head of an event (watch, mask, cookie, length of the name).
IN_MOVED_TO = 0x80
_EVENT = struct.Struct("iIII")
#: Bytes of events taken at once.
_BLOCK_BYTES = 1 << 16

_libc = ctypes.CDLL(None, use_errno=True)


def numbered(files: Files, number: int) -> Path:
    """The ``number``-th file before the one in use."""
    return files.log.with_name(f"log.{number}")


def held(files: Files) -> Path:
    """The second name of the file in use."""
    return files.log.with_name("log.held")


def shift(files: Files, keep: int) -> None:
    """Give the file that conmon has replaced its number, and hold the one in use; at most ``keep`` files remain.
    Nothing to do, or no log, is fine."""
    second = held(files)
    with contextlib.suppress(FileNotFoundError):
        if second.exists():
            if second.samefile(files.log):
                return
            for number in range(keep - 2, 0, -1):
                with contextlib.suppress(FileNotFoundError):
                    numbered(files, number).rename(numbered(files, number + 1))
            second.rename(numbered(files, 1))
        second.hardlink_to(files.log)


def open_all(files: Files) -> list[IO[bytes]]:
    """All files of a log from the oldest to the one in use, each once."""
    names = sorted(
        (path for path in files.state.glob("log.*") if path.suffix[1:].isdecimal()),
        key=lambda path: -int(path.suffix[1:]),
    )
    opened: dict[int, IO[bytes]] = {}
    for path in (*names, held(files), files.log):
        with contextlib.suppress(FileNotFoundError):
            file = path.open("rb")
            known = opened.pop(os.fstat(file.fileno()).st_ino, None)
            if known is not None:
                known.close()
            opened[os.fstat(file.fileno()).st_ino] = file
    return list(opened.values())


class Rotation:
    """Watches the logs of running containers. Belongs to one event loop."""

    def __init__(self) -> None:
        self._inotify = -1
        self._watched: dict[int, tuple[str, Files, int]] = {}

    def begin(self, container_id: str, files: Files, keep: int) -> None:
        """Keep ``keep`` files of a container's log from now on. Raises ``OSError``."""
        if keep < 2:
            return
        shift(files, keep)
        if self._inotify < 0:
            self._inotify = _checked(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
            asyncio.get_running_loop().add_reader(self._inotify, self._drain)
        watch = _checked(_libc.inotify_add_watch(self._inotify, os.fsencode(files.state), IN_MOVED_TO))
        self._watched[watch] = (container_id, files, keep)

    def end(self, container_id: str) -> None:
        """Look at a container's log no more."""
        for watch in [watch for watch, (known, _, _) in self._watched.items() if known == container_id]:
            _libc.inotify_rm_watch(self._inotify, watch)
            del self._watched[watch]

    def close(self) -> None:
        """Let go of everything."""
        self._watched.clear()
        if self._inotify >= 0:
            with contextlib.suppress(RuntimeError):  # the loop may be gone
                asyncio.get_running_loop().remove_reader(self._inotify)
            os.close(self._inotify)
            self._inotify = -1

    def _drain(self) -> None:
        with contextlib.suppress(BlockingIOError):
            for watch in parse_events(os.read(self._inotify, _BLOCK_BYTES)):
                if watch in self._watched:
                    _, files, keep = self._watched[watch]
                    shift(files, keep)


def parse_events(data: bytes) -> Iterable[int]:
    """The watches in a block of inotify events."""
    at = 0
    while at + _EVENT.size <= len(data):
        watch, _, _, length = _EVENT.unpack_from(data, at)
        at += _EVENT.size + length
        yield watch


def _checked(code: int) -> int:
    if code < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return code
