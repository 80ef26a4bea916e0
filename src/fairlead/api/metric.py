"""A family of numbers for machines, as the modules that know them give it to ``metrics.py``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Metric:
    """One family: its name, what it means, and its samples by labels. ``kind`` is ``gauge`` or ``counter``."""

    name: str
    help: str
    kind: str = "gauge"
    samples: tuple[tuple[Labels, float], ...] = field(default=())
