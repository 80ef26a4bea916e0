"""What is kept apart, and what is shared on purpose."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.kernel.one_host.conftest import MakeHost
from tests.kernel.one_host.containers import Container
from tests.kernel.one_host.host import HOST_V4, HOST_V6, NEIGHBOUR_V4, NEIGHBOUR_V6, Host
from tests.kernel.one_host.namespace import Namespace
from tests.kernel.one_host.programs import echo
from tests.kernel.one_host.waiting import until

from fairlead.api.client import ApiError

Cast = dict[str, Container]


@pytest.fixture(scope="module", params=[False, True], ids=["alone", "beside-a-bridge"])
def host(request: pytest.FixtureRequest, make_host: MakeHost) -> Host:
    made = make_host(foreign_bridge=request.param)
    made.start()
    return made


@pytest.fixture(scope="module")
def cast(host: Host) -> Iterator[Cast]:
    """A server in one network, a client in another, both with IPv4 and IPv6."""
    host.network("red", subnet="10.1.0.0/24", v6="fd00:1::/64")
    host.network("blue", subnet="10.2.0.0/24", v6="fd00:2::/64")
    host.neighbour.ip("-6", "route", "replace", "default", "via", HOST_V6)
    made = {
        "server": host.run("server", echo("server", "tcp:80", "udp:80"), network="red"),
        "friend": host.run("friend", network="red"),
        "stranger": host.run("stranger", network="blue"),
    }
    yield made
    for container in made.values():
        container.remove()
    host.remove_network("red")
    host.remove_network("blue")


@contextlib.contextmanager
def network(host: Host, name: str, **fields: object) -> Iterator[str]:
    """A network for the length of a block."""
    identifier = host.network(name, **fields)  # type: ignore[arg-type]
    try:
        yield identifier
    finally:
        host.remove_network(name)


def default_routes(ns: Namespace) -> list[str]:
    """Gateways of the default routes of both families."""
    rows = [
        *json.loads(ns.ip("-j", "route", "show", "default")),
        *json.loads(ns.ip("-j", "-6", "route", "show", "default")),
    ]
    return [row.get("gateway", row["dev"]) for row in rows]


def test_containers_of_one_network_reach_each_other(cast: Cast) -> None:
    server, friend = cast["server"], cast["friend"]
    for address in (server.ip(), server.ip6()):
        assert friend.ns.pings(address)
        assert friend.ns.tcp(address, 80)[0] == friend.ns.udp(address, 80)[0] == "server"


def test_networks_do_not_reach_each_other(cast: Cast) -> None:
    server, stranger = cast["server"], cast["stranger"]
    for address in (server.ip(), server.ip6()):
        assert not stranger.ns.pings(address, expect=False)
        assert not stranger.ns.reaches(address, 80)
        assert not stranger.ns.reaches(address, 80, "udp")


def test_a_forged_source_does_not_open_another_network(cast: Cast, host: Host) -> None:
    """An address of the other network on one's own interface is no way in."""
    server = cast["server"]
    with host.run("forger", network="blue") as forger:
        forger.ns.ip("address", "add", "10.1.0.200/32", "dev", "eth0")
        with forger.ns.socket() as client:
            client.bind(("10.1.0.200", 0))
            client.settimeout(0.4)
            with pytest.raises(OSError):
                client.connect((server.ip(), 80))


def test_containers_go_outside_under_the_hosts_address(host: Host, cast: Cast) -> None:
    with host.server(host.neighbour, "outside", "tcp:7000", "udp:7000"):
        for proto in ("tcp", "udp"):
            ask = cast["friend"].ns.tcp if proto == "tcp" else cast["friend"].ns.udp
            assert ask(NEIGHBOUR_V4, 7000) == ["outside", HOST_V4, NEIGHBOUR_V4]
            assert ask(NEIGHBOUR_V6, 7000) == ["outside", HOST_V6, NEIGHBOUR_V6]
    assert cast["friend"].ns.pings(NEIGHBOUR_V4)


