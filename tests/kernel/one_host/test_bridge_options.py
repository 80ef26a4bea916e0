"""Options of bridge networks: bridges and addresses of others, gateways that are not ours, settings of the daemon."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator

import pytest
from tests.kernel.one_host.conftest import MakeHost
from tests.kernel.one_host.host import HOST_V4, HOST_V6, NEIGHBOUR_V4, NEIGHBOUR_V6, Host
from tests.kernel.one_host.programs import echo
from tests.kernel.one_host.test_bridge_modes import PREFIX, network
from tests.kernel.one_host.waiting import until

from fairlead.api.client import ApiError

MTU, BRIDGE = f"{PREFIX}driver.mtu", f"{PREFIX}bridge.name"


@pytest.fixture(scope="module")
def host(make_host: MakeHost) -> Host:
    """Told options for the networks to come, and with ports that nobody shall choose."""
    made = make_host()
    made.ns.write("net/ipv4/ip_local_port_range", "40000 60999")
    made.ns.write("net/ipv4/ip_local_reserved_ports", "40000-40002,40004")
    made.flags = ("--default-network-opt", f"bridge={MTU}=1400", "--default-network-opt", "macvlan=parent=up0")
    made.start()
    made.neighbour.ip("-6", "route", "replace", "default", "via", HOST_V6)
    return made


@pytest.fixture
def own_bridge(host: Host) -> Iterator[str]:
    """A bridge that somebody else made, with addresses and settings of his."""
    host.ns.ip("link", "add", "mine0", "type", "bridge")
    host.ns.ip("link", "set", "mine0", "mtu", "1480", "address", "02:11:22:33:44:55")
    for address in ("10.60.0.1/24", "10.61.0.1/24", "fd00:60::1/64"):
        host.ns.ip("address", "add", address, "dev", "mine0", *(["nodad"] if ":" in address else []))
    yield "mine0"
    host.ns.ip("link", "del", "mine0")


def addresses(host: Host, link: str) -> list[str]:
    """``address/length`` of a link, without those that Linux made."""
    rows = host.links()[link]["addr_info"]
    return sorted(f"{row['local']}/{row['prefixlen']}" for row in rows if row["scope"] == "global")


def test_a_bridge_of_somebody_else_is_used_and_left_as_it_was(host: Host, own_bridge: str) -> None:
    before, owned = host.links()[own_bridge], addresses(host, own_bridge)
    options = {BRIDGE: own_bridge}

    def unchanged() -> bool:
        now = host.links()[own_bridge]
        same = all(now.get(key) == before.get(key) for key in ("address", "mtu", "ifalias", "ifindex"))
        return same and set(owned) <= set(addresses(host, own_bridge))

    with (
        network(host, "shared", options, subnet="10.60.0.0/24"),
        host.run("a", echo("a", "tcp:80"), network="shared", publish={"80/tcp": ["8080"]}) as one,
        host.run("b", network="shared") as other,
    ):
        assert unchanged()
        assert json.loads(host.ns.ip("-j", "link", "show", one_port(host, own_bridge)))[0]["master"] == own_bridge
        for restarts in (1, 0):
            assert other.ns.tcp(one.ip(), 80)[0] == host.neighbour.tcp(HOST_V4, 8080)[0] == "a"
            assert host.ns.pings(one.ip())
            for _ in range(restarts):
                host.stop()
                host.start()
            assert unchanged()
    assert unchanged()
    assert addresses(host, own_bridge) == owned
    with network(host, "second", options, subnet="10.62.0.0/24"):
        assert addresses(host, own_bridge) == sorted([*owned, "10.62.0.1/24"])
        host.stop()
        host.start()
    assert addresses(host, own_bridge) == owned
    assert host.ns.read(f"net/ipv6/conf/{own_bridge}/disable_ipv6") == "0"
    assert own_bridge not in host.ruleset()


def one_port(host: Host, bridge: str) -> str:
    """Any port of a bridge."""
    return next(name for name, row in host.links().items() if row.get("master") == bridge)


def test_a_bridge_that_we_made_under_a_given_name_goes_with_its_network(host: Host) -> None:
    with network(host, "named", {BRIDGE: "named0"}), host.run("c", network="named") as one:
        assert "named0" in host.links()
        host.stop()
        host.start()
        assert one.ns.pings(HOST_V4)
    assert "named0" not in host.links()


def test_a_link_of_another_kind_is_in_the_way(host: Host) -> None:
    before = host.seen()
    with pytest.raises(ApiError, match="existing interface up0 is not a bridge") as refused:
        host.network("bad", Options={BRIDGE: "up0"})
    assert refused.value.status == 403
    assert host.seen() == before
    assert host.neighbour.pings(HOST_V4)


def test_two_networks_cannot_have_one_bridge(host: Host) -> None:
    with network(host, "first", {BRIDGE: "one0"}):
        with pytest.raises(ApiError, match="networks have same bridge name") as refused:
            host.network("second", Options={BRIDGE: "one0"})
        assert refused.value.status == 403


def test_without_an_address_of_the_bridge_somebody_else_is_the_gateway(host: Host) -> None:
    options = {f"{PREFIX}bridge.inhibit_ipv4": "true"}
    with (
        network(host, "lan", options, subnet="10.63.0.0/24") as bridge,
        host.run("router", network="lan", endpoint={"IPAMConfig": {"IPv4Address": "10.63.0.99"}}) as router,
        host.run("c", network="lan") as one,
    ):
        assert addresses(host, bridge) == []
        assert one.ip() == "10.63.0.2"  # the gateway's address stays reserved
        assert default_gateway(one.ns.ip("-j", "route", "show", "default")) == "10.63.0.1"
        router.ns.ip("address", "add", "10.63.0.1/24", "dev", "eth0")
        assert one.ns.pings("10.63.0.1")


def default_gateway(listing: str) -> str:
    """The gateway of the only default route."""
    (route,) = json.loads(listing)
    return str(route["gateway"])


def test_the_default_gateway_may_be_another_address(host: Host) -> None:
    pools = [
        {"Subnet": "10.64.0.0/24", "AuxiliaryAddresses": {"DefaultGatewayIPv4": "10.64.0.9"}},
        {"Subnet": "fd00:64::/64", "AuxiliaryAddresses": {"DefaultGatewayIPv6": "fd00:64::9"}},
    ]
    host.network("aux", EnableIPv6=True, IPAM={"Config": pools})
    with host.run("c", network="aux") as one:
        assert default_gateway(one.ns.ip("-j", "route", "show", "default")) == "10.64.0.9"
        assert default_gateway(one.ns.ip("-j", "-6", "route", "show", "default")) == "fd00:64::9"
        assert host.links()[f"br-{host.get('/networks/aux')['Id'][:12]}"]["addr_info"][0]["local"] == "10.64.0.1"
    host.remove_network("aux")


def test_options_decide_the_families_when_nothing_else_does(host: Host) -> None:
    host.api.post("/networks/create", {"Name": "six", "Options": {f"{PREFIX}enable_ipv6": "true"}})
    made = host.get("/networks/six")
    assert (made["EnableIPv4"], made["EnableIPv6"]) == (True, True)
    host.remove_network("six")
    body = {"Name": "only", "EnableIPv6": True, "Options": {f"{PREFIX}enable_ipv4": "false"}}
    host.api.post("/networks/create", body)
    with host.run("c", echo("c", "tcp:80"), network="only", publish={"80/tcp": ["8080"]}) as one:
        assert one.ip() == ""
        assert host.neighbour.tcp(HOST_V6, 8080) == ["c", NEIGHBOUR_V6, one.ip6()]
        assert not host.neighbour.reaches(HOST_V4, 8080)
    host.remove_network("only")


def test_options_of_the_daemon_are_for_networks_to_come(host: Host) -> None:
    with network(host, "plain", {}) as plain, network(host, "own", {MTU: "1300"}) as own:
        links = host.links()
        assert [links[name]["mtu"] for name in (plain, own, "fairlead0")] == [1400, 1300, 1500]
        assert host.get("/networks/plain")["Options"] == {MTU: "1400"}
    host.api.post("/networks/create", {"Name": "settings", "ConfigOnly": True})
    host.api.post("/networks/create", {"Name": "from", "ConfigFrom": {"Network": "settings"}})
    assert host.get("/networks/from")["Options"] == {}
    host.remove_network("from")
    host.remove_network("settings")


def test_ports_may_be_bound_to_an_ipv6_address_by_default(host: Host) -> None:
    options = {f"{PREFIX}bridge.host_binding_ipv4": HOST_V6}
    with (
        network(host, "bound", options, subnet="10.65.0.0/24", v6="fd00:65::/64"),
        host.run("c", echo("c", "tcp:80"), network="bound", publish={"80/tcp": ["8080"]}) as one,
    ):
        assert host.neighbour.tcp(HOST_V6, 8080)[0] == "c"
        assert not host.neighbour.reaches(HOST_V4, 8080)
        assert one.inspect()["NetworkSettings"]["Ports"]["80/tcp"] == [{"HostIp": HOST_V6, "HostPort": "8080"}]


def test_reserved_ports_are_not_chosen(host: Host) -> None:
    with host.run("c", publish={"80/tcp": [""], "81/tcp": [""]}) as one:
        assert [one.host_port("80/tcp"), one.host_port("81/tcp")] == [40003, 40005]


def test_unknown_options_are_ignored(host: Host) -> None:
    with network(host, "odd", {"com.example.colour": "red", f"{PREFIX}bridge.nonsense": "1"}):
        assert host.get("/networks/odd")["Options"]["com.example.colour"] == "red"


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("bridge.enable_icc", "maybe", 'strconv.ParseBool: parsing "maybe": invalid syntax'),
        ("bridge.inhibit_ipv4", "2", 'strconv.ParseBool: parsing "2": invalid syntax'),
        ("bridge.gateway_mode_ipv4", "open", "unknown gateway mode open"),
        ("bridge.gateway_mode_ipv6", "NAT", "unknown gateway mode NAT"),
        ("bridge.host_binding_ipv4", "here", "nil ip"),
        ("host_ipv4", "198.18.0", "nil ip"),
        ("host_ipv6", "::x", "nil ip"),
        ("enable_ipv6", "si", 'strconv.ParseBool: parsing "si": invalid syntax'),
    ],
)
def test_a_value_that_makes_no_sense_is_refused(host: Host, key: str, value: str, why: str) -> None:
    with pytest.raises(ApiError) as refused:
        host.network("bad", Options={PREFIX + key: value})
    assert refused.value.status == 400
    assert f"failed to parse {PREFIX}{key} value: {value} ({why})" in str(refused.value)


def test_sec_12_an_address_given_again_inherits_no_connection(host: Host) -> None:
    """Neither the translation of who had it before nor the permission that an old connection gave."""
    place = {"IPAMConfig": {"IPv4Address": "10.66.0.7"}}
    with network(host, "reuse", {}, subnet="10.66.0.0/24"):
        entries = lambda: host.ns.run("cat", "/proc/net/nf_conntrack", check=False).stdout  # noqa: E731
        with (
            host.run(
                "old", echo("old", "tcp:80"), network="reuse", endpoint=place, publish={"80/tcp": ["8080"]}
            ) as old,
            host.server(host.neighbour, "outside", "tcp:7000"),
            old.ns.connected(NEIGHBOUR_V4, 7000),
            host.neighbour.connected(HOST_V4, 8080) as visitor,
        ):
            assert visitor.recv(100).split()[0] == b"old"
            assert entries().count("10.66.0.7") >= 2
            old.remove()
            with host.run("new", echo("new", "tcp:80"), network="reuse", endpoint=place):
                assert "10.66.0.7" not in entries()


def test_sec_12_what_a_crash_left_translated_to_the_dead_is_forgotten(host: Host) -> None:
    """A daemon that was killed before it forgot the connections of a container; those of living ones stay."""
    with (
        network(host, "crash", {}, subnet="10.67.0.0/24"),
        host.run("alive", echo("alive", "tcp:80"), network="crash", publish={"80/tcp": ["8081"]}) as alive,
        host.neighbour.connected(HOST_V4, 8081) as visitor,
    ):
        assert visitor.recv(100).split()[0] == b"alive"
        ghost = ("-p", "tcp", "-s", NEIGHBOUR_V4, "-d", HOST_V4, "--sport", "4000", "--dport", "8099")
        answer = ("-r", "10.67.0.77", "-q", NEIGHBOUR_V4, "--reply-port-src", "80", "--reply-port-dst", "4000")
        host.ns.run("conntrack", "-I", *ghost, *answer, "-t", "600", "--state", "ESTABLISHED")
        entries = lambda: host.ns.run("cat", "/proc/net/nf_conntrack").stdout  # noqa: E731
        assert "10.67.0.77" in entries()
        host.stop(signal.SIGKILL)
        host.start()
        until(lambda: "10.67.0.77" not in entries(), "the ghost's entry goes")
        assert alive.ip() in entries()
        visitor.sendall(b"still there?")
        assert visitor.recv(100) == b"still there?"
