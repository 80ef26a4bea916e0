"""Keys that leave a terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.model.detach import Escape, parse_detach_keys
from fairlead.model.errors import Invalid


def test_keys_are_parsed_as_docker_does() -> None:
    assert parse_detach_keys("") == b"\x10\x11"
    assert parse_detach_keys("ctrl-a,a,ctrl-]") == b"\x01a\x1d"


@pytest.mark.parametrize("text", ["ctrl-", "ctrl-aa", "ab", ",", "ctrl-1"])
def test_words_that_are_no_keys_are_refused(text: str) -> None:
    with pytest.raises(Invalid, match="Invalid escape keys"):
        parse_detach_keys(text)


@given(st.binary(max_size=20), st.lists(st.integers(1, 5), max_size=8))
def test_however_it_comes_the_keys_are_found_and_nothing_before_them_is_lost(text: bytes, cuts: list[int]) -> None:
    typed = text.replace(b"\x10\x11", b"") + b"\x10\x11after"
    escape, out, left = Escape(b"\x10\x11"), b"", False
    sizes = iter([*cuts, len(typed)])
    while typed and not left:
        size = next(sizes, len(typed))
        piece, left = escape.feed(typed[:size])
        typed = typed[size:]
        out += piece
    assert left
    assert out == (text.replace(b"\x10\x11", b"") + b"\x10\x11").partition(b"\x10\x11")[0]


def test_a_beginning_that_goes_on_otherwise_is_handed_on() -> None:
    escape = Escape(b"\x10\x11")
    assert escape.feed(b"a\x10") == (b"a", False)
    assert escape.feed(b"b") == (b"\x10b", False)
