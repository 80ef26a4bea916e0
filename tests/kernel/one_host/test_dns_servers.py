"""Whom containers ask: the host's servers as its file now says, on loopback too; the daemon's; their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.kernel.one_host.conftest import MakeHost
from tests.kernel.one_host.containers import Container
from tests.kernel.one_host.host import NEIGHBOUR_V4, Host
from tests.kernel.one_host.programs import python
from tests.kernel.one_host.questions import ask
from tests.kernel.one_host.upstream import OUTSIDE_V4, OWN_SERVER, OWN_V4, Upstream
from tests.kernel.one_host.waiting import until

#: A second server outside, and where systemd-resolved's stub listens.
SECOND_V4, STUB_V4 = "198.18.0.53", "127.0.0.53"


@pytest.fixture
def first(host: Host) -> Iterator[Upstream]:
    server = Upstream(host.neighbour, NEIGHBOUR_V4)
    yield server
    server.close()


@pytest.fixture
def second(host: Host) -> Iterator[Upstream]:
    host.neighbour.ip("address", "add", f"{SECOND_V4}/24", "dev", "eth0")
    server = Upstream(host.neighbour, SECOND_V4)
    yield server
    server.close()
    host.neighbour.ip("address", "del", f"{SECOND_V4}/24", "dev", "eth0")


@pytest.fixture
def named(host: Host) -> Iterator[Container]:
    host.network("named")
    with host.run("named", network="named") as container:
        yield container
    host.remove_network("named")


@pytest.fixture
def source(host: Host) -> Iterator[Path]:
    """The host's resolv.conf, as it was again afterwards."""
    path = host.folder / "resolv.conf"
    before = path.read_text()
    yield path
    path.write_text(before)


def servers(container: Container) -> list[str]:
    lines = container.read("/etc/resolv.conf").splitlines()
    return [line.split()[1] for line in lines if line.startswith("nameserver")]


def test_running_containers_follow_the_hosts_file(
    host: Host, named: Container, source: Path, first: Upstream, second: Upstream
) -> None:
    with host.run("plain") as plain, host.run("edited") as edited:
        edited.exec("sh", "-c", "echo '# mine' >> /etc/resolv.conf")
        assert ask(named, "a.example.com") == [OUTSIDE_V4] and not second.asked
        source.write_text(f"nameserver {SECOND_V4}\n")
        until(lambda: servers(plain) == [SECOND_V4], "the file of a running container")
        until(lambda: f"host({SECOND_V4})" in named.read("/etc/resolv.conf"), "and of one with a server of ours")
        before = len(first.asked)
        assert ask(named, "b.example.com") == [OUTSIDE_V4]
        assert len(first.asked) == before and "b.example.com." in second.names()
        assert servers(edited) == [NEIGHBOUR_V4] and "# mine" in edited.read("/etc/resolv.conf")


def test_what_changed_while_the_daemon_was_away_is_followed_at_its_start(
    host: Host, named: Container, source: Path, second: Upstream
) -> None:
    with host.run("plain") as plain:
        host.stop()
        source.unlink()
        target = host.folder / "real.conf"
        target.write_text(f"nameserver {SECOND_V4}\n")
        source.symlink_to("real.conf")
        host.start()
        until(lambda: servers(plain) == [SECOND_V4], "the file of a container that was running")
        assert ask(named, "c.example.com") == [OUTSIDE_V4]
        target.write_text(f"nameserver {NEIGHBOUR_V4}\n")
        until(lambda: servers(plain) == [NEIGHBOUR_V4], "a change behind the link")
        source.unlink()


def test_a_server_on_the_hosts_loopback_is_asked_from_the_host(host: Host, named: Container, source: Path) -> None:
    server = Upstream(host.ns, STUB_V4)
    try:
        source.write_text(f"nameserver {STUB_V4}\n")
        until(lambda: f"host({STUB_V4})" in named.read("/etc/resolv.conf"), "the new server in the comment")
        for tcp in (False, True):
            assert ask(named, "d.example.com", tcp=tcp) == [OUTSIDE_V4]
        with host.run("own", network="host") as own:
            assert servers(own) == [STUB_V4]
    finally:
        server.close()


def test_a_container_may_be_the_hosts_server(host: Host, named: Container, source: Path) -> None:
    publish = {"53/udp": ["127.0.0.1@53"], "53/tcp": ["127.0.0.1@53"]}
    with host.run("ns", python(OWN_SERVER, "0.0.0.0"), publish=publish) as ns:
        for proto in ("udp", "tcp"):
            ns.wait_listening(53, proto)
        source.write_text("nameserver 127.0.0.1\n")
        until(lambda: "host(127.0.0.1)" in named.read("/etc/resolv.conf"), "the new server in the comment")
        for tcp in (False, True):
            assert ask(named, f"tcp-{tcp}.example.com", tcp=tcp) == [OWN_V4]


def test_a_server_that_the_user_names_is_asked_from_inside_and_our_own_address_is_none(
    host: Host, named: Container, first: Upstream
) -> None:
    server = Upstream(named.ns, "127.0.0.1")
    try:
        settings = {"Dns": ["127.0.0.11", "127.0.0.1"], "NetworkMode": "named"}
        assert ask(named, "outside.example.com") == [OUTSIDE_V4]
        with host.run("asks", network="named", host_config=settings) as asks:
            assert servers(asks) == ["127.0.0.11"]
            assert ask(asks, "e.example.com") == "SERVFAIL"
            inside = Upstream(asks.ns, "127.0.0.1")
            assert ask(asks, "f.example.com") == [OUTSIDE_V4] and inside.names() == ["f.example.com."]
            inside.close()
        assert not server.asked and "f.example.com." not in first.names()
    finally:
        server.close()


def test_options_and_search_domains_reach_the_file(host: Host, named: Container) -> None:
    options = ["ndots:2", "timeout:1", "attempts:3", "rotate", "edns0", "use-vc", "trust-ad"]
    words = [word for option in options for word in ("--dns-option", option)]
    said = host.cli(
        "run", "--rm", "--network", "named", *words, "--dns-search", "a.example", "host", "cat", "/etc/resolv.conf"
    ).stdout.splitlines()
    assert f"options {' '.join(options)}" in said and "search a.example" in said


def test_servers_of_the_daemon_are_for_containers_that_name_none(make_host: MakeHost) -> None:
    host = make_host()
    host.flags = ("--dns", "dns.example")
    with pytest.raises(AssertionError, match="invalid DNS server"):
        host.start()
    host.flags = ("--dns", SECOND_V4, "--dns-search", "daemon.example", "--dns-opt", "rotate")
    host.start()
    host.network("named")
    with (
        host.run("plain") as plain,
        host.run("named", network="named") as named,
        host.run("own", network="named", host_config={"Dns": ["198.18.0.54"], "DnsSearch": ["."]}) as own,
    ):
        assert servers(plain) == [SECOND_V4]
        assert servers(named) == ["127.0.0.11"] and f"# ExtServers: [{SECOND_V4}]" in named.read("/etc/resolv.conf")
        assert {"search daemon.example", "options rotate ndots:0"} <= set(named.read("/etc/resolv.conf").splitlines())
        assert "# ExtServers: [198.18.0.54]" in own.read("/etc/resolv.conf")
        assert not [line for line in own.read("/etc/resolv.conf").splitlines() if line.startswith("search")]
    host.remove_network("named")
