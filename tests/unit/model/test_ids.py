from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.model.addresses import parse_mac
from fairlead.model.errors import Invalid
from fairlead.model.ids import ID_LENGTH, NAME_LENGTH_MAX, SHORT_ID_LENGTH, check_name, new_id, new_mac, short


class Dealt:
    """Chance that deals the given numbers."""

    def __init__(self, *numbers: int) -> None:
        self.numbers = list(numbers)

    def getrandbits(self, k: int, /) -> int:
        number = self.numbers.pop(0)
        assert number < 1 << k
        return number


@given(st.integers())
def test_an_id_is_sixty_four_lower_case_hexadecimal_digits(seed):
    text = new_id(Random(seed))
    assert len(text) == ID_LENGTH
    assert set(text) <= set("0123456789abcdef")
    assert not text[:SHORT_ID_LENGTH].isdigit()
    assert short(text) == text[:12]


def test_an_id_whose_short_form_is_a_number_is_drawn_again():
    number_like = int("123456789012" + "f" * 52, 16)
    good = int("a23456789012" + "0" * 52, 16)
    assert new_id(Dealt(number_like, 0, good)) == f"{good:x}"


@given(st.integers())
def test_a_mac_is_local_and_unicast(seed):
    mac = new_mac(Random(seed))
    first = int(mac[:2], 16)
    assert first & 0b11 == 0b10
    assert parse_mac(mac) == mac


def test_the_same_chance_draws_the_same():
    assert new_id(Random(7)) == new_id(Random(7))
    assert new_mac(Random(7)) == new_mac(Random(7))


@pytest.mark.parametrize("name", ["a", "0", "web.1", "my_net-2", "A" * NAME_LENGTH_MAX])
def test_a_good_name_is_answered(name):
    assert check_name("network", name) == name


@pytest.mark.parametrize(
    "name", ["", "-a", ".a", "_a", "a b", "a/b", "../x", "ä", "a\n", "a\0", "A" * (NAME_LENGTH_MAX + 1)]
)
def test_a_bad_name_is_invalid_and_named(name):
    with pytest.raises(Invalid, match="invalid network name") as caught:
        check_name("network", name)
    assert len(str(caught.value)) < 200, "a huge name is not echoed whole"
    assert caught.value.hint
