"""What the overlay driver refuses, and how it pairs subnets and counts bytes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fairlead.drivers.contract import Node
from fairlead.drivers.overlay import config
from fairlead.drivers.overlay.overlay import OverlayDriver
from fairlead.model import options
from fairlead.model.cluster import Peer
from fairlead.model.endpoint import Endpoint
from fairlead.model.errors import Invalid
from fairlead.model.network import Network, Pool
from fairlead.plan.objects import NOTHING, Chain, Fdb, Neighbour, Vxlan

DRIVER = OverlayDriver()
NODE = Node(vtep="192.0.2.1")
FOUR = (Pool("a", "10.1.0.0/24", gateway="10.1.0.1"), Pool("b", "10.1.1.0/24", gateway="10.1.1.1"))
SIX = (Pool("c", "fd01::/64", gateway="fd01::1"), Pool("d", "fd01:1::/64", gateway="fd01:1::1"))
NETWORK = Network("ab" * 32, "web", "overlay", 0.0, pools=FOUR, options={options.VXLAN_IDS: "4097,4098"})
DUAL = replace(NETWORK, ipv6=True, pools=(*FOUR, *SIX))
PEER = Peer(NETWORK.id, "e", "10.1.0.9/24", "", "02:00:00:00:00:09", "192.0.2.2", 1)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({options.VXLAN_IDS: "x"}, "invalid vxlan id value 'x' passed"),
        ({options.VXLAN_IDS: "4097,0"}, "invalid vxlan id value '0' passed"),
        ({options.VXLAN_IDS: "4097,16777216"}, "invalid vxlan id value"),
        ({options.VXLAN_IDS: "4097,٣"}, "invalid vxlan id value"),
        ({options.VXLAN_IDS: "4097,4097"}, "given twice"),
        ({options.VXLAN_IDS: "4097"}, "needs as many VXLAN numbers, and not 1"),
        ({options.VXLAN_IDS: "4097,4098", options.MTU: "67"}, "mtu"),
        ({options.VXLAN_IDS: "4097,4098", options.ANTI_SPOOF: "maybe"}, "anti_spoof"),
    ],
)
def test_options_that_make_no_sense_are_refused(given: dict[str, str], text: str) -> None:
    with pytest.raises(Invalid, match=text):
        DRIVER.check(replace(NETWORK, options=given))


def paired(network: Network) -> list[tuple[str, str]]:
    """The subnets of each segment."""
    found = config.segments(network)
    return [(one.ipv4.prefix if one.ipv4 else "", one.ipv6.prefix if one.ipv6 else "") for one in found]


def test_subnets_are_paired_in_their_order() -> None:
    assert [one.vni for one in config.segments(DUAL)] == [4097, 4098]
    assert paired(DUAL) == [("10.1.0.0/24", "fd01::/64"), ("10.1.1.0/24", "fd01:1::/64")]
    assert paired(replace(DUAL, pools=(*FOUR, SIX[0]))) == [("10.1.0.0/24", "fd01::/64"), ("10.1.1.0/24", "")]
    assert paired(replace(DUAL, ipv6=False)) == [("10.1.0.0/24", ""), ("10.1.1.0/24", "")]


@pytest.mark.parametrize(
    ("node", "asked", "mtu"),
    [
        (NODE, "", 1450),
        (replace(NODE, vtep="fd00::1"), "", 1430),
        (replace(NODE, vtep_mtu=9000), "", 8950),
        (replace(NODE, vtep_mtu=1280), "1400", 1400),
    ],
)
def test_a_tunnel_takes_its_bytes(node: Node, asked: str, mtu: int) -> None:
    network = replace(NETWORK, options={**NETWORK.options, options.MTU: asked})
    tunnels = [item for item in DRIVER.network_plan(network, node).values() if isinstance(item, Vxlan)]
    assert [item.mtu for item in tunnels] == [mtu, mtu]


def test_link_names_are_those_of_the_specification() -> None:
    (first, _) = config.segments(NETWORK)
    assert (config.namespace(NETWORK), first.bridge, first.tunnel) == (
        "ov-abababababab",
        "ov-001001-ababa",
        "vx-001001-ababa",
    )


def test_gateways_have_the_same_mac_on_every_node_and_another_in_every_segment() -> None:
    one = DRIVER.network_plan(NETWORK, NODE)
    other = DRIVER.network_plan(NETWORK, replace(NODE, vtep="192.0.2.9", vtep_mtu=9000))
    macs = [[item.mac for item in plan.values() if hasattr(item, "mac")] for plan in (one, other)]
    assert macs[0] == macs[1] and len(set(macs[0])) == 2


@pytest.mark.parametrize(
    ("vtep", "mac", "address"),
    [
        ("192.0.2.1", PEER.mac, "10.1.0.9"),
        ("fd00::2", PEER.mac, "10.1.0.9"),
        ("0.0.0.0", PEER.mac, "10.1.0.9"),
        ("192.0.2.2", PEER.mac, "10.1.0.1"),
        ("192.0.2.2", PEER.mac, "10.9.0.9"),
        ("192.0.2.2", "gateway", "10.1.0.9"),
    ],
)
def test_a_peer_that_cannot_be_is_nothing(vtep: str, mac: str, address: str) -> None:
    if mac == "gateway":
        bridge = DRIVER.network_plan(NETWORK, NODE)["link", "ov-abababababab", "ov-001001-ababa"]
        mac = getattr(bridge, "mac", "")
    assert DRIVER.peer_plan(NETWORK, replace(PEER, vtep=vtep, mac=mac), address, NODE) == NOTHING


def test_a_peer_is_two_entries_in_the_tunnel_of_its_segment() -> None:
    (way, neighbour) = DRIVER.peer_plan(NETWORK, replace(PEER, ipv4="10.1.1.9/24"), "10.1.1.9", NODE).values()
    assert way == Fdb("ov-abababababab", "vx-001002-ababa", PEER.mac, "192.0.2.2")
    assert neighbour == Neighbour("ov-abababababab", "vx-001002-ababa", "10.1.1.9", PEER.mac)


def test_pinning_is_on_unless_it_is_switched_off_sec_28() -> None:
    loose = replace(NETWORK, options={**NETWORK.options, options.ANTI_SPOOF: "false"})
    plans = [DRIVER.network_plan(one, NODE).values() for one in (NETWORK, loose)]
    chains = [[item for item in plan if isinstance(item, Chain) and item.family == "bridge"] for plan in plans]
    assert chains[0] and not chains[1]


def test_addresses_of_two_segments_are_no_endpoint() -> None:
    endpoint = Endpoint("cd" * 32, "a", NETWORK.id, "s", "c", "02:00:00:00:00:01", "10.1.0.2/24", "fd01:1::2/64")
    assert DRIVER.endpoint_plan(endpoint, DUAL, "s", NODE) == NOTHING
