"""Messages on a stream, however they are cut on the way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.gossip.contract import STREAM_BYTES_MAX
from fairlead.gossip.frames import FrameReader, frame


@given(st.binary(max_size=200), st.lists(st.integers(1, 50)))
def test_a_message_is_whole_again_however_it_was_cut(message: bytes, cuts: list[int]) -> None:
    data, reader, found = frame(message), FrameReader(), []
    for size in [*cuts, len(data)]:
        piece, data = data[:size], data[size:]
        if piece:
            found.append(reader.feed(piece))
    assert found[-1] == message
    assert not any(found[:-1])


def test_a_length_beyond_the_largest_message_is_refused() -> None:
    with pytest.raises(ValueError, match="bytes"):
        FrameReader().feed((STREAM_BYTES_MAX + 1).to_bytes(4, "big"))


def test_a_second_message_is_refused() -> None:
    with pytest.raises(ValueError, match="more than one"):
        FrameReader().feed(frame(b"one") + b"t")
