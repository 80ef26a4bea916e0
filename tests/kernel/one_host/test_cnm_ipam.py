"""Subnets and addresses as a user asks for them, or leaves them to us."""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Iterator
from typing import Any

import pytest
from tests.kernel.one_host.conftest import MakeHost
from tests.kernel.one_host.host import HOST_V4, Host
from tests.kernel.one_host.waiting import until

from fairlead.api.client import ApiError


@contextlib.contextmanager
def network(host: Host, name: str, *configs: dict[str, Any], **fields: Any) -> Iterator[dict[str, Any]]:
    """A network for the length of a block; what inspect says of it."""
    host.api.post("/networks/create", {"Name": name, "IPAM": {"Config": list(configs)}, **fields})
    try:
        found: dict[str, Any] = host.get(f"/networks/{name}")
        yield found
    finally:
        host.remove_network(name)


def subnets(seen: dict[str, Any]) -> list[str]:
    return [row["Subnet"] for row in seen["IPAM"]["Config"]]


@pytest.fixture(scope="module")
def pooled(make_host: MakeHost) -> Host:
    """A host with address pools of its own, given in no order."""
    made = make_host()
    made.pools = ("base=10.77.0.0/25,size=26", "base=10.76.0.0/24,size=26", "base=fd00:76::/62,size=64")
    made.start()
    return made


def test_own_pools_replace_dockers_and_are_taken_in_order(pooled: Host) -> None:
    with contextlib.ExitStack() as stack:
        found = [subnets(stack.enter_context(network(pooled, f"n{n}", EnableIPv6=True))) for n in range(4)]
        assert subnets(pooled.get("/networks/bridge")) == ["10.76.0.0/26"]
        assert [row[0] for row in found] == ["10.76.0.64/26", "10.76.0.128/26", "10.76.0.192/26", "10.77.0.0/26"]
        assert [row[1] for row in found] == ["fd00:76::/64", "fd00:76:0:1::/64", "fd00:76:0:2::/64", "fd00:76:0:3::/64"]
        before = pooled.seen()
        with pytest.raises(ApiError, match="all predefined address pools have been fully subnetted") as full:
            pooled.network("late", EnableIPv6=True)
        assert full.value.status == 400
        assert pooled.seen() == before
        stack.enter_context(network(pooled, "last"))
        refused = pooled.cli("network", "create", "late", check=False)
        assert refused.returncode == 1
        for words in ("all predefined address pools", "network prune", "nobody is in n0, n1, n2, n3, last"):
            assert words in refused.stderr


def test_an_ipv6_network_without_subnet_gets_one_of_the_nodes_own(host: Host) -> None:
    with network(host, "dual", EnableIPv6=True) as dual, network(host, "other", EnableIPv6=True) as other:
        mine, theirs = (ipaddress.ip_network(subnets(seen)[1]) for seen in (dual, other))
        assert mine.prefixlen == theirs.prefixlen == 64
        assert mine.subnet_of(ipaddress.ip_network("fd00::/8"))
        assert mine.supernet(new_prefix=48) == theirs.supernet(new_prefix=48)
        with host.run("a", network="dual") as a, host.run("b", network="dual") as b:
            assert a.ns.pings(b.ip6("dual"))


def test_a_network_may_be_ipv6_only(host: Host) -> None:
    host.cli("network", "create", "--ipv4=false", "--ipv6", "six")
    try:
        seen = host.get("/networks/six")
        assert (seen["EnableIPv4"], seen["EnableIPv6"], len(subnets(seen))) == (False, True, 1)
        with host.run("a", network="six") as a, host.run("b", network="six") as b:
            assert (a.ip("six"), b.ip("six")) == ("", "")
            assert a.ns.pings(b.ip6("six"))
    finally:
        host.remove_network("six")


def test_any_subnet_of_a_size(host: Host) -> None:
    with (
        network(host, "small", {"Subnet": "0.0.0.0/28"}) as small,
        network(host, "next", {"Subnet": "0.0.0.0/28"}) as two,
    ):
        one, other = (ipaddress.ip_network(subnets(seen)[0]) for seen in (small, two))
        assert one.prefixlen == other.prefixlen == 28
        assert int(other.network_address) - int(one.network_address) == 16
        with host.run("a", network="small") as a, host.run("b", network="small") as b:
            assert a.ns.pings(b.ip("small"))


