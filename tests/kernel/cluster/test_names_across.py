"""Names across hosts, asked as programs ask: all kinds of records, what there is not, and who is asked about it."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import pytest
from tests.kernel.cluster.bed import SEA, Cluster
from tests.kernel.one_host.waiting import until

#: Prints what the name server says to a query, both in hexadecimal digits; asks again while it is silent, as a resolver.
_ASK = """
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
    client.settimeout(3.0)
    for _ in range(10):
        client.sendto(bytes.fromhex(sys.argv[1]), ("127.0.0.11", 53))
        try:
            print(client.recv(65535).hex())
            break
        except TimeoutError:
            continue
"""
_WAIT = ["/usr/bin/python3", "-c", "import time; time.sleep(3600)"]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    found = Cluster(tmp_path_factory.mktemp("across"), 2)
    try:
        found.network(SEA, "--ipv6", "--subnet", "10.77.0.0/24", "--subnet", "fd77::/64")
        run(found, "h1", "asks")
        run(found, "h2", "web", ExposedPorts={"80/tcp": {}, "53/udp": {}}, aliases=["front"])
        run(found, "h2", "api", ExposedPorts={"80/tcp": {}}, aliases=["front"])
        until(lambda: len(records(ask(found, "front"))) == 2, "h1 knows the names of h2")
        yield found
    finally:
        found.close()


def run(cluster: Cluster, host: str, name: str, aliases: list[str] | None = None, **more: object) -> None:
    """A container that waits."""
    endpoint = {"Aliases": aliases or []}
    body = {
        "Image": "host",
        "Cmd": _WAIT,
        "HostConfig": {"NetworkMode": SEA},
        "NetworkingConfig": {"EndpointsConfig": {SEA: endpoint}},
        **more,
    }
    api = cluster.api(host)
    made: Any = api.post("/containers/create", body, query={"name": name})
    api.post(f"/containers/{made['Id']}/start")


def ask(cluster: Cluster, name: str, kind: str = "A", asker: str = "asks", host: str = "h1") -> dns.message.Message:
    """The reply inside a container."""
    query = dns.message.make_query(name, kind).to_wire()
    said = cluster.run_inside(host, asker, "/usr/bin/python3", "-c", _ASK, query.hex())
    return dns.message.from_wire(bytes.fromhex(said))


def records(reply: dns.message.Message) -> list[str]:
    return sorted(item.to_text() for rrset in reply.answer for item in rrset)


def addresses(cluster: Cluster, host: str, name: str) -> tuple[str, str]:
    """A container's IPv4 and IPv6 address."""
    told = cluster.inspect(host, name)["NetworkSettings"]["Networks"][SEA]
    return told["IPAddress"], told["GlobalIPv6Address"]


def test_names_aliases_and_both_families_answer_for_two_seconds(cluster: Cluster) -> None:
    web, api = addresses(cluster, "h2", "web"), addresses(cluster, "h2", "api")
    short = cluster.inspect("h2", "web")["Id"][:12]
    for name in ("web", "WEB", short, f"web.{SEA}", f"{short}.{SEA}"):
        assert records(ask(cluster, name)) == [web[0]], name
        assert [str(ip_address(one)) for one in records(ask(cluster, name, "AAAA"))] == [web[1]]
    for name in ("front", f"front.{SEA}"):
        assert records(ask(cluster, name)) == sorted([web[0], api[0]])
    assert ask(cluster, "web").answer[0].ttl == 2
    assert records(ask(cluster, "asks", asker="web", host="h2")) == [addresses(cluster, "h1", "asks")[0]]


def test_addresses_have_names(cluster: Cluster) -> None:
    for address in addresses(cluster, "h2", "web"):
        assert records(ask(cluster, ip_address(address).reverse_pointer, "PTR")) == [f"web.{SEA}."]


def test_ports_have_names(cluster: Cluster) -> None:
    for asker, host in (("asks", "h1"), ("web", "h2")):
        reply = ask(cluster, "_80._tcp.front", "SRV", asker, host)
        assert records(reply) == [f"0 0 80 api.{SEA}.", f"0 0 80 web.{SEA}."]
        along = {item.to_text() for rrset in reply.additional for item in rrset}
        assert along == {*addresses(cluster, "h2", "web"), *addresses(cluster, "h2", "api")}
    assert records(ask(cluster, f"_udp.web.{SEA}", "SRV")) == [f"0 0 53 web.{SEA}."]
    assert ask(cluster, "_53._tcp.web", "SRV").rcode() == dns.rcode.NXDOMAIN


def test_what_is_not_there_is_not_there_at_once_sec_20(cluster: Cluster) -> None:
    """Nobody outside is asked: the lab's hosts have no server that would answer, so that a forwarded query would end in
    SERVFAIL or silence."""
    for name, code in (("web", "NOERROR"), ("absent", "NXDOMAIN"), (f"absent.{SEA}", "NXDOMAIN")):
        reply = ask(cluster, name, "MX")
        assert dns.rcode.to_text(reply.rcode()) == code and not reply.answer
        assert [(rrset.rdtype, rrset.ttl) for rrset in reply.authority] == [(dns.rdatatype.SOA, 2)]


def test_names_go_before_their_container_does(cluster: Cluster) -> None:
    run(cluster, "h2", "late", ExposedPorts={"7/tcp": {}})
    until(lambda: records(ask(cluster, "_7._tcp.late", "SRV")) == [f"0 0 7 late.{SEA}."], "h1 knows of late")
    cluster.remove("h2", "late")
    until(lambda: ask(cluster, "_7._tcp.late", "SRV").rcode() == dns.rcode.NXDOMAIN, "h1 has forgotten late")
    assert ask(cluster, f"late.{SEA}").rcode() == dns.rcode.NXDOMAIN
