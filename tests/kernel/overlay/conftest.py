"""Beds of nodes, which must leave nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from tests.kernel.overlay.bed import Bed

MakeBed = Callable[..., Bed]


@pytest.fixture(scope="module")
def make_bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeBed]:
    """Makes beds that end with the module."""
    made: list[Bed] = []

    def make(count: int = 2, *, v6: bool = False) -> Bed:
        made.append(Bed(tmp_path_factory.mktemp("o"), count, v6=v6))
        return made[-1]

    yield make
    left = [line for bed in reversed(made) for line in bed.close()]
    assert not left, "\n".join(left)


@pytest.fixture(scope="module")
def bed(make_bed: MakeBed) -> Bed:
    """Two nodes that all tests of a module share."""
    return make_bed()
