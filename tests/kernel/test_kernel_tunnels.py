"""Tunnels: whose number is taken, what repair does to one, and what happens when strangers damage it."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.kernel.kernel_plans import OVERLAY, TUNNEL, overlay, peer
from tests.kernel.one_host.waiting import PATIENCE_S

from fairlead.kernel import netns
from fairlead.kernel.apply import Kernel
from fairlead.kernel.errno import Refused
from fairlead.plan.objects import NOTHING, Plan


def run(*words: str) -> str:
    """A program in the namespace of this thread."""
    return subprocess.run(words, check=True, capture_output=True, text=True, timeout=PATIENCE_S).stdout


def ip(*words: str) -> str:
    """The program ``ip``."""
    return run("ip", *words)


def test_a_number_that_a_stranger_has_is_his(on_kernel: Any) -> None:
    async def scenario(kernel: Kernel) -> None:
        ip("link", "add", "theirs", "type", "vxlan", "id", "4097", "dstport", "4789", "nolearning")
        with pytest.raises(Refused, match="VXLAN 4097 on UDP port 4789 is in use by link theirs") as caught:
            await kernel.apply({"n": overlay()})
        assert "--data-path-port" in caught.value.hint
        assert not await kernel.observe()
        assert "theirs" in ip("link")
        ip("link", "del", "theirs")
        await kernel.apply({"n": overlay()})
        await kernel.apply({"n": NOTHING})

    on_kernel(scenario)


def test_a_leftover_of_ours_that_has_the_number_goes(on_kernel: Any, space: Path, caplog: Any) -> None:
    async def scenario(kernel: Kernel) -> None:
        # another life of ours made it, under another name
        netns.create(str(space / "ov-old"))
        words = ("type", "vxlan", "id", "4097", "dstport", "4789", "nolearning")
        ip("link", "add", "vx-old", "netns", str(space / "ov-old"), *words)
        await kernel.apply({"n": overlay()})
        assert "removed leftover tunnel vx-old, which had VXLAN 4097 on UDP port 4789" in caplog.text
        await kernel.apply({"n": NOTHING})

    on_kernel(scenario)


def test_a_tunnel_that_is_needed_is_no_leftover(on_kernel: Any) -> None:
    async def scenario(kernel: Kernel) -> None:
        await kernel.apply({"n": overlay()})
        with pytest.raises(Refused, match=f"is in use by link {TUNNEL}"):
            await kernel.apply({"m": overlay(ns="ov-2")})
        assert set(overlay()) <= set(await kernel.observe())
        await kernel.apply({"n": NOTHING})

    on_kernel(scenario)


@pytest.mark.parametrize("damage", ["del", "down", "nomaster"])
def test_a_tunnel_that_a_stranger_damages_is_mended_with_all_that_it_knew(
    on_kernel: Any, space: Path, damage: str
) -> None:
    async def scenario(kernel: Kernel) -> None:
        wanted = {"n": overlay(), "p": peer(5), "q": peer(6)}
        await kernel.apply(wanted)
        mended = asyncio.Event()
        await kernel.heed(lambda words, by: mended.set(), lambda: None)
        with netns.inside(str(space / OVERLAY)):
            ip("link", "del", TUNNEL) if damage == "del" else ip("link", "set", TUNNEL, damage)
        if damage == "nomaster":  # nothing goes down: found by the next look at everything
            await kernel.repair()
        else:
            await asyncio.wait_for(mended.wait(), PATIENCE_S)
        every = Plan([item for plan in wanted.values() for item in plan.values()])
        assert dict(await kernel.observe()) == dict(every)
        await kernel.apply(dict.fromkeys(wanted, NOTHING))

    on_kernel(scenario)


def test_entries_that_a_stranger_changes_are_put_right_by_a_repair(on_kernel: Any, space: Path) -> None:
    async def scenario(kernel: Kernel) -> None:
        wanted = {"n": overlay(), "p": peer(5), "q": peer(6)}
        await kernel.apply(wanted)
        with netns.inside(str(space / OVERLAY)):
            bridge = ("bridge", "fdb")
            mac = "02:42:0b:00:00:05"
            for words in (
                (*bridge, "del", mac, "dev", TUNNEL, "master"),
                (*bridge, "replace", mac, "dev", TUNNEL, "dst", "192.0.2.66", "self", "permanent"),
            ):
                run(*words)
            ip("neighbour", "del", "10.11.0.6", "dev", TUNNEL)
        words = await kernel.repair(wanted)
        assert len(words) == 2, words
        every = Plan([item for plan in wanted.values() for item in plan.values()])
        assert dict(await kernel.observe()) == dict(every)
        await kernel.apply(dict.fromkeys(wanted, NOTHING))

    on_kernel(scenario)
