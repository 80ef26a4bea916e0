"""Rows of ``./run bench gossip-sim``: the simulated network with up to 10,000 nodes, random schedules, slow members."""

from __future__ import annotations

import gc
import math
import os
import statistics
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from random import Random

from bench.context import progress
from bench.gossip_memory import bytes_each
from bench.report import Reading
from fairlead.gossip.contract import GossipSettings
from fairlead.testing.gossip_crowd import converge, crowd
from fairlead.testing.gossip_schedules import Schedule
from fairlead.testing.gossip_slow import slow_members

SIZES, QUICK_SIZES = (10, 30, 100, 300, 1000, 3000, 10000), (10, 30, 100, 300, 1000)
#: Nodes from which on the tables of members are common to all: else they fill the machine.
SHARED_FROM = 2000
#: Entries put at each size; schedules by default in a full and in a quick run; how many one job has.
PUTS, SCHEDULES, JOB = 5, (10_000, 200), 50
#: Lifeguard's experiment: nodes, seconds, and how many of them are slow.
CROWD, SLOW_S, SLOW = (1000, 60), 60.0, (4, 16)
SWIMS = (("lifeguard", GossipSettings()), ("plain", GossipSettings(lifeguard=False, lifelines=0)))
#: What memory is measured of: kind, row, how many. Records have keys of 64 and values of 115 bytes.
MEMORY = (
    ("members", "member_bytes", 1000), ("records", "record_bytes.n10000", 10_000),
    ("records", "record_bytes.n100000", 100_000),
)  # fmt: skip


class Rows:
    """Measures; afterwards ``picture`` draws what was found at the sizes."""

    def __init__(self, *, quick: bool, wanted: list[str], schedules: int | None = None) -> None:
        self._quick = quick
        self._wanted = wanted
        self._schedules = SCHEDULES[quick] if schedules is None else schedules
        self._found: dict[int, tuple[float, float]] = {}

    def measure(self, sizes: list[int]) -> Iterator[Reading]:
        """All rows."""
        if self._is_wanted("gossip-sim.rounds") or self._is_wanted("gossip-sim.messages"):
            for size in sizes:
                yield from self._spread(size)
        if self._is_wanted("gossip-sim.memory"):
            yield from self._memory()
        if self._is_wanted("gossip-sim.slow"):
            yield from self._slow()
        if self._is_wanted("gossip-sim.schedules") and self._schedules:
            yield from self._live_through()

    def picture(self) -> str:
        """Rounds and messages per node against the number of nodes, as SVG."""
        return draw(self._found)

    def _is_wanted(self, name: str) -> bool:
        return not self._wanted or any(name.startswith(one) or one.startswith(name) for one in self._wanted)

    def _spread(self, size: int) -> Iterator[Reading]:
        progress(f"{size} nodes")
        cluster = crowd(size, size, shared=size >= SHARED_FROM)
        chance = Random(size)
        found = []
        for number in range(PUTS):
            # what is said at once after something else is gathered for 10 ms
            cluster.world.run(0.02)
            found.append(converge(cluster, chance.choice(cluster.players), f"entry-{number}"))
        rounds, messages = max(rounds for rounds, _ in found), statistics.fmean(count for _, count in found)
        self._found[size] = (rounds, messages)
        yield Reading(f"gossip-sim.rounds.n{size}", rounds, note="one-way delays of 100 us until the last node has it")
        yield Reading(f"gossip-sim.messages.n{size}", messages)
        del cluster
        gc.collect()

    def _memory(self) -> Iterator[Reading]:
        progress("memory")
        for kind, name, count in MEMORY[: 2 if self._quick else None]:
            yield Reading(
                f"gossip-sim.memory.{name}", bytes_each(kind, count), note=f"resident, of {count} in a fresh process"
            )

    def _slow(self) -> Iterator[Reading]:
        count = CROWD[self._quick]
        progress(f"slow members among {count} nodes, here and in plain SWIM")
        with ProcessPoolExecutor(os.cpu_count()) as pool:
            runs = {
                (slow, kind): pool.submit(slow_members, 1, count, slow, SLOW_S, settings)
                for slow in SLOW
                for kind, settings in SWIMS
            }
            for (slow, kind), run in runs.items():
                found = run.result()
                yield Reading(
                    f"gossip-sim.slow{slow}.{kind}",
                    found.of_sound,
                    note=f"{slow} of {count} nodes, {SLOW_S:g} s; {found.by_sound} said by sound members; {found.victims} "
                    f"victims; slow ones were called dead {found.of_slow} times",
                )
            for slow in SLOW:
                plain, ours = runs[slow, "plain"].result(), runs[slow, "lifeguard"].result()
                yield Reading(f"gossip-sim.slow{slow}.fewer", plain.of_sound / max(1, ours.of_sound))
                yield Reading(f"gossip-sim.slow{slow}.believed", ours.by_sound)

    def _live_through(self) -> Iterator[Reading]:
        progress(f"{self._schedules} schedules")
        failed: list[str] = []
        settled: list[float] = []
        steps = 0
        with ProcessPoolExecutor(os.cpu_count()) as pool:
            for outcomes in pool.map(live_through, range(0, self._schedules, JOB), [JOB] * self._schedules):
                for seed, fault, settled_s, taken in outcomes:
                    steps += taken
                    if fault:
                        progress(f"seed {seed}: {fault}")
                        failed.append(str(seed))
                    else:
                        settled.append(settled_s)
        yield Reading(
            "gossip-sim.schedules.failed",
            len(failed),
            note=f"of {self._schedules}, {steps:,} steps; settled p50 {statistics.median(settled):.3g} s, "
            f"worst {max(settled):.3g} s" + (f"; seeds {', '.join(failed[:50])}" if failed else ""),
        )


