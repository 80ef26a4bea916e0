"""The gossip of a daemon on real sockets, a member on each of several addresses of one loopback."""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.kernel.one_host.waiting import PATIENCE_S

from fairlead.daemon.cluster import keepsake, voicebox
from fairlead.daemon.cluster.contract import Place
from fairlead.daemon.cluster.gossiping import GOSSIP_PORT, Gossiping
from fairlead.engine.outcome import JoinScope, LeaveScope, Publish, PublishNames, Retract, RetractNames
from fairlead.gossip.identity import Address
from fairlead.model.cluster import Key, NodeDescription, Peer, PeerNames, Ring
from fairlead.model.errors import NotFound, Unavailable
from fairlead.model.events import AddressForgotten, DataPath, Event, NamesSeen, PeersComplete, PeersSeen
from fairlead.model.session import FORGET_LEASE, FORGET_NODE, Forget

WEB, DB = "ab" * 32, "cd" * 32


def ring(*tags: int, primary: int = 0) -> Ring:
    return Ring(tuple(Key(tag, f"{tag:064x}") for tag in tags), primary or tags[0])


class Member:
    """A node: its gossip, and an engine's memory of what it was told."""

    def __init__(self, number: int, folder: Path) -> None:
        self.host = f"127.0.7.{number}"
        place = str(folder / f"n{number}")
        self.place = Place(
            f"n{number}",
            "cluster",
            place,
            keepsake.identity(place),
            NodeDescription(f"n{number}"),
            advertise=self.host,
            data_path=self.host,
        )
        self.number = number
        self.gossip = Gossiping(self.hear)
        self.peers: dict[str, Peer] = {}
        self.names: dict[str, PeerNames] = {}
        self.complete: list[str] = []
        self.forgotten: list[tuple[str, int]] = []
        #: Endpoints that were there and were taken back.
        self.gone: list[str] = []
        self.turns = 0
        self._changed = asyncio.Event()

    async def hear(self, event: Event) -> None:
        self.turns += 1
        if isinstance(event, PeersSeen):
            self.gone += [name for name, fact in event.changes if fact is None]
            _merge(self.peers, event.changes)
        elif isinstance(event, NamesSeen):
            _merge(self.names, event.changes)
        elif isinstance(event, PeersComplete):
            self.complete.append(event.network_id)
        elif isinstance(event, AddressForgotten):
            self.forgotten.append((event.lease_id, event.generation))
        self._changed.set()

    async def start(self, keys: Ring, *seeds: Member) -> None:
        await self.gossip.start(self.place, 1500, keys, [Address(seed.host, GOSSIP_PORT) for seed in seeds])

    def peer(self, name: str, generation: int = 1) -> Peer:
        return Peer(WEB, name, f"10.0.1.{self.number}/24", "", "02:00:00:00:00:01", self.host, generation)

    def publish(self, *names: str, network: str = WEB) -> None:
        self.gossip.tell(JoinScope(network))
        for name in names:
            self.gossip.tell(Publish(network, replace(self.peer(name), network_id=network)))

    async def until(self, condition: Callable[[], object], what: str) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                self._changed.clear()
                try:
                    await asyncio.wait_for(self._changed.wait(), 0.05)
                except TimeoutError:
                    continue
        assert condition(), what

    async def states(self) -> dict[str, str]:
        return {peer.node_id: peer.state for peer in (await self.gossip.status()).peers}


def _merge(known: dict[str, Any], changes: tuple[tuple[str, Any], ...]) -> None:
    for name, fact in changes:
        if fact is None:
            known.pop(name, None)
        else:
            known[name] = fact


async def until(condition: Callable[[], Coroutine[Any, Any, bool]], _what: str) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            if await condition():
                return
            await asyncio.sleep(0.02)


Scenario = Callable[[list[Member]], Coroutine[Any, Any, None]]
Run = Callable[..., None]


@pytest.fixture(name="run")
def _run(space: Path, tmp_path: Path) -> Run:
    """Members that are ready to start, ended whatever happens. ``space`` has a loopback of its own."""

    def run(scenario: Scenario, count: int = 3) -> None:
        async def session() -> None:
            members = [Member(number, tmp_path) for number in range(1, count + 1)]
            try:
                await scenario(members)
            finally:
                for member in members:
                    await member.gossip.stop()

        asyncio.run(session())

    return run


