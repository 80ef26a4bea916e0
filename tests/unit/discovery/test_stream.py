from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from fairlead.discovery.stream import IDLE_S, QUERY_SIZE_MAX, TOTAL_S, WAITING_MAX, Stream, frame

MESSAGES = st.lists(st.binary(min_size=12, max_size=300), max_size=20)


@given(MESSAGES, st.lists(st.integers(0, 4000)))
def test_messages_arrive_whole_however_they_are_cut(messages, cuts):
    data = b"".join(frame(message) for message in messages)
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    stream, got = Stream(0.0), []
    for start, end in pairwise(edges):
        got += stream.receive(data[start:end], 0.0)
    assert got == messages and not stream.closed


@given(st.lists(st.binary(max_size=200), max_size=20))
def test_arbitrary_octets_never_raise_and_closed_is_final(pieces):
    stream = Stream(0.0)
    for piece in pieces:
        closed = stream.closed
        messages = stream.receive(piece, 0.0)
        assert all(12 <= len(message) <= 65535 for message in messages)
        assert not (closed and (messages or not stream.closed))


def test_a_message_shorter_than_a_header_closes():
    for size in (0, 1, 11):
        stream = Stream(0.0)
        assert stream.receive(frame(bytes(size)), 0.0) == [] and stream.closed


def test_the_end_of_the_other_side_closes():
    stream = Stream(0.0)
    stream.receive(b"\0\x20half", 0.0)
    stream.receive(b"", 0.0)
    assert stream.closed


def test_dribbling_octets_do_not_push_the_idle_limit():
    stream = Stream(0.0)
    stream.receive(b"\0", 1.9)
    assert stream.deadline == IDLE_S


def test_an_open_question_lifts_the_idle_limit_but_not_the_total():
    stream = Stream(0.0)
    stream.receive(frame(bytes(12)), 1.0)
    assert stream.deadline == TOTAL_S
    stream.answered(3.0)
    assert stream.deadline == 3.0 + IDLE_S
    stream.answered(9.5)


def test_the_total_limit_holds_for_a_busy_connection():
    stream = Stream(0.0)
    stream.receive(frame(bytes(12)), 9.0)
    stream.answered(9.5)
    assert stream.deadline == TOTAL_S


def test_too_many_open_questions_close():
    stream = Stream(0.0)
    assert len(stream.receive(frame(bytes(12)) * (WAITING_MAX + 1), 0.0)) == WAITING_MAX + 1
    assert stream.closed


def test_sec_18_a_query_longer_than_any_closes_before_it_is_read():
    stream = Stream(0.0)
    assert stream.receive((QUERY_SIZE_MAX + 1).to_bytes(2, "big"), 0.0) == [] and stream.closed
    whole = Stream(0.0)
    assert len(whole.receive(frame(bytes(QUERY_SIZE_MAX)), 0.0)) == 1 and not whole.closed
    assert len(Stream(0.0, 65535).receive(frame(bytes(65535)), 0.0)) == 1
