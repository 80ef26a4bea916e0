from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead.model.bitmap import Bitmap, _Node

SIZES = st.sampled_from([1, 2, 255, 256, 257, 65536, 65537, 2**32, 2**64, 2**64 + 1, 2**80])


@st.composite
def histories(draw):
    """A size and a list of (set?, position) that likes edges and neighbourhoods."""
    size = draw(SIZES)
    near_edges = st.integers(0, min(size - 1, 600)).flatmap(lambda d: st.sampled_from([d, size - 1 - d]))
    anywhere = st.integers(0, size - 1)
    return size, draw(st.lists(st.tuples(st.booleans(), near_edges | anywhere), max_size=60))


def replay(size, history):
    bitmap, model = Bitmap(size), set()
    for wanted, position in history:
        bitmap = bitmap.set(position) if wanted else bitmap.clear(position)
        (model.add if wanted else model.discard)(position)
    return bitmap, model


def naive_lowest_clear(model, start, end):
    position = start
    while position in model:
        position += 1
    return position if position < end else None


@settings(deadline=None)
@given(histories())
def test_holds_what_a_set_holds(case):
    bitmap, model = replay(*case)
    assert bitmap.count == len(model)
    assert all(bitmap.get(position) == (position in model) for _, position in case[1])


@settings(deadline=None)
@given(histories(), st.data())
def test_lowest_clear_and_count_agree_with_a_set(case, data):
    bitmap, model = replay(*case)
    start = data.draw(st.integers(0, bitmap.size))
    end = data.draw(st.integers(start, bitmap.size))
    for low, high in ((start, end), (0, bitmap.size), (0, end), (start, bitmap.size)):
        assert bitmap.lowest_clear(low, high) == naive_lowest_clear(model, low, high)
        assert bitmap.count_in(low, high) == sum(low <= position < high for position in model)


@settings(deadline=None)
@given(histories())
def test_equal_sets_are_equal_bitmaps_whatever_their_history(case):
    bitmap, model = replay(*case)
    other = Bitmap(bitmap.size)
    for position in sorted(model, reverse=True):
        other = other.set(position)
    assert other == bitmap


@settings(deadline=None)
@given(st.integers(1, 3000), st.lists(st.integers(0, 2999), max_size=20))
def test_dense_bitmaps_with_holes(size, holes):
    bitmap = Bitmap(size)
    for position in range(size):
        bitmap = bitmap.set(position)
    assert bitmap.lowest_clear() is None
    open_ = sorted({hole for hole in holes if hole < size})
    for hole in open_:
        bitmap = bitmap.clear(hole)
    assert bitmap.count == size - len(open_)
    for hole in open_:
        assert bitmap.lowest_clear() == hole
        bitmap = bitmap.set(hole)
    assert bitmap.lowest_clear() is None


def test_the_old_value_stays_as_it_was():
    old = Bitmap(1000).set(7)
    new = old.set(8).clear(7)
    assert (old.get(7), old.get(8), old.count) == (True, False, 1)
    assert (new.get(7), new.get(8), new.count) == (False, True, 1)


def test_setting_what_is_set_and_clearing_what_is_clear_answer_the_same_value():
    bitmap = Bitmap(1000).set(7)
    assert bitmap.set(7) is bitmap
    assert bitmap.clear(8) is bitmap


@pytest.mark.parametrize("position", [-1, 10, 2**70])
def test_a_position_outside_is_an_index_error(position):
    for use in (Bitmap(10).get, Bitmap(10).set, Bitmap(10).clear):
        with pytest.raises(IndexError):
            use(position)


def test_bounds_of_searches_are_cut_to_the_size():
    bitmap = Bitmap(10).set(0)
    assert bitmap.lowest_clear(-5, 99) == 1
    assert bitmap.lowest_clear(10, 99) is None
    assert bitmap.lowest_clear(5, 5) is None
    assert bitmap.count_in(-5, 99) == 1
    assert bitmap.count_in(5, 2) == 0


def nodes(tree):
    """Every node and leaf of a tree, by identity."""
    found = {id(tree): tree}
    if isinstance(tree, _Node):
        for kid in tree.kids:
            found |= nodes(kid)
    return found


def test_a_change_makes_one_new_node_a_level_however_many_are_set():
    for held in (10, 1000, 20_000):
        bitmap = Bitmap(2**64)
        for position in range(held):
            bitmap = bitmap.set(position * 3)
        before = nodes(bitmap._tree)
        for changed in (bitmap.set(1), bitmap.clear(3), bitmap.set(2**63)):
            fresh = {key for key, node in nodes(changed._tree).items() if key not in before}
            assert len(fresh) <= 8


def test_a_full_stretch_is_not_stored():
    bitmap = Bitmap(65536)
    for position in range(65536):
        bitmap = bitmap.set(position)
    assert isinstance(bitmap._tree, _Node)
    assert bitmap._tree.kids == ()


def test_made_in_one_go_it_is_the_same_as_one_by_one() -> None:
    for size, positions in (
        (1, {0}),
        (256, set(range(256))),
        (70_000, {0, 5, 255, 256, 69_999}),
        (2**64, {1, 2**63}),
        (300, set()),
    ):
        one_by_one = Bitmap(size)
        for position in positions:
            one_by_one = one_by_one.set(position)
        assert Bitmap.of(size, positions) == one_by_one
    with pytest.raises(IndexError):
        Bitmap.of(10, [3, 10])
