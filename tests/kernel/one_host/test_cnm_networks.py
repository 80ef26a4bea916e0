"""Networks made from sets of settings, and what an endpoint may ask for beside its address."""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.kernel.one_host.host import Host
from tests.kernel.one_host.namespace import Namespace
from tests.kernel.one_host.waiting import until

from fairlead.api.client import ApiError

ETH_P_ALL = 0x0003
ADVERTISE = "com.docker.network.advertise_addr_"


@contextlib.contextmanager
def network(host: Host, name: str, **fields: Any) -> Iterator[str]:
    """A network for the length of a block; its id."""
    identifier = host.network(name, **fields)
    try:
        yield identifier
    finally:
        host.remove_network(name)


def addresses(ns: Namespace, link: str) -> dict[str, int]:
    """Addresses of a link with their lengths."""
    rows = json.loads(ns.ip("-j", "address", "show", "dev", link))
    return {item["local"]: item["prefixlen"] for item in rows[0]["addr_info"]}


def test_a_config_only_network_lends_its_settings(host: Host) -> None:
    settings = {"ConfigOnly": True, "Labels": {"a": "b"}, "Options": {"com.docker.network.driver.mtu": "1400"}}
    with network(host, "conf", subnet="10.51.0.0/24", v6="fd00:51::/64", **settings) as conf:
        assert not any(name.startswith(f"br-{conf[:12]}") for name in host.links())
        seen = host.get("/networks/conf")
        assert (seen["Driver"], seen["Scope"], seen["ConfigOnly"]) == ("null", "local", True)
        assert [row["Subnet"] for row in seen["IPAM"]["Config"]] == ["10.51.0.0/24", "fd00:51::/64"]
        made = host.api.post("/networks/create", {"Name": "real", "ConfigFrom": {"Network": "conf"}})
        assert isinstance(made, dict)
        try:
            seen = host.get("/networks/real")
            assert (seen["ConfigFrom"], seen["ConfigOnly"]) == ({"Network": "conf"}, False)
            assert (seen["Driver"], seen["EnableIPv6"], seen["Labels"]) == ("bridge", True, {"a": "b"})
            with pytest.raises(ApiError, match='configuration network "conf" is in use') as used:
                host.remove_network("conf")
            assert used.value.status == 403
            with host.run("one", network="real") as one, host.run("two", network="real") as two:
                assert one.ip().startswith("10.51.0.")
                assert one.ns.pings(two.ip())
                assert one.ns.pings(two.ip6())
                assert json.loads(one.ns.ip("-j", "link", "show", "eth0"))[0]["mtu"] == 1400
        finally:
            host.remove_network("real")


def test_a_set_of_settings_survives_a_restart_and_prune(host: Host) -> None:
    with network(host, "conf", subnet="10.52.0.0/24", ConfigOnly=True):
        before = host.get("/networks/conf")
        host.stop()
        host.start()
        assert host.get("/networks/conf") == before
        assert host.api.post("/networks/prune") == {"NetworksDeleted": None}


