"""What goes out of containers and what never does: SEC-07, extensions, long answers, and containers that are servers."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator

import dns.flags
import dns.message
import dns.rdataclass
import pytest
from tests.kernel.one_host.containers import Container
from tests.kernel.one_host.host import HOST_V4, NEIGHBOUR_V4, Host
from tests.kernel.one_host.namespace import ANSWER_S
from tests.kernel.one_host.programs import python
from tests.kernel.one_host.questions import SERVER, ask, reverse
from tests.kernel.one_host.upstream import CANONICAL, OUTSIDE_V4, OWN_SERVER, OWN_V4, Upstream

#: Counts everything for port 53 that arrives at the neighbour.
COUNTER = """
table inet seen {
    chain input {
        type filter hook prerouting priority -300
        meta l4proto { tcp, udp } th dport 53 counter
    }
}
"""


@pytest.fixture(scope="module")
def upstream(host: Host) -> Iterator[Upstream]:
    server = Upstream(host.neighbour, NEIGHBOUR_V4)
    yield server
    server.close()


@pytest.fixture(scope="module")
def app(host: Host, upstream: Upstream) -> Iterator[Container]:
    host.network("open")
    with host.run("app", network="open") as container:
        yield container
    host.remove_network("open")


def own_server(host: Host, name: str, *addresses: str, **fields: object) -> Container:
    """A container with a name server of its own, at work."""
    container = host.run(name, python(OWN_SERVER, *addresses), network="open", **fields)
    for proto in ("udp", "tcp"):
        container.wait_listening(53, proto)
    return container


def dig(container: Container, *words: str) -> str:
    return container.exec("dig", *words).stdout


def test_sec_07_internal_networks_send_nothing_out(host: Host, upstream: Upstream) -> None:
    host.neighbour.run("nft", COUNTER)
    host.network("vault", Internal=True)

    def counted() -> int:
        found = re.search(r"packets (\d+)", host.neighbour.run("nft", "list", "table", "inet", "seen").stdout)
        assert found
        return int(found[1])

    try:
        for settings in ({}, {"Dns": [NEIGHBOUR_V4]}, {"DnsOptions": ["ndots:5"], "DnsSearch": ["corp.example"]}):
            with host.run("in1", network="vault", host_config=settings) as one, host.run("in2", network="vault") as two:
                before = counted()
                assert ask(one, "in2") == [two.ip()]
                for tcp in (False, True):
                    for name, kind in (
                        ("random.example", "A"),
                        ("random.example", "AAAA"),
                        ("alias.example", "A"),
                        ("alias.example", "CNAME"),
                        ("random.example", "TXT"),
                        ("in2.vault.example", "A"),
                        ("single", "ANY"),
                    ):
                        assert ask(one, name, kind, tcp=tcp) == "NXDOMAIN", (name, kind)
                assert reverse(one, "203.0.113.7") == reverse(one, "2001:db8::7") == "NXDOMAIN"
                one.exec("getent", "ahosts", "random.example", check=False)
                assert counted() == before
        with host.run("both", network="vault") as both:
            host.network("way-out")
            host.connect("way-out", "both")
            assert ask(both, "alias.example") == [OUTSIDE_V4] and counted() > before
            host.disconnect("way-out", "both")
            assert ask(both, "alias.example") == "NXDOMAIN"
            host.remove_network("way-out")
    finally:
        host.neighbour.run("nft", "delete", "table", "inet", "seen")
        host.remove_network("vault")


def test_the_clients_extensions_go_out_as_they_are(app: Container, upstream: Upstream) -> None:
    said = dig(app, "+dnssec", "+bufsize=1400", "+nocookie", "extended.example.com")
    assert OUTSIDE_V4 in said and "EDNS: version: 0" in said
    query = next(each for each in upstream.queries if "extended" in each.question[0].name.to_text().lower())
    assert query.payload == 1400 and query.ednsflags & dns.flags.DO
    said = dig(app, "+noedns", "plain.example.com")
    assert OUTSIDE_V4 in said and "EDNS" not in said
    said = dig(app, "+bufsize=900", "+dnssec", "app")
    assert app.ip() in said and "flags: do" in said


def test_types_and_classes_go_out_as_they_are(app: Container, upstream: Upstream) -> None:
    before = len(upstream.queries)
    for kind, class_ in (("SRV", "IN"), ("HTTPS", "IN"), ("TYPE65300", "IN"), ("TXT", "CH"), ("ANY", "IN")):
        dig(app, "+tries=1", "-c", class_, "-t", kind, f"{kind}.{class_}.example.com")
    found = [(each.question[0].rdtype, each.question[0].rdclass) for each in upstream.queries[before:]]
    assert found == [(33, 1), (65, 1), (65300, 1), (16, dns.rdataclass.CH), (255, 1)]
    assert reverse(app, "203.0.113.7") == []
    assert "status: NOERROR" in dig(app, "-t", "SRV", "app") and "ANSWER: 0" in dig(app, "-t", "SRV", "app")
    assert len(upstream.queries) == before + 6


def test_canonical_names_and_long_answers_arrive_whole(app: Container, upstream: Upstream) -> None:
    assert dig(app, "+short", "alias.example.com").split() == [CANONICAL, OUTSIDE_V4]
    assert dig(app, "+short", "-t", "TXT", "long.example.com").count("xxx") > 20
    assert [proto for proto, name, _ in upstream.asked if name.lower() == "long.example.com."] == ["udp", "tcp"]


def test_an_answer_is_asked_for_once_and_shown_older(app: Container, upstream: Upstream) -> None:
    for _ in range(5):
        assert ask(app, "often.example.com") == [OUTSIDE_V4]
    assert upstream.names().count("often.example.com.") == 1


def test_many_queries_may_be_sent_over_one_connection_before_an_answer_is_read(app: Container) -> None:
    names = [name for number in range(15) for name in ("app", f"piped{number}.example.com", f"absent{number}")]
    with app.ns.socket(kind=socket.SOCK_STREAM) as client:
        client.settimeout(ANSWER_S)
        client.connect((SERVER, 53))
        for number, name in enumerate(names):
            query = dns.message.make_query(name, "A", id=number + 1).to_wire()
            client.sendall(len(query).to_bytes(2, "big") + query)
        answers = {}
        for _ in names:
            size = int.from_bytes(client.recv(2, socket.MSG_WAITALL), "big")
            message = dns.message.from_wire(client.recv(size, socket.MSG_WAITALL))
            answers[message.id] = message
    for number, name in enumerate(names):
        message = answers[number + 1]
        assert message.question[0].name.to_text() == f"{name}."
        assert message.rcode() == (3 if name.startswith("absent") else 0)


def test_programs_may_insist_on_tcp(host: Host, upstream: Upstream, app: Container) -> None:
    with host.run("vc", network="open", host_config={"DnsOptions": ["use-vc"]}) as container:
        assert container.exec("getent", "ahostsv4", "vc.example.com").stdout.split()[0] == OUTSIDE_V4
        assert ("tcp", "vc.example.com.", "A") in [(proto, name.lower(), kind) for proto, name, kind in upstream.asked]


@pytest.mark.parametrize("addresses", [("0.0.0.0",), ("127.0.0.11",), ("127.0.0.1",)], ids=["all", "ours", "loopback"])
def test_a_container_may_bind_port_53_and_keeps_its_names(
    host: Host, app: Container, upstream: Upstream, addresses: tuple[str, ...]
) -> None:
    with own_server(host, "ns", *addresses) as ns:
        for tcp in ([], ["+tcp"]):
            assert dig(ns, "+short", *tcp, "app").split() == [app.ip()]
            assert dig(ns, "+short", *tcp, "b.example.com").split() == [OUTSIDE_V4]
            if addresses == ("0.0.0.0",):
                assert dig(app, "+short", *tcp, f"@{ns.ip()}", "b.example.com").split() == [OWN_V4]
                assert dig(ns, "+short", *tcp, "@127.0.0.1", "app").split() == [OWN_V4]
            if addresses == ("127.0.0.1",):
                assert dig(ns, "+short", *tcp, "@127.0.0.1", "app").split() == [OWN_V4]


def test_a_published_port_53_does_not_catch_the_queries_of_containers(
    host: Host, app: Container, upstream: Upstream
) -> None:
    publish = {"53/udp": [f"{HOST_V4}@53"], "53/tcp": [f"{HOST_V4}@53"]}
    with own_server(host, "ns", "0.0.0.0", publish=publish) as ns:
        for container in (app, ns):
            for tcp in ([], ["+tcp"]):
                assert dig(container, "+short", *tcp, "app").split() == [app.ip()]
                assert dig(container, "+short", *tcp, "c.example.com").split() == [OUTSIDE_V4]
        for tcp in ([], ["+tcp"]):
            outside = host.neighbour.run("dig", "+short", *tcp, f"@{HOST_V4}", "app").stdout
            assert outside.split() == [OWN_V4]


def test_the_host_has_a_name_where_one_is_asked_for(host: Host, app: Container) -> None:
    settings = {"ExtraHosts": ["host.docker.internal:host-gateway"]}
    with host.run("asks", network="open", host_config=settings) as asks:
        gateway = host.get("/networks/bridge")["IPAM"]["Config"][0]["Gateway"]
        assert asks.exec("getent", "ahostsv4", "host.docker.internal").stdout.split()[0] == gateway
    assert app.exec("getent", "ahostsv4", "host.docker.internal", check=False).stdout.split()[:1] == [OUTSIDE_V4]


@pytest.mark.parametrize("network", ["bridge", "host", "none"])
def test_predefined_networks_have_no_embedded_server(host: Host, upstream: Upstream, network: str) -> None:
    with host.run("bare", network=network) as bare, bare.ns.socket(kind=socket.SOCK_DGRAM) as client:
        client.settimeout(ANSWER_S)
        client.connect((SERVER, 53))
        client.send(dns.message.make_query("bare", "A").to_wire())
        with pytest.raises(ConnectionRefusedError):
            client.recv(512)
        assert SERVER not in bare.read("/etc/resolv.conf")


def test_on_the_default_bridge_a_container_may_serve_the_address_itself_until_it_has_names(
    host: Host, app: Container
) -> None:
    with host.run("ns", python(OWN_SERVER, SERVER)) as ns:
        for proto in ("udp", "tcp"):
            ns.wait_listening(53, proto)
        for tcp in ([], ["+tcp"]):
            assert dig(ns, "+short", *tcp, f"@{SERVER}", "app").split() == [OWN_V4]
        host.connect("open", "ns")
        for tcp in ([], ["+tcp"]):
            assert dig(ns, "+short", *tcp, f"@{SERVER}", "app").split() == [app.ip()]
        host.disconnect("open", "ns")
        for tcp in ([], ["+tcp"]):
            assert dig(ns, "+short", *tcp, f"@{SERVER}", "app").split() == [OWN_V4]
