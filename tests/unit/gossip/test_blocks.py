"""Blocks and heads: written, read, passed on, forged."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.gossip.village import write_blocks, write_head

from fairlead.gossip.blocks import (
    BLOCK_BYTES,
    PACKET_BYTES,
    Block,
    Checked,
    Event,
    Said,
    draft_blocks,
    draft_head,
    encode_block,
    encode_head,
    genuine,
    read_block,
    read_head,
    sign,
)
from fairlead.gossip.codec import Malformed, Reader
from fairlead.gossip.identity import Identity
from fairlead.gossip.keyring import OVERHEAD_BYTES

ALICE, BOB = Identity(b"A" * 32), Identity(b"B" * 32)

EVENTS = st.builds(
    Event,
    st.integers(0, 2**64 - 1),
    st.text(max_size=8),
    st.text(max_size=70),
    st.none() | st.binary(max_size=400),
)


@given(st.lists(EVENTS, min_size=1, max_size=60), st.integers(1, 2**40), st.text(max_size=64))
def test_what_is_written_is_read_and_genuine(events: list[Event], first: int, scope: str) -> None:
    blocks = write_blocks(ALICE, scope, 3, first, events)
    checked, number, said = Checked(), first, list[Event]()
    for block in blocks:
        data = encode_block(block)
        reader = Reader(data)
        assert read_block(reader) == block
        reader.end()
        assert genuine(block, ALICE.public_key, checked)
        assert not genuine(block, BOB.public_key, checked)
        assert block.first == number
        assert len(block.events) == 1 or len(data) <= BLOCK_BYTES + 300
        number = block.last + 1
        said += block.events
    assert said == events


@pytest.mark.parametrize("key", ["", "ab", "AB", "abc", "0" * 64, "0" * 254, "0" * 255, "é", "deadbeef/", "zz"])
@pytest.mark.parametrize("value", [None, b"", b"v"])
def test_keys_of_all_kinds_come_back(key: str, value: bytes | None) -> None:
    (block,) = write_blocks(ALICE, "n", 1, 1, [Event(7, "t", key, value)])
    assert read_block(Reader(encode_block(block))) == block


def test_an_id_takes_half_as_many_bytes_as_it_has_digits() -> None:
    (digits,), (letters,) = (write_blocks(ALICE, "n", 1, 1, [Event(7, "t", key * 64, b"v")]) for key in "az")
    assert len(letters.body) - len(digits.body) == 32


def test_blocks_are_filled() -> None:
    entries = [Event(number, "endpoint_table", f"{number:064x}", bytes(115)) for number in range(1000)]
    blocks = write_blocks(ALICE, "n" * 64, 1, 1, entries)
    assert len(blocks) == 167  # six in each
    assert max(len(encode_block(block)) for block in blocks) + OVERHEAD_BYTES + 8 <= PACKET_BYTES


@pytest.mark.parametrize("count", range(1, 20))
def test_every_place_in_a_batch_is_proved(count: int) -> None:
    blocks = write_blocks(ALICE, "", 1, 1, [Event(1, "t", str(number), bytes(BLOCK_BYTES)) for number in range(count)])
    assert len(blocks) == count
    assert all(genuine(block, ALICE.public_key, Checked()) for block in blocks)


@given(st.integers(0, 10_000), st.integers(1, 255), st.integers(0, 12))
def test_no_byte_of_a_block_can_be_changed(at: int, change: int, which: int) -> None:
    blocks = write_blocks(ALICE, "", 1, 1, [Event(1, "t", str(number), bytes(BLOCK_BYTES)) for number in range(13)])
    data = bytearray(encode_block(blocks[which]))
    data[at % len(data)] ^= change
    try:
        forged = read_block(Reader(bytes(data)))
    except Malformed:
        return
    assert not genuine(forged, ALICE.public_key, Checked())


def test_a_proof_of_another_block_proves_nothing() -> None:
    one, two = write_blocks(ALICE, "", 1, 1, [Event(1, "t", "k", bytes(BLOCK_BYTES)) for _ in range(2)])
    swapped = Block(one.owner, one.scope, one.epoch, one.first, one.events, one.body, two.proof)
    assert not genuine(swapped, ALICE.public_key, Checked())


def test_what_is_said_at_one_time_is_checked_once() -> None:
    drafts: list[Said] = [
        *draft_blocks(ALICE.id, "", 1, 1, [Event(1, "t", "k", b"v")]),
        *draft_blocks(ALICE.id, "net", 1, 1, [Event(1, "t", "k", b"v")]),
        draft_head(ALICE.id, "net", 1, 1, [(1, 1)], complete=True),
    ]
    asked = []

    def verify(public_key: bytes, signature: bytes, message: bytes) -> bool:
        asked.append(message)
        return ALICE.verified(public_key, signature, message)

    checked = Checked(verify)
    assert all(genuine(said, ALICE.public_key, checked) for said in sign(ALICE, drafts))
    assert len(asked) == 1


def test_a_head_is_no_block_and_a_block_no_head() -> None:
    (block,) = write_blocks(ALICE, "net", 1, 1, [Event(1, "t", "k", b"v")])
    head = write_head(ALICE, "net", 1, 1, [(1, 1)], complete=True)
    assert not genuine(replace(head, body=block.body, proof=block.proof), ALICE.public_key, Checked())
    assert not genuine(replace(block, body=head.body, proof=head.proof), ALICE.public_key, Checked())


@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for read in (read_block, read_head):
        try:
            read(Reader(data))
        except Malformed:
            continue


SPANS = st.lists(st.tuples(st.integers(2, 50), st.integers(0, 50)), max_size=30)


@given(SPANS, st.booleans())
def test_heads(steps: list[tuple[int, int]], complete: bool) -> None:  # hypothesis gives it by place
    spans, last = list[tuple[int, int]](), 0
    for gap, length in steps:
        spans.append((last + gap, last + gap + length))
        last = spans[-1][1]
    head = write_head(ALICE, "net", 2, last + 1, spans, complete=complete)
    assert read_head(Reader(encode_head(head))) == head
    assert genuine(head, ALICE.public_key, Checked())
    assert not genuine(head, BOB.public_key, Checked())


def test_a_head_cannot_claim_more_than_was_said() -> None:
    head = write_head(ALICE, "net", 2, 5, [(1, 6)], complete=True)
    with pytest.raises(Malformed):
        read_head(Reader(encode_head(head)))