def live_through(first: int, count: int) -> list[tuple[int, str, float, int]]:
    """Some schedules: seed, fault, seconds to settle, steps."""
    found = []
    for seed in range(first, first + count):
        schedule = Schedule(seed)
        try:
            outcome = schedule.run()
            found.append((seed, "", outcome.settled_s, outcome.steps))
        except Exception as fault:  # noqa: BLE001 - a fault of any kind is what is looked for
            found.append((seed, f"{type(fault).__name__}: {fault}"[:300], math.nan, schedule.cluster.world.steps))
    return found


def draw(found: dict[int, tuple[float, float]]) -> str:
    """Two curves over a logarithmic axis of nodes."""
    width, height, left, bottom = 640, 360, 60, 50
    most = max([2.0, *(value for pair in found.values() for value in pair)]) * 1.1
    decades = max([2.0, *(math.log10(size) for size in found)])

    def place(size: float, value: float) -> str:
        x = left + math.log10(size) / decades * (width - left - 20)
        y = height - bottom - value / most * (height - bottom - 30)
        return f"{x:.1f},{y:.1f}"

    def text(at: str, words: str, *, anchor: str = "middle", colour: str = "#333") -> str:
        x, y = at.split(",")
        return f'<text x="{x}" y="{y}" text-anchor="{anchor}" fill="{colour}">{words}</text>'

    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for value in range(math.ceil(most)):
        start, end = place(1, value), place(10**decades, value)
        lines.append(f'<polyline points="{start} {end}" stroke="#ddd" fill="none"/>')
        lines.append(text(f"{left - 10},{start.split(',')[1]}", str(value), anchor="end"))
    for decade in range(int(decades) + 1):
        x = place(10**decade, 0).split(",")[0]
        lines.append(text(f"{x},{height - bottom + 18}", f"{10**decade:,}"))
    lines.append(text(f"{(width + left) / 2},{height - 12}", "nodes"))
    depth = [(size, math.ceil(math.log(1 + 3 * (size - 1), 4) - 1e-9)) for size in sorted(found)]
    for colour, words, points, row in (
        ("#1f6feb", "rounds until the last node has an entry", [(s, found[s][0]) for s in sorted(found)], 18),
        ("#d9480f", "datagrams per node for it", [(s, found[s][1]) for s in sorted(found)], 34),
        ("#999", "depth of a tree of four children: log4(3N)", depth, 50),
    ):
        dashes = ' stroke-dasharray="4 4"' if colour == "#999" else ""
        joined = " ".join(place(*point) for point in points)
        lines.append(f'<polyline points="{joined}" stroke="{colour}" stroke-width="2" fill="none"{dashes}/>')
        for point in points if not dashes else ():
            x, y = place(*point).split(",")
            lines.append(f'<circle cx="{x}" cy="{y}" r="3" fill="{colour}"/>')
        lines.append(text(f"{left + 14},{row}", words, anchor="start", colour=colour))
    return "\n".join([*lines, "</svg>", ""])
