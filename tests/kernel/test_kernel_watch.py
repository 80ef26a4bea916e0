"""What others damage comes back while we look on, and what stands is not disturbed."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.kernel.kernel_plans import network, node, ports, sandbox

from fairlead.kernel import netns
from fairlead.kernel.apply import Kernel
from fairlead.kernel.descriptors import is_netfilter
from fairlead.kernel.errno import Refused
from fairlead.kernel.nft import Nft
from fairlead.kernel.watch import Listener
from fairlead.plan.objects import NOTHING, Plan

WANTED = {"node": node(), "network:a": network(), "sandbox:2": sandbox(2), "sandbox:3": sandbox(3), "p": ports(8000, 2)}
OnKernel = Callable[[Callable[[Kernel], Awaitable[None]]], None]
#: Seconds that a mending may take on a busy machine; it takes some milliseconds.
PATIENCE_S = 60.0


def run(*command: str, path: str = "") -> None:
    with netns.inside(path):
        subprocess.run(command, check=True, capture_output=True)


class Told:
    """What a kernel says that it mended."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.authors: list[str] = []
        self.surveys = 0

    def mended(self, words: list[str], by: str) -> None:
        self.words += words
        self.authors.append(by)

    def strangers(self) -> None:
        self.surveys += 1


async def until(kernel: Kernel, wanted: Plan) -> None:
    """Until Linux is as it was."""
    found = NOTHING
    for _ in range(int(PATIENCE_S / 0.02)):
        found = await kernel.observe()
        if found == wanted:
            return
        await asyncio.sleep(0.02)
    assert found == wanted


