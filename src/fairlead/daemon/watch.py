"""Following a file of the host: whoever replaces, rewrites or re-links it, its readers learn of it at once."""

from __future__ import annotations

import asyncio
import ctypes
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

#: inotify(7) events (linux/inotify.h): written and closed; moved away and here; made and deleted here; the watched thing
#: itself deleted and moved. Not the mere emptying of a file, after which its new content is still to come.
_MASK = 0x08 | 0x40 | 0x80 | 0x100 | 0x200 | 0x400 | 0x800
#: Octets of events read at a time; what they say does not matter, all paths are looked at anew.
_READ_BYTES = 1 << 16
#: Links followed from one path (Linux: MAXSYMLINKS).
_LINKS_MAX = 40

_libc = ctypes.CDLL(None, use_errno=True)


class FileWatch:
    """Calls ``changed`` in the running event loop after each change of one of ``paths``, of what a symbolic link there
    leads to, or of the links. Files and folders may be missing and come later, as far as a folder above them is there.
    Raises ``OSError`` if the system gives none."""

    def __init__(self, paths: Sequence[str], changed: Callable[[], object]) -> None:
        self._paths, self._changed = tuple(paths), changed
        self._watched: dict[str, int] = {}
        self._inotify = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._inotify < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        self._seen = self._look()
        asyncio.get_running_loop().add_reader(self._inotify, self._drain)

    def close(self) -> None:
        """Watch no longer."""
        asyncio.get_running_loop().remove_reader(self._inotify)
        os.close(self._inotify)

    def _drain(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._inotify, _READ_BYTES)
        seen = self._look()
        if seen != self._seen:
            self._seen = seen
            self._changed()

    def _look(self) -> tuple[tuple[object, ...], ...]:
        """What stands at the paths. Watches are set before, so nothing that happens after the look is missed."""
        wanted = {place for path in self._paths for place in _places(path)}
        for place in [place for place in self._watched if place not in wanted]:
            _libc.inotify_rm_watch(self._inotify, self._watched.pop(place))
        for place in wanted:
            watch = _libc.inotify_add_watch(self._inotify, os.fsencode(place), _MASK)
            if watch >= 0:
                self._watched[place] = watch
        return tuple(_stamp(path) for path in self._paths)


def _places(path: str) -> list[str]:
    """The file and the folder of every step from a path to what it leads to; for a folder that is missing, the nearest
    one above it. A file that is bound over another (mount) changes without a word in its folder, hence both."""
    places: list[str] = []
    at = Path(path).absolute()
    for _ in range(_LINKS_MAX):
        folder = at.parent
        while not folder.is_dir() and folder != folder.parent:
            folder = folder.parent
        places.append(str(folder))
        if not at.is_symlink():
            break
        at = at.parent / at.readlink()
    return [*places, str(at)]


def _stamp(path: str) -> tuple[object, ...]:
    try:
        found = Path(path).stat()
    except OSError:
        return ()
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