def test_an_internal_network_leads_nowhere_and_cannot_be_entered(host: Host, cast: Cast) -> None:
    with (
        host.server(host.neighbour, "outside", "tcp:7001", "udp:7001"),
        network(host, "vault", subnet="10.3.0.0/24", v6="fd00:3::/64", Internal=True),
        host.run("inner", echo("inner", "tcp:80", "udp:80"), network="vault", publish={"80/tcp": ["7080"]}) as inner,
        host.run("mate", network="vault") as mate,
    ):
        assert mate.ns.tcp(inner.ip(), 80)[0] == mate.ns.udp(inner.ip6(), 80)[0] == "inner"
        assert default_routes(inner.ns) == []
        inner.ns.ip("route", "add", "default", "via", "10.3.0.1")
        inner.ns.ip("-6", "route", "add", "default", "via", "fd00:3::1")
        for target in (NEIGHBOUR_V4, NEIGHBOUR_V6):
            assert not inner.ns.reaches(target, 7001)
            assert not inner.ns.reaches(target, 7001, "udp")
        assert not inner.ns.pings(NEIGHBOUR_V4, expect=False)
        assert not inner.ns.reaches(cast["server"].ip(), 80)
        for ns in (host.neighbour, cast["friend"].ns):
            assert not ns.reaches(inner.ip(), 80)
            assert not ns.reaches(inner.ip6(), 80, "udp")
        assert not host.neighbour.reaches(HOST_V4, 7080)


def test_without_icc_containers_reach_only_the_world(host: Host) -> None:
    options = {"com.docker.network.bridge.enable_icc": "false"}
    with (
        host.server(host.neighbour, "outside", "tcp:7002"),
        network(host, "apart", subnet="10.4.0.0/24", v6="fd00:4::/64", Options=options),
        host.run("s", echo("s", "tcp:80", "udp:80"), network="apart", publish={"80/tcp": ["7081"]}) as server,
        host.run("c", network="apart") as client,
    ):
        for address in (server.ip(), server.ip6()):
            assert not client.ns.pings(address, expect=False)
            assert not client.ns.reaches(address, 80)
            assert not client.ns.reaches(address, 80, "udp")
        assert client.ns.tcp(NEIGHBOUR_V4, 7002)[0] == client.ns.tcp(NEIGHBOUR_V6, 7002)[0] == "outside"
        assert host.neighbour.tcp(HOST_V4, 7081)[0] == host.neighbour.tcp(HOST_V6, 7081)[0] == "s"
        assert client.ns.tcp(HOST_V4, 7081)[0] == "s"


def test_without_masquerade_containers_show_their_own_address(host: Host) -> None:
    options = {"com.docker.network.bridge.enable_ip_masquerade": "false"}
    with (
        host.server(host.neighbour, "outside", "tcp:7003"),
        network(host, "open", subnet="10.5.0.0/24", Options=options),
        host.run("o", network="open") as one,
    ):
        assert one.ns.tcp(NEIGHBOUR_V4, 7003) == ["outside", one.ip(), NEIGHBOUR_V4]


def test_container_mode_shares_the_network(host: Host, cast: Cast) -> None:
    with host.run("twin", network="container:server") as twin:
        server = cast["server"]
        assert twin.ns.tcp("127.0.0.1", 80) == ["server", "127.0.0.1", "127.0.0.1"]
        assert Path(f"/proc/{twin.pid}/ns/net").readlink() == Path(f"/proc/{server.pid}/ns/net").readlink()
        assert twin.read("/etc/hosts") == server.read("/etc/hosts")
        assert twin.exec("hostname").stdout == server.exec("hostname").stdout
        with pytest.raises(ApiError) as refused:
            host.connect("blue", "twin")
        assert refused.value.status == 400


def test_container_mode_needs_a_running_container(host: Host) -> None:
    with host.create("idle"):
        with pytest.raises(ApiError, match="non running container") as refused:
            host.run("late", network="container:idle")
        assert refused.value.status == 409
    with pytest.raises(ApiError):
        host.run("late", network="container:nobody")


def test_host_mode_is_the_hosts_own_network(host: Host) -> None:
    with host.run("naked", echo("naked", "tcp:7004"), network="host") as naked:
        assert host.neighbour.tcp(HOST_V4, 7004) == ["naked", NEIGHBOUR_V4, HOST_V4]
        assert {"up0", "up1", "fairlead0"} <= {
            row["ifname"] for row in json.loads(naked.exec("ip", "-j", "link").stdout)
        }
        assert naked.exec("hostname").stdout.strip() == socket.gethostname()
        abstract = [line.split()[-1] for line in naked.exec("cat", "/proc/net/unix").stdout.splitlines() if "@" in line]
        assert [name for name in abstract if "fairlead" in name] == []


def test_none_has_only_loopback(host: Host) -> None:
    with host.run("alone", network="none") as alone:
        links = json.loads(alone.exec("ip", "-j", "address").stdout)
        assert [row["ifname"] for row in links] == ["lo"]
        assert "UP" in links[0]["flags"]
        assert alone.ns.pings("127.0.0.1")
        assert not alone.ns.reaches(HOST_V4, 22)


