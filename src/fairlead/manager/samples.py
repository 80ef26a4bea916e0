"""Samples: how many addresses of each network were used over the last day, to say when the rest will be."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

#: Seconds between two samples and how many are kept, a choice: one day.
_SPACING_S = 900.0
_KEPT = 96
#: Shortest time, in seconds, over which growth says something, a choice.
_SPAN_MIN_S = 60.0


@dataclass(slots=True)
class Samples:
    """Network -> (epoch seconds, addresses used), oldest first."""

    taken: dict[str, deque[tuple[float, int]]] = field(default_factory=dict)

    def note(self, network_id: str, at: float, used: int) -> None:
        """So many are used now."""
        kept = self.taken.setdefault(network_id, deque(maxlen=_KEPT))
        if not kept or at - kept[-1][0] >= _SPACING_S:
            kept.append((at, used))

    def due(self, network_id: str, at: float) -> bool:
        """Whether ``note`` would keep something."""
        kept = self.taken.get(network_id)
        return not kept or at - kept[-1][0] >= _SPACING_S

    def forget(self, network_id: str) -> None:
        """The network is gone."""
        self.taken.pop(network_id, None)

    def exhausted_at(self, network_id: str, at: float, used: int, left: int) -> float | None:
        """When nothing is left (epoch seconds) if it goes on as over the samples' time; None if it does not grow, or is not
        known long enough."""
        if not left:
            return at
        kept = self.taken.get(network_id)
        if not kept or at - kept[0][0] < _SPAN_MIN_S or used <= kept[0][1]:
            return None
        return at + left * (at - kept[0][0]) / (used - kept[0][1])
