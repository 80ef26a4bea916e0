"""A daemon that is killed: nothing that runs notices, and the next daemon takes everything up again."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from tests.kernel.one_host.conftest import MakeHost
from tests.kernel.one_host.containers import Container
from tests.kernel.one_host.host import HOST_V4, NEIGHBOUR_V4, Host
from tests.kernel.one_host.namespace import PROGRAM_S
from tests.kernel.one_host.nursery import Nursery
from tests.kernel.one_host.programs import echo
from tests.kernel.one_host.questions import ask
from tests.kernel.one_host.streams import Stream, pinging
from tests.kernel.one_host.upstream import OUTSIDE_V4, Upstream
from tests.kernel.one_host.waiting import until

from fairlead.api.client import ApiError
from fairlead.daemon.faults import VARIABLE

Cast = dict[str, Container]


@pytest.fixture(scope="module")
def host(make_host: MakeHost) -> Host:
    """Some forty daemons come and go on it."""
    made = make_host()
    made.nursery = Nursery(made.ns)
    made.start()
    return made


@pytest.fixture(scope="module")
def cast(host: Host) -> Iterator[Cast]:
    """A published server and a client that share a network; each test kills the daemon below them."""
    host.network("web", subnet="10.61.0.0/24", v6="fd00:61::/64")
    ports = {"80/tcp": ["8080"], "80/udp": ["8080"], "81/tcp": [f"{HOST_V4}@8081"]}
    made = {
        "server": host.run("server", echo("server", "tcp:80", "udp:80", "tcp:81"), network="web", publish=ports),
        "client": host.run("client", network="web", endpoint={"Aliases": ["c"]}),
    }
    yield made
    for container in made.values():
        container.remove()
    host.remove_network("web")


@contextlib.contextmanager
def daemon_away(host: Host) -> Iterator[None]:
    """Killed before the block, started after it."""
    host.stop(signal.SIGKILL)
    try:
        yield
    finally:
        host.start()


def facts(host: Host) -> dict[str, Any]:
    """What a restart must show as before."""
    shown = host.seen()
    shown["ps"] = [
        {key: value for key, value in row.items() if key != "Status"} for row in host.get("/containers/json?all=1")
    ]
    return shown


def test_traffic_flows_on_and_everything_is_as_before(host: Host, cast: Cast) -> None:
    server, client = cast["server"], cast["client"]
    before = facts(host)
    stream = Stream(host.neighbour, HOST_V4, 8080)
    inner = Stream(client.ns, server.ip(), 80)
    with (
        pinging(client.ns.command("ping", server.ip())) as four,
        pinging(client.ns.command("ping", server.ip6())) as six,
    ):
        with daemon_away(host):
            counts = stream.count, inner.count
            until(lambda: stream.count > counts[0] + 20 and inner.count > counts[1] + 20, "streams flow on")
            assert host.neighbour.udp(HOST_V4, 8080)[0] == "server"
            assert host.neighbour.tcp(HOST_V4, 8081)[0] == "server"
            assert host.ns.tcp("127.0.0.1", 8080)[0] == "server"
        counts = stream.count, inner.count
        until(lambda: stream.count > counts[0] + 20 and inner.count > counts[1] + 20, "streams flow on after it")
    assert (stream.close(), inner.close()) == ("", "")
    assert not four.lost and four.sent > 10
    assert not six.lost and six.sent > 10
    assert facts(host) == before


def test_names_resolve_again_and_new_containers_work(host: Host, cast: Cast) -> None:
    server, client = cast["server"], cast["client"]
    upstream = Upstream(host.neighbour, NEIGHBOUR_V4)
    try:
        with daemon_away(host):
            pass
        assert ask(client, "server") == [server.ip()]
        assert ask(server, "c", tcp=True) == [client.ip()]
        assert ask(client, "www.example.com") == [OUTSIDE_V4]
    finally:
        upstream.close()
    with host.run("late", echo("late", "tcp:80"), network="web", publish={"80/tcp": ["8082"]}) as late:
        assert late.ip() not in (server.ip(), client.ip())
        assert ask(client, "late") == [late.ip()]
        assert host.neighbour.tcp(HOST_V4, 8082)[0] == "late"
    with host.listen("0.0.0.0", 8082):
        pass


def test_ports_are_held_again(host: Host, cast: Cast) -> None:
    with daemon_away(host):
        pass
    for address in ("0.0.0.0", HOST_V4):
        with pytest.raises(OSError, match="in use"):
            host.listen(address, 8080)
    with pytest.raises(OSError, match="in use"):
        host.listen("0.0.0.0", 8080, socket.SOCK_DGRAM)


def test_an_orderly_stop_disturbs_nothing_either(host: Host, cast: Cast) -> None:
    before = facts(host)
    stream = Stream(host.neighbour, HOST_V4, 8080)
    assert host.stop() == 0
    count = stream.count
    until(lambda: stream.count > count + 20, "the stream flows on")
    host.start()
    assert stream.close() == ""
    assert facts(host) == before


def bridge_of(host: Host, network: str) -> str:
    """The device of a bridge network."""
    return f"br-{host.get(f'/networks/{network}')['Id'][:12]}"


def test_what_was_left_over_or_taken_away_is_put_right(host: Host, cast: Cast) -> None:
    """Leftovers of ours go, what is missing comes back, strangers stay."""
    before = facts(host)
    bridge = bridge_of(host, "web")
    with daemon_away(host):
        nft = ("nft", "add", "element", "inet", "fairlead")
        host.ns.ip("link", "add", "vethstray0", "type", "veth", "peer", "name", "vethstray1")
        host.ns.ip("link", "set", "vethstray0", "alias", "fairlead:endpoint:0123456789ab")
        host.ns.ip("link", "add", "br-stray", "type", "bridge")
        host.ns.ip("link", "set", "br-stray", "alias", "fairlead:network:0123456789ab")
        host.ns.ip("link", "add", "stranger0", "type", "veth", "peer", "name", "stranger1")
        (host.run_dir / "netns" / "0123456789ab").touch()
        host.ns.run(*nft, "published4_any", "{ tcp . 9999 : 10.61.0.99 . 80 }")
        host.ns.run("nft", "delete", "element", "inet", "fairlead", "published4_any", "{ tcp . 8080 }")
        host.ns.run("nft", "add", "table", "inet", "stranger")
        host.ns.ip("address", "del", "10.61.0.1/24", "dev", bridge)
        host.ns.ip("address", "add", "10.61.0.254/24", "dev", bridge)
        assert not host.neighbour.reaches(HOST_V4, 8080)
    try:
        assert {"stranger0", "stranger1"} <= set(host.links())
        assert "table inet stranger" in host.ruleset()
    finally:
        host.ns.ip("link", "del", "stranger0")
        host.ns.run("nft", "delete", "table", "inet", "stranger")
    until(lambda: not set(host.links()) & {"vethstray0", "vethstray1", "br-stray"}, "stray links are gone")
    assert facts(host) == before
    assert host.neighbour.tcp(HOST_V4, 8080)[0] == "server"
    assert cast["client"].ns.pings("10.61.0.1")


def test_a_bridge_that_was_deleted_comes_back_with_its_containers(host: Host, cast: Cast) -> None:
    before = facts(host)
    with daemon_away(host):
        host.ns.ip("link", "del", bridge_of_file(before))
    assert cast["client"].ns.pings(cast["server"].ip())
    assert host.neighbour.tcp(HOST_V4, 8080)[0] == "server"
    assert facts(host) == before


def bridge_of_file(shown: dict[str, Any]) -> str:
    """The device of network ``web`` by what was shown of it."""
    return next(f"br-{row['Id'][:12]}" for row in shown["networks"] if row["Name"] == "web")


def test_a_table_that_was_flushed_comes_back(host: Host, cast: Cast) -> None:
    before = facts(host)
    with daemon_away(host):
        host.ns.run("nft", "flush", "ruleset")
    assert facts(host) == before
    assert host.neighbour.tcp(HOST_V4, 8080)[0] == "server"


def test_a_container_that_ended_meanwhile_is_shown_with_its_code(host: Host, cast: Cast) -> None:
    with host.run("doomed", ("sh", "-c", "trap 'exit 9' TERM; while :; do sleep 0.05; done"), network="web") as doomed:
        pid, address = doomed.pid, doomed.ip()
        netns = set((host.run_dir / "netns").iterdir())
        with daemon_away(host):
            subprocess.run(["kill", "-TERM", str(pid)], check=True)
            until(lambda: not alive(pid), "the container has ended")
        state = doomed.inspect()["State"]
        assert (state["Status"], state["ExitCode"], state["Running"]) == ("exited", 9, False)
        assert set((host.run_dir / "netns").iterdir()) < netns
        assert ask(cast["client"], "doomed") == "NXDOMAIN"
        assert not cast["client"].ns.pings(address, expect=False)
        doomed.start()
        assert cast["client"].ns.pings(doomed.ip())


def alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    found = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return bool(found.stdout.strip()) and not found.stdout.startswith("Z")


def test_a_container_that_ended_meanwhile_and_was_to_be_removed_is_removed(host: Host, cast: Cast) -> None:
    brief = host.run("brief", network="web", host_config={"AutoRemove": True})
    pid = brief.pid
    with daemon_away(host):
        subprocess.run(["kill", "-KILL", str(pid)], check=True)
        until(lambda: not alive(pid), "the container has ended")
    assert "/brief" not in [row["Names"][0] for row in host.get("/containers/json?all=1")]


def test_a_start_cut_short_is_made_up_for_by_the_restart_policy(host: Host, cast: Cast) -> None:
    always = {"RestartPolicy": {"Name": "always"}}
    kept, plain = host.create("kept", host_config=always), host.create("plain")
    for container in (kept, plain):
        host.stop()
        host.launch(**{VARIABLE: "runtime.created"})
        until(host.responds, "the daemon's first answer")
        with pytest.raises(ApiError):
            container.start()
        assert host.process is not None
        assert host.process.wait(PROGRAM_S) == -signal.SIGKILL
        host.start()
        # a container that waits for its next start is "running", too, as Docker has it
        until(lambda: kept.inspect()["State"]["Status"] == "running", "it is started again")
    state = plain.inspect()["State"]
    assert (state["Running"], state["Error"]) == (False, "the daemon ended while it was started")
    for container in (kept, plain):
        container.remove()


def test_a_paused_container_that_was_being_removed_is_removed(host: Host, cast: Cast) -> None:
    """Killed between the signal and the moment in which the container's clock is to go on: a process whose clock
    stands still does not end."""
    host.stop()
    host.launch(**{VARIABLE: "act.Suspend:2"})
    until(host.responds, "the daemon's first answer")
    frozen = host.run("frozen")
    host.api.post("/containers/frozen/pause")
    with pytest.raises(ApiError):
        frozen.remove()
    assert host.process is not None
    assert host.process.wait(PROGRAM_S) == -signal.SIGKILL
    host.start()
    until(lambda: "frozen" not in str(host.get("/containers/json?all=1")), "it is removed")


def spoil(host: Host, network: str) -> None:
    """Give a stored network an option that nobody could give it by asking."""
    with contextlib.closing(sqlite3.connect(host.state / "node.db", isolation_level=None)) as records:
        rows = records.execute("select id, value from records where kind = 'network'").fetchall()
        identifier, value = next((one, json.loads(text)) for one, text in rows if json.loads(text)["name"] == network)
        value["options"]["com.docker.network.bridge.gateway_mode_ipv4"] = "sideways"
        records.execute("update records set value = ? where id = ?", (json.dumps(value).encode(), identifier))


def test_a_stored_network_that_makes_no_sense_hinders_nobody(host: Host, cast: Cast) -> None:
    host.network("old", subnet="10.63.0.0/24")
    stranded = host.run("stranded", network="old")
    with daemon_away(host):
        spoil(host, "old")
    words = "network old is unusable: "
    assert words in host.tail()
    assert [line for line in host.get("/info")["Warnings"] or () if line.startswith(words)]
    assert host.get("/networks/old")["Options"]["com.docker.network.bridge.gateway_mode_ipv4"] == "sideways"
    assert cast["client"].ns.tcp(cast["server"].ip(), 80)[0] == "server"
    assert host.neighbour.tcp(HOST_V4, 8080)[0] == "server"
    with pytest.raises(ApiError, match=words):
        host.connect("old", "client")
    with daemon_away(host):
        pass
    stranded.remove()
    host.remove_network("old")
    assert not [line for line in host.get("/info")["Warnings"] or () if line.startswith(words)]
    host.network("old", subnet="10.63.0.0/24")
    host.remove_network("old")


def test_killed_in_the_middle_of_changes_it_still_comes_back_clean(make_host: MakeHost) -> None:
    """Killed again and again while networks and containers are made: what it shows afterwards is what Linux has."""
    host = make_host()
    host.start()
    for round_ in range(4):
        worker = threading.Thread(target=churn, args=(host, round_))
        worker.start()
        until(lambda r=round_: any(f"r{r}" in row["Name"] for row in host.get("/networks")), "changes are under way")  # type: ignore[misc]
        host.stop(signal.SIGKILL)
        worker.join()
        host.start()
    for row in host.get("/containers/json?all=1"):
        host.api.delete(f"/containers/{row['Id']}?force=1")
    for row in host.get("/networks"):
        if row["Name"] not in ("bridge", "host", "none"):
            host.remove_network(row["Id"])
    until(lambda: set(host.links()) == {"lo", "up0", "up1", "fairlead0"}, "only the default bridge is left")
    assert list((host.run_dir / "netns").iterdir()) == []
    assert (
        json.loads(host.ns.run("nft", "-j", "list", "map", "inet", "fairlead", "published4_any").stdout)["nftables"][1][
            "map"
        ].get("elem", [])
        == []
    )


def churn(host: Host, round_: int) -> None:
    """Make networks and containers until the daemon is gone."""
    with contextlib.suppress(Exception):
        for number in range(50):
            name = f"r{round_}n{number}"
            host.network(name)
            host.run(name, network=name, publish={"80/tcp": [""]})
            if number % 2:
                host.api.delete(f"/containers/{name}", {"force": True})
                host.remove_network(name)
