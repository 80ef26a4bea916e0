"""Boxes on several nodes reach each other through an overlay, and nobody else does."""

from __future__ import annotations

import contextlib
import json

import pytest
from tests.kernel.overlay.bed import Bed, Box, Member, Refusal

from fairlead.model.cluster import Peer
from fairlead.model.commands import ConnectNetwork, CreateNetwork, RemoveNetwork
from fairlead.model.events import PeersSeen
from fairlead.model.network import Network

#: Bytes of IPv4 and ICMP headers.
HEADERS = 28


@pytest.fixture(scope="module")
def network(bed: Bed) -> Network:
    """One segment, both families."""
    return bed.network("blue", "10.0.1.0/24", "fd00:1::/64")


@pytest.fixture(scope="module")
def boxes(bed: Bed, network: Network) -> tuple[Box, Box]:
    """One box on each node."""
    one, two = bed.members
    return bed.connect(one, network, "ann", 10, aliases=("nan",)), bed.connect(two, network, "bob", 11)


def test_boxes_on_two_nodes_reach_each_other_by_address(boxes: tuple[Box, Box]) -> None:
    ann, bob = boxes
    assert ann.reaches("10.0.1.11") and bob.reaches("10.0.1.10")
    assert ann.reaches("fd00:1::b") and bob.reaches("fd00:1::a")


def test_and_by_name(boxes: tuple[Box, Box]) -> None:
    ann, bob = boxes
    assert ann.resolve("bob") == ["10.0.1.11"] and bob.resolve("ann") == ["10.0.1.10"]
    assert bob.resolve("nan") == bob.resolve("ann.blue") == ["10.0.1.10"]
    assert ann.resolve("bob", "AAAA") == ["fd00:1::b"]
    assert ann.resolve("10.0.1.11", "PTR") == ["bob.blue."]


@pytest.mark.parametrize("address", ["10.0.1.11", "fd00:1::b"])
def test_packets_as_large_as_the_interface_pass_unbroken(boxes: tuple[Box, Box], address: str) -> None:
    ann, _ = boxes
    more = 20 if ":" in address else 0
    whole = ["ping", "-n", "-c1", "-W30", "-M", "do", "-s", str(1450 - HEADERS - more), address]
    assert ann.ns.run(*whole, check=False).returncode == 0
    assert "1450" in ann.ns.ip("link", "show", "eth0")


def test_spoofed_frames_leave_no_port_sec_28(bed: Bed, network: Network, boxes: tuple[Box, Box]) -> None:
    ann, bob = boxes
    ann.ns.ip("address", "add", "10.0.1.99/24", "dev", "eth0")
    try:
        spoof = ann.ns.run("ping", "-n", "-c1", "-W1", "-I", "10.0.1.99", "10.0.1.11", check=False)
        assert spoof.returncode != 0
    finally:
        ann.ns.ip("address", "del", "10.0.1.99/24", "dev", "eth0")
    mac = bed.endpoint(bed.members[0], "ann", network).mac
    ann.ns.ip("link", "set", "eth0", "address", "02:11:22:33:44:55")
    try:
        assert not ann.ns.pings("10.0.1.1", expect=False)
    finally:
        ann.ns.ip("link", "set", "eth0", "address", mac)
    assert ann.reaches("10.0.1.11") and bob.reaches("10.0.1.10")


def test_what_nobody_told_of_is_dropped_and_not_flooded(bed: Bed, boxes: tuple[Box, Box]) -> None:
    """Neither the question who has it nor a frame for a MAC that somebody made up reaches the other node."""
    ann, _ = boxes
    before = _received(bed.members[1])
    assert not ann.ns.pings("10.0.1.77", expect=False)
    ann.ns.ip("neighbour", "replace", "10.0.1.77", "lladdr", "02:00:00:00:00:77", "dev", "eth0")
    assert not ann.ns.pings("10.0.1.77", expect=False)
    ann.ns.ip("neighbour", "del", "10.0.1.77", "dev", "eth0")
    assert _received(bed.members[1]) == before
    assert ann.reaches("10.0.1.11")
    assert _received(bed.members[1]) > before


def test_router_advertisements_change_nobody_sec_08(bed: Bed, boxes: tuple[Box, Box]) -> None:
    """No router is believed, on no link that was made."""
    ann, _ = boxes
    for member in bed.members:
        with contextlib.closing(member.overlay_ns()) as ns:
            links = [row["ifname"] for row in json.loads(ns.ip("-j", "link")) if row["ifname"] != "lo"]
            assert len(links) == 3  # bridge, tunnel, port
            assert {ns.read(f"net/ipv6/conf/{link}/accept_ra") for link in links} == {"0"}
    assert ann.ns.read("net/ipv6/conf/eth0/accept_ra") == "0"


def test_a_record_that_makes_no_sense_changes_nothing(bed: Bed, network: Network, boxes: tuple[Box, Box]) -> None:
    """The gateway, an address outside, this very node, no address at all: whatever a node says of others."""
    ann, _ = boxes
    one = bed.members[0]
    before = set(one.ask("standing"))
    for number, (ipv4, vtep, mac) in enumerate(
        [
            ("10.0.1.1/24", "198.18.0.2", "02:00:00:00:00:01"),
            ("10.9.9.9/24", "198.18.0.2", "02:00:00:00:00:02"),
            ("10.0.1.40/24", "198.18.0.1", "02:00:00:00:00:03"),
            ("10.0.1.41/24", "fd98:18::2", "02:00:00:00:00:04"),
            ("10.0.1.42/24", "nonsense", "02:00:00:00:00:05"),
            ("10.0.1.43/24", "198.18.0.2", "ff:ff:ff:ff:ff:ff"),
            ("10.0.1.10/24", "198.18.0.2", "02:00:00:00:00:06"),
        ]
    ):
        identifier = f"{number:064x}"
        peer = Peer(network.id, identifier, ipv4, "", mac, vtep, 0)
        one.ask("feed", PeersSeen(network.id, ((identifier, peer),)))
    assert set(one.ask("standing")) == before
    assert ann.reaches("10.0.1.11")


def test_networks_of_the_cluster_are_for_managers_to_make(bed: Bed, network: Network) -> None:
    one = bed.members[0]
    for command in (CreateNetwork("red", "overlay"), CreateNetwork("red", scope="swarm"), RemoveNetwork(network.id)):
        with pytest.raises(Refusal, match="This node is not a swarm manager") as caught:
            one.ask("submit", command)
        assert caught.value.kind == "Unavailable"


def test_without_an_address_in_reserve_and_a_manager_it_says_so(bed: Bed, network: Network) -> None:
    one = bed.members[0]
    box = one.box("late")
    with pytest.raises(Refusal, match="not part of a swarm"):
        one.ask("submit", ConnectNetwork(network.id, box.target))
    assert not [link for link in box.ns.ip("-o", "link").splitlines() if "eth0" in link]


def _received(member: Member) -> int:
    """Packets that came through a node's only tunnel."""
    with contextlib.closing(member.overlay_ns()) as ns:
        (row,) = json.loads(ns.ip("-j", "-s", "link", "show", "type", "vxlan"))
        return int(row["stats64"]["rx"]["packets"])
