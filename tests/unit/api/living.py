"""The API of a fake node, served on a Unix socket by an event loop of its own in a thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from tests.unit.api.fake_node import FakeNode

from fairlead.api.client import Client
from fairlead.api.router import Route
from fairlead.api.server import ApiServer, serve

_T = TypeVar("_T")

#: Seconds after which a test that waits for the server has failed.
PATIENCE_S = 60.0


class Living:
    """A running server and what stands behind it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, node: FakeNode, server: ApiServer) -> None:
        self.loop = loop
        self.node = node
        self.server = server
        self.socket = str(server.path)
        self.host = f"unix://{self.socket}"
        self.client = Client(self.host)

    def do(self, work: Callable[[], Awaitable[_T]]) -> _T:
        """Run something inside the server's loop."""
        return _in(self.loop, work).result(PATIENCE_S)


@contextmanager
def living_api(folder: Path, extra: Iterable[Route] = ()) -> Iterator[Living]:
    """Serve a fresh fake node while this lasts."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def start() -> Living:
        node = FakeNode()
        return Living(loop, node, await serve(node, folder / "api.sock", extra))

    living = _in(loop, start).result(PATIENCE_S)
    try:
        yield living
    finally:
        living.do(living.server.close)
        living.do(living.node.swarm.close)
        living.do(_end_all)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE_S)
        loop.close()


async def _end_all() -> None:
    """Nothing goes on when the loop stops: what had not had its first turn would never be awaited."""
    while others := asyncio.all_tasks() - {asyncio.current_task()}:
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


def _in(loop: asyncio.AbstractEventLoop, work: Callable[[], Awaitable[_T]]) -> Future[_T]:
    async def call() -> _T:
        return await work()

    return asyncio.run_coroutine_threadsafe(call(), loop)
