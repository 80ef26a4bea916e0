"""Shared keys go round under traffic, while a node misses some of them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.kernel.cluster.bed import Cluster
from tests.kernel.cluster.test_life import lost, watched
from tests.kernel.one_host.waiting import until

#: Rotations in a row, and those (counted from 0) during which a node's daemon is away.
_ROTATIONS, _MISSED = 10, range(4, 7)
#: Seconds for one: a node that is away is waited for until three heartbeats are missed (15 s).
_ROTATION_S = 60.0


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    found = Cluster(tmp_path, 3)
    try:
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
    with watched(cluster, "h2", "on-h2", cluster.address("h3", "on-h3")) as said:
        asking.start()
        try:
            for number in range(_ROTATIONS):
                if number == _MISSED.start:
                    cluster.kill_daemon("h3")
                    until(lambda: cluster.nodes()["h3"] == "down", "the manager misses h3", _ROTATION_S)
                if number == _MISSED.stop:
                    cluster.start_daemon("h3")
                    until(lambda: cluster.nodes()["h3"] == "ready", "h3 is back", _ROTATION_S)
                assert "All nodes use gossip key" in cluster.cli("h1", "swarm", "rotate-keys")
                cluster.start("h2", f"r{number}")
                cluster.meets("h1", "on-h1", f"r{number}")
                cluster.remove("h2", f"r{number}")
        finally:
            ended.set()
            asking.join()
    assert lost(said) == 0, said
    assert not wrong, wrong[:5]
    cluster.start("h3", "healed")
    cluster.meets("h2", "on-h2", "healed")
