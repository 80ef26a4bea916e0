from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead.ipam.runs import Runs

SPANS = st.tuples(st.integers(0, 60), st.integers(1, 20)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), SPANS)), SPANS)
def test_agrees_with_a_set_of_numbers(history, asked):
    runs, model = Runs(), set()
    for plus, (start, end) in history:
        runs = runs.plus(start, end) if plus else runs.without(start, end)
        model = model | set(range(start, end)) if plus else model - set(range(start, end))
    spans = list(zip(runs.starts, runs.ends, strict=True))
    assert {number for start, end in spans for number in range(start, end)} == model
    assert all(start < end for start, end in spans)
    assert all(left[1] < right[0] for left, right in pairwise(spans)), "stretches that touch are one"
    met = runs.meet(*asked)
    assert bool(met) == bool(model & set(range(*asked)))
    if met:
        assert met == next(end for start, end in spans if end > asked[0])


def test_neighbours_grow_together():
    assert Runs().plus(0, 4).plus(8, 12).plus(4, 8) == Runs((0,), (12,))


def test_taking_the_middle_leaves_both_sides():
    assert Runs().plus(0, 12).without(4, 8) == Runs((0, 8), (4, 12))