async def together(members: list[Member], keys: Ring | None = None, *, webs: Ring | None = None) -> None:
    """All are in one cluster and may take part in ``web``."""
    for member in members:
        member.gossip.set_ring(WEB, webs or ring(1))
        await member.start(keys or ring(1), members[0])
    others = len(members) - 1

    async def met() -> bool:
        return all([list((await one.states()).values()) == ["alive"] * others for one in members])

    await until(met, "all know all")


def test_what_one_says_the_others_are_told_in_few_turns(run: Run) -> None:
    async def scenario(members: list[Member]) -> None:
        a, b, c = members
        await together(members)
        for member in (b, c):
            member.publish()
            await member.until(lambda member=member: member.complete == [WEB], "the network is heard out")
        before = c.turns
        a.publish(*(f"e{number}" for number in range(200)))
        a.gossip.tell(PublishNames(WEB, PeerNames(WEB, "e7", ("seven",), "10.0.1.1", "")))
        for member in (b, c):
            await member.until(lambda member=member: len(member.peers) == 200 and member.names, "all have come")
        assert c.turns - before < 200, "a burst is not 200 turns of the engine"
        assert (b.peers["e7"].vtep, b.names["e7"].names) == (a.host, ("seven",))
        a.gossip.tell(RetractNames(WEB, "e7"))
        await c.until(lambda: not c.names, "names go at once")
        assert len(c.peers) == 200

    run(scenario)


def test_an_address_is_free_when_everybody_has_forgotten_it(run: Run) -> None:
    async def scenario(members: list[Member]) -> None:
        a, b, c = members
        await together(members)
        for member in members:
            member.publish(f"of{member.number}")
        for member in (b, c):
            await member.until(lambda member=member: "of1" in member.peers, "it is known")
        a.gossip.tell(Retract(WEB, "of1", f"{WEB}/10.0.1.1", 1))
        await a.until(lambda: a.forgotten == [(f"{WEB}/10.0.1.1", 1)], "it is forgotten")
        assert "of1" not in b.peers
        assert "of1" not in c.peers
        assert (await a.gossip.status()).waiting == 0

    run(scenario)


def test_the_last_endpoint_is_forgotten_though_the_network_is_left_at_once(run: Run) -> None:
    async def scenario(members: list[Member]) -> None:
        a, b, _ = members
        await together(members)
        a.publish("last")
        b.publish()
        await b.until(lambda: "last" in b.peers, "it is known")
        a.gossip.tell(Retract(WEB, "last", "lease", 4))
        a.gossip.tell(LeaveScope(WEB))
        await a.until(lambda: a.forgotten == [("lease", 4)], "it is forgotten")
        await b.until(lambda: not b.peers, "and it was")
        a.publish("again")
        await b.until(lambda: list(b.peers) == ["again"], "the network can be joined anew")

    run(scenario)


def test_a_restart_takes_back_what_its_former_life_said_and_keeps_the_rest(run: Run) -> None:
    async def scenario(members: list[Member]) -> None:
        a, b, c = members
        await together(members)
        a.publish("stays", "goes", "forgotten")
        for member in (b, c):
            member.publish()
            await member.until(lambda member=member: len(member.peers) == 3, "all is known")
        first = (await a.gossip.status()).epoch
        await a.gossip.stop()
        again = Member(1, Path(a.place.folder).parent)
        members[0] = again
        # what the engine says when it is restored, before there is a gossip; one lease rests still
        again.publish("stays")
        again.gossip.tell(Retract(WEB, "forgotten", "lease", 2))
        again.gossip.set_ring(WEB, ring(1))
        await again.start(ring(1))  # no seed, no manager: those that were there last time will do
        await again.until(lambda: again.forgotten == [("lease", 2)], "the old lease is free")
        for member in (b, c):
            await member.until(lambda member=member: set(member.peers) == {"stays"}, "what was not said again is over")
        assert (await again.gossip.status()).epoch > first

    run(scenario)


def test_a_daemon_that_is_away_loses_its_names_not_its_endpoints(run: Run) -> None:
    async def scenario(members: list[Member]) -> None:
        a, b, _ = members
        await together(members)
        a.publish("web")
        a.gossip.tell(PublishNames(WEB, PeerNames(WEB, "web", ("web",), "10.0.1.1", "")))
        b.publish()
        await b.until(lambda: b.peers and b.names, "it is known")
        await a.gossip.stop()
        await b.until(lambda: not b.names, "clients are sent elsewhere")
        assert "web" in b.peers
        assert (await b.states())["n1"] == "dead"
        a.publish("web")
        a.gossip.tell(PublishNames(WEB, PeerNames(WEB, "web", ("web",), "10.0.1.1", "")))
        await a.start(ring(1))
        await b.until(lambda: "web" in b.names, "it is back")
        assert b.peers["web"].vtep == a.host

    run(scenario)


