"""How networks meet the outside: gateway modes, fixed sources, trusted interfaces; over real packets."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator

import pytest
from tests.kernel.one_host.containers import Container
from tests.kernel.one_host.host import (
    FAR_V4,
    HOST_V4,
    HOST_V4_OTHER,
    HOST_V6,
    NEIGHBOUR_V4,
    NEIGHBOUR_V6,
    Host,
)
from tests.kernel.one_host.programs import echo

from fairlead.api.client import ApiError

PREFIX = "com.docker.network."
MODE4, MODE6 = f"{PREFIX}bridge.gateway_mode_ipv4", f"{PREFIX}bridge.gateway_mode_ipv6"
SERVER = ("tcp:80", "udp:80", "tcp:81", "udp:81")
PORTS = {"80/tcp": ["8080"], "80/udp": [f"{HOST_V4}@8080"]}


@contextlib.contextmanager
def network(host: Host, name: str, options: dict[str, str], **fields: object) -> Iterator[str]:
    """A network with options for the length of a block; its bridge's name."""
    identifier = host.network(name, Options=options, **fields)  # type: ignore[arg-type]
    try:
        yield f"br-{identifier[:12]}"
    finally:
        host.remove_network(name)


@pytest.fixture(autouse=True, scope="module")
def _ways(host: Host) -> None:
    host.neighbour.ip("-6", "route", "replace", "default", "via", HOST_V6)


@pytest.fixture
def stranger(host: Host) -> Iterator[Container]:
    """A container of another network."""
    with (
        network(host, "other", {}, subnet="10.48.0.0/24", v6="fd00:48::/64"),
        host.run("stranger", network="other") as it,
    ):
        yield it


def bindings(container: Container) -> dict[str, list[dict[str, str]]]:
    """``NetworkSettings.Ports``."""
    found: dict[str, list[dict[str, str]]] = container.inspect()["NetworkSettings"]["Ports"]
    return found


def test_routed_opens_published_ports_on_the_containers_own_address(host: Host, stranger: Container) -> None:
    modes = {MODE4: "routed", MODE6: "routed"}
    with (
        network(host, "r", modes, subnet="10.40.0.0/24", v6="fd00:40::/64"),
        host.run("s", echo("s", *SERVER), network="r", publish=PORTS) as server,
        host.server(host.neighbour, "outside", "tcp:7000"),
    ):
        outside = host.neighbour
        for address, own in ((server.ip(), NEIGHBOUR_V4), (server.ip6(), NEIGHBOUR_V6)):
            assert outside.pings(address)
            assert outside.tcp(address, 80) == ["s", own, address]
            assert not outside.reaches(address, 81)
            assert not outside.reaches(address, 81, "udp")
            assert stranger.ns.tcp(address, 80)[0] == "s"
            assert not stranger.ns.reaches(address, 81)
            assert not outside.reaches(HOST_V4 if own == NEIGHBOUR_V4 else HOST_V6, 8080)
        assert outside.udp(server.ip(), 80)[0] == "s"
        assert not outside.reaches(server.ip6(), 80, "udp")  # published for IPv4 only
        assert bindings(server) == {
            "80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "0"}, {"HostIp": "::", "HostPort": "0"}],
            "80/udp": [{"HostIp": "0.0.0.0", "HostPort": "0"}],
        }
        assert server.ns.tcp(NEIGHBOUR_V4, 7000) == ["outside", server.ip(), NEIGHBOUR_V4]
        assert server.ns.tcp(NEIGHBOUR_V6, 7000) == ["outside", server.ip6(), NEIGHBOUR_V6]
        with host.listen("0.0.0.0", 8080):
            pass  # no port of the host is taken


def test_ipv4_translated_and_ipv6_routed_in_one_network(host: Host) -> None:
    with (
        network(host, "mix", {MODE6: "routed"}, subnet="10.41.0.0/24", v6="fd00:41::/64"),
        host.run("s", echo("s", *SERVER), network="mix", publish={"80/tcp": ["8080"]}) as server,
        host.server(host.neighbour, "outside", "tcp:7000"),
    ):
        outside = host.neighbour
        assert outside.tcp(HOST_V4, 8080) == ["s", NEIGHBOUR_V4, server.ip()]
        assert not outside.reaches(server.ip(), 80)
        assert not outside.pings(server.ip(), expect=False)
        assert outside.tcp(server.ip6(), 80) == ["s", NEIGHBOUR_V6, server.ip6()]
        assert outside.pings(server.ip6())
        assert not outside.reaches(server.ip6(), 81)
        assert not outside.reaches(HOST_V6, 8080)
        assert bindings(server)["80/tcp"] == [
            {"HostIp": "0.0.0.0", "HostPort": "8080"},
            {"HostIp": "::", "HostPort": "0"},
        ]
        assert server.ns.tcp(NEIGHBOUR_V4, 7000)[1] == HOST_V4
        assert server.ns.tcp(NEIGHBOUR_V6, 7000)[1] == server.ip6()


def test_nat_unprotected_is_open_by_container_address_too(host: Host, stranger: Container) -> None:
    modes = {MODE4: "nat-unprotected", MODE6: "nat-unprotected"}
    with (
        network(host, "u", modes, subnet="10.42.0.0/24", v6="fd00:42::/64"),
        host.run("s", echo("s", *SERVER), network="u", publish={"80/tcp": ["8080"]}) as server,
        host.server(host.neighbour, "outside", "tcp:7000"),
    ):
        for address in (server.ip(), server.ip6()):
            for port in (80, 81):
                assert host.neighbour.tcp(address, port)[0] == stranger.ns.tcp(address, port)[0] == "s"
            assert host.neighbour.pings(address)
        assert host.neighbour.tcp(HOST_V4, 8080)[0] == host.neighbour.tcp(HOST_V6, 8080)[0] == "s"
        assert server.ns.tcp(NEIGHBOUR_V4, 7000)[1] == HOST_V4


