"""What the host has that is not ours, and word of its changes."""

from __future__ import annotations

import asyncio
import subprocess
from typing import Any

from tests.kernel.kernel_plans import network, node, sandbox
from tests.kernel.one_host.waiting import PATIENCE_S

from fairlead.kernel.apply import Kernel
from fairlead.model.events import HostChanged

BASE = {"node": node(), "network:a": network()}


async def ip(*arguments: str) -> None:
    await asyncio.to_thread(subprocess.run, ["ip", *arguments], check=True, capture_output=True)


async def stranger() -> None:
    await ip("link", "add", "up0", "type", "veth", "peer", "name", "up1")
    await ip("link", "set", "up0", "up")
    await ip("link", "set", "up1", "up")
    await ip("address", "add", "192.0.2.5/24", "dev", "up0")


def test_facts_are_of_strangers_only(on_kernel: Any) -> None:
    async def scenario(kernel: Kernel) -> None:
        await stranger()
        await ip("route", "add", "198.51.100.0/24", "via", "192.0.2.1")
        await kernel.apply({**BASE, "sandbox:2": sandbox(2)})
        found = await kernel.host_facts()
        assert "192.0.2.0/24" in found.prefixes
        assert "198.51.100.0/24" in found.prefixes
        assert "192.0.2.5/24" in found.addresses
        assert not [
            prefix for prefix in (*found.prefixes, *found.addresses) if prefix.startswith(("10.9", "fd00", "0."))
        ]
        assert found.ephemeral_ports[0] < found.ephemeral_ports[1]

    on_kernel(scenario)


def test_a_change_of_a_stranger_is_told_and_ours_is_not(on_kernel: Any) -> None:
    async def scenario(kernel: Kernel) -> None:
        told: asyncio.Queue[HostChanged] = asyncio.Queue()
        await kernel.watch(told.put_nowait)
        await kernel.apply({**BASE, "sandbox:2": sandbox(2)})
        await stranger()
        found = await asyncio.wait_for(told.get(), PATIENCE_S)
        while "192.0.2.5/24" not in found.addresses:
            found = await asyncio.wait_for(told.get(), PATIENCE_S)
        await ip("link", "delete", "up0")
        found = await asyncio.wait_for(told.get(), PATIENCE_S)
        while "192.0.2.5/24" in found.addresses:
            found = await asyncio.wait_for(told.get(), PATIENCE_S)
        assert not [prefix for prefix in found.prefixes if prefix.startswith("10.9")]

    on_kernel(scenario)
