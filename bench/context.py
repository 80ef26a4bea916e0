"""What the measurements of one run share: the engines, the host made by hand, samples taken in turn."""

from __future__ import annotations

import contextlib
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path

from bench.api import ApiFailure
from bench.by_hand import ByHand
from bench.engines import Docker, Engine, Fairlead
from bench.hosts import NotMeasured
from bench.programs import Programs
from bench.report import Reading

OURS, BY_HAND, THEIRS = "ours", "floor", "peer"
#: What may go wrong with one side without ending the run.
FAULTS = (NotMeasured, ApiFailure, OSError, HTTPException, ValueError)

Side = Callable[[], float]


@dataclass
class Samples:
    """Values by side, and why a side has none."""

    values: dict[str, list[float]] = field(default_factory=dict)
    why: dict[str, str] = field(default_factory=dict)

    def take(self, side: str, measure: Side) -> bool:
        """One more; whether it worked. A side that failed once is not asked again."""
        if side in self.why:
            return False
        try:
            self.values.setdefault(side, []).append(measure())
        except FAULTS as fault:
            self.why[side] = " ".join(str(fault).split())[:300] or type(fault).__name__
        return side not in self.why

    def reading(
        self,
        name: str,
        scale: float = 1.0,
        statistic: Callable[[list[float]], float] = statistics.median,
        note: str = "",
    ) -> Reading:
        """The row: one number for each side."""

        def of(side: str) -> float:
            found = self.values.get(side)
            return statistic(found) * scale if found else math.nan

        notes = [note] if note else []
        notes += [f"{side}: {reason}" for side, reason in self.why.items()]
        return Reading(name, of(OURS), of(BY_HAND), of(THEIRS), "; ".join(notes))


class Context:
    """One run."""

    def __init__(self, folder: Path, *, quick: bool) -> None:
        self.folder = folder
        self.quick = quick
        self.programs = Programs(folder / "programs")
        self.why_no_peer = ""

    def count(self, full: int, quick: int) -> int:
        """How often, or how many."""
        return quick if self.quick else full

    @contextlib.contextmanager
    def engines(self, samples: Samples | None = None, *, peer: bool = True) -> Iterator[dict[str, Engine]]:
        """Fresh engines by side. A peer that does not start is left out; ``samples`` hears why."""
        with contextlib.ExitStack() as stack:
            found: dict[str, Engine] = {OURS: self._start(stack, Fairlead)}
            if peer and not self.why_no_peer:
                try:
                    found[THEIRS] = self._start(stack, Docker)
                except FAULTS as fault:
                    self.why_no_peer = str(fault)
            if peer and self.why_no_peer and samples is not None:
                samples.why[THEIRS] = self.why_no_peer
            yield found

    @contextlib.contextmanager
    def by_hand(self) -> Iterator[ByHand]:
        with ByHand(self.programs) as host:
            yield host

    def _start(self, stack: contextlib.ExitStack, kind: type[Engine]) -> Engine:
        engine = kind(self.folder / kind.title, self.programs)
        stack.callback(engine.close)
        return engine


def interleave(samples: Samples, rounds: int, sides: Mapping[str, Side]) -> Samples:
    """Every side once in each round, so that what else the machine does meets all of them."""
    for _ in range(rounds):
        for side, measure in sides.items():
            samples.take(side, measure)
    return samples


def percentile(share: float) -> Callable[[list[float]], float]:
    """A statistic: the value below which this share of the sorted values lies."""
    return lambda values: sorted(values)[min(len(values) - 1, math.ceil(share * len(values)) - 1)]


def progress(text: str) -> None:
    """Say on standard error what is being measured."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)
