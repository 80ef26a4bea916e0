"""What happened, for whoever listens: the last of it is kept, and every listener gets what comes, in order."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping

from fairlead.model.events import Notice

log = logging.getLogger(__name__)

#: Notices kept for listeners that ask for the past (Docker: 256).
KEPT = 256
#: Notices that wait for one listener. Who is further behind is cut off, which it can see and answer by asking for the
#: past; waiting for it would stop everyone, and keeping more for it would let it fill the memory. Docker: 1024.
PENDING_MAX = 1024


class Notices:
    """The notices of a node. Belongs to one event loop."""

    def __init__(self) -> None:
        self._kept: deque[Notice] = deque(maxlen=KEPT)
        self._listeners: set[asyncio.Queue[Notice | None]] = set()

    def add(self, notice: Notice) -> None:
        """Something has happened."""
        self._kept.append(notice)
        for queue in list(self._listeners):
            if queue.qsize() < PENDING_MAX:
                queue.put_nowait(notice)
            else:
                log.warning("a listener is %d events behind and is cut off", PENDING_MAX)
                self._listeners.discard(queue)
                queue.put_nowait(None)

    def tell(self, kind: str, action: str, identifier: str, attributes: Mapping[str, str]) -> None:
        """Something has happened now."""
        self.add(Notice(kind, action, identifier, dict(attributes), time.time()))

    def subscribe(self, since: float | None) -> AsyncIterator[Notice]:
        """Notices kept since a moment (epoch seconds; None for none of them), and all from this call on. Ends when the
        listener is too far behind."""
        queue: asyncio.Queue[Notice | None] = asyncio.Queue()
        for notice in self._kept:
            if since is not None and notice.at >= since:
                queue.put_nowait(notice)
        self._listeners.add(queue)
        return self._read(queue)

    async def _read(self, queue: asyncio.Queue[Notice | None]) -> AsyncIterator[Notice]:
        try:
            while (notice := await queue.get()) is not None:
                yield notice
        finally:
            self._listeners.discard(queue)