def test_of_a_config_only_network_only_the_creation_is_told(host: Host) -> None:
    since = time.time()
    with network(host, "conf", ConfigOnly=True), network(host, "plain"):
        pass
    lines = host.cli("events", "--since", f"{since:.3f}", "--until", f"{time.time():.3f}", "--format", "json").stdout
    told = [json.loads(line) for line in lines.splitlines()]
    found = [(row["Actor"]["Attributes"]["name"], row["Action"]) for row in told if row["Type"] == "network"]
    assert found == [("conf", "create"), ("plain", "create"), ("plain", "destroy")]


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        ({"ConfigOnly": True, "Internal": True}, 403, "configuration network can only contain network specific fields"),
        ({"ConfigOnly": True, "Attachable": True}, 403, "configuration network can only contain"),
        ({"ConfigOnly": True, "Scope": "local"}, 403, "configuration network can only contain"),
        ({"ConfigOnly": True, "ConfigFrom": {"Network": "conf"}}, 403, "cannot depend on another configuration"),
        ({"ConfigFrom": {"Network": "nope"}}, 404, 'configuration network "nope" not found'),
        ({"ConfigFrom": {"Network": "bridge"}}, 404, 'configuration network "bridge" not found'),
        ({"ConfigFrom": {"Network": "conf"}, "Labels": {"a": "b"}}, 403, "user specified configurations are not"),
        ({"ConfigFrom": {"Network": "conf"}, "EnableIPv6": True}, 403, "user specified configurations are not"),
        ({"ConfigFrom": {"Network": "conf"}, "EnableIPv4": False}, 403, "user specified configurations are not"),
        ({"ConfigFrom": {"Network": "conf"}, "Options": {"x": "y"}}, 403, "network driver options are not supported"),
        (
            {"ConfigFrom": {"Network": "conf"}, "IPAM": {"Config": [{"Subnet": "10.53.0.0/24"}]}},
            403,
            "user specified configurations are not",
        ),
    ],
)
def test_settings_that_contradict_are_refused(host: Host, body: dict[str, Any], status: int, text: str) -> None:
    with network(host, "conf", ConfigOnly=True):
        before = host.seen()
        with pytest.raises(ApiError, match=text) as refused:
            host.api.post("/networks/create", {"Name": "x", **body})
        assert refused.value.status == status
        assert host.seen() == before


def test_nobody_joins_a_config_only_network(host: Host) -> None:
    with (
        network(host, "conf", ConfigOnly=True),
        host.run("c") as c,
        pytest.raises(ApiError, match="configuration-only network") as refused,
    ):
        host.connect("conf", c.name)
    assert refused.value.status == 403


def test_the_command_line_makes_and_uses_a_set_of_settings(host: Host) -> None:
    host.cli("network", "create", "--config-only", "--subnet", "10.54.0.0/24", "conf")
    host.cli("network", "create", "--config-from", "conf", "real")
    try:
        assert host.get("/networks/real")["IPAM"]["Config"][0]["Subnet"] == "10.54.0.0/24"
        refused = host.cli("network", "rm", "conf", check=False)
        assert refused.returncode == 1
        assert 'configuration network "conf" is in use' in refused.stderr
    finally:
        host.cli("network", "rm", "real", "conf")


def test_link_local_addresses_are_on_the_interface_and_answer(host: Host) -> None:
    asked = ["169.254.34.68", "fe80::0:beef"]
    with network(host, "ll", subnet="10.55.0.0/24"), host.run("peer", network="ll") as peer:
        with host.create("c", network="ll") as c:
            host.cli("network", "disconnect", "ll", "c")
            host.cli("network", "connect", "--link-local-ip", asked[0], "--link-local-ip", asked[1], "ll", "c")
            c.start()
            assert addresses(c.ns, "eth0").items() >= {"169.254.34.68": 16, "fe80::beef": 64}.items()
            place = c.inspect()["NetworkSettings"]["Networks"]["ll"]
            assert place["IPAMConfig"]["LinkLocalIPs"] == asked
            peer.ns.ip("address", "add", "169.254.34.69/16", "dev", "eth0")
            assert peer.ns.pings("169.254.34.68")
        host.disconnect("ll", "peer")
        with pytest.raises(ApiError, match=r"invalid link-local IP address: 10\.0\.0\.1") as refused:
            host.connect("ll", "peer", IPAMConfig={"LinkLocalIPs": ["10.0.0.1"]})
        assert refused.value.status == 400