def test_sec_09_a_network_without_ipv6_has_none_at_all(host: Host) -> None:
    """SEC-09: no link-local address, no group of one, also after a hot connect. (Linux itself puts every link into the
    groups of all nodes and takes it out of them never; without an address it says nothing there.)"""
    with network(host, "four"), network(host, "more"), host.run("v4", network="four") as container:
        host.connect("more", "v4")
        for link in ("eth0", "eth1"):
            assert container.ns.read(f"net/ipv6/conf/{link}/disable_ipv6") == "1"
            assert container.ns.ip("-6", "address", "show", "dev", link) == ""
        groups = Path(f"/proc/{container.pid}/net/igmp6").read_text()
        joined = {line.split()[2] for line in groups.splitlines() if line.split()[1].startswith("eth")}
        assert joined <= {"ff020000000000000000000000000001", "ff010000000000000000000000000001"}


def advertisement(prefix: str) -> bytes:
    """An ICMPv6 router advertisement with one on-link, autonomous prefix (RFC 4861 sections 4.2 and 4.6.2)."""
    head = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0)
    return head + struct.pack("!BBBBIII", 3, 4, 64, 0xC0, 86400, 86400, 0) + socket.inet_pton(socket.AF_INET6, prefix)


def test_sec_08_router_advertisements_of_a_container_are_ignored(host: Host, cast: Cast) -> None:
    """SEC-08: neither the host nor a peer takes a route or an address from a container."""
    evil, peer = cast["friend"], cast["server"]
    bridge = f"br-{host.get('/networks/red')['Id'][:12]}"

    def state(ns: Namespace, link: str) -> tuple[str, str]:
        return ns.ip("-6", "route", "show", "dev", link), ns.ip("-6", "-o", "address", "show", "dev", link)

    before = state(host.ns, bridge), state(peer.ns, "eth0")
    seen = f"/proc/{peer.pid}/net/snmp6"

    def advertisements() -> int:
        rows = dict(line.split() for line in Path(seen).read_text().splitlines())
        return int(rows["Icmp6InRouterAdvertisements"])

    heard = advertisements()
    with evil.ns.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as raw:
        raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        index = evil.ns.call(lambda: socket.if_nametoindex("eth0"))
        raw.sendto(advertisement("2001:db8:bad::"), ("ff02::1", 0, 0, index))
    with contextlib.suppress(AssertionError):
        until(lambda: advertisements() > heard, "the advertisement", 0.5)
    assert (state(host.ns, bridge), state(peer.ns, "eth0")) == before
    for ns, link in ((host.ns, bridge), (peer.ns, "eth0")):
        assert ns.read(f"net/ipv6/conf/{link}/accept_ra") == "0"


def test_sec_08_redirects_are_not_believed(host: Host, cast: Cast) -> None:
    bridge = f"br-{host.get('/networks/red')['Id'][:12]}"
    for ns, link in ((host.ns, bridge), (cast["server"].ns, "eth0")):
        assert ns.read(f"net/ipv6/conf/{link}/accept_redirects") == "0", link


def test_forwarding_that_we_switched_on_opens_no_way_between_others(make_host: MakeHost) -> None:
    closed = make_host(forwarding=False)
    closed.start()
    assert closed.ns.read("net/ipv4/ip_forward") == "1"
    assert not closed.neighbour.pings("198.18.1.2", expect=False)
    with closed.run("c") as container:
        assert container.ns.pings(NEIGHBOUR_V4)
        assert container.ns.pings("198.18.1.2")


def test_ipv6_forwarding_that_we_switched_on_opens_no_way_between_others(make_host: MakeHost) -> None:
    """Each family by itself: IPv4 was forwarded before us, and goes on."""
    half = make_host()
    half.ns.ip("address", "add", "fd98:19::1/64", "dev", "up1", "nodad")
    half.far.ip("address", "add", "fd98:19::2/64", "dev", "eth0", "nodad")
    half.far.ip("-6", "route", "add", "default", "via", "fd98:19::1")
    half.neighbour.ip("-6", "route", "replace", "default", "via", HOST_V6)
    half.start()
    with network(half, "six", v6="fd00:6::/64"), half.run("c", network="six") as container:
        assert half.ns.read("net/ipv6/conf/all/forwarding") == "1"
        assert container.ns.pings(NEIGHBOUR_V6)
        assert container.ns.pings("fd98:19::2")
        assert not half.neighbour.pings("fd98:19::2", expect=False)
        assert half.neighbour.pings("198.18.1.2")


def test_forwarding_of_others_is_left_alone(host: Host) -> None:
    assert host.neighbour.pings("198.18.1.2")
