"""Addresses of cluster networks as people meet them: asked for by name, given back, used up, grown, taken from a dead node."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.kernel.cluster.bed import Cluster
from tests.kernel.one_host.waiting import until

from fairlead.api.client import ApiError


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    found = Cluster(Path(tmp_path_factory.mktemp("addresses")), 2)
    try:
        yield found
    finally:
        found.close()


def _there(cluster: Cluster, network: str) -> bool:
    try:
        cluster.api("h1").get(f"/networks/{network}")
    except ApiError:
        return False
    return True


def test_a_container_and_then_its_network_are_removed_at_once(cluster: Cluster) -> None:
    for round_ in range(3):
        cluster.network("brief", "--subnet", "10.77.0.0/24")
        for host in cluster.hosts:
            cluster.start(host, f"on-{host}", "brief")
        cluster.meets("h1", "on-h1", "on-h2")
        for host in cluster.hosts:
            cluster.remove(host, f"on-{host}")
        cluster.cli("h1", "network", "rm", "brief")
        assert not _there(cluster, "brief"), f"round {round_}"


def test_a_network_in_use_on_another_host_stays(cluster: Cluster) -> None:
    cluster.network("used")
    cluster.start("h2", "user", "used")
    said = cluster.cli("h1", "network", "rm", "used", ok=False)
    assert "is in use by task" in said
    cluster.start("h2", "second", "used")  # the network goes on
    cluster.meets("h2", "user", "second")
    for name in ("user", "second"):
        cluster.remove("h2", name)
    cluster.cli("h1", "network", "rm", "used")


def test_an_address_in_another_hosts_reserve_is_had_by_asking_for_it(cluster: Cluster) -> None:
    cluster.network("asked", "--subnet", "10.78.0.0/24")
    cluster.start("h1", "first", "asked")
    cluster.start("h2", "second", "asked")
    reserve = cluster.address("h1", "first", "asked").rpartition(".")
    wanted = f"{reserve[0]}.{int(reserve[2]) + 1}"  # the next one, which lies in the reserve of h1
    cluster.start("h2", "pinned", "asked", IPAMConfig={"IPv4Address": wanted})
    assert cluster.address("h2", "pinned", "asked") == wanted
    cluster.meets("h1", "first", "pinned")
    taken = cluster.address("h1", "first", "asked")
    with pytest.raises(ApiError, match="Address already in use"):
        cluster.start("h2", "thief", "asked", IPAMConfig={"IPv4Address": taken})
    for host, name in (("h1", "first"), ("h2", "second"), ("h2", "pinned")):
        cluster.remove(host, name)
    cluster.cli("h1", "network", "rm", "asked")


def test_a_network_that_is_used_up_says_so_and_grows(cluster: Cluster) -> None:
    cluster.network("tight", "--subnet", "10.79.0.0/29")
    names = [f"t{number}" for number in range(5)]
    for name in names:
        cluster.start("h1", name, "tight")
    with pytest.raises(ApiError, match="no available addresses on this pool"):
        cluster.start("h1", "over", "tight")
    cluster.cli("h1", "network", "update", "--subnet", "10.79.1.0/29", "tight")
    until(lambda: _starts(cluster, "more", "tight"), "the network has grown")
    assert cluster.address("h1", "more", "tight").startswith("10.79.1.")
    cluster.meets("h1", "t0", "more")
    for name in (*names, "more"):
        cluster.remove("h1", name)
    cluster.cli("h1", "network", "rm", "tight")


def _starts(cluster: Cluster, name: str, network: str) -> bool:
    try:
        cluster.start("h1", name, network)
    except ApiError:
        return False
    return True
