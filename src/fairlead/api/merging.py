"""Several streams of values as one, each value as soon as it is there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import TypeVar

_T = TypeVar("_T")

#: Values that may wait to be taken: a reader that is slow slows its sources down.
_WAITING_MAX = 64


async def merged(sources: Mapping[str, AsyncIterator[_T]]) -> AsyncGenerator[tuple[str, _T], None]:
    """(name of the source, value), until all have ended; the first error of one ends it. Ends its sources with itself."""
    queue: asyncio.Queue[tuple[str, _T] | None] = asyncio.Queue(_WAITING_MAX)

    async def feed(name: str, source: AsyncIterator[_T]) -> None:
        try:
            async for value in source:
                await queue.put((name, value))
        finally:
            if isinstance(source, AsyncGenerator):
                await source.aclose()

    feeders = [asyncio.ensure_future(feed(name, source)) for name, source in sources.items()]

    async def finish() -> None:
        try:
            await asyncio.gather(*feeders)
        finally:
            await queue.put(None)

    finishing = asyncio.ensure_future(finish())
    try:
        while (item := await queue.get()) is not None:
            yield item
        await finishing
    finally:
        for task in (*feeders, finishing):
            task.cancel()
        await asyncio.gather(*feeders, finishing, return_exceptions=True)
