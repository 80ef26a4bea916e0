"""Many containers on one overlay over five hosts: each is found and reached from everywhere."""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.kernel.cluster.bed import Cluster
from tests.kernel.one_host.waiting import until


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    found = Cluster(tmp_path, 5)
    try:
        yield found
    finally:
        found.close()


def test_each_of_many_is_reached_from_other_hosts(cluster: Cluster, request: pytest.FixtureRequest) -> None:
    crowd, hosts = int(request.config.getoption("--crowd")), sorted(cluster.hosts)
    cluster.network()
    places = {f"m{number}": hosts[number % len(hosts)] for number in range(crowd)}
    with ThreadPoolExecutor(max_workers=4) as pool:
        list(pool.map(lambda item: cluster.start(item[1], item[0]), places.items()))
    addresses = {name: cluster.address(host, name) for name, host in places.items()}
    assert len(set(addresses.values())) == crowd
    chance = random.Random(5)
    for name, host in places.items():
        asker = chance.choice([other for other, place in places.items() if place != host])
        cluster.meets(places[asker], asker, name)
        assert cluster.resolve(places[asker], asker, name) == [addresses[name]]
    for host in hosts:
        others = sum(place != host for place in places.values())
        until(lambda host=host, others=others: len(cluster.rows(host)) == 2 * others, f"{host} knows all others")  # type: ignore[misc]
