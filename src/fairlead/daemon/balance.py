"""Services as this node sends to them, joined from the engine's records, the kernel's counters and gossip."""

from __future__ import annotations

from dataclasses import replace

from fairlead.balance import nftables
from fairlead.daemon.cluster.gossiping import Gossiping
from fairlead.engine import balancing
from fairlead.engine.engine import Engine
from fairlead.kernel.apply import Kernel
from fairlead.model.addresses import bare
from fairlead.model.balance import Follower, ServiceSeen, TaskSeen


class Balances:
    """Implements ``api.contract_balance.BalanceView``."""

    def __init__(self, engine: Engine, kernel: Kernel, gossiping: Gossiping) -> None:
        self._engine = engine
        self._kernel = kernel
        self._gossiping = gossiping

    async def services(self, network_id: str = "") -> tuple[ServiceSeen, ...]:
        """Those of a network, or (empty) of all. One sandbox with a task is asked after the other, so that what is to be
        changed meanwhile need not wait."""
        core = self._engine.core
        found = [one for key in ([network_id] if network_id else [*core.boards]) for one in balancing.seen(core, key)]
        return tuple([replace(one, tasks=tuple([await self._counted(task) for task in one.tasks])) for one in found])

    async def followers(self, network_id: str) -> tuple[Follower, ...]:
        """The other nodes in a network, and whether each does what this one has said there."""
        return await self._gossiping.followers(network_id)

    async def _counted(self, task: TaskSeen) -> TaskSeen:
        endpoint = self._engine.state.endpoints.get(task.endpoint_id) if task.local else None
        sandbox = self._engine.state.sandboxes.get(endpoint.sandbox_id) if endpoint is not None else None
        if endpoint is None or sandbox is None or not sandbox.netns:
            return task
        total = 0
        for address in filter(None, (bare(endpoint.ipv4), bare(endpoint.ipv6))):
            name = f"{nftables.ARRIVALS}{'6' if ':' in address else '4'}"
            counts = await self._kernel.counters.of(sandbox.netns, nftables.FAMILY, nftables.TABLE, name)
            if address not in counts:
                return task
            total += counts[address]
        return replace(task, connections=total)
