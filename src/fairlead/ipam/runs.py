"""Runs: a sorted set of stretches of whole numbers, in which stretches that touch are one."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Runs:
    """Stretches from ``starts[i]`` up to, not including, ``ends[i]``. Look-ups bisect; a change copies two tuples of
    pointers, one element for each stretch.
    """

    starts: tuple[int, ...] = ()
    ends: tuple[int, ...] = ()

    def meet(self, start: int, end: int) -> int:
        """The end of the first stretch that shares a number with ``start`` up to ``end``, or 0."""
        at = bisect_right(self.ends, start)
        return self.ends[at] if at < len(self.starts) and self.starts[at] < end else 0

    def plus(self, start: int, end: int) -> Runs:
        """With the numbers from ``start`` up to, not including, ``end``."""
        first = bisect_left(self.ends, start)
        last = bisect_right(self.starts, end)
        if first < last:
            start, end = min(start, self.starts[first]), max(end, self.ends[last - 1])
        return Runs(
            (*self.starts[:first], start, *self.starts[last:]),
            (*self.ends[:first], end, *self.ends[last:]),
        )

    def without(self, start: int, end: int) -> Runs:
        """Without the numbers from ``start`` up to, not including, ``end``."""
        first = bisect_right(self.ends, start)
        last = bisect_left(self.starts, end)
        if first >= last:
            return self
        left = ((self.starts[first], start),) if self.starts[first] < start else ()
        right = ((end, self.ends[last - 1]),) if end < self.ends[last - 1] else ()
        rest = left + right
        return Runs(
            (*self.starts[:first], *(run[0] for run in rest), *self.starts[last:]),
            (*self.ends[:first], *(run[1] for run in rest), *self.ends[last:]),
        )
