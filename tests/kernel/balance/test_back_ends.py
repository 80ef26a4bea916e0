"""Connections through a back end of balancing, on one kernel without daemons; ``tests/vm`` runs the same over the other one."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.kernel.kernel_plans import network, sandbox
from tests.kernel.one_host.namespace import ANSWER_S, Namespace
from tests.kernel.one_host.programs import echo
from tests.kernel.one_host.waiting import until

from fairlead.balance.contract import Aim, Balancer
from fairlead.balance.nftables import Nftables
from fairlead.kernel.apply import Kernel
from fairlead.plan.objects import Address, Bridge, Plan

PORT = 7000
VIPS = ("10.9.0.200", "fd00:9::c8")
#: Sandboxes by number: the client, and the tasks.
CLIENT, TASKS = 5, (2, 3, 4)
#: Connections after which each of three tasks was reached: the chance of missing one is below 1e-10.
ENOUGH = 60


@pytest.fixture
def balancer() -> Balancer:
    return Nftables()


class Stage:
    """A client and three tasks on one bridge; each task says its number and whom it sees."""

    def __init__(self, space: Path, balancer: Balancer) -> None:
        self._space, self._balancer = space, balancer
        self._runner = asyncio.Runner()
        self._plans = {"network": Plan(item for item in network().values() if isinstance(item, Bridge | Address))}
        self._plans |= {f"sandbox:{number}": sandbox(number) for number in (CLIENT, *TASKS)}
        self._kernel = self._runner.run(self._begin())
        self._runner.run(self._kernel.apply(self._plans))
        paths = {number: str(space / f"s{number}") for number in (CLIENT, *TASKS)}
        self.ns = {number: Namespace(os.open(path, os.O_RDONLY | os.O_CLOEXEC)) for number, path in paths.items()}
        words = {number: echo(str(number), f"tcp:{PORT}", f"udp:{PORT}") for number in TASKS}
        self._servers = [subprocess.Popen(self.ns[number].command(*words[number])) for number in TASKS]
        for number in TASKS:
            for own in (f"10.9.0.{number}", f"fd00:9::{number:x}"):
                until(lambda own=own: self.ns[CLIENT].reaches(own, PORT, expect=True), f"{own} answers")  # type: ignore[misc]

    async def _begin(self) -> Kernel:
        return Kernel(str(self._space))

    def lead(self, *tasks: int) -> None:
        """The virtual addresses lead to these, for the client and for the first task."""
        found = Plan()
        for box, balancer in ((f"s{CLIENT}", self._balancer), (f"s{TASKS[0]}", Nftables())):  # as the engine does it
            found |= self._balancer.base_plan(box, {1, 2, 3})
            for vip, prefix in zip(VIPS, ("10.9.0.", "fd00:9::"), strict=True):
                found |= balancer.aim_plan(box, Aim("s", vip, tuple(f"{prefix}{task}" for task in tasks)))
        self._plans["lead"] = found
        self._runner.run(self._kernel.apply({"lead": found}))

    def begin_anew(self) -> None:
        """The daemon ends, and another one finds what stands."""
        self._runner.run(self._kernel.close())
        self._kernel = self._runner.run(self._begin())
        self._runner.run(self._kernel.repair(self._plans))

    def answers(self, number: int, vip: str, proto: str = "tcp") -> Counter[int]:
        """Who answered a sandbox how often, each having seen its own address."""
        ask = self.ns[number].tcp if proto == "tcp" else self.ns[number].udp
        said = [ask(vip, PORT) for _ in range(ENOUGH)]
        assert {seen for _, seen, _ in said} == {f"fd00:9::{number:x}" if ":" in vip else f"10.9.0.{number}"}
        return Counter(int(tag) for tag, _, _ in said)

    def close(self) -> None:
        for server in self._servers:
            server.kill()
            server.wait()
        for ns in self.ns.values():
            ns.close()
        self._runner.run(self._kernel.repair({}))
        self._runner.run(self._kernel.close())
        self._runner.close()


@pytest.fixture
def stage(space: Path, balancer: Balancer) -> Iterator[Stage]:
    found = Stage(space, balancer)
    try:
        yield found
    finally:
        found.close()


def test_connections_are_led_stay_and_move_as_they_should(stage: Stage) -> None:
    """One stage for all of it: making one takes half a minute where the kernel is emulated."""
    stage.lead(*TASKS)
    for vip in VIPS:
        for proto in ("tcp", "udp"):
            assert stage.answers(CLIENT, vip, proto).keys() == {*TASKS}, (vip, proto)
        assert stage.answers(TASKS[0], vip).keys() == {*TASKS}, "a task calls its own service"
        assert stage.ns[CLIENT].pings(vip)

    with stage.ns[CLIENT].connected(VIPS[0], PORT) as standing, standing.makefile("r") as lines:
        who = int(lines.readline().split()[0])
        with stage.ns[CLIENT].socket(kind=socket.SOCK_DGRAM) as flow:
            flow.settimeout(ANSWER_S)
            flow.connect((VIPS[0], PORT))

            def answering() -> int:
                flow.send(b"hello")
                return int(flow.recv(4096).split()[0])

            # both targets go: the flow moves, the connection does not
            left = [task for task in TASKS if task not in (who, answering())]
            stage.lead(*left)
            assert answering() in left
        for vip in VIPS:
            assert stage.answers(CLIENT, vip).keys() == {*left}
        stage.begin_anew()
        stage.lead(*TASKS)
        assert stage.answers(CLIENT, VIPS[0]).keys() == {*TASKS}
        standing.send(b"still\n")
        assert lines.readline() == "still\n"

    stage.lead()
    with pytest.raises(OSError):  # no route, or nobody: the network says so
        stage.ns[CLIENT].tcp(VIPS[0], PORT, 1.0)
