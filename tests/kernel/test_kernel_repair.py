"""After a crash: what is right keeps running, the rest is mended, leftovers go, strangers stay."""

from __future__ import annotations

import asyncio
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.kernel.kernel_plans import network, node, ports, sandbox

from fairlead.kernel import messages, netns, observe, requests
from fairlead.kernel.apply import Kernel
from fairlead.kernel.netlink import Netlink
from fairlead.plan.objects import Plan, Sysctl, Table

WANTED = {"node": node(), "network:a": network(), "sandbox:2": sandbox(2), "sandbox:3": sandbox(3), "p": ports(8000, 2)}
Damage = Callable[[Path], None]


def run(*command: str, path: str = "") -> None:
    with netns.inside(path):
        subprocess.run(command, check=True, capture_output=True)


def visible() -> Plan:
    return Plan(item for plan in WANTED.values() for item in plan.values() if not isinstance(item, Sysctl))


def keys(plan: Plan) -> set[tuple[str, ...]]:
    return set(plan)


def timeouts(path: Path) -> int:
    """How often TCP in a namespace had to send again after silence."""
    with netns.inside(str(path)):
        statistics = Path("/proc/thread-self/net/netstat").read_text().splitlines()
    names, values = (line.split() for line in statistics if line.startswith("TcpExt:"))
    return int(dict(zip(names, values, strict=True))["TCPTimeouts"])


def route_localnet() -> str:
    """The setting that the plan of the network carries."""
    return Path("/proc/sys/net/ipv4/conf/br0/route_localnet").read_text().strip()


def lives(space: Path, *scenarios: Callable[[Kernel], Any]) -> None:
    """Each scenario on a daemon of its own, one after the other; each daemon ends as if by a crash: nothing is undone."""

    async def life(scenario: Callable[[Kernel], Any]) -> None:
        kernel = Kernel(str(space))
        try:
            await scenario(kernel)
        finally:
            await kernel.close()

    for scenario in scenarios:
        asyncio.run(life(scenario))


async def build(kernel: Kernel) -> None:
    await kernel.apply(WANTED)


def test_what_is_right_is_left_alone(space: Path) -> None:
    indices: list[int] = []

    async def again(kernel: Kernel) -> None:
        indices.append(socket.if_nametoindex("v2eth0"))
        assert await kernel.repair(WANTED) == []
        indices.append(socket.if_nametoindex("v2eth0"))
        assert keys(await kernel.observe()) == keys(visible())

    lives(space, build, again)
    assert indices[0] == indices[1]


def test_no_packet_is_lost_while_nothing_is_wrong(space: Path) -> None:
    async def again(kernel: Kernel) -> None:
        with netns.inside(str(space / "s2")):
            listener = socket.create_server(("10.9.0.2", 80))
        with netns.inside(str(space / "s3")):
            caller = socket.create_connection(("10.9.0.2", 80), timeout=60)
        accepted, _ = listener.accept()
        with listener, caller, accepted:
            for number in range(3):
                await kernel.repair(WANTED)
                accepted.sendall(b"%d" % number)
                assert caller.recv(8) == b"%d" % number
        assert timeouts(space / "s3") == 0

    lives(space, build, again)


def _host_end(_: Path) -> None:
    run("ip", "link", "delete", "v2eth0")


def _bridge(_: Path) -> None:
    run("ip", "link", "delete", "br0")


def _sandbox(space: Path) -> None:
    netns.delete(str(space / "s3"))


def _empty_file(space: Path) -> None:
    netns.delete(str(space / "s3"))
    (space / "s3").touch()


def _tables(_: Path) -> None:
    run("nft", "flush", "ruleset")


def _down(space: Path) -> None:
    run("ip", "link", "set", "eth0", "down", path=str(space / "s2"))


def _own_end_down(_: Path) -> None:
    run("ip", "link", "set", "v3eth0", "down", "nomaster")


def _peer_renamed(space: Path) -> None:
    run("ip", "link", "set", "eth0", "down", path=str(space / "s2"))
    run("ip", "link", "set", "eth0", "name", "other", path=str(space / "s2"))


def _address(space: Path) -> None:
    run("ip", "address", "flush", "dev", "eth0", path=str(space / "s2"))


def _setting(_: Path) -> None:
    Path("/proc/sys/net/ipv4/conf/br0/route_localnet").write_text("0")


def _rule(_: Path) -> None:
    run("nft", "flush", "chain", "inet", "fairlead", "passing")