def test_automatic_subnets_keep_clear_of_the_hosts(host: Host) -> None:
    host.ns.ip("address", "add", "172.18.5.1/24", "dev", "up0")
    host.ns.ip("route", "add", "172.19.0.0/16", "dev", "up0")
    try:

        def clear() -> bool:
            with network(host, "clear") as seen:
                chosen = ipaddress.ip_network(subnets(seen)[0])
                taken = [ipaddress.ip_network(text) for text in ("172.18.0.0/16", "172.19.0.0/16", f"{HOST_V4}/32")]
                return not any(chosen.overlaps(prefix) for prefix in taken)

        until(clear, "the daemon hears of the host's new prefixes")
        with network(host, "named", {"Subnet": "172.18.5.0/24"}) as seen:
            assert subnets(seen) == ["172.18.5.0/24"], "what is named is not compared with the host"
    finally:
        host.ns.ip("route", "del", "172.19.0.0/16", "dev", "up0")
        host.ns.ip("address", "del", "172.18.5.1/24", "dev", "up0")


def usage(host: Host, name: str) -> dict[str, tuple[int, int]]:
    rows = host.get(f"/networks/{name}")["Status"]["IPAM"]["Subnets"]
    return {subnet: (row["IPsInUse"], row["DynamicIPsAvailable"]) for subnet, row in rows.items()}


def test_status_numbers(host: Host) -> None:
    config = {"Subnet": "10.78.0.0/16", "IPRange": "10.78.5.0/24", "AuxiliaryAddresses": {"router": "10.78.0.9"}}
    with network(host, "counted", config, {"Subnet": "fd00:78::/64"}, EnableIPv6=True) as seen:
        assert seen["IPAM"]["Config"][0]["Gateway"] == "10.78.5.0"
        assert usage(host, "counted") == {"10.78.0.0/16": (4, 255), "fd00:78::/64": (2, 2**64 - 2)}
        with host.run("a", network="counted") as a:
            assert a.ip() == "10.78.5.1"
            assert usage(host, "counted")["10.78.0.0/16"] == (5, 254)
        with host.run("b", network="counted", endpoint={"IPAMConfig": {"IPv4Address": "10.78.200.1"}}) as b:
            assert usage(host, "counted")["10.78.0.0/16"] == (5, 255)
            assert b.ns.pings("10.78.5.0")


def test_addresses_of_stopped_containers_are_kept_for_them(host: Host) -> None:
    static = {"IPAMConfig": {"IPv4Address": "10.79.0.2"}}
    with (
        network(host, "kept", {"Subnet": "10.79.0.0/29"}),
        host.create("s", network="kept", endpoint=static) as owner,
        host.run("d", network="kept") as dynamic,
    ):
        assert dynamic.ip() == "10.79.0.3"
        owner.start()
        assert owner.ip() == "10.79.0.2"
        assert dynamic.ns.pings("10.79.0.2")
        owner.stop()
        host.stop()
        host.start()
        with host.run("e", network="kept") as other:
            assert other.ip() == "10.79.0.4"
        owner.start()
        assert owner.ip() == "10.79.0.2"


def test_all_faults_are_told_at_once(host: Host) -> None:
    before = host.seen()
    configs = [
        {"Subnet": "10.80.0.1/24", "IPRange": "10.80.0.0/16", "Gateway": "10.81.0.1"},
        {"Subnet": "fd00:80::/64", "Gateway": "10.80.0.1", "AuxiliaryAddresses": {"a": "fd00:81::1"}},
    ]
    with pytest.raises(ApiError, match="invalid network config:") as refused:
        host.api.post("/networks/create", {"Name": "x", "EnableIPv6": True, "IPAM": {"Config": configs}})
    assert refused.value.status == 400
    for fault in (
        "invalid subnet 10.80.0.1/24: it should be 10.80.0.0/24",
        "invalid ip-range 10.80.0.0/16: CIDR block is bigger than its parent subnet 10.80.0.1/24",
        "invalid gateway 10.81.0.1: parent subnet 10.80.0.1/24 doesn't contain this address",
        "invalid gateway 10.80.0.1: parent subnet is an IPv6 block",
        "invalid auxiliary address a: parent subnet fd00:80::/64 doesn't contain this address",
    ):
        assert fault in str(refused.value)
    assert host.seen() == before
