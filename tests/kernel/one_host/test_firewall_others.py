"""Beside the firewalls of others, the real ones: what is told of them, and what it takes to live with each."""

from __future__ import annotations

import signal
from collections.abc import Callable

from tests.kernel.one_host.conftest import MakeHost
from tests.kernel.one_host.firewalls import Ufw, dockerd, firewalld
from tests.kernel.one_host.host import HOST_V4, NEIGHBOUR_V4, Host
from tests.kernel.one_host.probing import asking
from tests.kernel.one_host.programs import echo
from tests.kernel.one_host.waiting import until


def rows(host: Host) -> dict[str, str]:
    """What ``info`` tells of the firewall."""
    return dict(host.get("/info")["FirewallBackend"]["Info"])


def warned(host: Host, words: str) -> bool:
    """Whether ``info`` warns with these words."""
    return any(words in text for text in host.get("/info")["Warnings"] or ())


def told(condition: Callable[[], bool], what: str) -> None:
    until(condition, f"info tells that {what}")


def test_sec_15_ufw_decides_and_is_told_of(make_host: MakeHost) -> None:
    host = make_host()
    host.flags = ("--publish-policy", "ask-host-firewall")
    host.start()
    ufw = Ufw(host)
    with (
        host.server(host.neighbour, "outside", "tcp:7000"),
        host.run("s", echo("s", "tcp:80"), publish={"80/tcp": ["8080"]}) as server,
    ):
        ufw("--force", "enable")
        told(lambda: rows(host)["Beside"] == "ufw", "ufw is there")
        told(lambda: warned(host, "ip filter FORWARD"), "it drops what is forwarded")
        assert not server.ns.reaches(NEIGHBOUR_V4, 7000)
        ufw("default", "allow", "routed")
        told(lambda: not warned(host, "ip filter FORWARD"), "it does no more")
        assert server.ns.tcp(NEIGHBOUR_V4, 7000)[0] == "outside"
        assert not host.neighbour.reaches(HOST_V4, 8080)
        ufw("allow", "8080/tcp")
        assert host.neighbour.tcp(HOST_V4, 8080)[0] == "s"
        ufw("--force", "delete", "allow", "8080/tcp")
        assert not host.neighbour.reaches(HOST_V4, 8080)
        ufw("disable")


def test_sec_10_firewalld_reloads_and_lets_containers_pass(make_host: MakeHost) -> None:
    host = make_host()
    host.start()
    publish = {"80/udp": ["8080"]}
    host.network("red", subnet="10.1.0.0/24")
    with (
        firewalld(host) as firewall,
        host.server(host.neighbour, "outside", "tcp:7000"),
        host.run("s", echo("s", "udp:80"), publish=publish) as server,
        host.run("other", network="red") as other,
    ):
        told(lambda: host.get("/info")["FirewallBackend"]["Driver"] == "nftables+firewalld", "firewalld is there")
        assert warned(host, "--firewall-hook firewalld")
        assert not server.ns.reaches(NEIGHBOUR_V4, 7000)
        host.stop(signal.SIGTERM)
        host.flags = ("--firewall-hook", "firewalld")
        host.launch(**firewall.environment)
        until(host.responds, "the daemon with a hook")
        for container in (server, other):
            until(lambda ns=container.ns: ns.reaches(NEIGHBOUR_V4, 7000), "its bridge is in a zone")  # type: ignore[misc]
        with asking(other.ns, server.ip(), 80) as sibling, asking(host.neighbour, HOST_V4, 8080) as published:
            until(lambda: len(published.answered) > 20, "the first answers")
            firewall("--reload")
            seen = len(published.answered)
            until(lambda: len(published.answered) > seen + 20, "answers after the reload")
        assert sibling.sent > 20
        assert sibling.answered == []
        until(lambda: server.ns.reaches(NEIGHBOUR_V4, 7000), "the bridge is in its zone again")
        told(lambda: rows(host).get("Hook") == "firewalld", "the hook is in place")
        host.stop(signal.SIGTERM)
        host.flags = ()
        host.launch(**firewall.environment)
        until(host.responds, "the daemon without a hook")
        until(lambda: "fairlead" not in firewall("--get-zones").split(), "the zone is gone")
    host.remove_network("red")


def test_dockers_rules_let_containers_pass_by_the_hook_only(make_host: MakeHost) -> None:
    host = make_host(forwarding=False)
    with dockerd(host), host.server(host.neighbour, "outside", "tcp:7000"):
        host.start()
        assert rows(host)["Beside"] == "docker"
        assert warned(host, "--firewall-hook docker-user")
        theirs = host.ns.run("iptables-save", "-t", "nat").stdout
        with host.run("s", echo("s", "tcp:80"), publish={"80/tcp": ["8080"]}) as server:
            assert not server.ns.reaches(NEIGHBOUR_V4, 7000)
            assert not host.neighbour.reaches(HOST_V4, 8080)
            host.stop(signal.SIGTERM)
            host.flags = ("--firewall-hook", "docker-user")
            host.start()
            told(lambda: not warned(host, "--firewall-hook docker-user"), "the hook is in place")
            assert server.ns.tcp(NEIGHBOUR_V4, 7000)[0] == "outside"
            assert host.neighbour.tcp(HOST_V4, 8080)[0] == "s"
            host.network("later")
            with host.run("l", network="later") as later:
                until(lambda: later.ns.reaches(NEIGHBOUR_V4, 7000), "the hook knows the new network")
            host.remove_network("later")
            host.ns.run("iptables", "-F", "DOCKER-USER")
            until(lambda: server.ns.reaches(NEIGHBOUR_V4, 7000), "the hook is put again")
        host.stop(signal.SIGTERM)
        host.flags = ()
        host.start()
        until(lambda: "FAIRLEAD" not in host.ns.run("iptables-save").stdout, "the hook is gone")
        assert _without_counters(host.ns.run("iptables-save", "-t", "nat").stdout) == _without_counters(theirs)


def _without_counters(text: str) -> list[str]:
    return [line.partition(" [")[0] for line in text.splitlines() if not line.startswith("#")]
