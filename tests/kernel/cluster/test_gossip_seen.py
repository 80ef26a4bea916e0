"""Three hosts in one cluster: what gossip shows of itself, and what goes on when daemons are away."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.kernel.cluster.bed import SEA, Cluster
from tests.kernel.one_host.waiting import until

#: How many others a node believes to be in a state.
_PEERS = 'fairlead_gossip_peers{state="%s"}'


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = Cluster(tmp_path_factory.mktemp("seen"), 3)
    try:
        made.network()
        for host in made.hosts:
            made.start(host, f"on-{host}")
        made.meets("h1", "on-h1", "on-h3")
        yield made
    finally:
        made.close()


def peers(cluster: Cluster, host: str) -> dict[str, str]:
    """State by address, as a host sees the others."""
    lines = cluster.cli(host, "gossip", "peers", "--format", "{{.Address}} {{.State}}").splitlines()
    return dict(line.split() for line in lines)


def status(cluster: Cluster, host: str) -> dict[str, Any]:
    return dict(json.loads(cluster.cli(host, "gossip", "status", "--format", "json")))


def address_of(cluster: Cluster, host: str) -> str:
    return str(status(cluster, host)["Address"])


def test_all_hosts_hold_the_same_and_nothing_waits(cluster: Cluster) -> None:
    def agreed() -> bool:
        found = [status(cluster, host) for host in cluster.hosts]
        digests = {(one["Cluster"]["Digest"], one["Networks"][0]["Digest"]) for one in found}
        alive = all(list(peers(cluster, host).values()) == ["alive", "alive"] for host in cluster.hosts)
        return alive and len(digests) == 1 and all(not one["LagSeconds"] and one["Joined"] for one in found)

    until(agreed, "all are alive, one digest of the cluster and one of the network")
    for host in cluster.hosts:
        shown = status(cluster, host)
        assert [network["Name"] for network in shown["Networks"]] == [SEA]
        assert shown["DataPath"]["MTU"] == 1500
        assert not shown["RecordsRefused"]
        assert not shown["Forgers"]
        until(lambda host=host: cluster.metrics(host).get(_PEERS % "alive") == 2, "the living are counted")  # type: ignore[misc]


def test_a_table_shows_endpoints_and_names_of_all_hosts(cluster: Cluster) -> None:
    def table() -> list[dict[str, Any]]:
        lines = cluster.cli("h2", "gossip", "table", SEA, "--format", "json").splitlines()
        return [json.loads(line) for line in lines]

    until(lambda: len(table()) == 6, "endpoints and names of all three")
    rows = table()
    assert sorted(row["Table"] for row in rows) == ["names"] * 3 + ["peers"] * 3
    assert {"on-h1", "on-h2", "on-h3"} <= {name for row in rows for name in _names(row["Value"])}
    assert len({row["NodeID"] for row in rows}) == 3
    assert "this node takes no part in network bridge" in cluster.cli("h2", "gossip", "table", "bridge", ok=False)


def _names(value: str) -> list[str]:
    found = [part.removeprefix("names=") for part in value.split() if part.startswith("names=")]
    return found[0].split(",") if found else []


def test_moby_53141_a_daemon_that_is_away_takes_its_names_along_and_breaks_no_traffic(cluster: Cluster) -> None:
    away, gossip_address = cluster.address("h3", "on-h3"), address_of(cluster, "h3")
    cluster.kill_daemon("h3")
    try:
        until(lambda: peers(cluster, "h2")[gossip_address] == "dead", "h2 knows that h3 is away")
        until(lambda: not cluster.resolve("h2", "on-h2", "on-h3"), "its names are gone")
        cluster.answers("h2", "on-h2", away, "on-h3")  # its container answers all the same
        until(lambda: cluster.metrics("h2").get(_PEERS % "dead") == 1, "it is counted")
        cluster.meets("h2", "on-h2", "on-h1")  # nobody else is touched
    finally:
        cluster.start_daemon("h3")
    until(lambda: peers(cluster, "h2")[gossip_address] == "alive", "h2 knows that h3 is back")
    cluster.meets("h2", "on-h2", "on-h3")
    cluster.answers("h2", "on-h2", away, "on-h3")


def test_without_managers_workers_restart_and_run_more_containers_than_their_reserve(cluster: Cluster) -> None:
    cluster.kill_daemon("h1")
    try:
        cluster.kill_daemon("h2")
        cluster.start_daemon("h2")
        cluster.meets("h3", "on-h3", "on-h2")
        for number in range(8):
            name = f"late{number}"
            cluster.start("h2", name)
            cluster.meets("h3", "on-h3", name)
            cluster.remove("h2", name)
    finally:
        cluster.start_daemon("h1")
    cluster.meets("h1", "on-h1", "on-h2")


def test_a_host_in_no_cluster_says_so(cluster: Cluster) -> None:
    until(lambda: cluster.nodes()["h3"] == "ready", "h3 is there")
    cluster.remove("h3", "on-h3")
    cluster.cli("h3", "swarm", "leave")
    assert "This node is not part of a swarm" in cluster.cli("h3", "gossip", "status", ok=False)
    assert not [name for name in cluster.metrics("h3") if "gossip" in name]
    until(lambda: len(status(cluster, "h2")["PeersByState"]) <= 2, "h2 has heard its farewell")
    until(lambda: "alive" in peers(cluster, "h2").values(), "h1 is there")
    until(lambda: not cluster.resolve("h2", "on-h2", "on-h3"), "its names are gone")
