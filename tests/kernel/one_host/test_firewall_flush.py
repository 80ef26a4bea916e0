"""Others flush, delete and edit while packets probe all the time (SEC-10, 11, 12); links that others take away come back."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator

import pytest
from tests.kernel.one_host.conftest import MakeHost
from tests.kernel.one_host.containers import Container
from tests.kernel.one_host.host import HOST_V4, NEIGHBOUR_V4, Host
from tests.kernel.one_host.namespace import Namespace
from tests.kernel.one_host.probing import Probe, asking
from tests.kernel.one_host.programs import echo
from tests.kernel.one_host.waiting import until

Cast = dict[str, Container]
#: Packets in a row that may get no answer from who is to answer: at most 1,000 are sent in a second, and a server that does
#: not get to run for a while drops what its socket has no room for.
SILENCE_MAX = 3000
#: What nobody may do to us: each line is what a script of an operator, or another firewall, does at its start.
ATTACKS = (
    "flush ruleset",
    "delete table inet fairlead",
    "flush table inet fairlead",
    "flush chain inet fairlead forward",
    "flush map inet fairlead to_bridge",
    "delete chain inet fairlead nat_prerouting",
    "insert rule inet fairlead forward accept",
    "delete element inet fairlead published4_any { udp . 8080 }",
)


@pytest.fixture(scope="module")
def cast(host: Host) -> Iterator[Cast]:
    """A server that publishes a port to all and one to the host alone, a stranger in another network, one inside."""
    host.network("red", subnet="10.1.0.0/24")
    host.network("blue", subnet="10.2.0.0/24")
    host.network("vault", subnet="10.3.0.0/24", Internal=True)
    command = echo("server", "tcp:80", "udp:80")
    publish = {"80/udp": ["8080", "127.0.0.1@8081"], "80/tcp": ["8080", "127.0.0.1@8081"]}
    with contextlib.ExitStack() as stack:
        made = {
            "server": stack.enter_context(host.run("server", command, network="red", publish=publish)),
            "stranger": stack.enter_context(host.run("stranger", network="blue")),
            "inner": stack.enter_context(host.run("inner", echo("inner", "udp:80"), network="vault")),
        }
        host.neighbour.ip("route", "add", "10.0.0.0/8", "via", HOST_V4)
        yield made


@contextlib.contextmanager
def besieged(host: Host, cast: Cast) -> Iterator[dict[str, Probe]]:
    """Everyone who must not get in asks all the time, and one who may."""
    server, inner = cast["server"].ip(), cast["inner"].ip()
    wanted: dict[str, tuple[Namespace, str, int]] = {
        "a sibling network": (cast["stranger"].ns, server, 80),
        "a neighbour with a route": (host.neighbour, server, 80),
        "a neighbour to the internal network": (host.neighbour, inner, 80),
        "a neighbour to the host's loopback port": (host.neighbour, HOST_V4, 8081),
        "published": (host.neighbour, HOST_V4, 8080),
    }
    with contextlib.ExitStack() as stack:
        yield {name: stack.enter_context(asking(*target)) for name, target in wanted.items()}


def judge(probes: dict[str, Probe]) -> None:
    """Nothing got in that should not, and who may was never out for long."""
    published = probes.pop("published")
    assert {name: len(probe.answered) for name, probe in probes.items() if probe.answered} == {}
    assert all(probe.sent > 20 for probe in probes.values())
    assert published.answered
    assert published.longest_silence() < SILENCE_MAX


@pytest.mark.parametrize("attack", ATTACKS)
def test_sec_10_flushes_and_edits_open_nothing(host: Host, cast: Cast, attack: str) -> None:
    with besieged(host, cast) as probes:
        until(lambda: len(probes["published"].answered) > 20, "the first answers")
        for _ in range(3):
            host.ns.run("nft", attack, check=False)
        seen = len(probes["published"].answered)
        until(lambda: len(probes["published"].answered) > seen + 20, "answers afterwards")
    judge(probes)


def test_sec_11_a_port_of_the_hosts_loopback_stays_there(host: Host, cast: Cast) -> None:
    outside = host.neighbour
    outside.ip("route", "add", "127.0.0.0/8", "via", HOST_V4, "table", "7")
    for _ in range(2):
        assert host.ns.tcp("127.0.0.1", 8081)[0] == "server"
        assert not outside.reaches(HOST_V4, 8081)
        assert not outside.reaches(cast["server"].ip(), 80)
        assert not outside.reaches(cast["server"].ip(), 80, "udp")
        host.ns.run("nft", "flush", "ruleset")


def test_sec_12_containers_do_not_reach_the_hosts_loopback_after_a_flush(host: Host, cast: Cast) -> None:
    host.ns.run("nft", "flush", "ruleset")
    ns = cast["stranger"].ns
    ns.write("net/ipv4/conf/all/route_localnet", "1")
    ns.ip("address", "delete", "127.0.0.1/8", "dev", "lo")
    ns.ip("route", "add", "127.0.0.0/8", "via", "10.2.0.1")
    with host.server(host.ns, "private", "tcp:9100"):
        assert not ns.reaches("127.0.0.1", 9100)
    ns.ip("address", "add", "127.0.0.1/8", "dev", "lo")


def test_a_stranger_takes_links_away_and_they_come_back(make_host: MakeHost) -> None:
    host = make_host()
    host.start()
    host.network("red", subnet="10.1.0.0/24")
    command = echo("server", "tcp:80")
    with (
        host.run("server", command, network="red", publish={"80/tcp": ["8080"]}) as server,
        host.run("friend", command, network="red") as friend,
        friend.ns.connected(server.ip(), 80) as stream,
    ):
        stream.recv(4096)
        bridge = f"br-{host.get('/networks/red')['Id'][:12]}"
        ports = [name for name, row in host.links().items() if row.get("master") == bridge]
        inside = json.loads(server.ns.ip("-j", "link", "show", "eth0"))[0]["link_index"]
        veth = next(name for name, row in host.links().items() if row["ifindex"] == inside)
        bystander = next(name for name in ports if name != veth)
        index = host.links()[bystander]["ifindex"]
        for ns, words in (
            (host.ns, ("link", "delete", veth)),
            (server.ns, ("link", "delete", "eth0")),
            (host.ns, ("link", "delete", bridge)),
            (host.ns, ("address", "flush", "dev", bridge)),
            (server.ns, ("route", "delete", "default")),
            (server.ns, ("address", "flush", "dev", "eth0")),
            (server.ns, ("link", "set", "eth0", "down")),
        ):
            ns.ip(*words)
            until(lambda: host.neighbour.reaches(HOST_V4, 8080), f"the server again after ip {' '.join(words)}")
            assert friend.ns.tcp(server.ip(), 80)[0] == "server"
            assert host.links()[bystander]["ifindex"] == index
        stream.sendall(b"still here")
        assert stream.recv(4096) == b"still here"
        assert server.ns.pings(NEIGHBOUR_V4)
        rows = dict(host.get("/info")["FirewallBackend"]["Info"])
        assert int(rows["Repairs"]) >= 7
    host.remove_network("red")


def test_a_container_with_net_admin_keeps_the_routes_that_it_chose(make_host: MakeHost) -> None:
    """A VPN's routes are never fought over; a pair that is lost comes back; who may not change routes is guarded."""
    host = make_host()
    host.start()
    host.network("red", subnet="10.1.0.0/24")
    powers = {"CapAdd": ["NET_ADMIN"]}
    with host.run("vpn", network="red", host_config=powers) as vpn, host.run("plain", network="red") as plain:
        for words in (("route", "delete", "default"), ("route", "add", "default", "via", "10.1.0.77")):
            vpn.exec("ip", *words)
        vpn.exec("ip", "address", "add", "10.1.0.200/24", "dev", "eth0")
        plain.ns.ip("route", "delete", "default")
        until(lambda: "default via 10.1.0.1 " in plain.ns.ip("route"), "the route of who has no say")
        chosen = "default via 10.1.0.77 "
        assert chosen in vpn.ns.ip("route")
        host.stop()
        plain.ns.ip("route", "delete", "default")
        host.start()
        assert "default via 10.1.0.1 " in plain.ns.ip("route")
        assert chosen in vpn.ns.ip("route")
        assert "10.1.0.200/24" in vpn.ns.ip("address")
        vpn.ns.ip("route", "replace", "default", "dev", "lo")
        inside = json.loads(vpn.ns.ip("-j", "link", "show", "eth0"))[0]["link_index"]
        host.ns.ip("link", "delete", next(name for name, row in host.links().items() if row["ifindex"] == inside))
        until(lambda: vpn.ns.pings(plain.ip()), "the pair again")
        assert "default dev lo" in vpn.ns.ip("route")
    host.remove_network("red")


def test_a_container_that_joins_a_sandbox_with_net_admin_makes_it_its_own(make_host: MakeHost) -> None:
    host = make_host()
    host.start()
    host.network("red", subnet="10.1.0.0/24")
    powers = {"CapAdd": ["NET_ADMIN"]}
    with (
        host.run("app", network="red") as app,
        host.run("vpn", network="container:app", host_config=powers) as vpn,
        host.run("plain", network="red") as plain,
    ):
        vpn.exec("ip", "route", "delete", "default")
        plain.ns.ip("route", "delete", "default")
        until(lambda: "default" in plain.ns.ip("route"), "the route of who has no say")
        assert "default" not in app.ns.ip("route")
    host.remove_network("red")
