"""What endpoints may ask for: interface names, settings, the way out in each family, their order over restarts."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.kernel.one_host.containers import Container
from tests.kernel.one_host.host import HOST_V4, HOST_V6, NEIGHBOUR_V4, NEIGHBOUR_V6, Host
from tests.kernel.one_host.namespace import Namespace
from tests.kernel.one_host.programs import echo

from fairlead.api.client import ApiError

IFNAME = "com.docker.network.endpoint.ifname"
SYSCTLS = "com.docker.network.endpoint.sysctls"


@contextlib.contextmanager
def networks(host: Host, **subnets: tuple[str, str]) -> Iterator[None]:
    """Networks for the length of a block: name, IPv4 and IPv6 subnet."""
    with contextlib.ExitStack() as stack:
        for name, (subnet, v6) in subnets.items():
            host.network(name, subnet=subnet, v6=v6, **({} if subnet else {"EnableIPv4": False}))
            stack.callback(host.remove_network, name)
        yield


def way_out(ns: Namespace, family: str = "-4") -> str:
    """The interface of the default route; empty without one."""
    rows = json.loads(ns.ip("-j", family, "route", "show", "default"))
    return str(rows[0]["dev"]) if rows else ""


def places(container: Container) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = container.inspect()["NetworkSettings"]["Networks"]
    return found


def interfaces(container: Container) -> dict[str, str]:
    """IPv4 address -> interface."""
    rows = json.loads(container.ns.ip("-j", "-4", "address"))
    return {row["addr_info"][0]["local"]: row["ifname"] for row in rows if row["ifname"] != "lo"}


def test_each_family_has_its_own_way_out_and_ports_go_with_it(host: Host) -> None:
    nets = {"four": ("10.61.0.0/24", ""), "six": ("", "fd00:62::/64"), "both": ("10.63.0.0/24", "fd00:63::/64")}
    ports = {"80/tcp": ["8261"]}
    with networks(host, **nets), host.run("c", echo("c", "tcp:80"), network="four", publish=ports) as c:
        assert (way_out(c.ns), way_out(c.ns, "-6")) == ("eth0", "")
        assert not host.neighbour.reaches(HOST_V6, 8261)
        host.connect("six", "c")
        assert (way_out(c.ns), way_out(c.ns, "-6")) == ("eth0", "eth1")
        assert host.neighbour.tcp(HOST_V4, 8261) == ["c", NEIGHBOUR_V4, c.ip("four")]
        assert host.neighbour.tcp(HOST_V6, 8261) == ["c", NEIGHBOUR_V6, c.ip6("six")]
        host.connect("both", "c", GwPriority=-1)
        assert (way_out(c.ns), way_out(c.ns, "-6")) == ("eth0", "eth1"), "a lower priority changes nothing"
        host.disconnect("four", "c")
        assert (way_out(c.ns), way_out(c.ns, "-6")) == ("eth2", "eth1")
        assert host.neighbour.tcp(HOST_V4, 8261) == ["c", NEIGHBOUR_V4, c.ip("both")]
        assert host.neighbour.tcp(HOST_V6, 8261) == ["c", NEIGHBOUR_V6, c.ip6("six")]
        host.disconnect("both", "c")
        host.connect("both", "c", GwPriority=7)
        assert way_out(c.ns) == way_out(c.ns, "-6")
        assert host.neighbour.tcp(HOST_V6, 8261) == ["c", NEIGHBOUR_V6, c.ip6("both")]
        assert places(c)["both"]["GwPriority"] == 7
        assert c.inspect()["NetworkSettings"]["Ports"]["80/tcp"] == [
            {"HostIp": "0.0.0.0", "HostPort": "8261"},
            {"HostIp": "::", "HostPort": "8261"},
        ]


def test_interfaces_keep_their_order_over_restarts(host: Host) -> None:
    nets = {"zz": ("10.61.0.0/24", ""), "aa": ("10.62.0.0/24", ""), "mm": ("10.63.0.0/24", "")}
    with networks(host, **nets), host.run("c", network="zz") as c:
        host.connect("mm", "c", DriverOpts={IFNAME: "lan7"})
        host.connect("aa", "c", GwPriority=3)
        for _ in range(3):
            named = {name: interfaces(c)[place["IPAddress"]] for name, place in places(c).items()}
            assert named == {"zz": "eth0", "mm": "lan7", "aa": "eth1"}
            assert way_out(c.ns) == "eth1"
            assert places(c)["aa"]["DNSNames"] == ["c", c.id[:12]]
            c.stop()
            c.start()


def test_names_of_interfaces_that_meet_are_refused(host: Host) -> None:
    nets = {"one": ("10.61.0.0/24", ""), "two": ("10.62.0.0/24", "")}
    with networks(host, **nets), host.run("c", network="one") as c:
        for name, status in (("eth0", 403), ("lo", 400), ("a/b", 400), ("x" * 16, 400), ("..", 400)):
            before = host.seen()
            with pytest.raises(ApiError) as refused:
                host.connect("two", "c", DriverOpts={IFNAME: name})
            assert refused.value.status == status
            assert host.seen() == before
        c.ns.ip("link", "add", "dummy7", "type", "bridge")
        with pytest.raises(ApiError) as taken:
            host.connect("two", "c", DriverOpts={IFNAME: "dummy7"})
        assert taken.value.status == 500
        assert set(places(c)) == {"one"}
        host.connect("two", "c", DriverOpts={IFNAME: "dummy8"})
        assert interfaces(c)[c.ip("two")] == "dummy8"


@pytest.mark.parametrize(
    ("setting", "status", "text"),
    [
        ("net.ipv4.conf.IFNAME.nosuch=0", 500, r"/proc/sys/net/ipv4/conf/eth1/nosuch is not a sysctl file"),
        (
            "net.ipv4.conf.IFNAME.log_martians=abc",
            500,
            r"unable to write to '/proc/sys/net/ipv4/conf/eth1/log_martians'",
        ),
        ("net.ipv4.conf.eth1.log_martians=1", 400, "unrecognised network interface sysctl"),
        ("net.ipv4.conf.IFNAME/../../x=1", 400, "unrecognised network interface sysctl"),
    ],
)
def test_a_setting_that_cannot_be_fails_the_join(host: Host, setting: str, status: int, text: str) -> None:
    with networks(host, one=("10.61.0.0/24", ""), two=("10.62.0.0/24", "")), host.run("c", network="one") as c:
        with pytest.raises(ApiError, match=text) as refused:
            host.connect("two", "c", DriverOpts={SYSCTLS: setting})
        assert refused.value.status == status
        assert set(interfaces(c).values()) == {"eth0"}
        assert set(places(c)) == {"one"}


def test_settings_of_an_interface_are_there_again_after_a_restart(host: Host) -> None:
    wanted = "net.ipv4.conf.IFNAME.log_martians=1,net.ipv6.conf.IFNAME.accept_ra=2"
    with networks(host, one=("10.61.0.0/24", "fd00:61::/64")):
        with host.run("c", network="one", endpoint={"DriverOpts": {SYSCTLS: wanted}}) as c:
            for _ in range(2):
                assert c.ns.read("net/ipv4/conf/eth0/log_martians") == "1"
                assert c.ns.read("net/ipv6/conf/eth0/accept_ra") == "2"
                c.stop()
                c.start()
        off = {"DriverOpts": {SYSCTLS: "net.ipv6.conf.IFNAME.disable_ipv6=1"}}
        with host.run("d", network="one", endpoint=off) as d:
            assert (d.ip6("one"), bool(d.ip("one"))) == ("", True)
            assert d.ns.read("net/ipv6/conf/eth0/disable_ipv6") == "1"
