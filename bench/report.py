"""Rows, and how they are shown and written."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.goals import ABSOLUTE, FLOOR, PEER, Bound, Goal

_COLUMNS = ("name", "ours", "floor", "peer", "ratio", "goal", "met?")


@dataclass(frozen=True, slots=True)
class Reading:
    """What was measured of one row; NaN stands for "could not be measured", and ``note`` says why."""

    name: str
    value: float = math.nan
    floor: float = math.nan
    peer: float = math.nan
    note: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """A reading, judged. ``ratio`` is our value divided by the anchor of the first bound that has one, else by the
    floor, else by the peer; ``of`` says which. ``met`` is None when no bound could be judged."""

    name: str
    value: float
    unit: str
    floor: float
    peer: float
    ratio: float
    of: str
    goal: str
    met: bool | None
    note: str


class Report:
    """The readings of one run, judged by a table of goals. A goal may refer to a row that comes later."""

    def __init__(self, goals: Mapping[str, Goal]) -> None:
        self._goals = goals
        self._readings: dict[str, Reading] = {}

    def add(self, reading: Reading) -> None:
        """Take a reading in; its name must be in the table."""
        assert reading.name in self._goals, reading.name
        self._readings[reading.name] = reading

    def rows(self) -> list[Row]:
        """In the order of the table."""
        return [self._judge(self._readings[name]) for name in self._goals if name in self._readings]

    def _judge(self, reading: Reading) -> Row:
        goal = self._goals[reading.name]
        verdicts = [
            bound.holds(reading.value, anchor)
            for bound in goal.bounds
            if not math.isnan(anchor := self._anchor(bound, reading))
        ]
        known = bool(verdicts) and not math.isnan(reading.value)
        of, ratio = self._ratio(goal, reading)
        words = ", ".join(bound.words(goal.unit) for bound in goal.bounds)
        return Row(
            name=reading.name,
            value=reading.value,
            unit=goal.unit,
            floor=reading.floor,
            peer=reading.peer,
            ratio=ratio,
            of=of,
            goal=words,
            met=all(verdicts) if known else None,
            note=reading.note,
        )

    def _anchor(self, bound: Bound, reading: Reading) -> float:
        if bound.anchor == ABSOLUTE:
            return 1.0
        if bound.anchor in (FLOOR, PEER):
            return reading.floor if bound.anchor == FLOOR else reading.peer
        other = self._readings.get(bound.anchor)
        if other is None:
            return math.nan
        # rows are measured minutes apart: what the machine became faster or slower meanwhile, their floors tell
        drift = reading.floor / other.floor
        return other.value * (1.0 if math.isnan(drift) else drift)

    def _ratio(self, goal: Goal, reading: Reading) -> tuple[str, float]:
        relative = [bound for bound in goal.bounds if bound.anchor != ABSOLUTE]
        for bound in (*relative, Bound(FLOOR, "≤", 0), Bound(PEER, "≤", 0)):
            anchor = self._anchor(bound, reading)
            if anchor and not math.isnan(anchor):
                return bound.anchor, reading.value / anchor
        return "", math.nan


def table(rows: list[Row]) -> str:
    """For people."""
    cells = [_COLUMNS, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(_COLUMNS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]
    notes = [f"  {row.name}: {row.note}" for row in rows if row.note]
    return "\n".join([*lines, *(["", "notes:", *notes] if notes else [])])


def markdown(rows: list[Row]) -> str:
    """For the documentation."""
    lines = ["| " + " | ".join(_COLUMNS) + " |", "|---" * len(_COLUMNS) + "|"]
    notes = [f"- `{row.name}`: {row.note}" for row in rows if row.note]
    return "\n".join([*lines, *("| " + " | ".join(_cells(row)) + " |" for row in rows), "", *notes])


def write_json(rows: list[Row], path: Path) -> None:
    """For programs: what could not be measured is null."""
    fields = ("name", "value", "unit", "floor", "peer", "ratio", "of", "goal", "met", "note")
    plain = [{field: _plain(getattr(row, field)) for field in fields} for row in rows]
    path.write_text(json.dumps(plain, indent=1, ensure_ascii=False) + "\n")


def _cells(row: Row) -> tuple[str, ...]:
    met = "?" if row.met is None else "yes" if row.met else "NO"
    ratio = f"{_number(row.ratio)}x {row.of}" if row.of else "-"
    goal = row.goal or "-"
    return (row.name, f"{_number(row.value)} {row.unit}", _number(row.floor), _number(row.peer), ratio, goal, met)


def _number(value: float) -> str:
    if math.isnan(value):
        return "-"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _plain(value: object) -> object:
    return None if isinstance(value, float) and math.isnan(value) else value
