"""What the engine grants containers of tasks, and nobody else."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.engine.test_cluster import ID, NETWORK, Cluster, kinds

from fairlead.engine.holds import Wanting
from fairlead.engine.outcome import PublishNames, RetractNames, Terminate, Unregister
from fairlead.model.cluster import Lease
from fairlead.model.commands import CreateContainer, InstallNetwork, StopContainer
from fairlead.model.container import ContainerConfig
from fairlead.model.endpoint import EndpointSettings
from fairlead.model.errors import Forbidden
from fairlead.model.events import LeasesGranted

TASK, OTHER = "a" * 25, "b" * 25


@pytest.fixture
def world() -> Cluster:
    found = Cluster()
    found.tell(InstallNetwork(replace(NETWORK, attachable=False)))
    return found


def lease_for(task_id: str, number: int = 10, generation: int = 1) -> LeasesGranted:
    return LeasesGranted((Lease(ID, f"10.0.1.{number}", "n1", generation, task_id=task_id),))


def make(world: Cluster, name: str, task_id: str, number: int = 10) -> None:
    place = EndpointSettings(ipv4=f"10.0.1.{number}", aliases=("web", "tasks.web"))
    config = ContainerConfig("host", ("true",), network_mode=ID, endpoints={ID: place}, hostname="box")
    world.tell(CreateContainer(name, config, task_id))


def test_a_task_joins_what_nobody_else_may_with_the_address_that_is_its_own(world: Cluster) -> None:
    world.tell(lease_for(TASK))
    make(world, "web.1.x", TASK)
    outcome = world.start("web.1.x")
    assert world.address("web.1.x", "blue") == "10.0.1.10/24"
    assert not kinds(outcome, PublishNames), "it does not run yet"
    short = world.engine.state.container("web.1.x").id[:12]
    said = [
        message.names.names for one in world.outcomes for message in one.messages if isinstance(message, PublishNames)
    ]
    assert said == [("web.1.x", "web", "tasks.web", short, "box")]


def test_an_address_of_a_task_is_nobody_elses(world: Cluster) -> None:
    world.tell(InstallNetwork(NETWORK))
    world.tell(lease_for(TASK))
    make(world, "mine", "")
    with pytest.raises(Forbidden, match="Address already in use") as refused:
        world.start("mine")
    assert TASK in refused.value.hint
    make(world, "web.2.y", OTHER)
    with pytest.raises(Forbidden, match="Address already in use"):
        world.start("web.2.y")
    world.container("any", "blue")
    with pytest.raises(Wanting):
        world.start("any")


def test_the_next_task_of_a_slot_has_the_address_at_once(world: Cluster) -> None:
    world.tell(lease_for(TASK))
    make(world, "web.1.x", TASK)
    world.start("web.1.x")
    world.end("web.1.x")
    world.tell(lease_for(OTHER))
    make(world, "web.1.y", OTHER)
    world.start("web.1.y")
    assert world.address("web.1.y", "blue") == "10.0.1.10/24"
    world.tell(lease_for("", generation=1))
    assert world.engine.state.leases[f"{ID}/10.0.1.10"].task_id == ""
    assert world.engine.state.leases[f"{ID}/10.0.1.10"].holder == world.endpoint("web.1.y").id


def test_others_know_that_names_are_gone_before_the_signal(world: Cluster) -> None:
    world.tell(lease_for(TASK))
    make(world, "web.1.x", TASK)
    world.start("web.1.x")
    outcome = world.tell(StopContainer("web.1.x", 7))
    assert kinds(outcome, RetractNames, Unregister, Terminate) == [RetractNames, Unregister, Terminate]
    assert next(one for one in outcome.messages if isinstance(one, Terminate)).networks == (ID,)


def test_a_container_made_by_hand_is_told_to_end_at_once(world: Cluster) -> None:
    world.tell(InstallNetwork(NETWORK))
    world.grant(11)
    world.run("ann", "blue")
    outcome = world.tell(StopContainer("ann", 7))
    assert next(one for one in outcome.messages if isinstance(one, Terminate)).networks == ()