def disown(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel without tables that have an owner (before Linux 6.9)."""
    monkeypatch.setattr(Nft, "claim", lambda *_: False)


LINKS = {
    "host end": (("ip", "link", "delete", "v2eth0"), ""),
    "bridge": (("ip", "link", "delete", "br0"), ""),
    "bridge down": (("ip", "link", "set", "br0", "down"), ""),
    "port let go": (("ip", "link", "set", "v2eth0", "nomaster"), ""),
    "address": (("ip", "address", "flush", "dev", "br0"), ""),
    "sandbox's end": (("ip", "link", "delete", "eth0"), "s2"),
    "sandbox's end down": (("ip", "link", "set", "eth0", "down"), "s2"),
    "sandbox's address": (("ip", "address", "flush", "dev", "eth0"), "s2"),
    "sandbox's route": (("ip", "route", "delete", "default"), "s2"),
}


@pytest.mark.parametrize("what", LINKS)
def test_links_addresses_and_routes_come_back(space: Path, on_kernel: OnKernel, what: str) -> None:
    command, ns = LINKS[what]

    async def scenario(kernel: Kernel) -> None:
        await kernel.apply(WANTED)
        told = Told()
        await kernel.heed(told.mended, told.strangers)
        before = await kernel.observe()
        bystander = socket.if_nametoindex("v3eth0")
        run(*command, path=str(space / ns) if ns else "")
        await until(kernel, before)
        assert told.words
        assert socket.if_nametoindex("v3eth0") == bystander

    on_kernel(scenario)


FIREWALL = {
    "everything": "flush ruleset",
    "table": "delete table inet fairlead",
    "rules": "flush chain inet fairlead passing",
    "one more rule": "add rule inet fairlead passing accept",
    "elements": "flush map inet fairlead ports",
}


@pytest.mark.parametrize("what", FIREWALL)
def test_sec_10_tables_without_an_owner_come_back(
    on_kernel: OnKernel, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    disown(monkeypatch)

    async def scenario(kernel: Kernel) -> None:
        await kernel.apply(WANTED)
        told = Told()
        await kernel.heed(told.mended, told.strangers)
        before = await kernel.observe()
        for _ in range(3):
            run("nft", FIREWALL[what])
            await until(kernel, before)
        assert told.words
        assert set(told.authors) == {"nft"}

    on_kernel(scenario)


@pytest.mark.parametrize("what", FIREWALL)
def test_sec_10_nobody_else_can_change_our_tables(on_kernel: OnKernel, what: str) -> None:
    async def scenario(kernel: Kernel) -> None:
        await kernel.apply(WANTED)
        before = await kernel.observe()
        with Nft() as probe:
            if not probe.claim("inet", "fairlead_probe"):
                pytest.skip("this kernel has no tables with an owner that persist (Linux 6.9)")
            probe.run("delete table inet fairlead_probe")
        if what == "everything":
            run("nft", FIREWALL[what])
        else:
            with pytest.raises(subprocess.CalledProcessError):
                run("nft", FIREWALL[what])
        assert await kernel.observe() == before

    on_kernel(scenario)


def test_a_second_one_in_the_same_namespace_is_refused(space: Path, on_kernel: OnKernel) -> None:
    async def scenario(kernel: Kernel) -> None:
        await kernel.apply(WANTED)
        before = await kernel.observe()
        second = Kernel(str(space.parent / "other"))
        try:
            with pytest.raises(Refused, match="another process owns it"):
                await second.repair({"node": node()})
        finally:
            await second.close()
        assert await kernel.observe() == before

    on_kernel(scenario)


@pytest.mark.parametrize("first", [{"node": node()}, {}], ids=["after", "before"])
def test_our_own_work_is_not_taken_for_damage(
    on_kernel: OnKernel, monkeypatch: pytest.MonkeyPatch, first: dict[str, Plan]
) -> None:
    """Whether the firewall was changed before anyone listens or not."""
    disown(monkeypatch)

    async def scenario(kernel: Kernel) -> None:
        await kernel.apply(first)
        told = Told()
        await kernel.heed(told.mended, told.strangers)
        for _ in range(3):
            await kernel.apply(WANTED)
            await kernel.apply({owner: NOTHING for owner in WANTED if owner != "node"})
        await asyncio.sleep(0.2)
        assert (told.words, told.surveys) == ([], 0)

    on_kernel(scenario)


def test_changes_of_strangers_tables_are_told(on_kernel: OnKernel) -> None:
    async def scenario(kernel: Kernel) -> None:
        told = Told()
        await kernel.apply(WANTED)
        await kernel.heed(told.mended, told.strangers)
        run("nft", "add table ip theirs")
        for _ in range(int(PATIENCE_S / 0.02)):
            if told.surveys:
                break
            await asyncio.sleep(0.02)
        assert (told.words, told.surveys) == ([], 1)

    on_kernel(scenario)


def test_a_namespace_that_is_heard_ends_when_it_is_dropped(space: Path, on_kernel: OnKernel) -> None:
    async def scenario(kernel: Kernel) -> None:
        told = Told()
        await kernel.heed(told.mended, told.strangers)
        await kernel.apply(WANTED)
        run("ip", "link", "add", "far", "type", "veth", "peer", "name", "near", "netns", str(space / "s2"))
        await kernel.apply({"sandbox:2": NOTHING})
        for _ in range(int(PATIENCE_S / 0.02)):
            if "far" not in {name for _, name in socket.if_nameindex()}:
                break
            await asyncio.sleep(0.02)
        assert "far" not in {name for _, name in socket.if_nameindex()}

    on_kernel(scenario)


def test_a_link_that_is_made_is_not_damage_and_one_that_is_put_down_is(space: Path) -> None:
    """Else every join would be followed by a look at the whole sandbox."""
    box = str(space / "box")
    netns.create(box)
    listener = Listener()
    try:
        listener.open("", "", port=1)
        listener.open("box", box, port=1)
        run("ip", "link", "add", "v0", "type", "veth", "peer", "name", "eth0", "netns", box)
        run("ip", "link", "set", "eth0", "up", path=box)
        assert listener.read() == ([], False)
        run("ip", "link", "set", "eth0", "down", path=box)
        damages, _ = listener.read()
        assert frozenset({"box"}) in [damage.spaces for damage in damages]
    finally:
        listener.close()
        netns.delete(box)


def test_a_socket_that_a_child_process_still_has_is_closed_once_and_replaced(space: Path) -> None:
    """Between fork and exec a child has all our sockets: closing one here does not give its netlink port back."""
    assert space.is_dir()
    listener = Listener()
    listener.open_firewall(port=1)
    copies = [os.dup(number) for number in open_files() if is_netfilter(number)]
    try:
        listener.open_firewall(port=2)
        run("nft", "add table ip theirs")
        assert listener.read() == ([], True)
        before = open_files()
        listener.close()
        assert len(before - open_files()) == 2
    finally:
        for copy in copies:
            os.close(copy)


def open_files() -> set[int]:
    """Numbers of this process's open files."""
    found = os.listdir("/proc/self/fd")  # with the one that it is read by, which is closed by now
    return {int(name) for name in found if os.path.lexists(f"/proc/self/fd/{name}")}
