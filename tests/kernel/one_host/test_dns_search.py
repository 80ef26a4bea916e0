"""SEC-20: single labels are ours, present or absent, whatever search lists and ndots say. The outside answers everything."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.kernel.one_host.containers import Container
from tests.kernel.one_host.host import NEIGHBOUR_V4, Host
from tests.kernel.one_host.questions import ask
from tests.kernel.one_host.upstream import OUTSIDE_V4, Upstream


@pytest.fixture(scope="module")
def upstream(host: Host) -> Iterator[Upstream]:
    server = Upstream(host.neighbour, NEIGHBOUR_V4)
    yield server
    server.close()


@pytest.fixture(scope="module")
def db(host: Host, upstream: Upstream) -> Iterator[Container]:
    host.network("web")
    with host.run("db", network="web") as container:
        yield container
    host.remove_network("web")


def found(container: Container, name: str) -> set[str]:
    """What the C library inside finds."""
    lines = container.exec("getent", "ahostsv4", name, check=False).stdout.splitlines()
    return {line.split()[0] for line in lines}


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"DnsOptions": ["ndots:0"]},
        {"DnsOptions": ["ndots:1"]},
        {"DnsOptions": ["ndots:5"]},
        {"DnsSearch": ["."]},
    ],
    ids=["plain", "ndots0", "ndots1", "ndots5", "cleared"],
)
@pytest.mark.parametrize("hostname", ["asks", "asks.corp.example"])
def test_sec_20_single_labels_are_ours(
    host: Host, db: Container, upstream: Upstream, settings: dict[str, list[str]], hostname: str
) -> None:
    with host.run("asks", network="web", host_config=settings, Hostname=hostname) as asks:
        before = len(upstream.asked)
        assert found(asks, "db") == {db.ip()}
        assert found(asks, "absent") == set()
        assert not upstream.asked[before:]
        assert found(asks, "db.corp.example") == {OUTSIDE_V4}


def test_sec_20_a_list_that_the_user_names_is_used_but_never_against_a_container(
    host: Host, db: Container, upstream: Upstream
) -> None:
    for options in ([], ["ndots:1"], ["ndots:5"]):
        settings = {"DnsOptions": options, "DnsSearch": ["corp.example"]}
        with host.run("asks", network="web", host_config=settings) as asks:
            assert "search corp.example" in asks.read("/etc/resolv.conf").splitlines()
            assert found(asks, "db") == {db.ip()}
            assert found(asks, "intranet") == {OUTSIDE_V4}
            assert ask(asks, "intranet") == "NXDOMAIN"


def test_the_default_bridge_and_the_hosts_own_network_keep_the_hosts_list(host: Host, upstream: Upstream) -> None:
    for network in ("bridge", "host"):
        with host.run("asks", network=network) as asks:
            assert "search corp.example" in asks.read("/etc/resolv.conf").splitlines()
