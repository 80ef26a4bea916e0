"""A store of the cluster that ends with the process: for tests and simulations, and the semantics in their plainest form."""

from __future__ import annotations

from fairlead.store.cluster_contract import HISTORY_REVISIONS
from fairlead.store.cluster_core import Core, Step
from fairlead.store.cluster_held import HeldStore


class MemoryClusterStore(HeldStore):
    """Made inside a running event loop. ``history`` is how many revisions of the past are kept."""

    def __init__(self, history: int = HISTORY_REVISIONS) -> None:
        super().__init__(Core(history=history), _keep)


async def _keep(_step: Step) -> None:
    """Memory keeps what is published."""
