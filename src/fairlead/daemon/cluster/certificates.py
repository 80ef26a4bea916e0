"""The certificates that a node's proxy shows: those of a folder, read anew whenever something in it changes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from fairlead.daemon.watch import FileWatch
from fairlead.mesh.wish import Certificate
from fairlead.model.errors import NetError
from fairlead.runtime import certificates

log = logging.getLogger(__name__)


class CertificateFolder:
    """Follows the folder at ``path`` from ``start`` to ``close``. ``changed`` is called after each reading that found other
    certificates, or another ``fault`` (empty: none); while something cannot be read, what was ``found`` before stays."""

    def __init__(self, path: str, changed: Callable[[], Awaitable[None]]) -> None:
        self.path = path
        self.found: tuple[Certificate, ...] = ()
        self._changed = changed
        self.fault = ""
        self._work: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Read, and follow from now on."""
        await self._read()
        self._work = asyncio.get_running_loop().create_task(self._follow())

    async def close(self) -> None:
        """Follow no more."""
        work, self._work = self._work, None
        if work is not None:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

    async def _follow(self) -> None:
        while True:
            moved = asyncio.Event()
            files = await asyncio.to_thread(_files, self.path)
            try:
                watch = FileWatch((self.path, *files), moved.set)
            except OSError as error:
                log.warning("cannot watch %s (%s): a restart reads it anew", self.path, error.strerror)
                return
            try:
                if await self._read():
                    await self._changed()
                if await asyncio.to_thread(_files, self.path) == files:
                    await moved.wait()
            finally:
                watch.close()

    async def _read(self) -> bool:
        """Whether something is other than before."""
        before, fault = (self.found, self.fault), ""
        try:
            pairs = await asyncio.to_thread(certificates.read, self.path)
            self.found = tuple(Certificate(name, pem) for name, pem in pairs)
        except NetError as error:
            fault = str(error)
        if fault and fault != self.fault:
            log.error("certificates: %s", fault)
        self.fault = fault
        return before != (self.found, fault)


def _files(path: str) -> list[str]:
    """All that is in a folder; a file that is written in place is no change of its folder."""
    with suppress(OSError):
        return sorted(str(one) for one in Path(path).iterdir())
    return []
