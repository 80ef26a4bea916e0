"""Whoever waits until nothing is sent to a task any more waits for the tables of all nodes, not for their ears."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from tests.kernel.cluster.test_gossiping import WEB, Member, ring
from tests.kernel.cluster.test_gossiping import together as met
from tests.kernel.one_host.waiting import PATIENCE_S

from fairlead.engine.outcome import LeaveScope, PublishNames, RetractNames
from fairlead.model.cluster import PeerNames
from fairlead.model.errors import Internal
from fairlead.model.events import Event, NamesSeen

READY = PeerNames(WEB, "one", ("web",), "10.0.1.1", "")


class Slow(Member):
    """A node whose tables follow when it is told to."""

    def __init__(self, number: int, folder: Path) -> None:
        super().__init__(number, folder)
        self.free = asyncio.Event()
        self.free.set()
        #: How often it was told that the endpoint is not ready any more, and how many of the first times it fails.
        self.told_of_end, self.failures = 0, 0

    async def hear(self, event: Event) -> None:
        if isinstance(event, NamesSeen) and ("one", None) in event.changes:
            self.told_of_end += 1
            if self.told_of_end <= self.failures:
                raise Internal("the kernel refuses")
            await self.free.wait()
        await super().hear(event)


Scenario = Callable[[list[Slow]], Coroutine[Any, Any, None]]


def run(folder: Path, scenario: Scenario) -> None:
    """Three members in one network, to the first of which an endpoint belongs."""

    async def session() -> None:
        members = [Slow(number, folder) for number in (1, 2, 3)]
        try:
            await met([*members])
            for member in members:
                member.publish(*(["one"] if member.number == 1 else []))
            members[0].gossip.tell(PublishNames(WEB, READY))
            for member in members[1:]:
                await member.until(lambda member=member: member.names, "it is ready")  # type: ignore[misc]
            async with asyncio.timeout(PATIENCE_S):
                await scenario(members)
        finally:
            for member in members:
                member.free.set()
                await member.gossip.stop()

    asyncio.run(session())


@pytest.mark.usefixtures("space")
def test_to_have_heard_of_it_is_not_enough(tmp_path: Path) -> None:
    async def scenario(members: list[Slow]) -> None:
        a, b, c = members
        b.free.clear()
        a.gossip.tell(RetractNames(WEB, "one"))
        drained = asyncio.ensure_future(a.gossip.followed([WEB]))
        await b.until(lambda: b.told_of_end, "b has heard")
        await c.until(lambda: not c.names, "c has done it")
        steps = {"n2": False, "n3": False}
        while not steps["n3"]:
            await asyncio.sleep(0.01)  # its answer is under way
            steps = {one.node_id: one.in_step for one in await a.gossip.followers(WEB)}
            assert not steps["n2"]
        assert not drained.done()
        b.free.set()
        await drained
        assert not b.names
        assert all(one.in_step for one in await a.gossip.followers(WEB))

    run(tmp_path, scenario)


@pytest.mark.usefixtures("space")
def test_what_a_kernel_refused_is_tried_again_and_counts_when_it_is_done(tmp_path: Path) -> None:
    async def scenario(members: list[Slow]) -> None:
        a, b, _ = members
        b.failures = 1
        a.gossip.tell(RetractNames(WEB, "one"))
        await a.gossip.followed([WEB])
        assert not b.names and b.told_of_end > 1

    run(tmp_path, scenario)


@pytest.mark.usefixtures("space")
def test_nobody_waits_for_the_dead_nor_for_who_left(tmp_path: Path) -> None:
    async def scenario(members: list[Slow]) -> None:
        a, b, c = members
        b.free.clear()
        a.gossip.tell(RetractNames(WEB, "one"))
        c.gossip.tell(LeaveScope(WEB))
        drained = asyncio.ensure_future(a.gossip.followed([WEB]))
        await b.until(lambda: b.told_of_end, "b has heard")
        assert not drained.done()
        await b.gossip.stop()
        await drained

    run(tmp_path, scenario)


@pytest.mark.usefixtures("space")
def test_a_node_alone_or_in_no_cluster_waits_for_nobody(tmp_path: Path) -> None:
    async def scenario() -> None:
        alone = Slow(1, tmp_path)
        alone.publish("one")
        await alone.gossip.followed([WEB])
        alone.gossip.set_ring(WEB, ring(1))
        await alone.start(ring(1))
        try:
            await asyncio.wait_for(alone.gossip.followed([WEB]), PATIENCE_S)
        finally:
            await alone.gossip.stop()

    asyncio.run(scenario())