DAMAGES: list[Damage] = [
    _host_end,
    _bridge,
    _sandbox,
    _empty_file,
    _tables,
    _down,
    _own_end_down,
    _peer_renamed,
    _address,
    _setting,
    _rule,
]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__.strip("_"))
def test_damage_is_mended(space: Path, damage: Damage) -> None:
    before: list[Plan] = []

    async def remember(kernel: Kernel) -> None:
        await build(kernel)
        before.append(await kernel.observe())

    async def again(kernel: Kernel) -> None:
        words = await kernel.repair(WANTED)
        assert not [word for word in words if word.startswith("could not")]
        assert await kernel.observe() == before[0]
        assert await kernel.repair(WANTED) == []
        assert route_localnet() == "1"

    lives(space, remember)
    damage(space)
    lives(space, again)


def test_leftovers_go_and_strangers_stay(space: Path) -> None:
    async def again(kernel: Kernel) -> None:
        words = await kernel.repair({"network:a": network(), "node": node()})
        assert any("v2eth0" in word for word in words)
        assert keys(await kernel.observe()) == keys(
            Plan(item for plan in (network(), node()) for item in plan.values() if not isinstance(item, Sysctl))
        )

    lives(space, build)
    run("ip", "link", "add", "stranger", "type", "bridge")
    run("nft", "add table inet theirs; add table inet fairlead_old")
    lives(space, again)
    tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True).stdout
    assert {name for _, name in socket.if_nameindex()} == {"lo", "br0", "stranger"}
    assert set(tables.splitlines()) == {"table inet fairlead", "table inet theirs"}
    assert not list(space.iterdir())


def test_a_table_that_a_crash_left_goes_too(space: Path) -> None:
    """It had an owner, and stays without one: to add it once more, as a table of no owner, would be refused."""
    more = {**WANTED, "more": Plan([Table("", "bridge", "fairlead-more")])}

    async def build_more(kernel: Kernel) -> None:
        await kernel.apply(more)

    async def again(kernel: Kernel) -> None:
        assert await kernel.repair(WANTED) != []
        assert keys(await kernel.observe()) == keys(visible())

    lives(space, build_more, again)


def test_links_that_a_crash_left_half_made_or_half_gone_go(space: Path) -> None:
    async def again(kernel: Kernel) -> None:
        words = await kernel.repair(WANTED)
        assert "removed leftover link half" in words

    lives(space, build)
    run("ip", "link", "add", "half", "group", str(requests.MAKING_GROUP), "type", "bridge")
    run("ip", "link", "add", "fx-1", "group", str(requests.TRASH_GROUPS[7]), "type", "bridge")
    run("ip", "link", "set", "fx-1", "alias", "fairlead:x:trash")
    lives(space, again)
    assert {name for _, name in socket.if_nameindex()} == {"lo", "br0", "v2eth0", "v3eth0"}


def test_a_port_that_is_taken_meanwhile_is_told(space: Path) -> None:
    async def again(kernel: Kernel) -> None:
        with socket.create_server(("0.0.0.0", 8000)):
            words = await kernel.repair(WANTED)
        assert words == ["could not mend: failed to bind host port 0.0.0.0:8000/tcp: address already in use"]

    lives(space, build, again)


def test_links_are_read_as_pyroute2_reads_them(space: Path) -> None:
    async def look(kernel: Kernel) -> None:
        await build(kernel)
        with Netlink() as netlink:
            dump = netlink.dump(requests.list_links())
        for data in dump:
            decoded = messages.LINK(data)
            decoded.decode()
            mine = observe.read_link(data, "")
            assert mine.index == decoded["index"]
            assert mine.name == decoded.get_attr("IFLA_IFNAME")
            assert mine.mac == decoded.get_attr("IFLA_ADDRESS")
            assert mine.mtu == decoded.get_attr("IFLA_MTU")
            assert mine.alias == (decoded.get_attr("IFLA_IFALIAS") or "")
            assert mine.group == decoded.get_attr("IFLA_GROUP")
            assert mine.partner == (decoded.get_attr("IFLA_LINK") or 0)
            assert mine.kind == (decoded.get_nested("IFLA_LINKINFO", "IFLA_INFO_KIND") or "")
            port = decoded.get_nested("IFLA_LINKINFO", "IFLA_INFO_SLAVE_DATA", "IFLA_BRPORT_MODE")
            assert mine.hairpin == bool(port)

    lives(space, look)
