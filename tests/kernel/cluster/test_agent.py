"""The agent on a real node, towards a manager whose every word is written here."""

from __future__ import annotations

import asyncio
import socket
import stat
import subprocess
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
from tests.kernel.one_host.waiting import PATIENCE_S

from fairlead.daemon.assembly import Assembly, NodeOptions, assemble
from fairlead.daemon.cluster import agent as agents
from fairlead.daemon.cluster import keepsake
from fairlead.daemon.cluster.agent import Agent, start_parts
from fairlead.daemon.cluster.contract import Place
from fairlead.daemon.cluster.gossiping import GOSSIP_PORT
from fairlead.model import codes
from fairlead.model.cluster import Key, Lease, NodeDescription, Ring
from fairlead.model.commands import ConnectNetwork, CreateSandbox, DisconnectNetwork
from fairlead.model.endpoint import EndpointSettings
from fairlead.model.errors import Exhausted, Forbidden, NetError, NotFound, Unavailable
from fairlead.model.events import LeasesGranted, LeasesRevoked
from fairlead.model.network import Network, Pool
from fairlead.model.runspec import LogLine
from fairlead.model.sandbox import SandboxSettings
from fairlead.model.session import (
    FORGET_NODE,
    Assignments,
    Dismissed,
    Downward,
    Forget,
    Forgotten,
    Heartbeat,
    Hello,
    KeyReport,
    Keys,
    LeaseReturn,
    LeaseUse,
    LeaseWish,
    Leaving,
    ManagerView,
    NetworkAssignment,
    NetworkGrant,
    NetworkWish,
    NodeView,
    Resync,
    Settings,
    Upward,
)
from fairlead.model.settings import Paths

M = TypeVar("M")

WEB = "ab" * 32
RING = Ring((Key(1, "11" * 32),), 1)


def overlay(network_id: str = WEB, name: str = "web") -> Network:
    return Network(
        id=network_id,
        name=name,
        driver="overlay",
        created=1.0,
        scope="swarm",
        attachable=True,
        pools=(Pool(id=f"{name}-pool", subnet="10.0.1.0/24", gateway="10.0.1.1"),),
        options={"com.docker.network.driver.overlay.vxlanid_list": "4097"},
    )


def lease(number: int, generation: int = 1) -> Lease:
    return Lease(WEB, f"10.0.1.{number}", "n1", generation)


def settings(**more: Any) -> Settings:
    made = Settings("cluster", (ManagerView("n2", "127.0.7.1:2377"),), "ROOTS", "", 5.0, 7776000.0, 4789)
    return replace(made, **more)


def everything(results_in: str = "1", *leases: Lease) -> Assignments:
    return Assignments(
        results_in,
        full=True,
        networks=(NetworkAssignment(overlay(), RING),),
        leases=leases or tuple(lease(number) for number in (2, 3, 4, 5)),
        keys=Keys(RING, Ring((Key(7, "77" * 32),), 7)),
        node=NodeView("n1", "worker", "active", "", {}),
        settings=settings(),
    )


