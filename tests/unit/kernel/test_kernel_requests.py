"""Requests are what pyroute2 encodes, whatever the values."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.kernel import messages as m
from fairlead.kernel import requests
from fairlead.plan.objects import Address, Bridge, Route, Veth

INDEX = st.integers(1, 2**31 - 1)
NAME = st.from_regex(r"[a-z][a-z0-9_.-]{0,14}", fullmatch=True)
MAC = st.binary(min_size=5, max_size=5).map(lambda raw: "02:" + raw.hex(":"))
MTU = st.integers(68, 65535)
V4 = st.ip_addresses(v=4).map(str)
V6 = st.ip_addresses(v=6).map(str)


def decoded(kind: Any, request: bytearray) -> Any:
    """What pyroute2 makes of a request once its length is filled in, as the socket does."""
    _, *rest = m.HEADER.unpack_from(request)
    m.HEADER.pack_into(request, 0, len(request), *rest)
    message = kind(bytes(request))
    message.decode()
    return message


@given(NAME, MAC, MTU)
def test_a_bridge_request_says_what_the_bridge_is(name: str, mac: str, mtu: int) -> None:
    seen = decoded(m.LINK, requests.bridge(Bridge("", name, mac, mtu, "fairlead:x")))
    assert seen["index"] == 0
    assert seen["flags"] == 0
    assert [seen.get_attr(f"IFLA_{what}") for what in ("IFNAME", "ADDRESS", "MTU")] == [name, mac, mtu]
    assert seen.get_nested("IFLA_LINKINFO", "IFLA_INFO_KIND") == "bridge"


@given(NAME, NAME, MAC, MTU, st.integers(-1, 2000), st.integers(0, 2**30))
def test_a_veth_request_makes_the_peer_in_its_final_form(
    name: str, peer: str, mac: str, mtu: int, descriptor: int, master: int
) -> None:
    item = Veth("", name, "s", peer, mac, mtu, "fairlead:x", "br0" if master else "")
    seen = decoded(m.LINK, requests.veth(item, descriptor, master))
    assert (seen["index"], seen.get_attr("IFLA_IFNAME"), seen.get_attr("IFLA_MTU")) == (0, name, mtu)
    assert (seen.get_attr("IFLA_MASTER") or 0) == master
    far = seen.get_nested("IFLA_LINKINFO", "IFLA_INFO_DATA", "VETH_INFO_PEER")
    assert far["index"] == 0
    assert [far.get_attr(f"IFLA_{what}") for what in ("IFNAME", "ADDRESS", "MTU")] == [peer, mac, mtu]
    assert far.get_attr("IFLA_NET_NS_FD") == (descriptor if descriptor >= 0 else None)


@given(st.one_of(st.tuples(V4, st.integers(0, 32)), st.tuples(V6, st.integers(0, 128))), INDEX, st.booleans())
def test_an_address_request_names_address_and_link(where: tuple[str, int], index: int, present: bool) -> None:
    text, length = where
    seen = decoded(m.ADDRESS, requests.address(Address("", "x", f"{text}/{length}"), index, present=present))
    assert (seen["index"], seen["prefixlen"]) == (index, length)
    assert ip_address(seen.get_attr("IFA_ADDRESS")) == ip_address(text)
    assert seen["header"]["type"] == (m.RTM_NEWADDR if present else m.RTM_DELADDR)


@given(
    st.one_of(st.tuples(V4, V4, st.integers(1, 32)), st.tuples(V6, V6, st.integers(1, 128))),
    INDEX,
    st.integers(0, 2**31),
    st.booleans(),
)
def test_a_route_request_names_prefix_gateway_and_metric(
    where: tuple[str, str, int], index: int, metric: int, gatewayed: bool
) -> None:
    prefix, via, length = where
    item = Route("", f"{prefix}/{length}", "x", via if gatewayed else "", metric)
    seen = decoded(m.ROUTE, requests.route(item, index, present=True))
    assert (seen["dst_len"], seen.get_attr("RTA_OIF")) == (length, index)
    assert ip_address(seen.get_attr("RTA_DST")) == ip_address(prefix)
    assert (seen.get_attr("RTA_GATEWAY") is not None) == gatewayed
    assert not gatewayed or ip_address(seen.get_attr("RTA_GATEWAY")) == ip_address(via)
    assert (seen.get_attr("RTA_PRIORITY") or 0) == metric
    assert seen["proto"] == requests.ROUTE_PROTOCOL


@given(INDEX, st.text(max_size=80).filter(lambda text: "\0" not in text))
def test_a_link_that_comes_up_is_marked(index: int, alias: str) -> None:
    port = Veth("", "v", "s", "eth0", "02:00:00:00:00:01", 1500, alias, "br0", isolated=True)
    seen = decoded(m.LINK, requests.bring_up(index, alias, port))
    assert (seen["index"], seen["flags"], seen.get_attr("IFLA_IFALIAS")) == (index, 1, alias)
    settings = seen.get_nested("IFLA_LINKINFO", "IFLA_INFO_SLAVE_DATA")
    assert settings.get_attr("IFLA_BRPORT_ISOLATED") == 1


@pytest.mark.parametrize("name", ["", "sixteen-letters!", "ä" * 8])
def test_a_name_that_linux_cannot_have_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not a link name"):
        requests.bridge(Bridge("", name, "02:00:00:00:00:01", 1500, "fairlead:x"))


def test_a_template_refuses_values_of_another_size() -> None:
    template = m.Template(bytearray(b"abXXcdXX"), place=b"XX")
    assert template.fill(place=b"12") == b"ab12cd12"
    with pytest.raises(ValueError, match="3 bytes instead of 2"):
        template.fill(place=b"123")
    with pytest.raises(ValueError, match="does not hold"):
        m.Template(bytearray(b"abc"), place=b"XX")


@given(st.binary(max_size=200))
def test_any_bytes_are_read_as_attributes_without_complaint(data: bytes) -> None:
    assert all(len(value) <= len(data) for value in m.raw_attributes(data, 0).values())


@given(st.dictionaries(st.integers(1, 100), st.binary(max_size=40), max_size=6))
def test_attributes_are_read_as_they_were_written(parts: dict[int, bytes]) -> None:
    data = b"".join(m.raw_attribute(kind, value) for kind, value in parts.items())
    assert m.raw_attributes(data, 0) == parts
