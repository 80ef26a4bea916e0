"""Virtual addresses over the kernel's own balancer: what stands as tasks come and go, and that connections follow.

The tests of ``tests/kernel/balance/test_back_ends.py`` are the same, over another back end.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.kernel.balance.test_back_ends import (
    CLIENT,
    TASKS,
    Stage,
    stage,
    test_connections_are_led_stay_and_move_as_they_should,
)
from tests.kernel.conftest import space
from tests.kernel.one_host.waiting import PATIENCE_S

from fairlead.balance.contract import Aim, Balancer
from fairlead.balance.ipvs import Ipvs
from fairlead.kernel import ipvs, netns
from fairlead.kernel.apply import Kernel
from fairlead.plan.objects import Netns, Plan

__all__ = ["space", "stage", "test_connections_are_led_stay_and_move_as_they_should"]
A, B, C = "10.0.1.11", "10.0.1.12", "10.0.1.13"


@pytest.fixture
def balancer() -> Balancer:
    assert not ipvs.fault()
    return Ipvs()


def leading(*targets: str) -> Plan:
    """What leads a virtual address to these."""
    balancer, aim = Ipvs(), Aim("s", "10.0.1.2", targets)
    return Plan([Netns("box")]) | balancer.base_plan("box", [1, 2, 3, 4]) | balancer.aim_plan("box", aim)


def weights(space: Path) -> dict[str, int]:
    """Where the one virtual service leads, by address."""
    with netns.inside(str(space / "box")):
        listed = Path("/proc/thread-self/net/ip_vs").read_text()
    rows = re.findall(r"-> ([0-9A-F]{8}):0000 +Masq +(\d+)", listed)
    return {".".join(str(byte) for byte in bytes.fromhex(word)): int(weight) for word, weight in rows}


async def until(space: Path, wanted: dict[str, int]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while weights(space) != wanted:  # noqa: ASYNC110  # it is a state of the kernel
            await asyncio.sleep(0.1)


def test_destinations_come_fade_and_go_over_restarts(space: Path) -> None:
    async def life(do: Callable[[Kernel], Awaitable[None]]) -> None:
        kernel = Kernel(str(space))
        try:
            await do(kernel)
        finally:
            await kernel.close()

    async def first(kernel: Kernel) -> None:
        await kernel.apply({"a": leading(A, B, C)})
        assert weights(space) == {A: 1, B: 1, C: 1}
        await kernel.apply({"a": leading(A, B)})
        assert weights(space) in ({A: 1, B: 1, C: 0}, {A: 1, B: 1})
        await until(space, {A: 1, B: 1})
        await kernel.apply({"a": leading(A, B, C, C)})
        assert weights(space) == {A: 1, B: 1, C: 2}

    async def second(kernel: Kernel) -> None:
        await kernel.repair({"a": leading(A)})
        assert weights(space)[A] == 1 and not weights(space).get(B, 0)
        await kernel.apply({"a": leading(A, B, C)})
        assert weights(space) == {A: 1, B: 1, C: 1}
        await kernel.repair()
        assert weights(space) == {A: 1, B: 1, C: 1}

    async def third(kernel: Kernel) -> None:
        await kernel.repair({"a": Plan([Netns("box")])})
        await until(space, {})
        await kernel.apply({"a": leading(B)})
        assert weights(space) == {B: 1}
        await kernel.apply({"a": Plan([Netns("box")])})
        await until(space, {})
        await kernel.apply({"a": Plan()})

    for one in (first, second, third):
        asyncio.run(life(one))


def test_connections_go_by_the_kernels_balancer(stage: Stage) -> None:
    stage.lead(*TASKS)
    table = stage.ns[CLIENT].run("cat", "/proc/thread-self/net/ip_vs").stdout
    assert table.count("FWM") == 2 and table.count("Masq") == 2 * len(TASKS), table
    with stage.ns[CLIENT].connected("10.9.0.200", 7000) as standing:
        assert standing.recv(100)
        listed = stage.ns[CLIENT].run("cat", "/proc/thread-self/net/ip_vs_conn").stdout
    assert "TCP" in listed and "ESTABLISHED" in listed, listed