class Line:
    """A session, and the manager's end of it."""

    def __init__(self) -> None:
        self.manager = "127.0.7.1:2377"
        self.said: list[Upward] = []
        self.asked: list[NetworkWish | LeaseWish] = []
        self.answers: dict[type, Callable[[Any], object]] = {}
        self._down: asyncio.Queue[Downward | None] = asyncio.Queue()
        self._news = asyncio.Event()
        self.closed = False

    async def send(self, message: Upward) -> None:
        if self.closed:
            raise Unavailable("the session broke")
        self.said.append(message)
        self._news.set()

    async def ask(self, message: NetworkWish | LeaseWish) -> object:
        self.asked.append(message)
        self._news.set()
        answer = self.answers.get(type(message))
        if answer is None:
            raise Exhausted("there is nothing")
        return answer(message)

    async def receive(self) -> Downward | None:
        return await self._down.get()

    async def close(self) -> None:
        self.closed = True
        self._down.put_nowait(None)

    def tell(self, message: Downward | None) -> None:
        self._down.put_nowait(message)

    async def hears(self, kind: type[M], where: Callable[[M], object] = lambda _: True) -> M:
        """The first message of a kind, now or soon."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                for message in (*self.said, *self.asked):
                    if isinstance(message, kind) and where(message):
                        return message
                self._news.clear()
                await self._news.wait()


class Managers:
    """Managers that are there, away, or want this node no more."""

    def __init__(self) -> None:
        self.lines: asyncio.Queue[Line] = asyncio.Queue()
        self.attempts = 0
        self.away = False
        self.out = False
        self.learned: Sequence[ManagerView] = ()
        self.roots = ""
        self.roles: list[str] = []
        self.told_out = asyncio.Event()

    async def open(self) -> Line:
        self.attempts += 1
        if self.out:
            raise Forbidden("this node was removed")
        if self.away:
            raise Unavailable("nobody answers")
        line = Line()
        self.lines.put_nowait(line)
        return line

    async def line(self) -> Line:
        async with asyncio.timeout(PATIENCE_S):
            return await self.lines.get()

    def learn(self, addresses: Sequence[ManagerView]) -> None:
        self.learned = addresses

    def trust(self, roots: str) -> None:
        self.roots = roots

    def become(self, role: str, *, renew: bool = False) -> None:
        self.roles.append(role)

    def removed(self) -> None:
        self.told_out.set()


class Host:
    """The node as tasks need it; nothing is written here."""

    def __init__(self, node: Assembly) -> None:
        self.state, self.notices, self.submit = node.engine.state, node.carrier.notices, node.carrier.submit

    async def logs(
        self, container: str, *, follow: bool, tail: int | None, since: float | None
    ) -> AsyncIterator[LogLine]:
        for line in ():
            yield line


class Bed:
    """A node of its own namespace with an agent."""

    def __init__(self, node: Assembly, place: Place) -> None:
        self.node, self.place, self.managers = node, place, Managers()
        self.agent: Agent | None = None

    async def start(self) -> None:
        self.agent = await start_parts(
            self.node.carrier,
            self.node.gossiping,
            Host(self.node),
            self.place,
            self.managers,
            self.node.kernel.ipsec,
        )

    async def stop(self) -> None:
        if self.agent is not None:
            await self.agent.close()
            self.agent = None

    async def assigned(self, *leases: Lease) -> Line:
        """A session in which the node has got all that is for it."""
        await self.start()
        line = await self.managers.line()
        await line.hears(Hello)
        line.tell(everything("1", *leases))
        await self.until(lambda: self.node.engine.state.leases)
        return line

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                if condition():
                    return
                await asyncio.sleep(0.01)


Scenario = Callable[[Bed], Coroutine[Any, Any, None]]
Run = Callable[[Scenario], None]


@asynccontextmanager
async def living(folder: Path) -> AsyncIterator[Bed]:
    paths = Paths(state=str(folder / "state"), run=str(folder / "run"))
    async with assemble(NodeOptions(paths=paths)) as node:
        home = str(folder / "state" / "swarm")
        place = Place(
            "n1", "cluster", home, keepsake.identity(home), NodeDescription("h1"), advertise="127.0.7.1",
            data_path="127.0.7.1",
        )  # fmt: skip
        bed = Bed(node, place)
        try:
            yield bed
        finally:
            await bed.stop()


@pytest.fixture(name="run")
def _run(space: Path, tmp_path: Path) -> Run:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)

    def run(scenario: Scenario) -> None:
        async def session() -> None:
            async with living(tmp_path) as bed:
                await scenario(bed)

        asyncio.run(session())

    return run


def test_what_is_assigned_is_had_and_keys_are_confirmed(run: Run) -> None:
    async def scenario(bed: Bed) -> None:
        line = await bed.assigned()
        state = bed.node.engine.state
        assert state.networks[WEB].name == "web"
        assert {one.address for one in state.leases.values()} == {f"10.0.1.{number}" for number in (2, 3, 4, 5)}
        report = await line.hears(KeyReport)
        assert (report.gossip.tags, report.gossip.primary, report.data.tags) == ((1,), 1, (7,))
        assert bed.node.gossiping.speaks
        await bed.until(lambda: (bed.managers.roots, bed.managers.roles) == ("ROOTS", ["worker"]))
        assert [view.address for view in bed.managers.learned] == ["127.0.7.1:2377"]
        kept = Path(bed.place.folder) / agents.KEPT_FILE
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600

    run(scenario)


def test_without_managers_a_restart_takes_up_all_that_was_assigned(space: Path, tmp_path: Path) -> None:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)

    async def first() -> None:
        async with living(tmp_path) as bed:
            await bed.assigned()
            await bed.until(lambda: bed.node.gossiping.speaks)

    async def second() -> None:
        async with living(tmp_path) as bed:
            bed.managers.away = True
            await bed.start()
            assert bed.node.gossiping.speaks
            assert bed.node.engine.state.networks[WEB].name == "web"
            await bed.node.carrier.submit(CreateSandbox(SandboxSettings("box")))
            await bed.node.carrier.submit(ConnectNetwork("web", "box"))
            assert len([one for one in bed.node.engine.state.leases.values() if one.holder]) == 1
            # resumed with any manager: it hears what is held
            bed.managers.away = False
            line = await bed.managers.line()
            hello = await line.hears(Hello)
            assert len(hello.leases) == 4
            assert [one.address for one in hello.leases if one.holder] == ["10.0.1.2"]
            assert hello.keys.gossip.tags == (1,)

    asyncio.run(first())
    asyncio.run(second())


def test_a_change_that_follows_something_else_is_not_taken_and_all_is_asked_for(run: Run) -> None:
    async def scenario(bed: Bed) -> None:
        line = await bed.assigned()
        line.tell(Assignments("9", applies_to="8", leases=(lease(9),)))
        await line.hears(Resync)
        assert lease(9).id not in bed.node.engine.state.leases
        line.tell(Assignments("2", applies_to="1", leases=(lease(6),), leases_gone=(lease(2).id,)))
        await bed.until(lambda: lease(6).id in bed.node.engine.state.leases)
        assert lease(2).id not in bed.node.engine.state.leases
        line.tell(everything("3", lease(3)))
        await bed.until(lambda: list(bed.node.engine.state.leases) == [lease(3).id])

    run(scenario)


def test_the_reserve_is_filled_up_and_the_use_of_leases_told(run: Run) -> None:
    async def scenario(bed: Bed) -> None:
        line = await bed.assigned(lease(2), lease(3))
        line.answers[LeaseWish] = lambda wish: (lease(4), lease(5), lease(6))
        await bed.node.carrier.submit(CreateSandbox(SandboxSettings("box")))
        await bed.node.carrier.submit(ConnectNetwork("web", "box"))
        use = await line.hears(LeaseUse)
        assert [(name, bool(holder)) for name, _, holder in use.uses] == [(lease(2).id, True)]
        wish = await line.hears(LeaseWish)
        assert wish == LeaseWish(WEB, 5), "one is free of two: three more"
        await bed.until(lambda: lease(6).id in bed.node.engine.state.leases)
        await bed.node.carrier.submit(DisconnectNetwork("web", "box"))
        await line.hears(LeaseUse, lambda use: use.uses == ((lease(2).id, 1, ""),))

    run(scenario)


def test_an_address_that_is_not_here_is_asked_for_and_a_refusal_is_the_managers(run: Run) -> None:
    async def scenario(bed: Bed) -> None:
        line = await bed.assigned()
        line.answers[LeaseWish] = lambda wish: (lease(77),) if wish.address == "10.0.1.77" else _refuse()
        await bed.node.carrier.submit(CreateSandbox(SandboxSettings("box")))
        made = await bed.node.carrier.submit(ConnectNetwork("web", "box", _asking("10.0.1.77")))
        assert getattr(made, "ipv4", "10.0.1.77/24") == "10.0.1.77/24"
        assert bed.node.engine.state.leases[lease(77).id].holder
        await bed.node.carrier.submit(CreateSandbox(SandboxSettings("other")))
        with pytest.raises(Forbidden, match="in use elsewhere"):
            await bed.node.carrier.submit(ConnectNetwork("web", "other", _asking("10.0.1.78")))

    run(scenario)


def _refuse() -> object:
    raise Forbidden("in use elsewhere")


def _asking(address: str) -> EndpointSettings:
    return EndpointSettings(ipv4=address)


def test_without_a_manager_a_wish_beyond_the_reserve_says_so(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agents, "SESSION_WAIT_S", 0.1)

    async def scenario(bed: Bed) -> None:
        line = await bed.assigned(lease(2))
        bed.managers.away = True
        line.tell(None)
        await bed.until(lambda: line.closed)
        for name in ("one", "two"):
            await bed.node.carrier.submit(CreateSandbox(SandboxSettings(name)))
        await bed.node.carrier.submit(ConnectNetwork("web", "one"))
        with pytest.raises(NetError, match="no manager of the cluster answers") as caught:
            await bed.node.carrier.submit(ConnectNetwork("web", "two"))
        assert caught.value.code == codes.NO_MANAGER
        with pytest.raises(NotFound, match="network elsewhere not found"):
            await bed.node.carrier.submit(ConnectNetwork("elsewhere", "two"))

    run(scenario)


def test_a_network_that_this_node_does_not_know_is_asked_for_by_its_name(run: Run) -> None:
    async def scenario(bed: Bed) -> None:
        await bed.start()
        line = await bed.managers.line()
        await line.hears(Hello)
        line.tell(Assignments("1", full=True, keys=Keys(RING, RING), settings=settings()))
        await line.hears(KeyReport)

        def grant(wish: NetworkWish) -> object:
            line.tell(replace(everything("2"), full=False, applies_to="1"))
            return NetworkGrant(WEB) if wish.network == "web" else _unknown(wish)

        line.answers[NetworkWish] = grant
        await bed.node.carrier.submit(CreateSandbox(SandboxSettings("box")))
        await bed.node.carrier.submit(ConnectNetwork("web", "box"))
        assert bed.node.engine.state.leases[lease(2).id].holder
        with pytest.raises(NotFound, match="network nowhere not found"):
            await bed.node.carrier.submit(ConnectNetwork("nowhere", "box"))

    run(scenario)


def _unknown(wish: NetworkWish) -> object:
    raise NotFound(f"network {wish.network} not found")


def test_what_is_free_of_a_network_that_goes_is_given_back(run: Run) -> None:
    async def scenario(bed: Bed) -> None:
        line = await bed.assigned()
        await bed.node.carrier.submit(CreateSandbox(SandboxSettings("box")))
        await bed.node.carrier.submit(ConnectNetwork("web", "box"))
        line.tell(Assignments("2", applies_to="1", networks=(NetworkAssignment(overlay(), RING, removing=True),)))
        back = await line.hears(LeaseReturn)
        assert set(back.leases) == {(lease(number).id, 1) for number in (3, 4, 5)}
        assert list(bed.node.engine.state.leases) == [lease(2).id]
        await bed.node.carrier.submit(DisconnectNetwork("web", "box"))
        await line.hears(LeaseReturn, lambda back: back.leases == ((lease(2).id, 1),))
        gone = tuple(lease(number).id for number in (2, 3, 4, 5))
        line.tell(Assignments("3", applies_to="2", networks_gone=(WEB,), leases_gone=gone))
        await bed.until(lambda: WEB not in bed.node.engine.state.networks)

    run(scenario)


def test_new_keys_are_confirmed_and_what_is_to_be_forgotten_too(run: Run) -> None:
    async def scenario(bed: Bed) -> None:
        line = await bed.assigned()
        two = Ring((Key(1, "11" * 32), Key(2, "22" * 32)), 1)
        line.tell(Assignments("2", applies_to="1", keys=Keys(two, RING), forget=(Forget("f1", FORGET_NODE, "n9"),)))
        report = await line.hears(KeyReport, lambda report: len(report.gossip.tags) == 2)
        assert (report.gossip.tags, report.gossip.primary) == ((1, 2), 1)
        assert await line.hears(Forgotten) == Forgotten(("f1",))
        line.tell(Assignments("3", applies_to="2", keys=Keys(replace(two, primary=2), RING)))
        await line.hears(KeyReport, lambda report: report.gossip.primary == 2)

    run(scenario)


def test_a_session_that_breaks_is_opened_again_and_heartbeats_are_said(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agents, "HEARTBEAT_S", 0.05)

    async def scenario(bed: Bed) -> None:
        await bed.start()
        for _ in range(3):
            line = await bed.managers.line()
            await line.hears(Heartbeat)
            line.tell(None if bed.managers.attempts % 2 else Dismissed("this manager ends"))
        bed.managers.away = True
        before = bed.managers.attempts
        await bed.until(lambda: bed.managers.attempts >= before + 3)
        assert not bed.managers.told_out.is_set()

    run(scenario)


@pytest.mark.parametrize("by", ["word", "door"])
def test_a_node_that_is_out_asks_no_more(run: Run, by: str) -> None:
    async def scenario(bed: Bed) -> None:
        line = await bed.assigned()
        bed.managers.out = True
        line.tell(Dismissed("removed", removed=True) if by == "word" else None)
        async with asyncio.timeout(PATIENCE_S):
            await bed.managers.told_out.wait()
        attempts = bed.managers.attempts
        await asyncio.sleep(0.3)
        assert bed.managers.attempts == attempts

    run(scenario)


def test_leaving_leaves_nothing_of_the_cluster(run: Run) -> None:
    async def scenario(bed: Bed) -> None:
        line = await bed.assigned()
        await bed.node.carrier.submit(CreateSandbox(SandboxSettings("box")))
        await bed.node.carrier.submit(ConnectNetwork("web", "box"))
        assert bed.agent is not None
        await bed.agent.leave()
        assert isinstance(line.said[-1], Leaving)
        state = bed.node.engine.state
        assert not state.leases
        assert WEB not in state.networks
        assert not bed.node.gossiping.speaks
        assert not (Path(bed.place.folder) / agents.KEPT_FILE).exists()
        with pytest.raises(NotFound):
            await bed.node.carrier.submit(ConnectNetwork("web", "box"))

    run(scenario)


def test_a_fact_is_carried_out_to_its_end_though_its_teller_is_called_off(run: Run) -> None:
    async def scenario(bed: Bed) -> None:
        await bed.assigned()
        carrier, leases = bed.node.carrier, bed.node.engine.state.leases
        telling = asyncio.ensure_future(carrier.feed(LeasesGranted((lease(9),))))
        await asyncio.sleep(0)
        assert lease(9).id in leases, "it is decided, and on its way to the disk"
        telling.cancel()
        async with asyncio.timeout(PATIENCE_S):
            await carrier.feed(LeasesRevoked((lease(9).id,)))
        assert lease(9).id not in leases

    run(scenario)


def test_a_port_that_is_taken_delays_the_gossip_and_nothing_else(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agents, "AGAIN_S_MAX", 0.1)

    async def scenario(bed: Bed) -> None:
        with socket.create_server(("127.0.7.1", GOSSIP_PORT)):
            line = await bed.assigned()
            assert not bed.node.gossiping.speaks
            assert not [said for said in line.said if isinstance(said, KeyReport)], (
                "nothing is confirmed that is not used"
            )
        line.tell(None)
        await bed.until(lambda: bed.node.gossiping.speaks)
        again = await bed.managers.line()
        assert len((await again.hears(Hello)).leases) == 4

    run(scenario)
