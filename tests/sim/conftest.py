"""Simulations make and drop millions of objects."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

#: Objects that are made until garbage is looked for: with Python's 700 a tenth of the time is spent on it.
_GARBAGE = 50_000


@pytest.fixture(autouse=True)
def _seldom() -> Iterator[None]:
    """Look for garbage seldom meanwhile."""
    before = gc.get_threshold()
    gc.set_threshold(_GARBAGE, *before[1:])
    yield
    gc.set_threshold(*before)
