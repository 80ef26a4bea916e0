"""Whatever is asked in whatever order, and whatever the kernel refuses: records, plans and addresses agree."""

from __future__ import annotations

import random

import pytest

from fairlead.model.commands import (
    Command,
    ConnectNetwork,
    CreateContainer,
    CreateNetwork,
    DisconnectNetwork,
    KillContainer,
    RemoveContainer,
    RemoveNetwork,
    RenameContainer,
    StartContainer,
    StopContainer,
)
from fairlead.model.container import ContainerConfig
from fairlead.model.endpoint import EndpointSettings, PortRequest
from fairlead.model.errors import Internal, NetError, PortInUse
from fairlead.model.events import ContainerExited, ContainerFailed, ContainerRunning
from fairlead.model.network import PoolRequest

from .world import World

STEPS = 120
NETWORKS = ("one", "two", "three", "bridge", "none", "host", "absent")
CONTAINERS = ("a", "b", "c", "d", "absent")
POOLS = ((), (), (PoolRequest("10.8.0.0/29"),), (PoolRequest("10.8.0.0/16", "10.8.4.0/24"),))


def any_command(chance: random.Random) -> Command:
    network, container = chance.choice(NETWORKS), chance.choice(CONTAINERS)
    address = chance.choice(("", "", "", "10.8.0.3", "172.18.0.9"))
    settings = EndpointSettings(address, gw_priority=chance.choice((0, 0, 5)), aliases=chance.choice(((), ("alias",))))
    ports = tuple(
        PortRequest(chance.choice(("tcp", "udp")), chance.randint(1, 3), chance.choice(("", "127.0.0.1")), port)
        for port in chance.choice(((), (), (0,), (8080,), (8081, 0)))
    )
    config = ContainerConfig(
        "host",
        ("true",),
        network_mode=chance.choice(("default", network, f"container:{chance.choice(CONTAINERS)}")),
        endpoints={network: settings} if chance.random() < 0.5 else {},
        ports=ports,
        auto_remove=chance.random() < 0.2,
    )
    flags = {"internal": chance.random() < 0.3, "ipv6": chance.random() < 0.3}
    return chance.choice(
        (
            CreateNetwork(network, pools=chance.choice(POOLS), **flags),
            RemoveNetwork(network),
            ConnectNetwork(network, container, settings),
            ConnectNetwork(network, container, settings),
            DisconnectNetwork(network, container, chance.random() < 0.3),
            CreateContainer(container, config),
            CreateContainer(container, config),
            StartContainer(container),
            StartContainer(container),
            StartContainer(container),
            StopContainer(container),
            KillContainer(container),
            RemoveContainer(container, chance.random() < 0.5),
            RenameContainer(container, chance.choice(CONTAINERS)),
        )
    )


def let_something_happen(world: World, chance: random.Random) -> None:
    """Processes that were to start do so or fail; some that run end."""
    for container in list(world.engine.state.containers.values()):
        if container.state.status == "starting":
            if chance.random() < 0.8:
                world.tell(ContainerRunning(container.id, 10, 9, world.now))
            else:
                world.tell(ContainerFailed(container.id, "no", 127, world.now))
        elif container.running and (container.state.status == "stopping" or chance.random() < 0.05):
            world.tell(ContainerExited(container.id, 0, world.now))


@pytest.mark.parametrize("seed", range(25))
def test_records_plans_and_addresses_agree_after_every_step(seed: int) -> None:
    chance = random.Random(seed)
    world = World()
    answers: dict[str, int] = {}
    for _ in range(STEPS):
        command = any_command(chance)
        failure = chance.choice((None,) * 8 + (Internal("refused"), PortInUse("held")))
        before = world.records()
        try:
            world.tell(command, failure)
        except NetError as error:
            answers[type(error).__name__] = answers.get(type(error).__name__, 0) + 1
            assert world.records() == before
        world.check()
        let_something_happen(world, chance)
        world.check()
    assert answers, "nothing was ever refused: the commands are too tame"


def test_when_everything_is_taken_away_nothing_is_left() -> None:
    for seed in range(10):
        chance = random.Random(seed)
        world = World()
        empty = {owner: plan for owner, plan in world.engine.plans().items() if plan}
        usage = world.engine.core.ipam.usage(world.engine.state.network("bridge").pools[0].id)
        for _ in range(STEPS):
            try:
                world.tell(any_command(chance))
            except NetError:
                continue
            let_something_happen(world, chance)
        for container in list(world.engine.state.containers.values()):
            world.tell(ContainerExited(container.id, 0, world.now))
            if container.id in world.engine.state.containers:
                world.tell(RemoveContainer(container.id))
        for network in list(world.engine.state.networks.values()):
            if not network.predefined:
                world.tell(RemoveNetwork(network.id))
        assert {owner: plan for owner, plan in world.engine.plans().items() if plan} == empty
        assert world.engine.core.ipam.usage(world.engine.state.network("bridge").pools[0].id) == usage
        world.check()
