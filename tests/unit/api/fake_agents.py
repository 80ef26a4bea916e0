"""Nodes whose containers are made of nothing: they do at once what the manager of a fake swarm assigns, and say so.

A task whose command is ``fail`` ends with exit code 3 as soon as it runs.
"""

from __future__ import annotations

import asyncio
import itertools

from tests.unit.api.living import Living

from fairlead.daemon.cluster.managing import Managing, Outlet
from fairlead.model.cluster_commands import NodeSaid, SessionOpened
from fairlead.model.service import Task, TaskState, TaskStatus
from fairlead.model.session import (
    Assignments,
    Downward,
    Heartbeat,
    Hello,
    LeaseReturn,
    NodeMessage,
    TaskReport,
)

#: Seconds between two signs of life; the manager waits three times 5 s.
_BEAT_S = 2.0


class Agents:
    """The agents of a living fake node's cluster."""

    def __init__(self, living: Living) -> None:
        self._living = living
        self._numbers = itertools.count(1)
        self._beats: list[asyncio.Task[None]] = []

    def __enter__(self) -> Agents:
        return self

    def __exit__(self, *_: object) -> None:
        async def end() -> None:
            for beat in self._beats:
                beat.cancel()
            await asyncio.gather(*self._beats, return_exceptions=True)

        self._living.do(end)

    def join(self, hostname: str) -> None:
        """Let the agent of a node of the cluster begin its work."""

        async def begin() -> None:
            managing = self._living.node.swarm.managing
            node = next(one for one in managing.manager.state.nodes.values() if one.description.hostname == hostname)
            agent = _Agent(managing, node.id, next(self._numbers))
            managing.opened(
                Outlet(node.id, agent.session, agent.pushed, lambda: None),
                SessionOpened(node.id, agent.session, Hello(node.description), node.role, address=node.address),
            )
            self._beats.append(asyncio.ensure_future(agent.beat()))

        self._living.do(begin)


class _Agent:
    def __init__(self, managing: Managing, node_id: str, session: int) -> None:
        self._managing = managing
        self._node_id = node_id
        self.session = session

    def pushed(self, message: Downward) -> None:
        """What the manager says; acted on in a turn of its own."""
        if isinstance(message, Assignments):
            asyncio.get_running_loop().call_soon(self._act, message)

    async def beat(self) -> None:
        """Stay alive."""
        while True:
            await asyncio.sleep(_BEAT_S)
            self._say(Heartbeat())

    def _act(self, message: Assignments) -> None:
        reports = tuple((task.id, status) for task in message.tasks for status in _life(task))
        if reports:
            self._say(TaskReport(reports))
        if message.recall:
            known = self._managing.manager.state.leases
            held = tuple((name, known[name].generation) for name in message.recall if name in known)
            self._say(LeaseReturn(held))

    def _say(self, message: NodeMessage) -> None:
        self._managing.said(NodeSaid(self._node_id, self.session, message)).add_done_callback(
            lambda done: done.exception()
        )


def _life(task: Task) -> list[TaskStatus]:
    """What becomes of a task."""
    if task.status.state > TaskState.RUNNING:
        return []
    if task.desired > TaskState.RUNNING:
        return [TaskStatus(TaskState.SHUTDOWN, message="shutdown")]
    if task.desired < TaskState.RUNNING:
        return [TaskStatus(TaskState.READY, message="prepared")]
    if task.spec.container.command[:1] == ("fail",):
        return [TaskStatus(TaskState.FAILED, message="started", error="task: non-zero exit (3)", exit_code=3)]
    ports = tuple(port for port in task.ports if port.mode == "host")
    return [TaskStatus(TaskState.RUNNING, message="started", container_id="c" * 64, pid=7, ports=ports)]
