"""Two hosts whose kernel has ESP, whole: managers, gossip, daemons that die; what the wire shows of an encrypted network. What
happens on the way between two nodes is tested in test_encrypted_path.py.

One network and one look at the wire for all of these tests: not one clear packet of it in all that time is what is claimed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from tests.kernel.cluster.bed import Cluster
from tests.kernel.one_host.namespace import Namespace
from tests.kernel.one_host.streams import Pings, pinging
from tests.kernel.one_host.waiting import until
from tests.kernel.overlay.underlay import Capture, capturing

VAULT = "vault"
ROTATIONS = 3


@dataclass
class Pair:
    """``anna`` on h1 and ``bob`` on h2 in the encrypted network; ``wire`` is h1's link, seen since before there was one."""

    cluster: Cluster
    wire: Capture
    hosts: dict[str, Namespace]
    vni: int

    def states(self, host: str) -> set[tuple[str, str]]:
        """(SPI, key) of all states of a host."""
        said = self.hosts[host].ip("xfrm", "state")
        return set(zip(re.findall(r"spi (0x\w+)", said), re.findall(r"aead \S+ (0x\w+)", said), strict=True))

    def pings(self) -> AbstractContextManager[Pings]:
        """Echo requests from anna to bob."""
        target = self.cluster.address("h2", "bob", VAULT)
        return pinging(self.cluster.inside("h1", "anna", "ping", target), 0.05)


def _vni(cluster: Cluster, network: str) -> int:
    found: Any = cluster.api("h1").get(f"/networks/{network}")
    return int(found["Options"]["com.docker.network.driver.overlay.vxlanid_list"])


def _link(ns: Namespace) -> str:
    """The link to the other hosts."""
    found = re.search(r"^\d+: (\S+) +inet 198\.18\.", ns.ip("-o", "-4", "address"), re.MULTILINE)
    assert found, ns.ip("-o", "-4", "address")
    return found[1]


@pytest.fixture(scope="module")
def pair(cluster: Cluster) -> Iterator[Pair]:
    with ExitStack() as stack:
        hosts = {}
        for name, host in cluster.hosts.items():
            hosts[name] = Namespace(os.open(host.place.file("net"), os.O_RDONLY | os.O_CLOEXEC))
            stack.callback(hosts[name].close)
        wire = stack.enter_context(capturing(hosts["h1"], _link(hosts["h1"])))
        cluster.network(VAULT, "--opt", "encrypted")
        stack.callback(cluster.cli, "h1", "network", "rm", VAULT)
        for host, name in (("h1", "anna"), ("h2", "bob")):
            cluster.start(host, name, VAULT)
            stack.callback(cluster.remove, host, name)
        yield Pair(cluster, wire, hosts, _vni(cluster, VAULT))


def test_containers_reach_each_other_by_esp(pair: Pair) -> None:
    pair.cluster.meets("h1", "anna", "bob")
    pair.cluster.meets("h2", "bob", "anna")
    assert pair.wire.encrypted > 0
    said = pair.hosts["h1"].run("ip", "-d", "xfrm", "state").stdout
    assert "esn" in said and "replay_window 1024" in said and "mode transport" in said
    assert re.findall(r"rfc4106\(gcm\(aes\)\) 0x\w{40} (\d+)", said) == ["128", "128"]


def test_sec_05_every_direction_has_a_key_of_its_own(pair: Pair) -> None:
    both = pair.states("h1") | pair.states("h2")
    assert len(both) == len({key for _, key in both}) == 2


def _nothing_lost(pings: Pings) -> None:
    assert pings.lost == [], f"{len(pings.lost)} of {pings.sent} were lost"


def test_keys_go_round_and_nothing_is_lost(pair: Pair) -> None:
    api: Any = pair.cluster.api("h1")
    known = pair.states("h1")
    with pair.pings() as pings:
        for _ in range(ROTATIONS):
            api.post("/fairlead/swarm/keys")
            until(lambda: not api.get("/fairlead/swarm/keys")["Rotating"], "all nodes use the new keys")
            fresh = pair.states("h1")
            assert len({key for _, key in fresh} - {key for _, key in known}) == 2
            known |= fresh
        until(lambda: len(pair.states("h1")) == len(pair.states("h2")) == 2, "former keys open no more")
    _nothing_lost(pings)


def test_sec_03_a_daemon_that_is_killed_and_comes_again_disturbs_nothing(pair: Pair) -> None:
    before = pair.states("h2")
    with pair.pings() as pings:
        pair.cluster.kill_daemon("h2")
        pair.cluster.start_daemon("h2")
        until(lambda: pair.cluster.nodes()["h2"] == "ready", "h2 is back")
        pair.cluster.meets("h2", "bob", "anna")
    _nothing_lost(pings)
    assert pair.states("h2") == before


def test_sec_04_what_a_stranger_takes_away_is_made_anew_with_other_keys(pair: Pair) -> None:
    before = {key for _, key in pair.states("h2")}
    pair.hosts["h2"].ip("xfrm", "state", "flush")
    until(lambda: len(pair.states("h2")) == 2, "there are states again")
    assert not {key for _, key in pair.states("h2")} & before
    pair.cluster.meets("h1", "anna", "bob")
    pair.hosts["h1"].ip("xfrm", "policy", "flush")
    pair.cluster.meets("h1", "anna", "bob")


def test_sec_01_not_one_clear_packet_was_seen_in_all_that_time(pair: Pair) -> None:
    assert pair.wire.encrypted > 2 * ROTATIONS
    assert pair.wire.clear[pair.vni] == 0
    assert pair.wire.missed == 0
