"""The fake kernel against the real one: the same plans, one after the other, leave the same behind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from tests.kernel.kernel_plans import OVERLAY, TABLE, TUNNEL, comparable, network, node, overlay, peer, ports, sandbox

from fairlead.kernel.apply import Kernel
from fairlead.model.errors import NetError
from fairlead.plan.objects import (
    NOTHING,
    Address,
    Chain,
    Element,
    Exact,
    Netns,
    Plan,
    PortHold,
    Route,
    Set,
    Table,
    Veth,
)
from fairlead.testing.fake_kernel import FakeKernel

Step = Mapping[str, Plan]
BASE: Step = {"node": node(), "network:a": network()}
LONE = Veth("", "v9", "s2", "eth9", "02:42:0a:09:00:09", 1500, "fairlead:endpoint:9", "br0")

SCENARIOS: dict[str, list[Step]] = {
    "up and down": [BASE, {"s": sandbox(2)}, {"s": NOTHING}, {"network:a": NOTHING}, {"node": NOTHING}],
    "hot disconnect": [BASE, {"s": sandbox(2)}, {"s": Plan([Netns("s2")])}, {"s": sandbox(2)}],
    "two endpoints": [BASE, {"s": sandbox(2, LONE, Address("s2", "eth9", "10.9.0.9/16"))}, {"s": sandbox(2)}],
    "changed mac": [BASE, {"s": sandbox(2)}, {"s": sandbox(2, mac="02:42:0a:09:00:ee")}],
    "changed mtu": [BASE, {"network:a": network(1400)}],
    "ports": [BASE, {"p": ports(8000, 5)}, {"p": ports(8003, 5)}, {"p": NOTHING}],
    "bridge under its ports": [BASE, {"s": sandbox(2)}, {"network:a": NOTHING}],
    "no master": [{"s": sandbox(2)}, BASE, {"s": sandbox(2)}],
    "no namespace": [BASE, {"s": Plan([LONE])}],
    "no link": [BASE, {"x": Plan([Address("", "nowhere", "10.1.0.1/24")])}],
    "gateway far away": [BASE, {"s": sandbox(2, Route("s2", "10.77.0.0/16", "eth0", "10.200.0.1"))}],
    "no table": [{"x": Plan([Chain(*TABLE, "alone", ())])}],
    "no set": [BASE, {"x": Plan([Element(*TABLE, "nothing", "tcp . 80", "10.0.0.1 . 80")])}],
    "no chain to jump to": [BASE, {"x": Plan([Chain(*TABLE, "lost", ("jump nowhere",))])}],
    "same port twice": [BASE, {"p": ports(80, 1)}, {"q": Plan([PortHold("tcp", "127.0.0.1", 80)])}],
    "same port, other family": [{"p": Plan([PortHold("tcp", "0.0.0.0", 80), PortHold("tcp", "::", 80)])}],
    "name taken": [
        BASE,
        {"s": sandbox(2)},
        {"t": Plan([Netns("s3"), Veth("", "v3", "s2", "eth0", "02:42:0a:09:00:03", 1500, "fairlead:t")])},
    ],
    "overlay up and down": [{"n": overlay(), "p": peer(5)}, {"p": NOTHING}, {"n": NOTHING}, {"n": overlay()}],
    "peer moves": [{"n": overlay(), "p": peer(5), "q": peer(6)}, {"p": peer(5, "192.0.2.3")}, {"q": NOTHING}],
    "tunnel made anew": [{"n": overlay(), "p": peer(5)}, {"n": overlay(local="127.0.0.2"), "p": peer(5)}],
    "tunnel changed": [{"n": overlay(), "p": peer(5)}, {"n": overlay(mtu=1400)}],
    "number taken": [{"n": overlay()}, {"m": overlay(ns="ov-2")}, {"n": NOTHING, "m": overlay(ns="ov-2")}],
    "no tunnel": [{"p": peer(5)}],
    "peers go with the network": [{"n": overlay(), "p": peer(5)}, {"n": NOTHING, "p": NOTHING}],
    "table with all in it": [
        {"x": Plan([Table(*TABLE), Set(*TABLE, "a", "ipv4_addr"), Element(*TABLE, "a", "10.0.0.1")])},
        {"x": NOTHING},
    ],
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_both_kernels_agree(on_kernel: Any, name: str) -> None:
    async def scenario(kernel: Kernel) -> None:
        fake = FakeKernel()
        for number, step in enumerate(SCENARIOS[name]):
            outcomes = [await outcome(kernel, step), await outcome(fake, step)]
            assert outcomes[0] == outcomes[1], f"step {number}"
            assert comparable(await kernel.observe()) == comparable(await fake.observe()), f"step {number}"

    on_kernel(scenario)


async def outcome(kernel: Kernel | FakeKernel, step: Step) -> str:
    try:
        await kernel.apply(step)
    except NetError as error:
        return error.kind
    return "done"


def test_both_repair_to_the_same(on_kernel: Any) -> None:
    async def scenario(kernel: Kernel) -> None:
        fake = FakeKernel()
        for each in (kernel, fake):
            await each.apply({**BASE, "s": sandbox(2), "p": ports(8000, 2)})
            await each.repair({**BASE, "t": sandbox(3), "p": ports(8001, 2)})
        assert comparable(await kernel.observe()) == comparable(await fake.observe())

    on_kernel(scenario)


def test_both_keep_what_a_tunnel_knew_until_all_is_known(on_kernel: Any) -> None:
    async def scenario(kernel: Kernel) -> None:
        fake = FakeKernel()
        for each in (kernel, fake):
            await each.apply({"n": overlay(), "p": peer(5), "q": peer(6)})
            await each.repair({"n": overlay(), "p": peer(5)})
            assert set(peer(6)) <= set(await each.observe())
            complete = Plan([*overlay().values(), Exact(OVERLAY, TUNNEL)])
            await each.apply({"n": complete})
            assert set(peer(6)).isdisjoint(await each.observe())
            assert set(peer(5)) <= set(await each.observe())
            await each.apply({"n": NOTHING, "p": NOTHING})
        assert comparable(await kernel.observe()) == comparable(await fake.observe())

    on_kernel(scenario)
