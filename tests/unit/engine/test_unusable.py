"""Stored records that make no sense to this version: told, kept, removable, and no hindrance to the others."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fairlead.engine.engine import Engine
from fairlead.model import options
from fairlead.model.commands import ConnectNetwork, DisconnectNetwork, RemoveContainer, RemoveNetwork, StartContainer
from fairlead.model.endpoint import Endpoint, PortRequest
from fairlead.model.errors import Conflict, PortInUse
from fairlead.model.events import ContainerExited
from fairlead.model.network import Network
from fairlead.plan.objects import NOTHING, Plan

from .world import World, new_engine

#: What a network's record may say that nobody would be allowed to ask for now.
NONSENSE = (
    {"options": {options.BRIDGE_GATEWAY_MODE[False]: "sideways"}},
    {"options": {options.BRIDGE_ICC: "perhaps"}},
    {"driver": "of-another-node"},
    {"pools": "twice"},
)


@pytest.fixture
def world() -> World:
    """A running container in two networks, of which ``bad`` leads out and publishes."""
    made = World()
    made.network("bad")
    made.network("good")
    made.run("c", "bad", ports=(PortRequest("tcp", 80, host_port=8080),))
    made.tell(ConnectNetwork("good", "c"))
    return made


def spoil(world: World, change: dict[str, object]) -> None:
    """Change the record of ``bad`` and start an engine on the records."""
    bad, good = world.engine.state.network("bad"), world.engine.state.network("good")
    if change == {"pools": "twice"}:
        change = {"pools": good.pools}
    world.written["network", bad.id] = replace(bad, **change)  # type: ignore[arg-type]
    order = sorted(world.written.values(), key=lambda record: isinstance(record, Network) and record.name == "bad")
    world.engine = new_engine()
    outcome = world.engine.restore(order, world.now, world.now)
    assert outcome.changes == (), "what is stored stays as it is"
    assert all(plan == world.engine.plans()[owner] for owner, plan in outcome.plans.items())
    world.standing = dict(outcome.plans)


def plans_of(engine: Engine, name: str) -> list[Plan]:
    """The plans of a network and of what is in it."""
    network, plans = engine.state.network(name), engine.plans()
    inside = [plans[f"endpoint:{one.id}"] for one in engine.state.endpoints_of_network(network.id)]
    return [plans[f"network:{network.id}"], *inside]


@pytest.mark.parametrize("change", NONSENSE, ids=lambda change: next(iter(change)))
def test_the_others_work_and_the_unusable_one_can_be_removed(world: World, change: dict[str, object]) -> None:
    spoil(world, change)
    (told,) = world.engine.unusable()
    assert told.startswith("network bad is unusable: ")
    assert all(plan == NOTHING for plan in plans_of(world.engine, "bad"))
    assert all(plan != NOTHING for plan in plans_of(world.engine, "good"))
    with pytest.raises(Conflict, match="network bad is unusable"):
        world.run("d", "bad")
    world.run("e", "good")
    world.tell(DisconnectNetwork("bad", "c"))
    world.tell(RemoveNetwork("bad"))
    assert world.engine.unusable() == []
    assert ("network", "bad") not in {(kind, getattr(one, "name", "")) for (kind, _), one in world.written.items()}
    world.network("bad")
    world.tell(ConnectNetwork("bad", "c"))


def test_a_removal_that_is_undone_leaves_it_as_it_was(world: World) -> None:
    spoil(world, NONSENSE[0])
    world.tell(DisconnectNetwork("bad", "c"))
    before = world.records()
    world.tell(RemoveNetwork("bad"), failure=PortInUse("no"))
    assert world.records() == before
    assert len(world.engine.unusable()) == 1


def test_a_container_in_it_ends_and_is_removed(world: World) -> None:
    spoil(world, NONSENSE[0])
    container = world.engine.state.container("c")
    world.tell(ContainerExited(container.id, 0, world.now))
    with pytest.raises(Conflict, match="unusable"):
        world.tell(StartContainer("c"))
    world.tell(RemoveContainer("c"))
    world.tell(RemoveNetwork("bad"))


def test_an_endpoint_that_makes_no_sense_is_unusable_alone(world: World) -> None:
    endpoint = next(one for one in world.engine.state.endpoints.values() if one.bindings)
    wrong = replace(endpoint.settings, link_local=("nonsense",))
    world.written["endpoint", endpoint.id] = replace(endpoint, settings=wrong)
    world.engine = new_engine()
    outcome = world.engine.restore(world.written.values(), world.now, world.now)
    (told,) = world.engine.unusable()
    assert told.startswith("c cannot be in network bad: ")
    network_plan, endpoint_plan = plans_of(world.engine, "bad")
    assert network_plan != NOTHING
    assert endpoint_plan == NOTHING
    assert outcome.changes == ()
    world.standing = dict(outcome.plans)
    world.tell(DisconnectNetwork("bad", "c"))
    world.tell(ConnectNetwork("bad", "c"))
    assert world.engine.unusable() == []
    assert all(
        isinstance(one, Endpoint) and world.engine.core.works(one) for one in world.engine.state.endpoints.values()
    )
