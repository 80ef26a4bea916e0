"""Giving back memory that was needed for a while.

The C library's allocator keeps pages that are free between others that are not. After a burst of work they add up to
some MiB, and to more with each burst, though nothing in them is in use; told to, it returns them.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import time

#: mallopt(3) M_ARENA_MAX (malloc.h): how many heaps there may be. One for the event loop and one for the threads beside
#: it; Linux' default is eight for each processor, each with free pages of its own.
_ARENA_MAX, _ARENAS = -8, 2
#: Seconds between two looks whether there is something to return.
EVERY_S = 5.0
#: Seconds of processor time after which there may be. An idle daemon uses less in a minute, and is left asleep.
_WORTH_S = 0.05

_libc = ctypes.CDLL(None)


def limit() -> None:
    """Have few heaps; before the first thread starts. Nothing happens where the C library is not glibc."""
    if hasattr(_libc, "mallopt"):
        _libc.mallopt(_ARENA_MAX, _ARENAS)


def collect_often() -> None:
    """Look through old objects for garbage five times as often as Python does by itself; the interpreter still waits
    until they have grown by a quarter. Requests that were under way at a collection, and are done, are such objects."""
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, 2)


def give_back() -> None:
    """Return every page that nothing is in; some milliseconds. Nothing happens where the C library is not glibc."""
    if hasattr(_libc, "malloc_trim"):
        _libc.malloc_trim(0)


async def keep_small() -> None:
    """Return pages after work, until cancelled. Done in a thread: it takes no lock of Python's."""
    used_s = time.process_time()
    while True:
        await asyncio.sleep(EVERY_S)
        if time.process_time() - used_s > _WORTH_S:
            await asyncio.to_thread(give_back)
            used_s = time.process_time()
