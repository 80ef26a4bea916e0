from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.ipam.prefixes import Prefix, address_text, check_sense, prefix, senseless
from fairlead.model.errors import Invalid


@given(st.ip_addresses(), st.data())
def test_agrees_with_the_standard_library(address, data):
    bits = 32 if address.version == 4 else 128
    network = ip_network((int(address), data.draw(st.integers(0, bits))), strict=False)
    if network.version != address.version:
        return
    parsed = prefix(str(network))
    assert str(parsed) == str(network)
    assert (parsed.size, parsed.base) == (network.num_addresses, int(network.network_address))
    assert parsed.end == int(network.broadcast_address) + 1


def test_overlapping_and_holding():
    wide, narrow, other = prefix("10.0.0.0/8"), prefix("10.1.0.0/16"), prefix("11.0.0.0/8")
    assert wide.overlaps(narrow)
    assert narrow.overlaps(wide)
    assert not wide.overlaps(other)
    assert wide.holds(narrow)
    assert not narrow.holds(wide)
    assert not prefix("::/0").overlaps(wide)


@pytest.mark.parametrize(
    "text", ["10.0.0.0", "10.0.0.0/33", "10.0.0.0/255.0.0.0", "x/8", "", "10.0.0.0/+8", "fd00::/129"]
)
def test_what_is_no_prefix_is_invalid(text):
    with pytest.raises(Invalid, match="invalid subnet"):
        prefix(text)


def test_host_bits_are_named_as_docker_does():
    with pytest.raises(Invalid, match=r"invalid subnet 10.0.0.1/8: it should be 10.0.0.0/8"):
        prefix("10.0.0.1/8")


def test_a_number_becomes_canonical_text():
    assert address_text(0x0A000001, v6=False) == "10.0.0.1"
    assert address_text(1, v6=True) == "::1"


@pytest.mark.parametrize(
    "text",
    ["127.0.0.0/8", "127.1.0.0/16", "0.0.0.0/8", "0.1.0.0/16", "224.0.0.0/4", "239.1.0.0/24", "240.0.0.0/8", "64.0.0.0/2",
     "255.255.255.0/24", "::1/128", "::ffff:10.0.0.0/104", "ff02::/64", "fe80:1::/64", "fe80::/10", "fe80::/96"],
)  # fmt: skip
def test_subnets_that_make_no_sense_are_refused_with_a_reason(text):
    assert senseless(prefix(text))
    with pytest.raises(Invalid, match="invalid subnet") as caught:
        check_sense(prefix(text))
    assert caught.value.hint


@pytest.mark.parametrize(
    "text", ["10.0.0.0/8", "8.8.8.0/24", "169.254.0.0/16", "fe80::/64", "2001:db8::/32", "fd00::/128", "192.168.0.0/31"]
)
def test_every_other_subnet_is_taken(text):
    check_sense(prefix(text))


def test_order_is_by_family_base_length():
    assert sorted([Prefix(True, 0, 0), Prefix(False, 5, 9), Prefix(False, 5, 8)]) == [
        (False, 5, 8),
        (False, 5, 9),
        (True, 0, 0),
    ]
