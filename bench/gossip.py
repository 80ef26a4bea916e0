"""Rows of ``./run bench gossip``: N nodes on real sockets, encryption and signatures on, entries as the anchors had them."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator

from bench.context import FAULTS, progress
from bench.gossip_anchors import ANCHORS
from bench.gossip_fleet import Fleet, percentile
from bench.report import Reading

SIZES = (3, 10, 30, 60, 100)
#: How often, or for how many seconds: (in a full run, in a quick one).
CONVERGE, LOSSY, STARTS, JOINS, FAILS = (60, 20), (40, 15), (5, 2), (5, 2), (8, 2)
IDLE_S, RATE_S, APART_S, SLANDER_S = (12.0, 5.0), (10.0, 4.0), (10.0, 5.0), (30.0, 10.0)
BURST = 1000
#: Bytes of an entry as networkdb encodes it: what a "table" is, against which traffic is counted.
ENTRY_BYTES = 250


class Rows:
    """Measures one size after the other; what was measured comes as readings."""

    def __init__(self, *, quick: bool, wanted: list[str]) -> None:
        self._quick = quick
        self._wanted = wanted
        self._chance = random.Random(4)
        self._found: list[Reading] = []

    def measure(self, sizes: list[int]) -> Iterator[Reading]:
        """All rows of all sizes."""
        for size in sizes:
            for stage in (self._start, self._tables, self._failures, self._rate):
                yield from self._stage(stage, Fleet(size))
            if size == 30:
                yield from self._stage(self._loss, Fleet(size))
            if size <= 10:
                yield from self._stage(self._namespaces, Fleet(size, own_namespaces=True))

    def _stage(self, stage: Callable[[Fleet], None], fleet: Fleet) -> list[Reading]:
        self._found = []
        names = STAGE_ROWS[stage.__name__]
        if any(self._is_wanted(name) for name in names):
            progress(f"N = {fleet.size}: {(stage.__doc__ or '').strip()}")
            try:
                with fleet:
                    stage(fleet)
            except FAULTS as fault:
                progress(f"given up: {fault}")
        return self._found

    def _is_wanted(self, name: str) -> bool:
        return not self._wanted or any(name.startswith(one) or one.startswith(name) for one in self._wanted)

    def _row(self, name: str, size: int, value: float, note: str = "") -> None:
        self._found.append(Reading(f"{name}.n{size}", value, peer=ANCHORS.get((name, size), math.nan), note=note))

    def _of(self, choice: tuple[float, float]) -> float:
        return choice[self._quick]

    # -- stages

    def _start(self, fleet: Fleet) -> None:
        """all start at once"""
        found = []
        for attempt in range(int(self._of(STARTS))):
            if attempt:
                fleet.close()
            fleet.want(fleet.size - 1, fleet.size)
            found.append(fleet.until(fleet.open(greet=True), 60))
        note = f"{len(found)} starts; all members and a record of each"
        self._row("gossip.mass_start.p50_s", fleet.size, percentile(found, 0.5), note)
        self._row("gossip.mass_start.worst_s", fleet.size, max(found))

    def _tables(self, fleet: Fleet) -> None:
        """tables: one entry, a thousand, joining, idling, halves apart"""
        self._begin(fleet)
        self._idle(fleet, "gossip.idle.bytes_per_s.0")
        count = self._converge(fleet, int(self._of(CONVERGE)), "gossip.converge.last_node")
        count = self._burst(fleet, count)
        time.sleep(2.0)
        self._idle(fleet, "gossip.idle.bytes_per_s.1000")
        self._join(fleet, count)
        self._partition(fleet, count)

    def _failures(self, fleet: Fleet) -> None:
        """nodes that fail"""
        if fleet.size < 3:
            return
        self._begin(fleet)
        for kind in ("process", "host"):
            first, last = [], []
            for _ in range(int(self._of(FAILS))):
                victim = self._chance.randrange(fleet.size)
                time.sleep(1.0 + self._chance.random())
                fleet.news()
                if kind == "process":
                    began = fleet.close([victim])
                    fleet.want(fleet.size - 2, -1)
                    last.append(fleet.until(began, 30))
                    first.append(self._first(fleet, victim) - began)
                    fleet.want(fleet.size - 1, -1)
                    fleet.until(fleet.open([victim]), 30)
                else:
                    began = time.monotonic()
                    with fleet.dark([victim]):
                        times = self._all_told(fleet, victim)
                    last.append(max(times) - began)
                    first.append(min(times) - began)
                    fleet.want(fleet.size - 1, -1)
                    fleet.until(time.monotonic(), 30)
            note = f"of {len(first)}"
            self._row(f"gossip.fail.{kind}.first_s", fleet.size, percentile(first, 0.5), note)
            self._row(f"gossip.fail.{kind}.last_s", fleet.size, percentile(last, 0.5), note)
            self._row(f"gossip.fail.{kind}.last.worst_s", fleet.size, max(last))

    def _rate(self, fleet: Fleet) -> None:
        """200 creates a second"""
        self._begin(fleet)
        fleet.all("record", on=True)
        workers = min(2, fleet.size)
        seconds = self._of(RATE_S)
        answers = fleet.split("rate", "nodes", word="rate", per_s=200 / workers, duration_s=seconds)
        began = {key: when for answer in answers for key, when in answer.items()}
        fleet.want(-1, len(began))
        fleet.until(0.0, 30)
        seen: dict[str, tuple[int, float]] = {}
        for answer in fleet.all("record", on=False):
            for key, (count, when) in answer.items():
                known = seen.get(key, (0, 0.0))
                seen[key] = (known[0] + count, max(known[1], when))
        assert all(count == fleet.size for count, _ in seen.values()), "somebody lacks an entry"
        taken = [1000 * (seen[key][1] - when) for key, when in began.items()]
        note = f"{seconds:g} s; p50 {percentile(taken, 0.5):.3g}, worst {max(taken):.3g} ms"
        self._row("gossip.rate200.p95_ms", fleet.size, percentile(taken, 0.95), note)

    def _loss(self, fleet: Fleet) -> None:
        """packets are lost"""
        self._begin(fleet)
        count = 0
        for percent in (10, 25):
            with fleet.lossy(percent / 100):
                count = self._converge(fleet, int(self._of(LOSSY)), f"gossip.converge.loss{percent}", count)
        fleet.news()
        seconds = self._of(SLANDER_S)
        with fleet.lossy(0.25):
            time.sleep(seconds)
        downs, _ = fleet.news()
        self._row(
            "gossip.false_deaths.loss25",
            fleet.size,
            120 / seconds * len(downs),
            f"in {seconds:g} s, times {120 / seconds:g}",
        )

    def _namespaces(self, fleet: Fleet) -> None:
        """a process and a namespace for each node"""
        self._begin(fleet)
        count = self._converge(fleet, int(self._of(CONVERGE)), "gossip.converge.namespaces")
        began, _ = fleet.at(1, "put", word="burst", first=0, count=BURST), fleet.want(-1, count + BURST)
        self._row("gossip.burst1000.namespaces.s", fleet.size, fleet.until(began, 60))
        fleet.news()
        victim = fleet.size - 1
        with fleet.unplugged(victim) as began:
            times = self._all_told(fleet, victim)
        self._row("gossip.fail.host.namespaces.last_s", fleet.size, max(times) - began, "link down, once")
        fleet.want(fleet.size - 1, -1)
        fleet.until(time.monotonic(), 30)
        fleet.news()
        began = fleet.kill(victim)
        fleet.want(fleet.size - 2, -1)
        self._row("gossip.fail.process.namespaces.last_s", fleet.size, fleet.until(began, 30), "killed, once")

    # -- what stages are made of

    def _begin(self, fleet: Fleet) -> None:
        began = fleet.open()
        fleet.want(fleet.size - 1, 0)
        fleet.until(began, 60)
        time.sleep(2.0)
        fleet.news()

    def _idle(self, fleet: Fleet, name: str) -> None:
        seconds = self._of(IDLE_S)
        began, (bytes_before, cpu_before) = time.monotonic(), fleet.cost()
        time.sleep(seconds)
        bytes_after, cpu_after = fleet.cost()
        passed = (time.monotonic() - began) * fleet.size
        self._row(name, fleet.size, (bytes_after - bytes_before) / passed)
        cpu = name.replace("bytes_per_s", "cpu_s_per_min")
        self._row(cpu, fleet.size, 60 * (cpu_after - cpu_before) / passed)

    def _converge(self, fleet: Fleet, count: int, name: str, first: int = 0) -> int:
        taken = []
        for number in range(first, first + count):
            fleet.want(-1, number + 1)
            time.sleep(0.03 + 0.04 * self._chance.random())
            began = fleet.at(self._chance.randrange(fleet.size), "put", word="one", first=number, count=1)
            taken.append(1000 * fleet.until(began, 30))
        self._row(f"{name}.p50_ms", fleet.size, percentile(taken, 0.5), f"of {count}; worst {max(taken):.3g} ms")
        self._row(f"{name}.p95_ms", fleet.size, percentile(taken, 0.95))
        return first + count

    def _burst(self, fleet: Fleet, count: int) -> int:
        before, _ = fleet.cost()
        fleet.want(-1, count + BURST)
        began = fleet.at(self._chance.randrange(fleet.size), "put", word="burst", first=0, count=BURST)
        self._row("gossip.burst1000.all_nodes.s", fleet.size, fleet.until(began, 60))
        spent = fleet.cost()[0] - before
        self._row("gossip.bytes_per_entry_delivered", fleet.size, spent / BURST / (fleet.size - 1))
        return count + BURST

    def _join(self, fleet: Fleet, count: int) -> None:
        """A node beside the others joins them: all of it anew, then the network only."""
        new, cold, warm, tables = fleet.size, [], [], []
        for _ in range(int(self._of(JOINS))):
            fleet.want(-1, count)
            before, _ = fleet.cost()
            cold.append(fleet.until(fleet.open([new]), 30))
            tables.append((fleet.cost()[0] - before) / count / ENTRY_BYTES)
            for _again in range(2):
                fleet.at(new, "detach")
                time.sleep(0.3)
                fleet.want(-1, count)
                warm.append(fleet.until(fleet.at(new, "attach"), 30))
            fleet.close([new])
            fleet.want(fleet.size - 1, -1)
            fleet.until(time.monotonic(), 30)
            time.sleep(0.3)
        self._row(
            "gossip.join1000.cold_s", fleet.size, percentile(cold, 0.5), f"worst {max(cold):.3g} s of {len(cold)}"
        )
        self._row(
            "gossip.join1000.warm_s", fleet.size, percentile(warm, 0.5), f"worst {max(warm):.3g} s of {len(warm)}"
        )
        self._row("gossip.join1000.tables", fleet.size, percentile(tables, 0.5), f"a table is {count} entries of 250 B")

    def _partition(self, fleet: Fleet, count: int) -> None:
        half, apart_s = range(fleet.size // 2), self._of(APART_S)
        fleet.news()
        with fleet.parted(half):
            time.sleep(apart_s / 2)
            for node in (0, fleet.size - 1):
                fleet.at(node, "put", word=f"apart {node}", first=0, count=10)
            time.sleep(apart_s / 2)
            _, hidden = fleet.news()
            fleet.want(fleet.size - 1, count + 20)
            healed = time.monotonic()
        self._row("gossip.partition.heal.s", fleet.size, fleet.until(healed, 60), f"apart for {apart_s:g} s")
        _, after = fleet.news()
        unjust = [event for event in hidden if (event[1] in half) == (event[2] in half)]
        self._row("gossip.partition.reachable_hidden", fleet.size, len(unjust), f"{len(hidden)} of the other side's")
        self._row("gossip.partition.removed_after_heal", fleet.size, len([each for each in after if each[0] > healed]))

    @staticmethod
    def _first(fleet: Fleet, victim: int) -> float:
        return min((when for when, _, about in fleet.news()[0] if about == victim), default=math.nan)

    @staticmethod
    def _all_told(fleet: Fleet, victim: int) -> list[float]:
        """When each of the others came to know that a node is down."""
        told: dict[int, float] = {}
        end = time.monotonic() + 30
        while len(told) < fleet.size - 1 and time.monotonic() < end:
            time.sleep(0.1)
            for when, at, about in fleet.news()[0]:
                if about == victim and at != victim:
                    told.setdefault(at, when)
        return list(told.values()) if len(told) == fleet.size - 1 else [math.nan]


#: Which rows a stage has: so that one row can be asked for.
STAGE_ROWS = {
    "_start": ["gossip.mass_start"],
    "_tables": [
        "gossip.converge.last_node",
        "gossip.burst1000.all_nodes",
        "gossip.bytes_per_entry_delivered",
        "gossip.idle",
        "gossip.join1000",
        "gossip.partition",
    ],
    "_failures": ["gossip.fail.process", "gossip.fail.host"],
    "_rate": ["gossip.rate200"],
    "_loss": ["gossip.converge.loss", "gossip.false_deaths"],
    "_namespaces": ["gossip.converge.namespaces", "gossip.burst1000.namespaces", "gossip.fail.namespaces"],
}
