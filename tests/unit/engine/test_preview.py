"""A preview says what would be done, and does nothing."""

from __future__ import annotations

import pytest

from fairlead.engine import preview
from fairlead.model.commands import (
    ConnectNetwork,
    CreateContainer,
    CreateNetwork,
    DisconnectNetwork,
    RemoveNetwork,
    StartContainer,
    StopContainer,
)
from fairlead.model.container import ContainerConfig
from fairlead.model.endpoint import PortRequest
from fairlead.model.errors import Conflict
from fairlead.plan.diff import diff
from fairlead.plan.objects import NOTHING

from .world import World


@pytest.fixture
def world() -> World:
    world = World()
    world.network("web")
    world.network("back")
    world.run("c1", "web", ports=(PortRequest("tcp", 80),))
    world.container("c2", "back")
    return world


@pytest.mark.parametrize(
    "command",
    [
        CreateNetwork("new", ipv6=True),
        RemoveNetwork("back"),
        ConnectNetwork("back", "c1"),
        DisconnectNetwork("web", "c1"),
        StartContainer("c2"),
        StopContainer("c1"),
        CreateContainer("c3", ContainerConfig("host", ("true",), ports=(PortRequest("udp", 53),))),
    ],
    ids=lambda command: type(command).__name__,
)
def test_what_is_shown_is_what_is_done_and_nothing_changes(world: World, command: object) -> None:
    engine = world.engine
    before, plans, ipam, chance = world.records(), engine.plans(), engine.core.ipam, engine.core.chance.getstate()  # type: ignore[attr-defined]
    cursor, claims = dict(engine.core.port_cursor), dict(engine.core.claims)
    shown = engine.preview(command, 500.0, 500.0)  # type: ignore[arg-type]
    assert (world.records(), engine.plans(), engine.core.ipam) == (before, plans, ipam)
    assert (engine.core.port_cursor, engine.core.claims) == (cursor, claims)
    engine.core.chance.setstate(chance)  # type: ignore[attr-defined]
    outcome = engine.handle(command, 500.0, 500.0)  # type: ignore[arg-type]
    assert shown.changes == outcome.changes
    assert shown.steps == {owner: diff(plans.get(owner, NOTHING), plan) for owner, plan in outcome.plans.items()}


def test_a_new_containers_start_is_shown_with_its_creation(world: World) -> None:
    config = ContainerConfig("host", ("true",), network_mode="web", ports=(PortRequest("tcp", 80, host_port=8080),))
    lines = preview.lines(world.engine.preview(CreateContainer("c3", config), 500.0, 500.0, start=True))
    assert any(line.startswith("+ record endpoint c3 in ") and "0.0.0.0:8080->80/tcp" in line for line in lines)
    assert any(line.startswith("+ veth ") for line in lines)
    assert "+ port 0.0.0.0:8080/tcp" in lines


def test_a_refused_command_is_refused_and_leaves_nothing(world: World) -> None:
    before, plans = world.records(), world.engine.plans()
    with pytest.raises(Conflict):
        world.engine.preview(CreateNetwork("web"), 500.0, 500.0)
    assert (world.records(), world.engine.plans()) == (before, plans)
