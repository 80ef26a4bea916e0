"""Names: who resolves whom, what leaves the host, and what never does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.kernel.one_host.containers import Container
from tests.kernel.one_host.host import NEIGHBOUR_V4, Host
from tests.kernel.one_host.questions import answer, ask, reverse
from tests.kernel.one_host.upstream import OUTSIDE_V4, OUTSIDE_V6, Upstream


@pytest.fixture(scope="module")
def upstream(host: Host) -> Iterator[Upstream]:
    server = Upstream(host.neighbour, NEIGHBOUR_V4)
    yield server
    server.close()


@pytest.fixture(scope="module")
def web(host: Host, upstream: Upstream) -> Iterator[dict[str, Container]]:
    """Two containers of a dual-stack network, one of them under more names, and one of another network."""
    host.network("web", subnet="10.7.0.0/24", v6="fd00:7::/64")
    host.network("back", subnet="10.8.0.0/24")
    made = {
        "db": host.run("db", network="web", endpoint={"Aliases": ["store", "Cache.Local"]}, Hostname="box"),
        "app": host.run("app", network="web"),
        "lone": host.run("lone", network="back"),
    }
    yield made
    for container in made.values():
        container.remove()
    host.remove_network("web")
    host.remove_network("back")


@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
def test_every_name_of_a_container_has_its_addresses(web: dict[str, Container], tcp: bool) -> None:
    db, app = web["db"], web["app"]
    for name in ("db", "DB", "store", "cache.local", db.id[:12], "box", "db.web", "store.web", "db.WEB."):
        assert ask(app, name, tcp=tcp) == [db.ip()], name
        assert ask(app, name, "AAAA", tcp=tcp) == [db.ip6()], name


def test_an_address_has_the_name_of_its_container(web: dict[str, Container]) -> None:
    db, app = web["db"], web["app"]
    assert reverse(app, db.ip()) == ["db.web."]
    assert reverse(app, db.ip6()) == ["db.web."]
    assert reverse(db, app.ip()) == ["app.web."]


def test_a_known_name_without_a_record_of_the_kind_is_no_error(web: dict[str, Container]) -> None:
    assert ask(web["app"], "db", "MX") == []
    assert ask(web["lone"], "lone", "AAAA") == []


def test_a_name_of_another_network_does_not_resolve(web: dict[str, Container], upstream: Upstream) -> None:
    assert ask(web["lone"], "db") == "NXDOMAIN"
    assert ask(web["app"], "lone") == "NXDOMAIN"
    assert "db." not in upstream.names()


def test_a_name_is_known_as_long_as_its_container_is_connected(host: Host, web: dict[str, Container]) -> None:
    with host.run("guest", network="web") as guest:
        assert ask(web["app"], "guest") == [guest.ip()]
        host.disconnect("web", "guest")
        assert ask(web["app"], "guest") == "NXDOMAIN"
        host.connect("web", "guest", Aliases=["visitor"])
        assert ask(web["app"], "guest") == ask(web["app"], "visitor") == [guest.ip()]
    assert ask(web["app"], "guest") == ask(web["app"], "visitor") == "NXDOMAIN"


def test_an_alias_may_be_shared(host: Host, web: dict[str, Container]) -> None:
    with (
        host.run("one", network="web", endpoint={"Aliases": ["pool"]}) as one,
        host.run("two", network="web", endpoint={"Aliases": ["pool"]}) as two,
    ):
        both = sorted([one.ip(), two.ip()])
        assert ask(web["app"], "pool") == both
        firsts = {answer(web["app"], "pool").answer[0][0].to_text() for _ in range(40)}
        assert sorted(firsts) == both


def test_other_names_are_asked_outside(web: dict[str, Container], upstream: Upstream) -> None:
    assert ask(web["app"], "www.example.com") == [OUTSIDE_V4]
    assert ask(web["app"], "www.example.com", "AAAA") == [OUTSIDE_V6]
    assert ask(web["app"], "tcp.example.com", tcp=True) == [OUTSIDE_V4]
    assert {"www.example.com.", "tcp.example.com."} <= set(upstream.names())


def test_a_long_answer_comes_over_tcp(web: dict[str, Container]) -> None:
    assert answer(web["app"], "long.example.com", "TXT").flags & 0x0200  # TC
    assert len(ask(web["app"], "long.example.com", "TXT", tcp=True)) == 1


def test_single_labels_never_leave(web: dict[str, Container], upstream: Upstream) -> None:
    for name in ("nobody", "localhosts", "nothing"):
        assert ask(web["app"], name) == "NXDOMAIN"
        assert ask(web["app"], name, "AAAA", tcp=True) == "NXDOMAIN"
        assert f"{name}." not in upstream.names()


@pytest.mark.parametrize("kind", ["A", "AAAA", "TXT", "PTR"])
def test_an_internal_network_asks_nobody_outside(host: Host, upstream: Upstream, kind: str) -> None:
    host.network("vault", Internal=True)
    try:
        with host.run("in1", network="vault") as one, host.run("in2", network="vault") as two:
            assert ask(one, "in2") == [two.ip()]
            name = "4.3.2.203.in-addr.arpa" if kind == "PTR" else f"secret-{kind.lower()}.example.com"
            before = len(upstream.asked)
            assert ask(one, name, kind) == "NXDOMAIN"
            assert ask(one, name, kind, tcp=True) == "NXDOMAIN"
            assert len(upstream.asked) == before
    finally:
        host.remove_network("vault")


def test_one_way_out_is_enough_to_ask_outside(host: Host, upstream: Upstream) -> None:
    host.network("vault", Internal=True)
    host.network("open")
    with host.run("mixed", network="vault") as mixed:
        assert ask(mixed, "a.example.com") == "NXDOMAIN"
        host.connect("open", "mixed")
        assert ask(mixed, "a.example.com") == [OUTSIDE_V4]
        host.disconnect("open", "mixed")
        assert ask(mixed, "a.example.com") == "NXDOMAIN"
    host.remove_network("vault")
    host.remove_network("open")


def test_programs_inside_use_it_like_any_name_server(web: dict[str, Container]) -> None:
    app, db = web["app"], web["db"]
    assert db.ip() in app.exec("dig", "+short", "db").stdout
    assert "db.web." in app.exec("dig", "+short", "-x", db.ip()).stdout
    assert OUTSIDE_V4 in app.exec("dig", "+short", "+tcp", "a.example.com").stdout
    assert db.ip6() in app.exec("getent", "ahostsv6", "db").stdout
    app.exec("ping", "-n", "-c1", "-W30", "store")


def test_the_default_bridge_has_no_names_of_containers(host: Host, upstream: Upstream) -> None:
    with host.run("plain") as plain, host.run("other") as other:
        assert f"nameserver {NEIGHBOUR_V4}" in plain.read("/etc/resolv.conf")
        assert plain.exec("getent", "hosts", "www.example.com").stdout.split()[0] in (OUTSIDE_V4, OUTSIDE_V6)
        assert other.ip() not in plain.exec("getent", "ahosts", "other").stdout


def test_a_name_server_of_the_users_own_is_asked_from_inside(host: Host, upstream: Upstream) -> None:
    host.network("own")
    with host.run("picky", network="own", host_config={"Dns": [NEIGHBOUR_V4], "DnsSearch": ["."]}) as picky:
        assert "search" not in picky.read("/etc/resolv.conf").replace("Overrides: [nameservers search]", "")
        assert ask(picky, "b.example.com") == [OUTSIDE_V4]
    host.remove_network("own")


def test_a_container_may_have_a_name_server_of_its_own(host: Host) -> None:
    host.network("dns")
    with host.run("ns", network="dns") as container:
        server = Upstream(container.ns, "0.0.0.0")
        try:
            assert ask(container, "ns") == [container.ip()]
        finally:
            server.close()
    host.remove_network("dns")
