"""Ways back: what is marked leaves by one link to the MAC of its mark, and all of it is gone with its plan."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from tests.kernel.kernel_plans import network, node, sandbox
from tests.kernel.one_host.waiting import PATIENCE_S

from fairlead.kernel import returns
from fairlead.kernel.apply import Kernel
from fairlead.plan.objects import NOTHING, Plan
from fairlead.plan.returns import MARK, ReturnPaths

ONE, TWO = (MARK | 7, "06:66:4d:00:00:07"), (MARK | 8, "06:66:4d:00:00:08")


def paths(*ways: tuple[int, str]) -> Plan:
    """For the sandbox ``s2``."""
    return Plan([ReturnPaths("s2", "eth0", True, True, ways)])


def inside(space: Path, *words: str) -> str:
    """What a program says in the sandbox."""
    command = ["nsenter", f"--net={space / 's2'}", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=PATIENCE_S).stdout


def rules(space: Path) -> list[str]:
    """The rules of ours for both families."""
    return [
        line for flag in ("-4", "-6") for line in inside(space, "ip", flag, "rule").splitlines() if "fwmark" in line
    ]


def test_marked_packets_leave_by_the_link_to_the_mac_of_their_mark(on_kernel: Any, space: Path) -> None:
    async def scenario(kernel: Kernel) -> None:
        base = {"node": node(), "n": network(), "sandbox": sandbox(2)}
        await kernel.apply({**base, "ways": paths(ONE)})
        assert len(rules(space)) == 2
        for address, family in (("192.0.2.9", "-4"), ("2001:db8::9", "-6")):
            way = inside(space, "ip", family, "route", "get", address, "mark", hex(ONE[0]))
            assert "dev eth0" in way and "table 77" in way
        said = inside(space, "nft", "list", "table", "netdev", returns.TABLE)
        assert ONE[1] in said and TWO[1] not in said
        await kernel.apply({"ways": paths(ONE, TWO)})
        assert TWO[1] in inside(space, "nft", "list", "table", "netdev", returns.TABLE)
        assert await kernel.repair({**base, "ways": paths(TWO)}) == [], "it is not told, since it is made each time"
        assert ONE[1] not in inside(space, "nft", "list", "table", "netdev", returns.TABLE)
        await kernel.apply({"ways": NOTHING})
        assert rules(space) == []
        assert returns.TABLE not in inside(space, "nft", "list", "tables")
        await kernel.apply(dict.fromkeys(base, NOTHING))

    on_kernel(scenario)


def test_a_link_that_is_made_anew_has_them_again(on_kernel: Any, space: Path) -> None:
    async def scenario(kernel: Kernel) -> None:
        plans = {"node": node(), "n": network(), "sandbox": sandbox(2), "ways": paths(ONE)}
        await kernel.apply(plans)
        inside(space, "ip", "link", "del", "eth0")
        await kernel.repair(plans)
        assert "dev eth0" in inside(space, "ip", "route", "get", "192.0.2.9", "mark", hex(ONE[0]))
        assert "eth0" in inside(space, "nft", "list", "table", "netdev", returns.TABLE)
        await kernel.apply(dict.fromkeys(plans, NOTHING))

    on_kernel(scenario)
