"""Random sequences of commands, ends of processes, refusals, crashes and restarts: what must hold, holds after each.

``pytest tests/sim --sequences 5000`` runs more of them; the seed that fails is in the name of the failing case, and
``--first-seed`` begins there.
"""

from __future__ import annotations

import contextlib
import random

import pytest
from tests.sim.node import Crash, SimNode

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
from fairlead.model.network import PoolRequest

#: Sequences in one test: a group is a line in the report, its seeds are tried one after the other.
GROUP = 25
STEPS = 25
NETWORKS = ("one", "two", "three", "bridge")
CONTAINERS = ("a", "b", "c", "d")
POOLS = ((), (), (PoolRequest("10.8.0.0/29"),), (PoolRequest("10.8.0.0/16", "10.8.4.0/24"),))


def any_command(chance: random.Random) -> Command:
    """One of the commands that a busy node gets, often one that cannot be met."""
    network, container = chance.choice(NETWORKS), chance.choice(CONTAINERS)
    settings = EndpointSettings(chance.choice(("", "", "10.8.0.3")), gw_priority=chance.choice((0, 0, 5)))
    ports = tuple(PortRequest("tcp", 80, "", port) for port in chance.choice(((), (0,), (8080,), (8081, 0))))
    config = ContainerConfig(
        "host",
        ("true",),
        network_mode=chance.choice(("default", network, network, "none", f"container:{chance.choice(CONTAINERS)}")),
        ports=ports,
        auto_remove=chance.random() < 0.2,
    )
    flags = {"internal": chance.random() < 0.2, "ipv6": chance.random() < 0.3}
    makers = (
        lambda: CreateNetwork(network, pools=chance.choice(POOLS), **flags),
        lambda: RemoveNetwork(network),
        lambda: ConnectNetwork(network, container, settings),
        lambda: DisconnectNetwork(network, container, False),
        lambda: CreateContainer(container, config),
        lambda: StartContainer(container),
        lambda: StopContainer(container),
        lambda: KillContainer(container),
        lambda: RemoveContainer(container, chance.random() < 0.6),
        lambda: RenameContainer(container, chance.choice(CONTAINERS)),
    )
    return chance.choices(makers, (4, 2, 5, 3, 5, 8, 2, 1, 3, 1))[0]()


def sequence(seed: int) -> list[object]:
    """Live through it; the answers that were given."""
    chance = random.Random(seed)
    node = SimNode(chance)
    node.refusals, node.crashes = chance.choice((0.0, 0.1, 0.3)), chance.choice((0.0, 0.01, 0.05))
    together = chance.choice((1, 1, 4))
    for _ in range(STEPS):
        try:
            for _ in range(chance.randint(1, together)):
                node.ask(any_command(chance))
                node.work(chance.randint(0, 6) if together > 1 else 100)
            for container_id in list(node.processes):
                if chance.random() < 0.05:
                    node.end_process(container_id)
            node.settle()
        except Crash:
            recover(node)
        else:
            if chance.random() < 0.1:
                recover(node)
        node.check()
        if chance.random() < 0.1:
            node.check_restart()
    node.check_restart()
    return node.answers


def recover(node: SimNode) -> None:
    """Start again until a start comes to its end."""
    for _ in range(20):
        with contextlib.suppress(Crash):
            node.restart()
            node.settle()
            return
    raise AssertionError("no start comes to its end")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """As many groups as were asked for."""
    if "first" in metafunc.fixturenames:
        count, begin = metafunc.config.getoption("--sequences"), metafunc.config.getoption("--first-seed")
        metafunc.parametrize("first", range(begin, begin + count, GROUP))


def test_what_must_hold_holds(first: int) -> None:
    kinds = set()
    for seed in range(first, first + GROUP):
        try:
            answers = sequence(seed)
        except BaseException as fault:
            fault.add_note(f"seed {seed}: pytest tests/sim --first-seed {seed} --sequences 1")
            raise
        kinds |= {type(answer).__name__ for answer in answers}
    assert {"Network", "Container", "NotFound", "Conflict"} <= kinds, "the commands are too tame"
