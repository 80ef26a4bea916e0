"""A place in a cluster without sockets and files: the real brain over a store in memory, once ``init`` was asked for."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator

from fairlead.api.contract_swarm import FAULTY, IN_SWARM, Brain, InitWish, JoinWish, Leader, SwarmStatus
from fairlead.daemon.cluster.brain import ClusterBrain
from fairlead.daemon.cluster.managing import Managing
from fairlead.daemon.cluster.work import LogSource
from fairlead.manager.manager import Manager
from fairlead.model import codes
from fairlead.model.cluster import ClusterNode, NodeDescription
from fairlead.model.cluster_commands import AdmitNode, InitCluster
from fairlead.model.errors import Forbidden, Unavailable
from fairlead.model.events import Notice
from fairlead.model.runspec import LogLine
from fairlead.model.service import Task
from fairlead.pki import authority
from fairlead.store.cluster_memory import MemoryClusterStore

NO_MANAGER = (
    'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm and '
    "try again."
)


class FakeSwarm:
    """Fits ``api.contract_swarm.Swarm``. ``elsewhere`` stands for a leader that is another node."""

    def __init__(self) -> None:
        self.status = SwarmStatus()
        self.told: list[Notice] = []
        self.secured = 0
        self.elsewhere: Leader | None = None
        self.log_source: LogSource = _hello
        self._managing: Managing | None = None

    @property
    def managing(self) -> Managing:
        """The carrier of the brain."""
        assert self._managing is not None
        return self._managing

    def leader(self) -> Leader | None:
        if self.elsewhere is not None:
            return self.elsewhere
        if self._managing is None:
            raise Unavailable(NO_MANAGER, hint="`fairlead swarm init` makes a cluster", code=codes.NOT_A_MANAGER)
        return None

    @property
    def brain(self) -> Brain:
        self.leader()
        assert self._managing is not None
        return ClusterBrain(self._managing, self._secure, self.log_source)

    async def init(self, wish: InitWish) -> str:
        if self._managing is not None:
            raise Unavailable("This node is already part of a swarm.", code=codes.ALREADY_IN_SWARM)
        chance = random.Random(1)
        managing = Managing(Manager(chance), MemoryClusterStore(), self.told.append)
        await managing.open()
        description = NodeDescription("fakehost", nano_cpus=2 * 10**9, memory_bytes=2**31, drivers=("overlay",))
        root = authority.new_authority(chance, time.time())
        place = ("192.0.2.1", "192.0.2.1:2377")
        asked = InitCluster(root, description, *place, wish.spec, wish.pools, wish.data_path_port, wish.availability)
        node = await managing.ask(asked)
        assert isinstance(node, ClusterNode)
        self._managing = managing
        self.status = SwarmStatus(IN_SWARM, node.id, place[0], True, "", ((node.id, place[1]),))
        return node.id

    async def admit(self, hostname: str) -> None:
        """A worker that has joined and was not heard of since."""
        assert self._managing is not None
        token = self._managing.manager.state.cluster.worker_token
        await self._managing.ask(
            AdmitNode(token, hostname, NodeDescription(hostname, gossip_key=hostname), "192.0.2.9")
        )

    async def join(self, wish: JoinWish) -> None:
        raise Forbidden("A valid join token is necessary to join this cluster", code=codes.TOKEN_REFUSED)

    async def leave(self, *, force: bool) -> None:
        if self._managing is None:
            raise Unavailable("This node is not part of a swarm", code=codes.NOT_IN_SWARM)
        if not force:
            raise Unavailable("You are attempting to leave the swarm on a node that is participating as a manager. ")
        await self._managing.close()
        self._managing = None
        self.status = SwarmStatus()

    async def close(self) -> None:
        """End the brain, if there is one."""
        if self._managing is not None:
            await self._managing.close()

    async def unlock(self, key: str) -> None:
        raise Unavailable("This node is not part of a swarm", code=codes.NOT_IN_SWARM)

    def fail(self, words: str) -> None:
        """The membership is at fault."""
        self.status = SwarmStatus(FAULTY, error=words)

    async def _secure(self) -> None:
        self.secured += 1


async def _hello(task: Task, follow: bool, tail: int | None, since: float | None) -> AsyncIterator[LogLine]:
    """What every task has written."""
    del follow, tail, since
    yield LogLine("stdout", f"hello from {task.slot}\n".encode(), "2026-01-01T00:00:00.000000000Z")