class Listener:
    """Collects what a bridge carries: addresses of gratuitous ARP and of unsolicited advertisements."""

    def __init__(self, ns: Namespace, link: str) -> None:
        self._socket = ns.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self._socket.bind((link, ETH_P_ALL))
        self._socket.settimeout(0.01)
        self.arp: list[str] = []
        self.advertised: list[str] = []

    def look(self) -> None:
        """Take in what has come."""
        with contextlib.suppress(TimeoutError):
            while True:
                frame = self._socket.recv(2048)
                kind = int.from_bytes(frame[12:14], "big")
                if kind == 0x0806 and frame[28:32] == frame[38:42]:
                    self.arp.append(socket.inet_ntoa(frame[28:32]))
                elif kind == 0x86DD and frame[20] == 58 and frame[54] == 136:
                    self.advertised.append(socket.inet_ntop(socket.AF_INET6, frame[62:78]))

    def wait(self, messages: int) -> None:
        """Until so many of each have come."""

        def enough() -> bool:
            self.look()
            return min(len(self.arp), len(self.advertised)) >= messages

        until(enough, f"{messages} announcements of each kind")

    def close(self) -> None:
        self._socket.close()


@contextlib.contextmanager
def listening(host: Host, network_id: str) -> Iterator[Listener]:
    listener = Listener(host.ns, f"br-{network_id[:12]}")
    try:
        yield listener
    finally:
        listener.close()


def test_a_new_interface_announces_its_addresses(host: Host) -> None:
    options = {f"{ADVERTISE}ms": "100"}
    with (
        network(host, "ann", subnet="10.56.0.0/24", v6="fd00:56::/64", Options=options) as identifier,
        listening(host, identifier) as listener,
        host.run("c") as c,
    ):
        host.connect("ann", "c")
        listener.wait(3)
        assert set(listener.arp) == {c.ip("ann")}
        assert set(listener.advertised) == {c.ip6("ann")}
        listener.arp, listener.advertised = [], []
        host.stop()
        host.start()
        listener.wait(3)
        assert set(listener.arp) == {c.ip("ann")}


def test_a_neighbour_that_remembers_another_mac_learns_the_new_one_at_once(host: Host) -> None:
    endpoint = {"IPAMConfig": {"IPv4Address": "10.57.0.9"}}
    with network(host, "move", subnet="10.57.0.0/24"), host.run("peer", network="move") as peer:
        for mac in ("02:00:00:00:00:01", "02:00:00:00:00:02"):
            with host.run("c", network="move", endpoint={**endpoint, "MacAddress": mac}):
                seen = json.loads(peer.ns.ip("-j", "neighbour", "show", "10.57.0.9"))
                assert not seen or seen[0]["lladdr"] == mac
                assert peer.ns.pings("10.57.0.9")


def test_announcing_can_be_switched_off(host: Host) -> None:
    with (
        network(host, "mute", subnet="10.58.0.0/24", Options={f"{ADVERTISE}nmsgs": "0"}) as identifier,
        listening(host, identifier) as listener,
        host.run("c", network="mute") as c,
        host.run("d", network="mute"),
    ):
        assert c.ns.pings("10.58.0.1")
        listener.look()
        assert listener.arp == []


@pytest.mark.parametrize(
    ("option", "value"), [("nmsgs", "4"), ("nmsgs", "-1"), ("nmsgs", "x"), ("ms", "99"), ("ms", "2001"), ("ms", "1e3")]
)
def test_wrong_numbers_of_announcements_are_refused(host: Host, option: str, value: str) -> None:
    before = host.seen()
    with pytest.raises(ApiError, match=f"{ADVERTISE}{option} must be in the range") as refused:
        host.network("x", Options={f"{ADVERTISE}{option}": value})
    assert refused.value.status == 400
    assert host.seen() == before


def test_a_program_of_ones_own_does_not_take_the_hosts_network_from_the_daemon(host: Host) -> None:
    """``import fairlead`` beside a daemon in one network namespace: refused, and the daemon's things stand."""
    with (
        network(host, "safe", subnet="10.59.0.0/24"),
        host.run("a", network="safe") as a,
        host.run("b", network="safe"),
    ):
        before = host.seen()
        done = host.ns.run(sys.executable, "-c", "import fairlead; fairlead.Node().close()", check=False)
        assert done.returncode == 1
        assert "cannot take the table inet fairlead: another process owns it" in done.stderr
        assert host.seen() == before
        assert a.ns.pings(host.get("/containers/b/json")["NetworkSettings"]["Networks"]["safe"]["IPAddress"])
