"""Two lab hosts on Debian's kernel are a cluster, whose overlay carries names and packets."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.kernel.cluster.bed import SEA, Cluster


@pytest.fixture(scope="module")
def pair(cluster: Cluster) -> Iterator[Cluster]:
    """A container on each host, in one overlay."""
    cluster.network()
    cluster.start("h1", "anna")
    cluster.start("h2", "bob")
    yield cluster
    cluster.remove("h1", "anna")
    cluster.remove("h2", "bob")
    cluster.cli("h1", "network", "rm", SEA)


def test_a_container_reaches_another_by_name(pair: Cluster) -> None:
    pair.meets("h1", "anna", "bob")
    pair.meets("h2", "bob", "anna")


def test_full_size_packets_arrive_whole(pair: Cluster) -> None:
    mtu = int(pair.run_inside("h1", "anna", "cat", "/sys/class/net/eth0/mtu") or 0)
    assert mtu == 1450
    said = pair.run_inside("h1", "anna", "ping", "-c", "2", "-M", "do", "-s", str(mtu - 28), pair.address("h2", "bob"))
    assert " 0% packet loss" in said
