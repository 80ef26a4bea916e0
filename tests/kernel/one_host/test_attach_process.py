"""Connecting namespaces of others: bare processes and named namespaces, as a user does it."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.kernel.one_host.containers import Container
from tests.kernel.one_host.foreigners import Foreigner, held, named, process, sandboxes
from tests.kernel.one_host.host import NEIGHBOUR_V4, Host
from tests.kernel.one_host.programs import echo
from tests.kernel.one_host.upstream import OUTSIDE_V4, Upstream
from tests.kernel.one_host.waiting import until

from fairlead.api.client import ApiError, Client


@pytest.fixture(scope="module")
def net(host: Host) -> Iterator[str]:
    host.network("web", subnet="10.81.0.0/24", v6="fd00:81::/64")
    yield "web"
    host.remove_network("web")


@pytest.fixture(scope="module")
def ours(host: Host, net: str) -> Iterator[Container]:
    with host.run("ours", echo("ours", "tcp:80"), network=net) as container:
        yield container


def attach(host: Host, network: str, foreigner: Foreigner, *words: str) -> dict[str, str]:
    """Connect by the command line; the endpoint as ``network inspect`` tells it."""
    host.cli("network", "connect", *words, network, foreigner.target)
    found = [
        {"key": key, **member}
        for key, member in host.get(f"/networks/{network}")["Containers"].items()
        if key.startswith("ep-")
    ]
    return found[-1]


def address(member: dict[str, str], field: str = "IPv4Address") -> str:
    return member[field].partition("/")[0]


def test_a_process_and_a_container_reach_and_resolve_each_other(host: Host, net: str, ours: Container) -> None:
    with process(*echo("bare", "tcp:81")) as bare:
        member = attach(host, net, bare, "--name", "bare", "--alias", "naked")
        assert member["key"] == f"ep-{member['EndpointID']}"
        assert member["Name"] == "bare"
        own, own6 = address(member), address(member, "IPv6Address")
        assert bare.resolve("ours", "ahostsv4") == ours.ip()
        assert bare.resolve("ours.web", "ahostsv6") == ours.ip6()
        assert bare.resolve(ours.ip(), "hosts") == "ours.web"
        assert ours.exec("getent", "ahostsv4", "naked").stdout.split()[0] == own
        assert ours.exec("getent", "hosts", own).stdout.split()[1] == "bare.web"
        assert bare.ns.pings(ours.ip())
        assert bare.ns.pings(ours.ip6())
        assert ours.ns.pings(own)
        assert ours.ns.pings(own6)
        assert ours.ns.tcp(own, 81) == ["bare", ours.ip(), own]
        assert bare.ns.tcp(ours.ip(), 80)[0] == "ours"
        assert sandboxes(host)[0]["Target"] == bare.target
        host.cli("network", "disconnect", net, bare.target)
        assert (sandboxes(host), held(host)) == ([], [])
        until(bare.settled, "nothing of ours is left in the namespace")
        assert bare.links() == ["lo"]


def test_loopback_of_a_bare_namespace_is_brought_up_for_the_resolver(host: Host, net: str, ours: Container) -> None:
    with process(loopback=False) as bare:
        attach(host, net, bare)
        assert bare.resolve("ours", "ahostsv4") == ours.ip()
        host.cli("network", "disconnect", net, bare.target)


def test_a_named_namespace_is_one_sandbox_however_it_is_called(host: Host, net: str, ours: Container) -> None:
    host.network("back", subnet="10.82.0.0/24")
    with named() as blue:
        member = attach(host, net, blue)
        assert member["Name"] == blue.target.partition(":")[2]
        with subprocess.Popen(blue.command("sleep", "1000")) as inside:
            try:
                until(lambda: os.readlink(f"/proc/{inside.pid}/ns/net") != os.readlink("/proc/self/ns/net"), "inside")
                host.cli("network", "connect", "back", f"pid:{inside.pid}")
                path = f"netns:/run/netns/{member['Name']}"
                again = host.cli("network", "connect", net, path, check=False)
                assert again.returncode == 1
                assert f"endpoint with name {member['Name']} already exists in network web" in again.stderr
                found = sandboxes(host)
                assert [sorted(box["NetworkSettings"]["Networks"]) for box in found] == [["back", "web"]]
                assert [name for name in blue.links() if name.startswith("eth")] == ["eth0", "eth1"]
                assert blue.resolve("ours", "ahostsv4") == ours.ip()
                host.cli("network", "disconnect", "back", path)
                assert len(held(host)) == 1
            finally:
                inside.kill()
        host.cli("network", "disconnect", net, member["Name"])
    assert held(host) == []
    host.remove_network("back")


def test_the_sandbox_is_released_with_its_last_process(host: Host, net: str, ours: Container) -> None:
    with process() as bare:
        member = attach(host, net, bare, "--name", "mortal", "-p", "8181:81")
        with subprocess.Popen(bare.command("sleep", "1000")) as second:
            until(
                lambda: os.readlink(f"/proc/{second.pid}/ns/net") == os.readlink(f"/proc/{bare.pid}/ns/net"), "inside"
            )
            os.kill(bare.pid, 9)
            os.waitpid(bare.pid, 0)
            assert ours.ns.pings(address(member))  # another process lives there
            assert ours.exec("getent", "hosts", "mortal").returncode == 0
            second.kill()
        until(lambda: not sandboxes(host) and not held(host), "the sandbox is gone with its last process")
        assert ours.exec("getent", "hosts", "mortal", check=False).returncode != 0
        assert member["EndpointID"] not in str(host.get(f"/networks/{net}"))
        until(lambda: "8181" not in host.ruleset(), "its port is free")
        host.listen("0.0.0.0", 8181).close()


def test_the_sandbox_is_released_with_its_name(host: Host, net: str, ours: Container) -> None:
    with named() as blue:
        attach(host, net, blue)
        subprocess.run(["ip", "netns", "delete", blue.target.partition(":")[2]], check=True)
        until(lambda: not sandboxes(host) and not held(host), "the sandbox is gone with its name")


def test_what_was_there_stays_as_it_was(host: Host, net: str, ours: Container) -> None:
    with process() as bare:
        bare.lead_out()
        before = bare.ns.ip("route"), bare.ns.read("net/ipv4/ip_unprivileged_port_start")
        attach(host, net, bare)
        assert bare.links() == ["eth0", "eth1", "far0", "lo"]
        assert "default via 192.0.2.1 dev eth0" in bare.ns.ip("route")
        assert "10.81.0.1" not in bare.ns.ip("route")
        assert "default via fd00:81::1 dev eth1" in bare.ns.ip("-6", "route")  # there was none
        assert bare.ns.read("net/ipv4/ip_unprivileged_port_start") == before[1]
        host.cli("network", "disconnect", net, bare.target)
        until(bare.settled, "nothing of ours is left")
        assert (bare.ns.ip("route"), bare.ns.read("net/ipv4/ip_unprivileged_port_start")) == before


def test_gateway_priority_leads_out_through_us_and_leaves_the_old_way_in_place(host: Host, net: str) -> None:
    with process() as bare:
        bare.lead_out()
        attach(host, net, bare, "--gw-priority", "1")
        assert bare.ns.pings(NEIGHBOUR_V4)
        assert "default via 192.0.2.1 dev eth0" in bare.ns.ip("route")
        host.cli("network", "disconnect", net, bare.target)
        assert "192.0.2.1" in bare.ns.ip("route", "get", NEIGHBOUR_V4)


@pytest.mark.parametrize("led", [False, True], ids=["our-way-out", "its-own-way-out"])
def test_published_ports_reach_it(host: Host, net: str, led: bool) -> None:
    with process(*echo("bare", "tcp:81", "udp:81")) as bare:
        if led:
            bare.lead_out()
        attach(host, net, bare, "-p", "8282:81", "-p", "8282:81/udp")
        greeting = host.neighbour.tcp("198.18.0.1", 8282)
        assert greeting[0] == "bare"
        assert greeting[1] == ("10.81.0.1" if led else NEIGHBOUR_V4)
        assert host.neighbour.udp("198.18.0.1", 8282)[0] == "bare"
        assert host.ns.tcp("127.0.0.1", 8282)[0] == "bare"
        assert host.neighbour.tcp("fd98:18::1", 8282)[0] == "bare"
        assert "0.0.0.0:8282->81/tcp" in host.cli("sandbox", "ls").stdout
        host.cli("network", "disconnect", net, bare.target)


def test_dns_modes(host: Host, net: str, ours: Container) -> None:
    upstream = Upstream(host.neighbour, NEIGHBOUR_V4)
    try:
        with process() as bare:
            attach(host, net, bare, "--dns", NEIGHBOUR_V4)
            assert bare.resolve("www.example.org", "ahostsv4") == OUTSIDE_V4
            assert "www.example.org." in upstream.names()
            host.cli("network", "disconnect", net, bare.target)
            attach(host, net, bare, "--dns-mode", "listen")
            assert bare.resolve("ours", "ahostsv4") == ""
            assert bare.run("dig", "+short", "@127.0.0.11", "ours").stdout.strip() == ours.ip()
            host.cli("network", "disconnect", net, bare.target)
            attach(host, net, bare, "--dns-mode", "off")
            assert bare.run("dig", "+time=1", "+tries=1", "@127.0.0.11", "ours").returncode != 0
            assert "fairlead" not in bare.ns.run("nft", "list", "ruleset").stdout
            host.cli("network", "disconnect", net, bare.target)
    finally:
        upstream.close()


def test_names_resolve_where_nothing_leads_out(host: Host) -> None:
    host.network("inner", subnet="10.83.0.0/24", Internal=True)
    with process() as bare, host.run("inside", network="inner") as inside:
        attach(host, "inner", bare, "--name", "shut")
        assert bare.resolve("inside", "ahostsv4") == inside.ip()
        assert inside.exec("getent", "ahostsv4", "shut").returncode == 0
        assert "default" not in bare.ns.ip("route")
        host.stop()
        host.start()
        assert bare.resolve("inside", "ahostsv4") == inside.ip()
        assert "removed route" not in host.tail(20)
        host.cli("network", "disconnect", "inner", bare.target)
        assert bare.ns.ip("route") == ""
    host.remove_network("inner")


def test_many_connects_of_one_namespace_at_once(host: Host, ours: Container) -> None:
    names = [f"par{index}" for index in range(6)]
    for index, name in enumerate(names):
        host.network(name, subnet=f"10.84.{index}.0/24")
    with process() as bare, ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda name: Client(host.url).post(*_connecting("connect", name, bare)), names))
        (box,) = sandboxes(host)
        assert sorted(box["NetworkSettings"]["Networks"]) == names
        assert bare.links() == [*(f"eth{index}" for index in range(6)), "lo"]
        list(pool.map(lambda name: Client(host.url).post(*_connecting("disconnect", name, bare)), names))
        assert (sandboxes(host), held(host)) == ([], [])
        until(bare.settled, "nothing of ours is left")
    for name in names:
        host.remove_network(name)


def _connecting(verb: str, network: str, foreigner: Foreigner) -> tuple[str, object]:
    return f"/networks/{network}/{verb}", {"Container": foreigner.target}


def test_a_dry_run_tells_the_plan_and_changes_nothing(host: Host, net: str) -> None:
    with process() as bare:
        before = host.seen()
        shown = host.cli("network", "connect", "--dry-run", net, bare.target).stdout
        assert "+ netns x-" in shown
        assert (host.seen(), sandboxes(host), bare.links()) == (before, [], ["lo"])
        missing = host.cli("network", "connect", "--dry-run", net, "pid:4194303", check=False)
        assert "no such process" in missing.stderr


def test_what_cannot_be_connected_is_refused_with_a_reason(host: Host, net: str, ours: Container) -> None:
    before = host.seen()
    for target, status, words in (
        ("pid:1", 400, "pid:1"),
        (f"pid:{host.pid}", 400, "network namespace of the host"),
        (f"pid:{ours.pid}", 400, "is in the network namespace of ours"),
        ("pid:4194303", 404, "no such process"),
        ("pid:0", 400, "invalid process id"),
        ("pid:12x", 400, "invalid process id"),
        ("netns:nowhere", 404, "there is no /run/netns/nowhere"),
        ("netns:/etc/passwd", 400, "no network namespace"),
        ("netns:/proc/self/ns/mnt", 400, "no network namespace"),
        ("netns:/run/../etc", 400, "invalid path"),
        ("netns:a\nb", 400, "invalid namespace name"),
        ("docker:../x", 400, "invalid docker container name"),
        ("podman:--all", 400, "invalid podman container name"),
        ("lxc:x", 400, "is no kind of target"),
        ("docker:x", 503, "Docker does not answer"),
    ):
        with pytest.raises(ApiError) as caught:
            host.connect(net, target)
        assert (caught.value.status, words in caught.value.message) == (status, True), (target, caught.value.message)
        assert caught.value.hint
    with pytest.raises(ApiError, match="has its name, ports and name servers already") as caught:
        host.api.post(f"/networks/{net}/connect", {"Container": "ours", "Sandbox": {"Name": "x"}})
    assert caught.value.status == 400
    with pytest.raises(ApiError) as caught:
        host.disconnect(net, "pid:4194303")
    assert caught.value.status == 404
    assert host.seen() == before


def test_a_restart_keeps_what_lives_and_releases_what_is_gone(host: Host, net: str, ours: Container) -> None:
    with process(*echo("stays", "tcp:81")) as stays, process() as goes:
        member = attach(host, net, stays, "--name", "stays", "-p", "8383:81")
        attach(host, net, goes, "--name", "goes")
        with ours.ns.connected(address(member), 81) as stream:
            stream.recv(100)
            host.stop()
            os.kill(goes.pid, 9)
            os.waitpid(goes.pid, 0)
            stream.sendall(b"still there")
            assert stream.recv(100) == b"still there"
            host.start()
            stream.sendall(b"and after")
            assert stream.recv(100) == b"and after"
        assert [box["Name"] for box in sandboxes(host)] == ["stays"]
        assert len(held(host)) == 1
        assert ours.exec("getent", "ahostsv4", "stays").stdout.split()[0] == address(member)
        assert stays.resolve("ours", "ahostsv4") == ours.ip()
        assert host.neighbour.tcp("198.18.0.1", 8383)[0] == "stays"
        os.kill(stays.pid, 9)
        os.waitpid(stays.pid, 0)
        until(lambda: not sandboxes(host) and not held(host), "it is still watched after a restart")


def test_sandbox_commands(host: Host, net: str) -> None:
    with process() as bare:
        attach(host, net, bare, "--name", "listed")
        assert host.cli("sandbox", "ls", "--format", "{{.Name}} {{.Target}} {{.Networks}}").stdout.split() == [
            "listed",
            bare.target,
            "web",
        ]
        shown = host.cli("sandbox", "inspect", "listed", "--format", "{{.Pid}}").stdout.strip()
        assert shown == str(bare.pid)
        assert host.cli("sandbox", "inspect", "nobody", check=False).returncode == 1
        assert host.cli("sandbox", "rm", "listed").stdout.strip() == "listed"
        assert sandboxes(host) == []


@pytest.mark.parametrize("trap", ["link-out", "parent", "pipe", "device", "loop"])
def test_sec_29_a_hostile_root_leads_nowhere(host: Host, net: str, tmp_path: Path, trap: str) -> None:
    """The resolv.conf of a process whose root somebody else rules is looked at, and nothing outside of that root."""
    outside = tmp_path / "outside"
    outside.write_text("nameserver 192.0.2.66\n")
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    for name in ("usr", "proc"):
        (root / name).mkdir()
    for name in ("bin", "lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")
    conf = root / "etc/resolv.conf"
    match trap:
        case "link-out":
            conf.symlink_to(outside)
        case "parent":
            conf.symlink_to("../../outside")
        case "pipe":
            os.mkfifo(conf)
        case "device":
            os.mknod(conf, 0o666 | stat.S_IFCHR, os.makedev(5, 0))
        case "loop":
            conf.symlink_to("resolv.conf")
    script = f'mount --bind /usr {root}/usr && exec chroot {root} "$@"'
    with process("unshare", "--mount", "sh", "-c", script, "sh", "sleep", "1000") as bare:
        until(lambda: Path(f"/proc/{bare.pid}/comm").read_text().strip() == "sleep", "it lives in its root")
        attach(host, net, bare, "--name", "trap")
        assert "192.0.2.66" not in bare.ns.run("nft", "list", "ruleset").stdout
        assert "127.0.0.1 udp dport 53" in bare.ns.run("nft", "list", "ruleset").stdout
        host.cli("network", "disconnect", net, bare.target)
