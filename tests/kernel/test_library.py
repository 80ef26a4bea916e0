"""``import fairlead``: networks for namespaces, in this very process."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.kernel.one_host.waiting import until

import fairlead
from fairlead.kernel import netns
from fairlead.model.errors import Conflict, Forbidden, Invalid, NotFound, Unavailable

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "two_namespaces.py"
PROGRAM_S = 60


def run(*words: str) -> str:
    """A program in the node's namespace, which this thread is in."""
    return subprocess.run(words, check=True, capture_output=True, text=True, timeout=PROGRAM_S).stdout


def links(path: str = "") -> set[str]:
    """Names of the links of a namespace."""
    words = ["nsenter", f"--net={path}"] if path else []

    def settled() -> set[str]:
        names = {row["ifname"] for row in json.loads(run(*words, "ip", "-j", "link"))}
        return set() if any(name.startswith("fx-") for name in names) else names

    return until(settled, "links that are gone are deleted")


def pings(path: str, address: str) -> bool:
    words = ["nsenter", f"--net={path}", "ping", "-n", "-c1", "-W30", address]
    return subprocess.run(words, check=False, capture_output=True, timeout=PROGRAM_S).returncode == 0


@pytest.fixture
def blue(space: Path) -> Iterator[str]:
    """A namespace that is there already; afterwards it is as it was, and so is the node's."""
    run("ip", "link", "set", "lo", "up")
    path = str(space / "blue")
    netns.create(path)
    yield path
    assert links(path) == links() == {"lo"}
    assert run("nft", "list", "ruleset") == ""
    netns.delete(path)


def test_the_example_does_what_the_page_says(blue: str) -> None:
    lines = run(sys.executable, str(EXAMPLE), blue).splitlines()
    assert lines[0] == "blue is 10.90.0.50 and finds shop at 10.90.0.2"
    assert "64 bytes from 10.90.0.2" in lines[1]
    assert lines[2] == "port 8091 of the host answers 200"
    assert lines[3].startswith("error while removing network: network web has active endpoints")
    assert lines[4] == "left: ['green'] []"


def test_names_addresses_and_ways_out_follow_join_and_leave(blue: str) -> None:
    with fairlead.Node() as node:
        one, two = node.network("one", subnets=["10.91.0.0/24"], ipv6=True), node.network("two")
        first, second = node.sandbox("first", namespace=blue), node.sandbox("second")
        assert (
            first.join(one, ipv4="10.91.0.9", mac="02:00:00:00:00:09", aliases=["db"], ifname="lan0").ifname == "lan0"
        )
        assert second.resolve("db") == ()
        second.join(one)
        second.join(two, gw_priority=1)
        address = first.address(one)
        assert address == "10.91.0.9"
        assert second.resolve("DB") == second.resolve("first.one.") == (address, first.address(one, v6=True))
        assert pings(second.path, address)
        assert pings(second.path, first.address(one, v6=True))
        assert links(blue) == {"lo", "lan0"}
        ways = json.loads(run("nsenter", f"--net={second.path}", "ip", "-j", "route", "show", "default"))
        assert [way["dev"] for way in ways] == [second.endpoints[1].ifname]
        first.leave(one)
        assert second.resolve("db") == ()
        assert links(blue) == {"lo"}
        second.delete()
        with pytest.raises(NotFound):
            second.join(one)
        assert set(node.sandboxes) == {"first"}


def test_a_node_with_a_directory_stays_and_is_repaired(blue: str, tmp_path: Path) -> None:
    state = str(tmp_path / "state")
    with fairlead.Node(state) as node:
        web = node.network("web", subnets=["10.92.0.0/24"])
        node.sandbox("blue", namespace=blue).join(web)
        node.sandbox("green").join(web)
        with pytest.raises(Conflict):
            fairlead.Node(state)
        path = node.sandboxes["green"].path
    assert pings(path, "10.92.0.2"), "it works on without us"
    run("nsenter", f"--net={blue}", "ip", "link", "del", "eth0")
    run("nft", "flush", "ruleset")
    with fairlead.Node(state) as node:
        blue_again, green = node.sandboxes["blue"], node.sandboxes["green"]
        assert green.resolve("blue") == ("10.92.0.2",)
        assert pings(green.path, "10.92.0.2")
        blue_again.delete()
        green.delete()
        node.networks["web"].delete()
    with fairlead.Node(state) as node:
        assert (node.networks, node.sandboxes) == ({}, {})
        node.discard()
    assert not Path(state).exists()


def test_mistakes_are_told_and_change_nothing(blue: str) -> None:
    with fairlead.Node() as node:
        web = node.network("web", subnets=["10.93.0.0/24"])
        box = node.sandbox("box", namespace=blue)
        for wrong, kind in (
            (lambda: node.network("web"), Conflict),
            (lambda: node.network("x", subnets=["10.93.0.1/24"]), Invalid),
            (lambda: node.sandbox("../x"), Invalid),
            (lambda: node.sandbox("y", namespace="/nowhere"), NotFound),
            (lambda: node.sandbox("y", namespace=blue, pid=1), Invalid),
            (lambda: box.join("nope"), NotFound),
            (lambda: box.join(web, ipv4="10.94.0.1"), Invalid),
            (lambda: box.join(web, ipv4="10.93.0.1"), Forbidden),
            (lambda: box.address(web), NotFound),
        ):
            with pytest.raises(kind):
                wrong()
        assert (set(node.networks), set(node.sandboxes), box.endpoints) == ({"web"}, {"box"}, ())
        assert links(blue) == {"lo"}
    with pytest.raises(Unavailable):
        node.network("late")
    with pytest.raises(Unavailable):
        asyncio.run(_of_a_closed_node())


async def _of_a_closed_node() -> None:
    await fairlead.AsyncNode().create_network("web")


def test_the_same_in_coroutines(blue: str) -> None:
    async def scenario() -> None:
        async with fairlead.AsyncNode(default_pools=[("10.95.0.0/16", 26)]) as node:
            network = await node.create_network("web")
            assert network.pools[0].subnet == "10.95.0.0/26"
            for name, path in (("one", blue), ("two", "")):
                sandbox = await node.create_sandbox(name, namespace=path)
                await node.join(sandbox.id, network.id)
            assert node.resolve("one", "two") == ("10.95.0.3",)
            assert await asyncio.to_thread(pings, blue, "10.95.0.3")
            await node.leave("one", "web")
            assert node.resolve("two", "one") == ()

    asyncio.run(scenario())
