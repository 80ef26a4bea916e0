"""A container's places in networks: interfaces, routes, names and files, while it runs."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.kernel.one_host.containers import Container
from tests.kernel.one_host.host import HOST_V4, NEIGHBOUR_V4, Host
from tests.kernel.one_host.namespace import Namespace
from tests.kernel.one_host.programs import echo
from tests.kernel.one_host.questions import ask
from tests.kernel.one_host.waiting import until

from fairlead.api.client import ApiError


@contextlib.contextmanager
def networks(host: Host, **subnets: str) -> Iterator[None]:
    """Networks for the length of a block: name and subnet."""
    for name, subnet in subnets.items():
        host.network(name, subnet=subnet)
    try:
        yield
    finally:
        for name in subnets:
            host.remove_network(name)


def links(ns: Namespace) -> dict[str, dict[str, Any]]:
    """Interfaces beside loopback, by name. One that is on its way out has lost its name and is deleted a little later."""

    def settled() -> list[dict[str, Any]]:
        rows = json.loads(ns.ip("-j", "-d", "address"))
        return [] if any(row["ifname"].startswith("fx-") for row in rows) else rows

    rows = until(settled, "links that are gone are deleted")
    return {row["ifname"]: row for row in rows if row["ifname"] != "lo"}


def address_of(row: dict[str, Any]) -> str:
    """Its IPv4 address with length."""
    return next(f"{item['local']}/{item['prefixlen']}" for item in row["addr_info"] if item["family"] == "inet")


def way_out(ns: Namespace) -> tuple[str, str]:
    """(gateway, interface) of the default route; empty without one."""
    rows = json.loads(ns.ip("-j", "route", "show", "default"))
    assert len(rows) <= 1
    return (rows[0]["gateway"], rows[0]["dev"]) if rows else ("", "")


def test_an_interface_comes_and_goes_while_the_container_runs(host: Host) -> None:
    with networks(host, one="10.31.0.0/24", two="10.32.0.0/24"), host.run("hot", network="one") as hot:
        assert set(links(hot.ns)) == {"eth0"}
        pid = hot.pid
        host.connect("two", "hot")
        now = links(hot.ns)
        assert {name: address_of(row) for name, row in now.items()} == {
            "eth0": f"{hot.ip('one')}/24",
            "eth1": f"{hot.ip('two')}/24",
        }
        until(lambda: all(row["operstate"] == "UP" for row in links(hot.ns).values()), "both are up")
        assert hot.ns.pings("10.32.0.1")
        host.disconnect("one", "hot")
        assert set(links(hot.ns)) == {"eth1"}
        assert way_out(hot.ns) == ("10.32.0.1", "eth1")
        host.disconnect("two", "hot")
        assert links(hot.ns) == {}
        assert way_out(hot.ns) == ("", "")
        assert hot.pid == pid
        host.connect("one", "hot")
        assert set(links(hot.ns)) == {"eth0"}
        assert hot.ns.pings(NEIGHBOUR_V4)


def test_a_container_may_start_in_several_networks(host: Host) -> None:
    with (
        networks(host, one="10.31.0.0/24", two="10.32.0.0/24", three="10.33.0.0/24"),
        host.create("multi", network="one") as multi,
    ):
        host.connect("two", "multi")
        host.connect("three", "multi", IPAMConfig={"IPv4Address": "10.33.0.77"})
        multi.start()
        found = {address_of(row) for row in links(multi.ns).values()}
        assert found == {f"{multi.ip(name)}/24" for name in ("one", "two", "three")}
        assert "10.33.0.77/24" in found


def test_names_follow_connect_and_disconnect(host: Host) -> None:
    with (
        networks(host, one="10.31.0.0/24", two="10.32.0.0/24"),
        host.run("hot", network="one") as hot,
        host.run("a", network="one") as first,
        host.run("b", network="two") as second,
    ):
        assert (ask(hot, "a"), ask(hot, "b")) == ([first.ip()], "NXDOMAIN")
        host.connect("two", "hot", Aliases=["warm"])
        assert (ask(hot, "a"), ask(hot, "b")) == ([first.ip()], [second.ip()])
        assert ask(second, "warm") == ask(second, "hot") == [hot.ip("two")]
        assert ask(first, "warm") == "NXDOMAIN"
        host.disconnect("one", "hot")
        assert (ask(hot, "a"), ask(hot, "b")) == ("NXDOMAIN", [second.ip()])
        assert ask(first, "hot") == "NXDOMAIN"


def test_the_gateway_is_the_network_of_the_highest_priority(host: Host) -> None:
    with networks(host, aa="10.31.0.0/24", bb="10.32.0.0/24", cc="10.33.0.0/24"), host.run("c", network="bb") as c:
        assert way_out(c.ns) == ("10.32.0.1", "eth0")
        host.connect("cc", "c")
        assert way_out(c.ns)[0] == "10.32.0.1"
        host.connect("aa", "c", GwPriority=5)
        assert way_out(c.ns)[0] == "10.31.0.1"
        assert c.ns.pings(NEIGHBOUR_V4)
        host.disconnect("aa", "c")
        assert way_out(c.ns)[0] == "10.32.0.1"
        host.disconnect("bb", "c")
        assert way_out(c.ns)[0] == "10.33.0.1"


def test_an_internal_network_is_never_the_way_out(host: Host) -> None:
    host.network("aaa", Internal=True)
    with networks(host, zzz="10.33.0.0/24"), host.run("c", network="aaa") as c:
        assert way_out(c.ns) == ("", "")
        host.connect("zzz", "c")
        assert way_out(c.ns)[0] == "10.33.0.1"
        host.disconnect("aaa", "c")
    host.remove_network("aaa")


def test_published_ports_follow_the_way_out(host: Host) -> None:
    ports = {"80/tcp": ["8180"], "80/udp": [""]}
    with (
        networks(host, aa="10.31.0.0/24", bb="10.32.0.0/24"),
        host.run("c", echo("c", "tcp:80", "udp:80"), network="bb", publish=ports) as c,
    ):
        free = c.host_port("80/udp")
        assert host.neighbour.tcp(HOST_V4, 8180) == ["c", NEIGHBOUR_V4, c.ip("bb")]
        host.connect("aa", "c", GwPriority=1)
        assert host.neighbour.tcp(HOST_V4, 8180) == ["c", NEIGHBOUR_V4, c.ip("aa")]
        assert host.neighbour.udp(HOST_V4, free) == ["c", NEIGHBOUR_V4, c.ip("aa")]
        host.disconnect("aa", "c")
        assert host.neighbour.tcp(HOST_V4, 8180) == ["c", NEIGHBOUR_V4, c.ip("bb")]
        assert c.host_port("80/udp") == free
        host.disconnect("bb", "c")
        assert not host.neighbour.reaches(HOST_V4, 8180)
        host.connect("bb", "c")
        assert host.neighbour.tcp(HOST_V4, 8180)[0] == "c"


def test_address_and_mac_may_be_asked_for(host: Host) -> None:
    host.network("fix", subnet="10.34.0.0/24", v6="fd00:34::/64")
    endpoint = {
        "IPAMConfig": {"IPv4Address": "10.34.0.50", "IPv6Address": "fd00:34::50"},
        "MacAddress": "02:11:22:33:44:55",
    }
    with host.run("s", network="fix", endpoint=endpoint) as s:
        row = links(s.ns)["eth0"]
        assert row["address"] == "02:11:22:33:44:55"
        assert {item["local"] for item in row["addr_info"] if item["scope"] == "global"} == {
            "10.34.0.50",
            "fd00:34::50",
        }
        place = s.inspect()["NetworkSettings"]["Networks"]["fix"]
        assert (place["IPAddress"], place["MacAddress"], place["Gateway"]) == (
            "10.34.0.50",
            "02:11:22:33:44:55",
            "10.34.0.1",
        )
    host.remove_network("fix")


def test_an_address_that_is_given_again_is_reached_at_once(host: Host) -> None:
    """Neighbours that remember the last holder must not send into the void."""
    endpoint = {"IPAMConfig": {"IPv4Address": "10.34.0.9"}}
    with networks(host, fix="10.34.0.0/24"), host.run("peer", network="fix") as peer:
        for name in ("first", "second"):
            with host.run(name, network="fix", endpoint=endpoint):
                assert peer.ns.run("ping", "-n", "-c1", "-W30", "10.34.0.9", check=False).returncode == 0
                assert host.ns.run("ping", "-n", "-c1", "-W30", "10.34.0.9", check=False).returncode == 0


def test_the_mtu_of_a_network_holds_on_both_ends(host: Host) -> None:
    host.network("thin", subnet="10.35.0.0/24", Options={"com.docker.network.driver.mtu": "1400"})
    with host.run("t", network="thin") as t, host.run("u", network="thin") as u:
        assert links(t.ns)["eth0"]["mtu"] == 1400
        ours = [row for row in host.links().values() if row.get("master", "").startswith("br-")]
        assert ours
        assert {row["mtu"] for row in ours} == {1400}
        assert t.ns.run("ping", "-n", "-c1", "-W30", "-M", "do", "-s", "1372", u.ip()).returncode == 0
        assert t.ns.run("ping", "-n", "-c1", "-W1", "-M", "do", "-s", "1373", u.ip(), check=False).returncode != 0
    host.remove_network("thin")


def test_the_name_of_the_bridge_and_of_interfaces_may_be_chosen(host: Host) -> None:
    options = {"com.docker.network.bridge.name": "mine0", "com.docker.network.container_iface_prefix": "net"}
    host.network("named", Options=options)
    with host.run("n", network="named") as n:
        assert "mine0" in host.links()
        assert set(links(n.ns)) == {"net0"}
    host.remove_network("named")
    assert "mine0" not in host.links()


def hosts_lines(container: Container) -> list[list[str]]:
    """Fields of the lines of /etc/hosts."""
    return [line.split() for line in container.read("/etc/hosts").splitlines() if line.strip()]


def test_lines_of_the_hosts_file_come_and_go_and_a_users_own_survive(host: Host) -> None:
    extra = {"ExtraHosts": ["printer:10.99.0.1"]}
    with (
        networks(host, one="10.31.0.0/24", two="10.32.0.0/24"),
        host.run("h", network="one", host_config=extra, Hostname="box") as h,
    ):
        assert ["127.0.0.1", "localhost"] in hosts_lines(h)
        assert ["10.99.0.1", "printer"] in hosts_lines(h)
        assert [h.ip("one"), "box"] in hosts_lines(h)
        h.exec("sh", "-c", "echo '10.99.0.2 mine' >> /etc/hosts")
        host.connect("two", "h")
        assert [h.ip("two"), "box"] in hosts_lines(h)
        gone = h.ip("one")
        host.disconnect("one", "h")
        lines = hosts_lines(h)
        assert [gone, "box"] not in lines
        assert [h.ip("two"), "box"] in lines
        assert ["10.99.0.2", "mine"] in lines
        assert h.exec("getent", "hosts", "printer").stdout.split()[0] == "10.99.0.1"


def test_host_name_and_resolv_conf(host: Host) -> None:
    settings = {"DnsOptions": ["ndots:2"], "DnsSearch": ["lab.example"]}
    with networks(host, one="10.31.0.0/24"), host.run("h", network="one", host_config=settings, Hostname="box") as h:
        assert h.exec("hostname").stdout == h.read("/etc/hostname") == "box\n"
        text = h.read("/etc/resolv.conf").splitlines()
        assert {"nameserver 127.0.0.11", "search lab.example", "options ndots:2"} <= set(text)
    with host.run("plain") as plain:
        assert plain.exec("hostname").stdout.strip() == plain.id[:12]
        assert f"nameserver {NEIGHBOUR_V4}" in plain.read("/etc/resolv.conf").splitlines()


def test_resolv_conf_changes_with_the_kind_of_network_unless_it_was_edited(host: Host) -> None:
    with networks(host, one="10.31.0.0/24"):
        with host.run("follows") as follows:
            host.connect("one", "follows")
            assert "nameserver 127.0.0.11" in follows.read("/etc/resolv.conf")
            assert ask(follows, "follows") == [follows.ip("one")]
            host.disconnect("one", "follows")
            assert f"nameserver {NEIGHBOUR_V4}" in follows.read("/etc/resolv.conf")
        with host.run("edited") as edited:
            edited.exec("sh", "-c", "echo 'nameserver 192.0.2.1' > /etc/resolv.conf")
            host.connect("one", "edited")
            assert edited.read("/etc/resolv.conf") == "nameserver 192.0.2.1\n"


def test_a_second_connect_is_refused_and_a_foreign_disconnect_too(host: Host) -> None:
    with networks(host, one="10.31.0.0/24", two="10.32.0.0/24"), host.run("c", network="one"):
        with pytest.raises(ApiError, match="endpoint with name c already exists in network one") as twice:
            host.connect("one", "c")
        with pytest.raises(ApiError, match="is not connected to network two") as never:
            host.disconnect("two", "c")
        assert (twice.value.status, never.value.status) == (403, 500)


def test_a_network_is_kept_as_long_as_somebody_is_in_it(host: Host) -> None:
    with networks(host, one="10.31.0.0/24"), host.run("c", network="one") as c:
        with pytest.raises(ApiError, match="has active endpoints") as refused:
            host.remove_network("one")
        assert refused.value.status == 403
        assert c.ns.pings("10.31.0.1")


def test_a_restarted_container_comes_back_with_all_its_networks(host: Host) -> None:
    with networks(host, one="10.31.0.0/24", two="10.32.0.0/24"), host.run("r", network="one") as r:
        host.connect("two", "r", Aliases=["again"], IPAMConfig={"IPv4Address": "10.32.0.40"})
        r.stop()
        assert r.inspect()["State"]["Status"] == "exited"
        r.start()
        assert {address_of(row).partition("/")[0] for row in links(r.ns).values()} == {r.ip("one"), "10.32.0.40"}
        with host.run("asks", network="two") as asks:
            assert ask(asks, "again") == ["10.32.0.40"]
