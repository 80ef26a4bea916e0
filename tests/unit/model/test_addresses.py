from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.model.addresses import bare, is_v6, parse_address, parse_mac, parse_subnet, prefix_length
from fairlead.model.errors import Invalid


@given(st.ip_addresses())
def test_every_address_is_read_back(address):
    assert parse_address(str(address)) == address
    assert is_v6(str(address)) == (address.version == 6)


@given(st.ip_addresses(), st.integers(0, 128))
def test_every_prefix_is_read_back(address, length):
    network = ip_network(f"{address}/{min(length, address.max_prefixlen)}", strict=False)
    text = str(network)
    assert parse_subnet(text) == network
    assert (bare(text), prefix_length(text)) == (str(network.network_address), network.prefixlen)


def test_spelling_becomes_canonical():
    assert str(parse_address("FD00:0::1")) == "fd00::1"
    assert str(parse_subnet("FD00:0::/64")) == "fd00::/64"


@pytest.mark.parametrize("text", ["", "10.0.0", "10.0.0.256", "010.0.0.1", "10.0.0.1/24", "fd00::g", "web"])
def test_what_is_no_address_names_what_it_should_be(text):
    with pytest.raises(Invalid, match="invalid gateway") as caught:
        parse_address(text, "gateway")
    assert repr(text) in str(caught.value)
    assert caught.value.hint


def test_a_zone_is_not_allowed():
    with pytest.raises(Invalid, match="a zone is not allowed"):
        parse_address("fe80::1%eth0")


@pytest.mark.parametrize("text", ["", "10.0.0.0/33", "10.0.0/24", "fd00::/129", "10.0.0.0/", "10.0.0.0/-1", "a/b"])
def test_what_is_no_prefix_is_invalid(text):
    with pytest.raises(Invalid, match="invalid ip-range") as caught:
        parse_subnet(text, "ip-range")
    assert caught.value.hint


def test_a_prefix_without_length_says_so():
    with pytest.raises(Invalid, match="the prefix length is missing") as caught:
        parse_subnet("10.0.0.0")
    assert "10.0.0.0/24" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "should"), [("10.0.0.1/8", "10.0.0.0/8"), ("fd00::1/64", "fd00::/64"), ("10.0.0.1/0", "0.0.0.0/0")]
)
def test_host_bits_are_named_as_docker_does(text, should):
    with pytest.raises(Invalid) as caught:
        parse_subnet(text)
    assert str(caught.value) == f"invalid subnet {text}: it should be {should}"


@pytest.mark.parametrize("text", ["02:42:ac:11:00:02", "02:42:AC:11:00:02", "02-42-ac-11-00-02"])
def test_a_mac_becomes_lower_case_with_colons(text):
    assert parse_mac(text) == "02:42:ac:11:00:02"


@pytest.mark.parametrize(
    "text",
    ["", "02:42:ac:11:00", "02:42:ac:11:00:0g", "01:00:5e:00:00:01", "ff:ff:ff:ff:ff:ff", "0242.ac11.0002", "02:42:ac:11:00:02\n"],
)  # fmt: skip
def test_what_is_no_unicast_mac_is_invalid(text):
    with pytest.raises(Invalid, match="invalid MAC address"):
        parse_mac(text)


def test_parts_of_an_address_with_length():
    assert (bare("10.0.0.2/24"), prefix_length("10.0.0.2/24")) == ("10.0.0.2", 24)
    assert bare("10.0.0.2") == "10.0.0.2"
    assert is_v6("fd00::/64")
    assert not is_v6(str(ip_address(1)))