def test_routed_ports_are_open_on_an_endpoint_that_does_not_lead_out(host: Host) -> None:
    with (
        network(host, "out", {}, subnet="10.43.0.0/24"),
        network(host, "side", {MODE4: "routed"}, subnet="10.44.0.0/24"),
        host.run("s", echo("s", *SERVER), network="out", endpoint={"GwPriority": 5}, publish=PORTS) as server,
    ):
        host.connect("side", "s")
        assert json.loads(server.ns.ip("-j", "route", "show", "default"))[0]["gateway"] == "10.43.0.1"
        assert host.neighbour.tcp(server.ip("side"), 80) == ["s", NEIGHBOUR_V4, server.ip("side")]
        assert host.neighbour.tcp(HOST_V4, 8080)[0] == "s"
        assert not host.neighbour.reaches(server.ip("side"), 81)
        host.disconnect("out", "s")
        assert host.neighbour.tcp(server.ip("side"), 80)[0] == "s"
        assert not host.neighbour.reaches(HOST_V4, 8080)
        assert bindings(server)["80/tcp"] == [{"HostIp": "0.0.0.0", "HostPort": "0"}]


def test_an_isolated_network_is_without_the_host(host: Host) -> None:
    modes = {MODE4: "isolated", MODE6: "isolated"}
    with (
        network(host, "i", modes, subnet="10.45.0.0/24", v6="fd00:45::/64", Internal=True) as bridge,
        host.run("a", echo("a", *SERVER), network="i", publish={"80/tcp": ["8080"]}) as one,
        host.run("b", network="i") as other,
        host.server(host.ns, "private", "tcp:9000"),
    ):
        assert [one.ip(), other.ip()] == ["10.45.0.1", "10.45.0.2"]  # no address went to a gateway
        config = host.get("/networks/i")["IPAM"]["Config"]
        assert all("Gateway" not in entry for entry in config)
        assert other.ns.tcp(one.ip(), 80)[0] == other.ns.tcp(one.ip6(), 80)[0] == "a"
        rows = json.loads(host.ns.ip("-j", "address", "show", "dev", bridge))
        assert rows[0]["addr_info"] == []
        assert host.ns.read(f"net/ipv6/conf/{bridge}/disable_ipv6") == "1"
        assert not host.ns.pings(one.ip(), expect=False)
        for row in host.links().values():  # whatever address the host has, nobody inside reaches it
            for item in row["addr_info"]:
                if item["scope"] == "global":
                    assert not other.ns.reaches(item["local"], 9000)


@pytest.mark.parametrize(
    "options", [{MODE4: "isolated"}, {f"{PREFIX}bridge.inhibit_ipv4": "true"}], ids=["isolated", "inhibited"]
)
def test_two_addresses_are_enough_for_two(host: Host, options: dict[str, str]) -> None:
    with (
        network(host, "p2p", options, subnet="10.46.0.0/31", Internal=True),
        host.run("a", echo("a", "tcp:80"), network="p2p") as one,
        host.run("b", network="p2p") as other,
    ):
        assert {one.ip(), other.ip()} == {"10.46.0.0", "10.46.0.1"}
        assert other.ns.tcp(one.ip(), 80) == ["a", other.ip(), one.ip()]
        assert one.ns.pings(other.ip())


def test_isolation_is_for_internal_networks(host: Host) -> None:
    before = host.seen()
    with pytest.raises(ApiError, match="gateway mode 'isolated' can only be used for an internal network") as refused:
        host.network("i", Options={MODE4: "isolated"})
    assert refused.value.status == 400
    assert host.seen() == before


def test_traffic_out_has_the_fixed_source_address(host: Host) -> None:
    options = {f"{PREFIX}host_ipv4": HOST_V4_OTHER, f"{PREFIX}host_ipv6": HOST_V6}
    with (
        network(host, "fixed", options, subnet="10.47.0.0/24", v6="fd00:47::/64"),
        host.run("c", echo("c", "tcp:80"), network="fixed", publish={"80/tcp": ["8080"]}) as inner,
        host.run("d", network="fixed") as mate,
        host.server(host.neighbour, "outside", "tcp:7000", "udp:7000"),
    ):
        assert inner.ns.tcp(NEIGHBOUR_V4, 7000)[1] == inner.ns.udp(NEIGHBOUR_V4, 7000)[1] == HOST_V4_OTHER
        assert inner.ns.tcp(NEIGHBOUR_V6, 7000)[1] == HOST_V6
        assert mate.ns.tcp(inner.ip(), 80)[1] == mate.ip()
        assert mate.ns.tcp(HOST_V4, 8080)[0] == host.ns.tcp("127.0.0.1", 8080)[0] == "c"


def test_a_trusted_interface_reaches_published_ports_directly(host: Host) -> None:
    with (
        network(host, "t", {f"{PREFIX}bridge.trusted_host_interfaces": "up0:nosuch0"}, subnet="10.49.0.0/24"),
        host.run("s", echo("s", *SERVER), network="t", publish={"80/tcp": ["8080"]}) as server,
    ):
        assert host.neighbour.tcp(server.ip(), 80) == ["s", NEIGHBOUR_V4, server.ip()]
        assert not host.neighbour.reaches(server.ip(), 81)
        assert not host.far.reaches(server.ip(), 80)
        assert host.neighbour.tcp(HOST_V4, 8080)[0] == "s"
        assert host.far.tcp(HOST_V4, 8080) == ["s", FAR_V4, server.ip()]
