"""Several subnets in one network, tunnels over IPv6, networks that lead nowhere."""

from __future__ import annotations

import pytest
from tests.kernel.overlay.bed import Bed
from tests.kernel.overlay.conftest import MakeBed

from fairlead.model import options


@pytest.fixture(scope="module")
def bed(make_bed: MakeBed) -> Bed:
    """Two nodes whose tunnels begin at IPv6 addresses."""
    return make_bed(v6=True)


def test_segments_are_routed_and_a_network_grows_under_way(bed: Bed) -> None:
    one, two = bed.members
    network = bed.network("wide", "10.1.0.0/24", "10.1.1.0/24", "fd01::/64", "fd01:1::/64", vni=5000)
    ann = bed.connect(one, network, "ann", 10)
    bob = bed.connect(two, network, "bob", 11, segment=1)
    cat = bed.connect(one, network, "cat", 12, segment=1)
    for address in ("10.1.1.11", "10.1.1.12", "fd01:1::b", "fd01:1::c"):
        assert ann.reaches(address), address
    assert bob.reaches("10.1.0.10") and bob.reaches("fd01::a") and bob.reaches("10.1.1.12")
    network = bed.grow(network, "10.1.2.0/24", "fd01:2::/64", vni=5009)
    dan = bed.connect(two, network, "dan", 13, segment=2)
    assert ann.reaches("10.1.2.13") and cat.reaches("fd01:2::d") and dan.reaches("10.1.0.10")
    for member, name in ((one, "ann"), (two, "bob"), (one, "cat"), (two, "dan")):
        bed.disconnect(member, network, name)
    assert not one.overlays() and not two.overlays()


def test_over_ipv6_a_packet_is_70_bytes_smaller(bed: Bed) -> None:
    one, two = bed.members
    network = bed.network("six", "10.2.0.0/24", vni=5100)
    ann, _ = bed.connect(one, network, "ann", 10), bed.connect(two, network, "bob", 11)
    assert "mtu 1430" in ann.ns.ip("link", "show", "eth0")
    assert ann.ns.run("ping", "-n", "-c1", "-W30", "-M", "do", "-s", str(1430 - 28), "10.2.0.11").returncode == 0
    bed.disconnect(one, network, "ann")
    bed.disconnect(two, network, "bob")


def test_the_option_says_how_large_packets_are(bed: Bed) -> None:
    one, _ = bed.members
    network = bed.network("small", "10.3.0.0/24", vni=5200, **{options.MTU: "1300"})
    ann = bed.connect(one, network, "ann", 10)
    assert "mtu 1300" in ann.ns.ip("link", "show", "eth0")
    bed.disconnect(one, network, "ann")


def test_an_internal_network_leads_nowhere(bed: Bed) -> None:
    one, two = bed.members
    network = bed.network("vault", "10.4.0.0/24", vni=5300, internal=True)
    ann, bob = bed.connect(one, network, "ann", 10), bed.connect(two, network, "bob", 11)
    assert ann.reaches("10.4.0.11") and bob.reaches("10.4.0.10")
    assert "default" not in ann.ns.ip("route")
    bed.disconnect(one, network, "ann")
    bed.disconnect(two, network, "bob")


def test_two_networks_never_meet(bed: Bed) -> None:
    """The same address on both is two addresses."""
    one, two = bed.members
    red, green = bed.network("red", "10.5.0.0/24", vni=5400), bed.network("green", "10.5.0.0/24", vni=5401)
    ann = bed.connect(one, red, "ann", 10)
    bed.connect(two, green, "bob", 11)
    assert not ann.ns.pings("10.5.0.11", expect=False)
    bed.disconnect(one, red, "ann")
    bed.disconnect(two, green, "bob")
