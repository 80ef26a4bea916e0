"""Sandboxes that the node makes for itself, and who is told that a service's ready tasks are others."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.engine.test_balancing import WEB, elsewhere, serve
from tests.unit.engine.test_cluster import ID, NETWORK, Cluster

from fairlead.engine.outcome import Crew
from fairlead.model.backend import Backend
from fairlead.model.commands import (
    ConnectNetwork,
    CreateSandbox,
    DisconnectNetwork,
    InstallNetwork,
    RemoveSandbox,
    StopContainer,
    WithdrawNetwork,
)
from fairlead.model.errors import Forbidden
from fairlead.model.events import NamesSeen, PeersComplete
from fairlead.model.sandbox import Sandbox, SandboxSettings


@pytest.fixture
def world() -> Cluster:
    found = Cluster()
    found.grant(10, 11, 12)
    return found


def make(world: Cluster, name: str = "mesh", *, own: bool = True) -> Sandbox:
    made = world.tell(CreateSandbox(SandboxSettings(name, dns_mode="off"), own=own)).reply
    assert isinstance(made, Sandbox)
    return made


def test_only_who_serves_joins_a_network_that_is_not_attachable(world: Cluster) -> None:
    world.tell(WithdrawNetwork(ID))
    world.tell(InstallNetwork(replace(NETWORK, attachable=False)))
    world.grant(10, 11)
    mine, other = make(world), make(world, "other", own=False)
    with pytest.raises(Forbidden):
        world.tell(ConnectNetwork("blue", other.id))
    world.tell(ConnectNetwork("blue", mine.id, own=True))
    assert [one.sandbox_id for one in world.engine.state.endpoints_of_network(ID)] == [mine.id]


def test_nobody_else_connects_it_or_takes_it_away(world: Cluster) -> None:
    mine = make(world)
    with pytest.raises(Forbidden):
        world.tell(ConnectNetwork("blue", "mesh"))
    world.tell(ConnectNetwork("blue", mine.id, own=True))
    for command in (
        DisconnectNetwork("blue", "mesh"),
        DisconnectNetwork("blue", "mesh", force=True),
        RemoveSandbox("mesh"),
    ):
        with pytest.raises(Forbidden):
            world.tell(command)
    world.tell(DisconnectNetwork("blue", mine.id, own=True))
    world.tell(RemoveSandbox(mine.id, own=True))
    assert not world.engine.state.bare_sandboxes
    world.check()


def crews(messages: object) -> list[str]:
    assert isinstance(messages, list | tuple)
    return [one.service_id for one in messages if isinstance(one, Crew) and one.network_id == ID]


@pytest.mark.parametrize("chosen", [WEB, replace(WEB, names=(), vip4="")])
def test_whoever_leads_requests_is_told_of_each_change_of_ready_tasks(world: Cluster, chosen: Backend) -> None:
    """With virtual addresses and without, here and elsewhere."""
    world.tell(ConnectNetwork("blue", make(world).id, own=True))
    serve(world, "one", chosen)
    assert crews(world.outcomes[-1].messages) == ["svc1"]
    assert crews(elsewhere(world, 20, chosen)) == ["svc1"]
    board = world.engine.core.boards[ID]
    assert {task.ipv4 for task in board.tasks("svc1")} == {"10.0.1.11", "10.0.1.20"}
    assert crews(elsewhere(world, 20, chosen)) == [], "nothing new"
    assert crews(world.tell(StopContainer("one")).messages) == ["svc1"], "before it is told to end"
    assert crews(world.tell(NamesSeen(ID, (("e20", None),))).messages) == ["svc1"]
    assert board.tasks("svc1") == ()
    assert crews(world.tell(PeersComplete(ID)).messages) == [""]
