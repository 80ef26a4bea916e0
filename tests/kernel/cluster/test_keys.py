"""Shared keys go round under traffic, while a node misses some of them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.kernel.cluster.bed import Cluster
from tests.kernel.cluster.test_life import watched
from tests.kernel.one_host.waiting import until

#: Rotations in a row, and those (counted from 0) during which a node's daemon is away.
_ROTATIONS, _MISSED = 10, range(4, 7)
#: How often a node held another for dead.
_DEATHS = 'fairlead_gossip_events_total{event="deaths"}'


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    found = Cluster(tmp_path, 3)
    try:
        found.miss_sooner()
        found.network()
        for host in ("h1", "h2", "h3"):
            found.start(host, f"on-{host}")
        yield found
    finally:
        found.close()


def test_keys_go_round_ten_times_and_nothing_is_lost(cluster: Cluster) -> None:
    cluster.meets("h2", "on-h2", "on-h3")
    cluster.meets("h3", "on-h3", "on-h2")
    wrong: list[str] = []
    ended = threading.Event()

    def ask() -> None:
        while not ended.is_set():
            if cluster.resolve("h2", "on-h2", "on-h1") == []:
                wrong.append("on-h1 had no address on h2")

    asking = threading.Thread(target=ask)
    with watched(cluster, "h2", "on-h2", "on-h3", "h3") as pings:
        asking.start()
        try:
            for number in range(_ROTATIONS):
                if number == _MISSED.start:
                    cluster.kill_daemon("h3")
                    until(lambda: cluster.nodes()["h3"] == "down", "the manager misses h3")
                if number == _MISSED.stop:
                    cluster.start_daemon("h3")
                    until(lambda: cluster.nodes()["h3"] == "ready", "h3 is back")
                assert "All nodes use gossip key" in cluster.cli("h1", "swarm", "rotate-keys")
                cluster.start("h2", f"r{number}")
                cluster.meets("h1", "on-h1", f"r{number}")
                cluster.remove("h2", f"r{number}")
        finally:
            ended.set()
            asking.join()
    assert not pings.lost
    # h3 has died once. Who is so starved on a busy machine that h2 takes it for dead has no names for a moment, too, and that
    # has nothing to do with keys.
    if cluster.metrics("h2").get(_DEATHS, 0) <= 1:
        assert not wrong, wrong[:5]
    else:
        print(f"h2 held others for dead: {len(wrong)} times no address")
    cluster.start("h3", "healed")
    cluster.meets("h2", "on-h2", "healed")
