"""Published ports that the host's own firewall decides about (SEC-15), and where ports are published by default."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.kernel.one_host.conftest import MakeHost
from tests.kernel.one_host.host import HOST_V4, HOST_V4_OTHER, HOST_V6, NEIGHBOUR_V4, NEIGHBOUR_V6, Host
from tests.kernel.one_host.programs import echo

#: An operator's own firewall: nothing comes in but answers, what Linux needs, and what ``allowed`` names.
FIREWALL = """
table inet operator {
  set allowed { type inet_proto . inet_service; }
  chain input {
    type filter hook input priority 0; policy drop;
    iifname "lo" accept
    ct state established,related accept
    meta l4proto { icmp, ipv6-icmp } accept
    meta l4proto . th dport @allowed accept
  }
}
"""


@pytest.fixture(scope="module")
def asking(make_host: MakeHost) -> Iterator[Host]:
    """A host that asks, with such a firewall, sources checked strictly, and a server that publishes ports."""
    host = make_host()
    host.flags = ("--publish-policy", "ask-host-firewall")
    host.ns.write("net/ipv4/conf/all/rp_filter", "1")
    host.start()
    host.ns.run("nft", FIREWALL)
    host.network("six", subnet="10.6.0.0/24", v6="fd00:6::/64")
    command = echo("server", "tcp:80", "udp:80")
    publish = {"80/tcp": ["8080", f"{HOST_V4_OTHER}@8081"], "80/udp": ["8080"]}
    with host.run("server", command, network="six", publish=publish):
        yield host


def allow(host: Host, verb: str, what: str) -> None:
    host.ns.run("nft", verb, "element", "inet", "operator", "allowed", f"{{ {what} }}")


def test_sec_15_a_published_port_waits_for_the_hosts_firewall(asking: Host) -> None:
    outside = asking.neighbour
    for address in (HOST_V4, HOST_V6):
        assert not outside.reaches(address, 8080)
        assert not outside.reaches(address, 8080, "udp")
    allow(asking, "add", "tcp . 8080, udp . 8080")
    for _ in range(3):
        assert outside.tcp(HOST_V4, 8080)[:2] == outside.udp(HOST_V4, 8080)[:2] == ["server", NEIGHBOUR_V4]
        assert outside.tcp(HOST_V6, 8080)[:2] == outside.udp(HOST_V6, 8080)[:2] == ["server", NEIGHBOUR_V6]
    with outside.connected(HOST_V4, 8080) as client:
        client.recv(4096)
        allow(asking, "delete", "tcp . 8080, udp . 8080")
        assert not outside.reaches(HOST_V4, 8080)
        client.sendall(b"still here")
        assert client.recv(4096) == b"still here"


def test_sec_15_a_port_of_one_address_is_asked_for_too(asking: Host) -> None:
    outside = asking.neighbour
    assert not outside.reaches(HOST_V4_OTHER, 8081)
    allow(asking, "add", "tcp . 8081")
    assert outside.tcp(HOST_V4_OTHER, 8081)[0] == "server"
    assert not outside.reaches(HOST_V4, 8081)
    allow(asking, "delete", "tcp . 8081")


def test_sec_15_the_host_and_its_containers_need_not_ask(asking: Host) -> None:
    with asking.run("mate", network="six") as mate, asking.run("sibling") as sibling:
        assert asking.ns.tcp("127.0.0.1", 8080)[0] == asking.ns.tcp(HOST_V4, 8080)[0] == "server"
        assert mate.ns.tcp(HOST_V4, 8080)[0] == sibling.ns.tcp(HOST_V4, 8080)[0] == "server"


def test_sec_15_other_services_of_the_host_are_as_they_were(asking: Host) -> None:
    with asking.server(asking.ns, "own", "tcp:9000", "udp:9000"):
        assert not asking.neighbour.reaches(HOST_V4, 9000)
        allow(asking, "add", "tcp . 9000, udp . 9000")
        assert asking.neighbour.tcp(HOST_V4, 9000)[0] == asking.neighbour.udp(HOST_V6, 9000)[0] == "own"


def test_the_policy_outlives_the_daemon(asking: Host) -> None:
    asking.stop()
    assert not asking.neighbour.reaches(HOST_V4, 8080)
    allow(asking, "add", "tcp . 8080")
    assert asking.neighbour.tcp(HOST_V4, 8080)[0] == "server"
    before = asking.log.read_text().count("repaired")
    asking.start()
    assert asking.neighbour.tcp(HOST_V4, 8080)[0] == "server"
    allow(asking, "delete", "tcp . 8080")
    assert asking.log.read_text().count("repaired") == before


def test_ports_are_published_where_the_daemon_is_told(make_host: MakeHost) -> None:
    host = make_host()
    host.flags = ("--ip", "127.0.0.1")
    host.start()
    with host.run("s", echo("s", "tcp:80"), publish={"80/tcp": ["8080", "0.0.0.0@8081"]}) as server:
        ports = server.inspect()["NetworkSettings"]["Ports"]["80/tcp"]
        assert {row["HostPort"]: row["HostIp"] for row in ports} == {"8080": "127.0.0.1", "8081": "0.0.0.0"}
        assert host.ns.tcp("127.0.0.1", 8080)[0] == "s"
        assert not host.neighbour.reaches(HOST_V4, 8080)
        assert host.neighbour.tcp(HOST_V4, 8081)[0] == "s"


@pytest.mark.parametrize("policy", ["open", "ask-host-firewall"])
def test_sec_15_the_report_of_exposure_agrees_with_a_probe(make_host: MakeHost, policy: str) -> None:
    host = make_host()
    host.flags = ("--publish-policy", policy)
    host.start()
    host.ns.run("nft", FIREWALL)
    publish = {"80/tcp": ["8080", "127.0.0.1@8081", f"{HOST_V4_OTHER}@8082"]}
    with host.run("s", echo("s", "tcp:80"), publish=publish):
        found = {row["HostPort"]: row["Reach"] for row in host.get("/fairlead/exposure")}
        open_at = {8080: (True, True), 8081: (False, False), 8082: (False, True)} if policy == "open" else {}
        seen = {
            port: tuple(
                host.neighbour.reaches(address, port, expect=expect)
                for address, expect in zip((HOST_V4, HOST_V4_OTHER), open_at.get(port, (False, False)), strict=True)
            )
            for port in found
        }
        if policy == "open":
            assert found == {8080: "any", 8081: "host", 8082: "address"}
            assert seen == open_at
        else:
            assert found == {8080: "host-firewall", 8081: "host", 8082: "host-firewall-address"}
            assert not any(any(answers) for answers in seen.values())
            allow(host, "add", ", ".join(f"tcp . {port}" for port in found))
            assert host.neighbour.reaches(HOST_V4, 8080, expect=True)
            assert not host.neighbour.reaches(HOST_V4, 8081)
            assert host.neighbour.reaches(HOST_V4_OTHER, 8082, expect=True)
        lines = host.cli("port", "--exposure").stdout.splitlines()
        assert lines[1] == "127.0.0.1:8081 -> s:80/tcp: this host only"
        assert host.cli("port", "--exposure", "s").stdout.splitlines() == lines
