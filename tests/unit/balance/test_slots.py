"""Slots: as many for each task as it weighs, and a change moves no more than it must."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.balance.slots import SLOTS_MAX, arrange, choose

WEIGHTS = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 6))


@given(WEIGHTS, WEIGHTS)
def test_each_task_has_its_share_and_nothing_moves_needlessly(before: dict[str, int], after: dict[str, int]) -> None:
    old = arrange((), before)
    new = arrange(old, after)
    due = {task: weight for task, weight in after.items() if weight}
    counted = Counter(new)
    assert counted.keys() == due.keys()
    assert len({counted[task] / weight for task, weight in due.items()}) <= 1
    kept = sum(min(Counter(old[: len(new)])[task], counted[task]) for task in due)
    assert sum(a == b for a, b in zip(old, new, strict=False)) == kept


@given(WEIGHTS)
def test_the_same_again_changes_nothing(weights: dict[str, int]) -> None:
    once = arrange((), weights)
    assert arrange(once, weights) == once


@pytest.mark.parametrize("count", [2, 10, 500])
def test_one_task_that_goes_costs_one_slot(count: int) -> None:
    every = {f"t{number}": 1 for number in range(count)}
    before = arrange((), every)
    del every["t1"]
    after = arrange(before, every)
    assert len(after) == count - 1
    assert sum(a != b for a, b in zip(before, after, strict=False)) <= 1


def test_too_many_slots_become_one_for_each() -> None:
    weights = {f"t{number}": 99 + number % 2 for number in range(SLOTS_MAX // 50)}
    assert len(arrange((), weights)) == len(weights)


def test_a_client_keeps_its_task_when_others_come_and_go() -> None:
    tasks = {f"t{number}": 1 for number in range(10)}
    clients = [f"10.0.{number >> 8}.{number & 255}" for number in range(2000)]
    before = {client: choose(client, tasks) for client in clients}
    shares = Counter(before.values())
    assert shares.keys() == tasks.keys() and max(shares.values()) < 300
    del tasks["t3"]
    for client, chosen in before.items():
        assert chosen == "t3" or choose(client, tasks) == chosen
    heavy = Counter(choose(client, {"a": 3, "b": 1, "c": 0}) for client in clients)
    assert 1300 < heavy["a"] < 1700 and "c" not in heavy


def test_there_is_nobody_to_choose_when_all_weigh_nothing() -> None:
    assert choose("10.0.0.1", {"a": 0}) == "" and arrange(("a",), {"a": 0}) == ()
