"""Addresses that are used again and again on other hosts: no entry and no packet ever leads to the wrong one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.kernel.cluster.bed import Cluster
from tests.kernel.one_host.waiting import until

#: A network so small that each round uses the addresses of the round before: 13 for containers.
_SMALL = ("--subnet", "10.99.0.0/28", "--gateway", "10.99.0.1")
_NET = "pond"
#: Containers of one round: 3 hosts times this.
_EACH = 3


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    found = Cluster(tmp_path, 3)
    try:
        yield found
    finally:
        found.close()


def places(cluster: Cluster) -> dict[str, tuple[str, str, str]]:
    """MAC, and address, of each container that runs -> (its id, its host's address, its MAC)."""
    found: dict[str, tuple[str, str, str]] = {}
    for name, host in cluster.hosts.items():
        listed: Any = cluster.api(name).get("/containers/json")
        for container in listed:
            place = container["NetworkSettings"]["Networks"].get(_NET, {})
            mac, address = place.get("MacAddress"), place.get("IPAddress")
            if mac and address:
                found[mac] = found[address] = (container["Id"], host.address_v4, mac)
    return found


def test_no_address_leads_to_the_wrong_container(cluster: Cluster, request: pytest.FixtureRequest) -> None:
    cluster.network(_NET, *_SMALL)
    wrong: list[str] = []
    ended = threading.Event()
    for host in cluster.hosts:
        cluster.start(host, f"watch-{host}", _NET)

    def watch(host: str) -> None:
        """Whoever answers at a name must have that name."""
        while not ended.is_set():
            for number in range(_EACH):
                for other in cluster.hosts:
                    target = f"c{number}-{other}"
                    said = cluster.who(host, f"watch-{host}", target)
                    if said not in ("", target):
                        wrong.append(f"{host}: {said} answered for {target}")

    def live(host: str, number: int, round_number: int) -> None:
        name = f"c{number}-{host}"
        cluster.start(host, name, _NET)
        cluster.meets(f"h{(round_number + number) % 3 + 1}", f"watch-h{(round_number + number) % 3 + 1}", name)
        cluster.remove(host, name)

    def compare() -> None:
        """Every second: an entry for somebody who lived before and after we looked leads to his host, or is not there
        yet; none leads elsewhere."""
        while not ended.wait(1.0):
            before = places(cluster)
            rows = {host: cluster.rows(host) for host in cluster.hosts}
            after = places(cluster)
            for host, found in rows.items():
                for _, what, target in found:
                    where = before.get(what)
                    if where is not None and where == after.get(what) and target not in (where[1], where[2]):
                        wrong.append(f"{host}: {what} leads to {target}, but {where[0]} is at {where[1]}")

    storms = int(request.config.getoption("--storms"))
    with ThreadPoolExecutor(max_workers=len(cluster.hosts) + 1) as watchers:
        watching = [watchers.submit(watch, host) for host in cluster.hosts]
        watching.append(watchers.submit(compare))
        try:
            for storm in range(storms):
                with ThreadPoolExecutor(max_workers=6) as pool:
                    jobs = [pool.submit(live, host, number, storm) for number in range(_EACH) for host in cluster.hosts]
                    for job in jobs:
                        job.result()
        finally:
            ended.set()
        for one in watching:
            one.result()
    assert not wrong, wrong[:10]
    # what is left in Linux is what the three watchers need: two peers on each host
    until(lambda: all(len(cluster.rows(host)) == 4 for host in cluster.hosts), "only entries of the living are left")
