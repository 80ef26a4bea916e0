"""What the tests in the emulated machine share: making a lab takes half a minute there, so there is one for all."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.kernel.cluster.bed import Cluster


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two hosts, ``h1`` the manager. Tests that share it make networks of their own, and remove what they made."""
    made = Cluster(tmp_path_factory.mktemp("lab"), 2)
    try:
        yield made
    finally:
        made.close()