def test_keys_go_round_ten_times_and_a_node_that_missed_three_heals(run: Run) -> None:
    async def scenario(members: list[Member]) -> None:
        a, b, c = members
        await together(members)
        for member in members:
            member.publish(f"first{member.number}")
        for tag in range(2, 12):
            late = [a, b] if 4 <= tag <= 6 else [a, b, c]
            for held in (ring(tag - 1, tag, primary=tag - 1), ring(tag - 1, tag, primary=tag), ring(tag)):
                for member in late:
                    said = await member.gossip.apply_keys(held)
                    assert said.tags == tuple(sorted(key.tag for key in held.keys))
            b.publish(f"key{tag}")
            await a.until(lambda tag=tag: f"key{tag}" in a.peers, "nothing is lost on the way")
        await c.until(lambda: {f"key{tag}" for tag in range(2, 12)} <= set(c.peers), "who missed some has all")
        assert len((await c.gossip.status()).keys) == 1

    run(scenario)


def test_a_networks_keys_change_and_what_was_said_before_is_read_on(run: Run) -> None:
    async def scenario(members: list[Member]) -> None:
        a, b, _ = members
        await together(members)
        a.publish("one")
        b.publish()
        await b.until(lambda: "one" in b.peers, "it is known")
        for held in (ring(1, 2, primary=1), ring(1, 2, primary=2), ring(2)):
            a.gossip.set_ring(WEB, held)
        a.publish("two")
        status = b.gossip.status

        async def refused() -> bool:
            return "unsealed" in (await status()).refused

        await until(refused, "b has not the new key")
        b.gossip.set_ring(WEB, ring(1, 2, primary=2))
        await b.until(lambda: set(b.peers) == {"one", "two"}, "with the key it is read")
        assert not b.gone

    run(scenario)


def test_a_key_that_is_dropped_before_all_is_said_with_the_next_costs_nothing(run: Run) -> None:
    async def scenario(members: list[Member]) -> None:
        a, b, _ = members
        await together(members)
        a.publish("one")
        b.publish()
        await b.until(lambda: "one" in b.peers, "it is known")
        b.gossip.set_ring(WEB, ring(2))

        async def refused() -> bool:
            return "unsealed" in (await b.gossip.status()).refused

        await until(refused, "b cannot read any more what a said")
        a.gossip.set_ring(WEB, ring(2))
        a.publish("two")
        await b.until(lambda: set(b.peers) == {"one", "two"}, "it is said anew")
        assert not b.gone

    run(scenario)


def test_a_nodes_keys_of_the_cluster_open_no_network_that_it_has_no_part_in(run: Run) -> None:
    async def scenario(members: list[Member]) -> None:
        a, b, thief = members
        await together(members[:2])
        # it has the cluster's keys and takes part in the network's gossip, but no manager gave it the network's ring
        thief.gossip.set_ring(WEB, Ring((Key(1, secrets.token_hex(32)),), 1))
        await thief.start(ring(1), a)
        b.publish()
        thief.publish("forged")
        a.publish("secret")
        await b.until(lambda: "secret" in b.peers, "members of the network read it")

        async def seen() -> bool:
            table = await thief.gossip.table(WEB)
            return [row.fault for row in table if row.node_id == "n1"] == ["unsealed"]

        await until(seen, "the thief has its bytes")
        assert not thief.peers

        async def counted() -> bool:
            return (await b.gossip.status()).refused.get("unsealed", 0) > 0

        await until(counted, "what it forged is counted")
        assert set(b.peers) == {"secret"}

    run(scenario)


def test_a_removed_node_is_out_everywhere_also_where_no_manager_tells_it(run: Run) -> None:
    async def scenario(members: list[Member]) -> None:
        manager, worker, culprit = members
        managers = [manager.place.gossip.public_key.hex()]
        for member in members:
            member.gossip.trust(managers, (), ())
        await together(members)
        for member in members:
            member.publish(f"of{member.number}")
        for member in (manager, worker):
            await member.until(lambda member=member: "of3" in member.peers, "it is known")
        culprit.gossip.trust([culprit.place.gossip.public_key.hex()], (), [worker.place.gossip.public_key.hex()])
        manager.gossip.trust(managers, ("n3",), [culprit.place.gossip.public_key.hex()])
        await manager.gossip.forgotten(Forget("f1", FORGET_NODE, "n3"))
        assert "of3" not in manager.peers
        await worker.until(lambda: "of3" not in worker.peers, "by the manager's verdict")
        assert (await worker.states()).get("n3") is None
        await manager.until(lambda: "of2" in manager.peers, "a verdict of somebody else is nothing")

    run(scenario)


