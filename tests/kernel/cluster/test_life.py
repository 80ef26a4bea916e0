"""A cluster's life: managers away, a worker cut off, a worker killed. What runs goes on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from tests.kernel.cluster.bed import SEA, Cluster
from tests.kernel.one_host.streams import Pings, pinging
from tests.kernel.one_host.waiting import until

#: Seconds between two echo requests of a watched pair; each that is not answered is counted.
_EVERY_S = 0.05


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    found = Cluster(tmp_path_factory.mktemp("life"), 4)
    try:
        found.network()
        for host in ("h2", "h3", "h4"):
            found.start(host, f"on-{host}")
        for asker in ("h2", "h3"):
            for target in ("on-h2", "on-h3", "on-h4"):
                found.meets(asker, f"on-{asker}", target)
        yield found
    finally:
        found.close()


def watched(cluster: Cluster, host: str, name: str, target: str, on: str) -> AbstractContextManager[Pings]:
    """Echo requests from a container to another one, on host ``on``, meanwhile."""
    return pinging(cluster.inside(host, name, "ping", cluster.address(on, target)), _EVERY_S)


def test_five_commands_lead_to_a_name_on_another_host(tmp_path: Path) -> None:
    """``lab up``, ``network create``, ``run`` twice: from nothing to an answer by name across hosts."""
    cluster = Cluster(tmp_path, 2)
    try:
        cluster.cli("h1", "network", "create", "-d", "overlay", "--attachable", SEA)
        serve = ["/usr/bin/python3", "-m", "http.server", "80", "--directory", "/usr/share/common-licenses"]
        cluster.cli("h1", "run", "-d", "--name", "web", "--network", SEA, "host", *serve)
        fetch = ["curl", "-sS", "--retry", "5", "--retry-connrefused", "--retry-delay", "1", "http://web/"]
        assert "GPL" in cluster.cli("h2", "run", "--rm", "--network", SEA, "host", *fetch)
    finally:
        cluster.close()


@pytest.mark.timeout(1200)  # seconds; as long as managers are away
def test_life_goes_on_without_managers(cluster: Cluster, request: pytest.FixtureRequest) -> None:
    """All managers are dead: traffic, names, new containers on known networks, and word of new names go on; nothing is
    started anew when they return."""
    away_s = float(request.config.getoption("--away"))
    before = {host: cluster.inspect(host, f"on-{host}")["State"] for host in ("h2", "h3", "h4")}
    with watched(cluster, "h2", "on-h2", "on-h3", "h3") as pings:
        cluster.kill_daemon("h1")
        end = time.monotonic() + away_s
        number = 0
        while time.monotonic() < end or number < 2:
            name = f"late{number}"
            cluster.start("h3", name)
            cluster.meets("h2", "on-h2", name)
            cluster.remove("h3", name)
            until(lambda name=name: not cluster.resolve("h2", "on-h2", name), f"{name} is forgotten")  # type: ignore[misc]
            number += 1
        print(f"{number} containers came and went in {away_s:.0f} s without a manager")
        cluster.start_daemon("h1")
        until(lambda: set(cluster.nodes().values()) == {"ready"}, "all nodes are ready again")
    assert not pings.lost
    assert {host: cluster.inspect(host, f"on-{host}")["State"] for host in before} == before
    cluster.start("h1", "on-h1")
    cluster.meets("h2", "on-h2", "on-h1")
    cluster.remove("h1", "on-h1")


@pytest.mark.timeout(1200)
def test_a_worker_that_was_cut_off_has_lost_nothing(cluster: Cluster, request: pytest.FixtureRequest) -> None:
    """Names of a node that blinks are hidden and back at once; streams of others do not notice (moby 53141)."""
    away_s = float(request.config.getoption("--away"))
    with watched(cluster, "h2", "on-h2", "on-h3", "h3") as pings:
        cluster.plug("h4", into=False)
        until(lambda: not cluster.resolve("h2", "on-h2", "on-h4"), "the name leaves the answers")
        time.sleep(away_s)
        cluster.meets("h4", "on-h4", "on-h4")
        cluster.plug("h4", into=True)
        cluster.meets("h2", "on-h2", "on-h4")
        cluster.meets("h4", "on-h4", "on-h2")
        cluster.meets("h4", "on-h4", "on-h3")
    assert not pings.lost


def test_a_daemon_that_is_replaced_costs_no_packet(cluster: Cluster) -> None:
    """``kill -9`` of a worker's daemon and a new one, under traffic through its overlay."""
    with watched(cluster, "h2", "on-h2", "on-h3", "h3") as pings:
        cluster.kill_daemon("h3")
        cluster.start_daemon("h3")
        cluster.meets("h2", "on-h2", "on-h3")
        until(lambda: set(cluster.nodes().values()) == {"ready"}, "all nodes are ready again")
        cluster.start("h3", "after")
        cluster.meets("h2", "on-h2", "after")
        cluster.remove("h3", "after")
    assert not pings.lost


def test_names_of_a_worker_that_died_leave_the_answers(cluster: Cluster) -> None:
    """A host dies whole: its names go, its records are back with it."""
    cluster.plug("h4", into=False)
    cluster.kill_daemon("h4")
    start = time.monotonic()
    for host in ("h2", "h3"):
        until(lambda host=host: not cluster.resolve(host, f"on-{host}", "on-h4"), f"{host} knows")  # type: ignore[misc]
    print(f"names of a dead host gone from the answers after {time.monotonic() - start:.2f} s")
    cluster.plug("h4", into=True)
    cluster.start_daemon("h4")
    cluster.meets("h2", "on-h2", "on-h4")
