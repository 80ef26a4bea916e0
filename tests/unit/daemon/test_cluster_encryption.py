"""What a node encrypts with: when its life goes on and when another begins, and when keys count as held."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.unit.engine.test_pairs import ONE, RING, Node

from fairlead.daemon.cluster.contract import Place
from fairlead.daemon.cluster.encryption import LIFE_FILE, Encryption
from fairlead.drivers.overlay import encryption as derived
from fairlead.gossip.identity import Identity
from fairlead.model.cluster import Key, NodeDescription, Ring, Station
from fairlead.model.events import Event, TunnelSecrets
from fairlead.model.session import HeldKeys
from fairlead.plan.xfrm import XfrmState
from fairlead.testing.fake_kernel import FakeKernel


class Member:
    """A node's engine on a Linux in memory, and what it encrypts with."""

    def __init__(self, folder: Path, kernel: FakeKernel | None = None) -> None:
        self.engine, self.kernel = Node(), kernel or FakeKernel()
        self.engine.run("anna", "net1")
        self.engine.see(ONE, 20)
        self.said: list[Station] = []
        self.told: list[TunnelSecrets] = []
        self.changes = 0
        place = Place("n1", "c", str(folder), Identity(bytes(32)), NodeDescription("h1"), data_path="192.0.2.1")
        stations = self.engine.engine.core.stations
        self.encryption = Encryption(place, self.kernel.ipsec, self.feed, self.said.append, stations, self.changed)

    async def feed(self, event: Event) -> None:
        assert isinstance(event, TunnelSecrets)
        self.told.append(event)
        self.engine.tell(event)
        await self.kernel.apply(self.pairs())

    async def changed(self) -> None:
        self.changes += 1

    def pairs(self) -> dict[str, object]:
        return {owner: plan for owner, plan in self.engine.standing.items() if owner.startswith("pair")}

    def states(self) -> set[str]:
        return {item.secret for item in self.kernel.objects.values() if isinstance(item, XfrmState)}


def run(work: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(work())  # type: ignore[arg-type]


def test_a_life_goes_on_as_long_as_the_kernel_s_states(tmp_path: Path) -> None:
    async def work() -> None:
        one = Member(tmp_path)
        await one.encryption.start(RING)
        assert one.encryption.held == HeldKeys((2,), 2)
        nonce = one.said[-1].nonce
        assert len(nonce) == 32 and (tmp_path / LIFE_FILE).read_text() == nonce
        before = one.states()
        assert len(before) == 2
        again = Member(tmp_path, one.kernel)
        await again.encryption.start(RING)
        assert again.said[-1].nonce == nonce
        assert again.states() == before

    run(work)


def test_sec_05_after_a_start_of_the_machine_everything_is_drawn_anew(tmp_path: Path) -> None:
    async def work() -> None:
        one = Member(tmp_path)
        await one.encryption.start(RING)
        again = Member(tmp_path)
        await again.encryption.start(RING)
        assert again.said[-1].nonce != one.said[-1].nonce
        assert not again.states() & one.states()

    run(work)


def test_sec_04_what_was_sent_with_and_is_lost_ends_the_life(tmp_path: Path) -> None:
    async def work() -> None:
        one = Member(tmp_path)
        await one.encryption.start(RING)
        before, nonce = one.states(), one.said[-1].nonce
        for key in [key for key, item in one.kernel.objects.items() if isinstance(item, XfrmState)]:
            del one.kernel.objects[key]
        await one.encryption._check()
        assert one.said[-1].nonce != nonce
        assert len(one.states()) == 2 and not one.states() & before
        after = one.states()
        await one.encryption._check()
        assert one.states() == after

    run(work)


def test_what_is_only_received_with_is_mended_in_the_same_life(tmp_path: Path) -> None:
    async def work() -> None:
        one = Member(tmp_path)
        await one.encryption.start(RING)
        before = one.states()
        (key,) = [
            key
            for key, item in one.kernel.objects.items()
            if isinstance(item, XfrmState) and item.target == "192.0.2.1"
        ]
        del one.kernel.objects[key]
        await one.encryption._check()
        assert one.states() == before
        assert len(one.said) == 1

    run(work)


def test_keys_are_held_when_the_kernel_has_them(tmp_path: Path) -> None:
    async def work() -> None:
        one = Member(tmp_path)
        await one.encryption.start(None)
        assert one.encryption.held == HeldKeys()
        await one.encryption.use(Ring((*RING.keys, Key(4, "22" * 32)), 2))
        assert one.encryption.held == HeldKeys((2, 4), 2)
        assert len(one.states()) == 4

    run(work)


def test_a_former_key_opens_a_while_longer(tmp_path: Path) -> None:
    async def work() -> None:
        one = Member(tmp_path)
        keys = [Key(tag, f"{tag:064x}") for tag in (2, 4, 6, 8)]
        await one.encryption.start(Ring((keys[0],), 2))
        before = one.states()
        await one.encryption.use(Ring((keys[1],), 4))
        assert one.encryption.held == HeldKeys((4,), 4)
        assert before < one.states()
        await one.encryption._check()
        assert before < one.states()
        for key in keys[2:]:
            await one.encryption.use(Ring((key,), key.tag))
        assert not before & one.states()  # there are never more than two former ones
        assert len(one.states()) == 2 * 3
        await one.encryption.use(Ring((keys[0],), 2))
        one.encryption._former = dict.fromkeys(one.encryption._former, 0.0)
        await one.encryption._check()
        assert one.states() == before

    run(work)


def test_sec_01_a_kernel_that_cannot_is_told_of_until_it_can(tmp_path: Path) -> None:
    async def work() -> None:
        one = Member(tmp_path)
        one.kernel.ipsec.lacking = "its kernel has no ESP"
        await one.encryption.start(RING)
        assert one.encryption.fault == one.told[-1].fault == "its kernel has no ESP"
        assert not one.said and not one.states()
        assert one.encryption.held == HeldKeys((2,), 2)
        one.kernel.ipsec.lacking = ""
        await one.encryption._check()
        assert not one.encryption.fault and not one.told[-1].fault
        assert len(one.states()) == 2
        assert one.changes == 1

    run(work)


def test_two_nodes_with_one_number_here_make_this_node_draw_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        one = Member(tmp_path)
        await one.encryption.start(RING)
        nonce, spi = one.said[-1].nonce, derived.spi

        def clashing(key: Key, source: Station, target: Station) -> int:
            return 4242 if target.nonce == nonce else spi(key, source, target)

        monkeypatch.setattr("fairlead.daemon.cluster.encryption.spi", clashing)
        assert len(one.engine.engine.core.stations) == 2
        await one.encryption._check()
        assert one.said[-1].nonce != nonce
        await one.encryption._check()
        assert len(one.said) == 2

    run(work)


def test_who_leaves_the_cluster_keeps_nothing(tmp_path: Path) -> None:
    async def work() -> None:
        one = Member(tmp_path)
        await one.encryption.start(RING)
        await one.encryption.leave()
        assert not (tmp_path / LIFE_FILE).exists()
        assert not one.states()
        assert one.said[-1].nonce == ""

    run(work)