def test_a_lease_is_forgotten_when_its_last_word_is_gone(run: Run) -> None:
    async def scenario(members: list[Member]) -> None:
        a, b, _ = members
        await together(members)
        a.publish("web")
        b.publish()
        await b.until(lambda: "web" in b.peers, "it is known")
        asked = asyncio.ensure_future(b.gossip.forgotten(Forget("f", FORGET_LEASE, f"{WEB}/10.0.1.1", 1)))
        await b.gossip.forgotten(Forget("f", FORGET_LEASE, f"{WEB}/10.0.1.9", 1))
        assert not asked.done()
        a.gossip.tell(Retract(WEB, "web", "lease", 1))
        async with asyncio.timeout(PATIENCE_S):
            await asked
        assert not b.peers

    run(scenario)


def test_a_node_in_no_cluster_and_one_without_a_part_say_so(run: Run) -> None:
    async def scenario(members: list[Member]) -> None:
        a = members[0]
        with pytest.raises(Unavailable, match="This node is not part of a swarm"):
            await a.gossip.status()
        await a.start(ring(1))
        with pytest.raises(NotFound):
            await a.gossip.table(DB)
        await a.gossip.stop(leave=True)
        with pytest.raises(Unavailable):
            await a.gossip.table()

    run(scenario, 1)


def test_a_port_that_somebody_else_has_is_told_and_nothing_is_left(run: Run) -> None:
    async def scenario(members: list[Member]) -> None:
        a = members[0]
        with socket.create_server((a.host, GOSSIP_PORT)):
            with pytest.raises(Unavailable, match="cannot listen for other nodes"):
                await a.start(ring(1))
            assert not a.gossip.speaks
        await a.start(ring(1))
        assert a.gossip.speaks

    run(scenario, 1)


def test_what_is_measured_later_stands_on_the_card(run: Run) -> None:
    async def scenario(members: list[Member]) -> None:
        await together(members)
        members[1].gossip.tell(DataPath(members[1].host, mtu=1400))

        async def known() -> bool:
            seen = [{peer.node_id: peer.mtu for peer in (await member.gossip.status()).peers} for member in members]
            return seen[0]["n2"] == seen[2]["n2"] == 1400 and seen[1]["n1"] == seen[0]["n3"] == 1500

        await until(known, "the others know what n2 carries")
        assert (await members[1].gossip.status()).mtu == 1400

    run(scenario)


def test_two_that_leave_are_gone_at_once_for_the_third(run: Run) -> None:
    async def scenario(members: list[Member]) -> None:
        a, b, c = members
        await together(members)
        for member in members:
            member.publish(f"of{member.number}")
        await a.until(lambda: {"of2", "of3"} <= set(a.peers), "all is known")
        await b.gossip.stop(leave=True)
        await c.gossip.stop(leave=True)
        await a.until(lambda: set(a.peers) == set(), "a farewell takes endpoints along")

    run(scenario)


def test_a_fault_of_the_engine_leaves_nobody_deaf(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(members: list[Member]) -> None:
        a, b, _ = members
        await together(members)
        b.publish()
        await b.until(lambda: b.complete, "the network is heard out")
        hear, faults = b.hear, [RuntimeError("a fault")]

        async def faulty(event: Event) -> None:
            if faults:
                raise faults.pop()
            await hear(event)

        b.gossip._feed = faulty
        a.publish("one")
        await b.until(lambda: not faults, "the first word met the fault")
        a.publish("two")
        await b.until(lambda: "two" in b.peers, "the next is heard")

    run(scenario)
    assert "what other nodes said met a fault" in caplog.text


def test_who_finds_nobody_of_those_it_knew_is_free_of_them_after_a_while(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(voicebox, "ALONE_S", PATIENCE_S)

    async def scenario(members: list[Member]) -> None:
        a, gone, _ = members
        a.gossip.set_ring(WEB, ring(1))
        await a.start(ring(1), gone)
        a.publish("web")
        a.gossip.tell(Retract(WEB, "web", "lease", 1))
        await a.gossip.status()
        assert not a.forgotten, "the other has its time to answer"
        assert a.gossip._now is not None
        await a.gossip._now.box.do(lambda core, now: setattr(core, "_alone_at", now))
        await a.until(lambda: a.forgotten == [("lease", 1)], "its address is free again")

    run(scenario)
