from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead.ipam.table import Table


class Clumsy:
    """A key whose hash says little, so that leaves must share a place or go deep."""

    def __init__(self, number: int, hashed: int) -> None:
        self.number, self.hashed = number, hashed

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Clumsy) and self.number == other.number

    def __hash__(self) -> int:
        return self.hashed


KEYS = st.integers(0, 40).map(lambda n: Clumsy(n, (n % 3) << 58)) | st.integers(-50, 50) | st.integers(0, 2**70)


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), KEYS, st.integers())))
def test_holds_what_a_dict_holds(history):
    table, model = Table(), {}
    for put, key, value in history:
        if put:
            table, model[key] = table.put(key, value), value
        else:
            table = table.drop(key)
            model.pop(key, None)
    assert len(table) == len(model)
    assert dict(table.items()) == model
    assert all(table.get(key) == model.get(key) for _, key, _ in history)


@settings(deadline=None)
@given(st.dictionaries(KEYS, st.integers(), min_size=1))
def test_dropping_everything_leaves_the_empty_table(model):
    table = Table()
    for key, value in model.items():
        table = table.put(key, value)
    for key in model:
        table = table.drop(key)
    assert table == Table()


def test_the_old_value_stays_as_it_was():
    old = Table().put("a", 1)
    old.put("a", 2)
    old.drop("a")
    assert (old.get("a"), len(old)) == (1, 1)


def test_dropping_what_is_absent_answers_the_same_value():
    empty, one = Table(), Table().put("a", 1)
    assert empty.drop("a") is empty
    assert one.drop("b") is one


def test_keys_of_one_hash_live_side_by_side():
    first, second, third = (Clumsy(number, 5) for number in range(3))
    table = Table().put(first, 1).put(second, 2)
    assert (table.get(first), table.get(second), table.get(third)) == (1, 2, None)
    assert table.drop(third) is table
    assert dict(table.put(first, 9).drop(second).items()) == {first: 9}
