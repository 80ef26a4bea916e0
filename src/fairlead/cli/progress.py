"""What long work shows on a terminal while it lasts: what is waited for and for how long, or how much has gone over.

On standard error, so that results stay clean; nothing at all where that is no terminal. Ctrl-C ends the waiting only:
what the daemon has begun it brings to its end.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

#: Seconds of silence before anything is shown: most work is over by then.
_SILENCE_S = 1.0
#: Seconds between two looks at the clock.
_BEAT_S = 0.5
#: To the line's beginning, and clear to its end (ECMA-48 EL).
_WIPE = "\r\x1b[K"
_MEGABYTE = 1_000_000


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """While this lasts, show ``what`` and the seconds."""
    if not sys.stderr.isatty():
        yield
        return
    done = threading.Event()
    clock = threading.Thread(target=_tick, args=(what, done), daemon=True)
    clock.start()
    try:
        yield
    finally:
        done.set()
        clock.join()


def _tick(what: str, done: threading.Event) -> None:
    began, shown = time.monotonic(), False
    pause = _SILENCE_S
    while not done.wait(pause):
        _show(f"{what} ({time.monotonic() - began:.0f} s)")
        shown, pause = True, _BEAT_S
    if shown:
        _show("")


class Counted:
    """A file that is read, with the amount shown on the way."""

    def __init__(self, source: BinaryIO, what: str) -> None:
        self._source = source
        self._what = what
        self._bytes = 0
        self._shown = 0.0

    def read(self, size: int = -1) -> bytes:
        """The next bytes, empty at the end."""
        piece = self._source.read(size)
        self._bytes += len(piece)
        now = time.monotonic()
        if sys.stderr.isatty() and (not piece or now - self._shown >= _BEAT_S):
            self._shown = now
            _show(f"{self._what} {self._bytes / _MEGABYTE:.1f} MB" if piece else "")
        return piece


def _show(words: str) -> None:
    sys.stderr.write(f"{_WIPE}{words}")
    sys.stderr.flush()
