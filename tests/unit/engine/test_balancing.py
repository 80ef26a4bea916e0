"""Virtual addresses on one node: who is led where, from when on, and nobody when it is not so any more."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.engine.test_cluster import ID, NETWORK, OTHER, VTEP, Cluster

from fairlead.balance.nftables import TABLE
from fairlead.engine import balancing
from fairlead.engine.hearsay import NAMES_TTL_S
from fairlead.engine.outcome import PublishNames, Register, Unregister, Wake
from fairlead.model.backend import Backend
from fairlead.model.cluster import PeerNames
from fairlead.model.commands import ConnectNetwork, CreateContainer, DisconnectNetwork, InstallNetwork, StopContainer
from fairlead.model.container import ContainerConfig
from fairlead.model.endpoint import EndpointSettings
from fairlead.model.errors import Internal
from fairlead.model.events import BalancersFound, HealthProbed, NamesSeen, ProbeDue
from fairlead.model.health import HealthCheck
from fairlead.model.options import BALANCER, IPVS, VXLAN_IDS
from fairlead.plan.ipvs import VirtualService
from fairlead.plan.objects import Backends, Table

VIP = "10.0.1.200"
WEB = Backend("svc1", ("web",), VIP)


@pytest.fixture
def world() -> Cluster:
    found = Cluster()
    found.grant(10, 11, 12)
    return found


def serve(world: Cluster, name: str, backend: Backend = WEB, **more: object) -> None:
    """A container behind a virtual address, started."""
    settings = EndpointSettings(aliases=("web", "tasks.web"), backend=backend)
    config = ContainerConfig("host", ("true",), network_mode="blue", endpoints={"blue": settings}, **more)  # type: ignore[arg-type]
    world.tell(CreateContainer(name, config))
    world.start(name)


def elsewhere(world: Cluster, number: int, backend: Backend | None = WEB) -> list[object]:
    """A task of another node is ready; what is done about it."""
    names = PeerNames(ID, f"e{number}", (f"task{number}",), f"10.0.1.{number}", "", (), backend)
    return list(world.tell(NamesSeen(ID, ((f"e{number}", names),))).messages)


def led(world: Cluster) -> dict[str, tuple[str, ...]]:
    """Sandbox -> where its connections to the virtual address go."""
    world.check()
    return led_now(world)


def led_now(world: Cluster) -> dict[str, tuple[str, ...]]:
    """The same while something is under way."""
    return {item.ns: item.targets for item in world.of(Backends) if isinstance(item, Backends)}


def balanced(world: Cluster) -> list[object]:
    """Tables for it."""
    return [item for item in world.of(Table) if isinstance(item, Table) and item.name == TABLE]


def test_tasks_here_and_elsewhere_get_connections_from_every_sandbox(world: Cluster) -> None:
    world.run("ann", "blue")
    assert led(world) == {} and not balanced(world)
    serve(world, "one")
    elsewhere(world, 20)
    assert set(led(world).values()) == {("10.0.1.11", "10.0.1.20")} and len(led(world)) == 2
    world.run("bob", "blue")
    assert len(led(world)) == 3, "who comes later is led, too"
    world.end("one")
    assert set(led(world).values()) == {("10.0.1.20",)}
    world.tell(NamesSeen(ID, (("e20", None),)))
    assert led(world) == {}


def test_the_kernel_s_balancer_serves_networks_that_ask_for_it_where_there_is_one(world: Cluster) -> None:
    other = replace(NETWORK, id="cd" * 32, name="red", options={**NETWORK.options, VXLAN_IDS: "4200", BALANCER: IPVS})
    world.tell(InstallNetwork(other))
    world.grant(13, 14, network=other.id)
    settings = EndpointSettings(backend=WEB)
    config = ContainerConfig("host", ("true",), network_mode="red", endpoints={"red": settings})
    world.tell(CreateContainer("one", config))
    world.start("one")

    def services() -> list[tuple[str, tuple[tuple[str, int], ...]]]:
        world.check()
        found = [item for item in world.of(VirtualService) if isinstance(item, VirtualService)]
        return [(item.address, item.destinations) for item in found]

    world.run("ann", "red")
    assert services() == [] and list(led(world).values()) == [("10.0.1.13",)] * 2
    world.tell(BalancersFound(ipvs=True))
    assert services() == [(VIP, (("10.0.1.13", 1),))], "for a client, and not for the task itself"
    serve(world, "two")
    assert len(services()) == 1 and len(led(world)) == 3, "a network that does not ask has none"
    world.tell(BalancersFound(ipvs=False))
    assert services() == [] and len(led(world)) == 3


def test_what_is_seen_of_a_service_names_tasks_nodes_and_weights(world: Cluster) -> None:
    serve(world, "one")
    world.see(20, endpoint="e20")
    elsewhere(world, 20, replace(WEB, weight=3))
    (web,) = balancing.seen(world.engine.core, ID)
    assert (web.name, web.vip4, web.network, web.algorithm) == ("web", VIP, "blue", "random")
    told = [(task.name, task.ipv4, task.host, task.weight, task.local) for task in web.tasks]
    assert told == [("one", "10.0.1.10", VTEP, 1, True), ("task20", "10.0.1.20", OTHER, 3, False)]
    assert balancing.seen(world.engine.core, "ee" * 32) == ()


def test_the_service_s_names_lead_to_its_address_and_the_task_keeps_the_others(world: Cluster) -> None:
    serve(world, "one")
    said = world.outcomes[-1].messages
    entry = "service svc1"
    assert Register(ID, "blue", entry, ("web",), VIP, "", NAMES_TTL_S) in said
    (published,) = (one for one in said if isinstance(one, PublishNames))
    assert published.names.backend == WEB
    assert "web" not in published.names.names and "tasks.web" in published.names.names
    assert Unregister(ID, entry) in world.tell(StopContainer("one")).messages
    assert led(world) == {}, "before the signal"


def test_a_task_gets_nothing_before_it_is_healthy_and_nothing_once_it_is_not(world: Cluster) -> None:
    world.run("ann", "blue")
    serve(world, "one", health=HealthCheck(command=("true",), retries=1))
    assert led(world) == {}
    container = world.engine.state.container("one")
    for code, count in ((0, 2), (1, 0), (0, 2)):
        world.tell(HealthProbed(container.id, container.state.pid, 1.0, 2.0, code, ""))
        assert len(led(world)) == count


def test_a_task_is_healthy_and_asked_on_though_the_kernel_refuses_to_lead_to_it(world: Cluster) -> None:
    world.run("ann", "blue")
    serve(world, "one", health=HealthCheck(command=("true",)))
    container = world.engine.state.container("one")
    outcome = world.tell(HealthProbed(container.id, container.state.pid, 1.0, 2.0, 0, ""), Internal("no"))
    assert outcome.repair and outcome.error is None
    assert [message.event for message in outcome.messages if isinstance(message, Wake)] == [
        ProbeDue(container.id, container.state.pid)
    ]
    health = world.engine.state.container("one").state.health
    assert health is not None and health.status == "healthy"
    world.standing |= world.engine.plans()
    assert len(led(world)) == 2


@pytest.mark.parametrize(
    "told",
    [
        replace(WEB, vip4="10.0.1.1"),  # the gateway
        replace(WEB, vip4="10.9.9.9"),  # outside
        replace(WEB, vip4="fd00::1"),
        replace(WEB, vip4="no address"),
        replace(WEB, service_id="x { }; flush ruleset"),
        replace(WEB, weight=1000),
        replace(WEB, vip4="10.0.1.10"),  # somebody's here
        replace(WEB, vip4="10.0.1.30"),  # somebody's elsewhere
    ],
)
def test_a_service_takes_nobody_s_connections_away_sec_27(world: Cluster, told: Backend) -> None:
    world.run("ann", "blue")
    world.see(30)
    elsewhere(world, 20, told)
    assert led(world) == {}
    elsewhere(world, 20)
    assert set(led(world).values()) == {("10.0.1.20",)}


def test_what_is_refused_leaves_those_who_are_ready_where_they_were(world: Cluster) -> None:
    world.run("ann", "blue")
    serve(world, "one")
    before = led(world)
    for command in (StopContainer("one"), DisconnectNetwork("blue", "one")):
        world.tell(command, Internal("no"))
        assert {ns: one.aims("svc1", "10.0.1.10") is not None for ns, one in world.engine.core.boards.items()} == {
            ID: True
        }
        world.standing |= world.engine.plans()
        assert led(world) == before
    world.run("bob")
    world.tell(ConnectNetwork("blue", "bob", EndpointSettings(backend=WEB)), Internal("no"))
    world.standing |= world.engine.plans()
    assert led(world) == before


def test_what_was_decided_first_and_is_applied_last_does_not_undo_the_later(world: Cluster) -> None:
    """Records are written before Linux is touched, facts without records have nothing to write and overtake."""
    world.run("ann", "blue")
    serve(world, "one")
    slow = world.engine.handle(StopContainer("one"), 900.0, 900.0)
    names = PeerNames(ID, "e20", ("task20",), "10.0.1.20", "", (), WEB)
    quick = world.engine.handle(NamesSeen(ID, (("e20", names),)), 901.0, 901.0)
    for outcome in (quick, slow):
        world.standing |= world.engine.newest(outcome)
    assert {*led_now(world).values()} == {("10.0.1.20",)} and len(led_now(world)) == 2
    said = [world.engine.newest_message(message) for outcome in (quick, slow) for message in outcome.messages]
    assert Register(ID, "blue", "service svc1", ("web",), VIP, "", NAMES_TTL_S) in said
    assert Unregister(ID, "service svc1") not in said


def test_after_a_restart_tables_are_as_before_once_the_others_are_told_of(world: Cluster) -> None:
    serve(world, "one")
    elsewhere(world, 20)
    before = led(world)
    again = Cluster()
    again.standing = dict(again.engine.restore(list(world.records().values()), 1.0, 1.0).plans)
    again.written = again.records()
    elsewhere(again, 20)
    assert {ns: {*targets} for ns, targets in led(again).items()} == {ns: {*targets} for ns, targets in before.items()}


def test_one_changed_task_touches_one_small_plan_in_each_sandbox(world: Cluster) -> None:
    world.run("ann", "blue")
    for number in range(50):
        told = Backend(f"svc{number}", (f"web{number}",), f"10.0.1.{100 + number}")
        names = PeerNames(ID, f"e{number}", (f"t{number}",), "10.0.1.30", "", (), told)
        world.tell(NamesSeen(ID, ((f"e{number}", names),)))
    told = Backend("svc7", ("web7",), "10.0.1.107")
    changed = world.tell(NamesSeen(ID, (("e7", PeerNames(ID, "e7", ("t7",), "10.0.1.31", "", (), told)),)))
    (plan,) = changed.plans.values()
    assert [item.targets for item in plan.values() if isinstance(item, Backends)] == [("10.0.1.31",)]
