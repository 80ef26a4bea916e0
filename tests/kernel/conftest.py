"""Every kernel test that asks for ``space`` runs in a network namespace of its own, gone afterwards whatever happened."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from fairlead.kernel import netns
from fairlead.kernel.apply import Kernel

_R = TypeVar("_R")


@pytest.fixture
def space(tmp_path: Path) -> Iterator[Path]:
    """The directory for sandboxes; the test's thread, and every kernel made in it, is in a fresh namespace."""
    node = tmp_path / "node"
    sandboxes = tmp_path / "netns"
    sandboxes.mkdir()
    netns.create(str(node))
    try:
        with netns.inside(str(node)):
            yield sandboxes
    finally:
        for left in sandboxes.iterdir():
            netns.delete(str(left))
        netns.delete(str(node))


@pytest.fixture
def on_kernel(space: Path) -> Callable[[Callable[[Kernel], Coroutine[Any, Any, _R]]], _R]:
    """Run a coroutine function on a fresh ``Kernel`` of ``space``, which is closed afterwards."""

    def run(scenario: Callable[[Kernel], Coroutine[Any, Any, _R]]) -> _R:
        async def session() -> _R:
            kernel = Kernel(str(space))
            try:
                return await scenario(kernel)
            finally:
                await kernel.close()

        return asyncio.run(session())

    return run
