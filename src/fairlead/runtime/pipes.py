"""Pipes between the event loop and whoever reads or writes at his own pace."""

from __future__ import annotations

import os

from fairlead.runtime.processes import writable_soon


async def feed(descriptor: int, data: bytes) -> bool:
    """Write all of it to a descriptor that does not block; False when the reader is gone."""
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:
            await writable_soon(descriptor)
        except BrokenPipeError:
            return False
    return True
