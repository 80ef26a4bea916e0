"""Heartbeats: until when each node must have been heard of."""

from __future__ import annotations

from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush


@dataclass(slots=True)
class Heartbeats:
    """Deadlines by node. A heartbeat is one step: the queue keeps an older deadline of the node, which is looked at again
    when it comes."""

    deadlines: dict[str, float] = field(default_factory=dict)
    _queue: list[tuple[float, str]] = field(default_factory=list)

    def expect(self, node_id: str, deadline: float) -> None:
        """The node must be heard of again before ``deadline`` (monotonic seconds)."""
        known = self.deadlines.get(node_id)
        self.deadlines[node_id] = deadline
        if known is None or deadline < known:
            heappush(self._queue, (deadline, node_id))

    def forget(self, node_id: str) -> None:
        """Expect nothing of the node."""
        self.deadlines.pop(node_id, None)

    def overdue(self, now: float) -> list[str]:
        """Nodes whose deadline has passed, in its order; nothing is expected of them any more."""
        found = []
        while self._queue and self._queue[0][0] <= now:
            _, node_id = heappop(self._queue)
            deadline = self.deadlines.get(node_id)
            if deadline is None:
                continue
            if deadline > now:
                heappush(self._queue, (deadline, node_id))
                continue
            del self.deadlines[node_id]
            found.append(node_id)
        if len(self._queue) > 2 * len(self.deadlines) + 16:
            self._queue = [(deadline, node_id) for node_id, deadline in self.deadlines.items()]
            heapify(self._queue)
        return found

    @property
    def next(self) -> float | None:
        """When to look again at the latest, or None."""
        return self._queue[0][0] if self._queue else None
