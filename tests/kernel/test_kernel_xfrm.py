"""Policies of encryption on the real kernel and on the one in memory: made, changed, mended, and strangers' left alone.

Policies need no ESP; states do, and are tested where there is one (tests/vm).
"""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

import pytest
from tests.kernel.kernel_plans import overlay
from tests.kernel.one_host.waiting import PATIENCE_S

from fairlead.kernel import xfrm
from fairlead.kernel.apply import Kernel
from fairlead.kernel.errno import Refused
from fairlead.plan.objects import NOTHING, Plan
from fairlead.plan.xfrm import ExactXfrm, Xfrm, XfrmPolicy, XfrmState
from fairlead.testing.fake_kernel import FakeKernel

BLOCK = XfrmPolicy("0.0.0.0/0", "0.0.0.0/0", 4789)
ONE, TWO = (XfrmPolicy("192.0.2.1/32", f"192.0.2.{number}/32", 4789, 0x1000 + number) for number in (2, 3))
SIX = XfrmPolicy("2001:db8::1/128", "2001:db8::2/128", 4790, 0xFFFFFFFF)
STATE = XfrmState("192.0.2.1", "192.0.2.2", ONE.spi, "5a" * 20, outbound=True)
THEIRS = ("src", "198.51.100.0/24", "dst", "203.0.113.0/24", "dir", "out", "action", "block")


def ip(*words: str) -> str:
    return subprocess.run(("ip", *words), check=True, capture_output=True, text=True, timeout=PATIENCE_S).stdout


async def standing(kernel: Kernel | FakeKernel) -> set[object]:
    return {item for item in (await kernel.observe()).values() if isinstance(item, Xfrm)}


async def life(kernel: Kernel | FakeKernel) -> None:
    """Two networks that share what they share, a rotation, an end."""
    await kernel.apply({"network:a": Plan([BLOCK]), "network:b": Plan([BLOCK]), "pair:2": Plan([ONE, SIX])})
    assert await standing(kernel) == {BLOCK, ONE, SIX}
    rotated = replace(ONE, spi=0x2002)
    await kernel.apply({"pair:2": Plan([rotated]), "network:a": NOTHING})
    assert await standing(kernel) == {BLOCK, rotated}
    await kernel.apply({"network:b": NOTHING, "pair:2": NOTHING})
    assert await standing(kernel) == set()


async def restart(kernel: Kernel | FakeKernel) -> None:
    """What stands from before is left alone until all is known, and goes then."""
    await kernel.apply({"network:a": Plan([BLOCK]), "pair:2": Plan([ONE]), "pair:3": Plan([TWO])})
    await kernel.repair({"network:a": Plan([BLOCK])})
    assert await standing(kernel) == {BLOCK, ONE, TWO}
    await kernel.apply({"pair:2": Plan([ONE]), "pairs": Plan([ExactXfrm()])})
    assert await standing(kernel) == {BLOCK, ONE}
    await kernel.repair({"pairs": Plan([ExactXfrm()])})
    assert await standing(kernel) == set()


@pytest.mark.parametrize("scenario", [life, restart])
def test_the_real_kernel_and_the_one_in_memory_do_the_same(on_kernel: Any, scenario: Any) -> None:
    asyncio.run(_close(scenario, FakeKernel()))
    on_kernel(scenario)


async def _close(scenario: Any, kernel: FakeKernel) -> None:
    work: Coroutine[Any, Any, None] = scenario(kernel)
    await work
    await kernel.close()


def test_sec_04_what_strangers_change_is_mended_and_theirs_is_left_alone(on_kernel: Any) -> None:
    async def scenario(kernel: Kernel) -> None:
        ip("xfrm", "policy", "add", *THEIRS)
        await kernel.apply({"network:a": Plan([BLOCK]), "pair:2": Plan([ONE]), "pairs": Plan([ExactXfrm()])})
        assert not (await kernel.ipsec.mend()).words
        mark = ("mark", "0xfa000000", "mask", "0xffffffff")
        selector = ("src", "0.0.0.0/0", "dst", "0.0.0.0/0", "proto", "udp", "dport", "4789", "dir", "out")
        ip("xfrm", "policy", "delete", *selector, *mark)
        ip("xfrm", "policy", "add", "src", "192.0.2.1/32", "dst", "192.0.2.9/32", "proto", "udp", "dport", "4789",
           "dir", "out", "action", "allow", *mark)  # fmt: skip
        found = await kernel.ipsec.mend()
        assert len(found.words) == 2 and not found.lost
        assert await standing(kernel) == {BLOCK, ONE}
        assert not (await kernel.ipsec.mend()).words
        assert "198.51.100.0/24" in ip("xfrm", "policy")
        await kernel.apply({"network:a": NOTHING, "pair:2": NOTHING, "pairs": NOTHING})
        assert "198.51.100.0/24" in ip("xfrm", "policy")

    on_kernel(scenario)


def test_sec_03_a_tunnel_is_not_made_where_its_states_are_refused(on_kernel: Any) -> None:
    async def scenario(kernel: Kernel) -> None:
        broken = replace(STATE, secret="5a" * 3)  # no kernel takes such a key
        with pytest.raises(Refused, match=r"cannot encrypt 192\.0\.2\.1 -> 192\.0\.2\.2"):
            await kernel.apply({"network:a": overlay() | Plan([BLOCK, ONE, broken])})
        assert not await kernel.observe()

    on_kernel(scenario)


def test_whether_the_kernel_can_is_said_in_words_and_leaves_nothing(on_kernel: Any) -> None:
    async def scenario(kernel: Kernel) -> None:
        for v6 in (False, True):
            fault = await kernel.ipsec.fault(v6=v6)
            assert fault == "" or fault.startswith("its kernel ")
        assert not await kernel.ipsec.stands()
        assert xfrm.standing() == []

    on_kernel(scenario)
