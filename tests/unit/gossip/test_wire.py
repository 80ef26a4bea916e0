"""Messages as bytes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.gossip.village import write_blocks, write_head

from fairlead.gossip.blocks import PACKET_BYTES, Event, draft_blocks, draft_head, sign
from fairlead.gossip.identity import Address, Identity, NodeId
from fairlead.gossip.keyring import OVERHEAD_BYTES
from fairlead.gossip.log import Version
from fairlead.gossip.members import Opinion, write_card
from fairlead.gossip.messages import (
    Ack,
    Back,
    Branches,
    Delta,
    Digest,
    Done,
    Flood,
    Follow,
    Followed,
    Got,
    Have,
    Join,
    Message,
    Miss,
    Ping,
    Seek,
    Sought,
    Spread,
    State,
    Sync,
    Ticket,
    Try,
    Vector,
    Want,
    Who,
)
from fairlead.gossip.spread import ITEMS_BYTES
from fairlead.gossip.wire import decode, encode, encode_item, filled, portions

ALICE, BOB = Identity(b"A" * 32), Identity(b"B" * 32)
CARD = write_card(ALICE, 3, 4, Address("10.0.0.1", 7946), b"word")
BLOCK = write_blocks(ALICE, "net", 3, 1, [Event(1, "t", "k", b"v"), Event(2, "t", "k", None)])[0]
HEAD = write_head(ALICE, "net", 3, 9, [(1, 2), (4, 9)], complete=True)
OPINION = Opinion(ALICE.id, 3, 4, 5)
VERSIONS = {"": {ALICE.id: Version(3, 4, 5)}, "net": {ALICE.id: Version(), NodeId(b"b" * 16): Version(1, 2**40, 3)}}
VECTOR = Vector((OPINION, OPINION), VERSIONS, members=True, ask=False)
ITEMS = (CARD, OPINION, replace(OPINION, suspect=True), BLOCK, HEAD)

MESSAGES: list[Message] = [
    Ping(7, 2**64 - 1),
    Ping(65535, 0, OPINION),
    Ack(7, None),
    Ack(7, 0),
    Seek(1, ALICE.id),
    Sought(1, reached=True),
    Spread(ITEMS),
    Spread((), lossy=True, seen=True),
    Delta(ITEMS),
    Have(VERSIONS, ask=True),
    Want((ALICE.id,), VERSIONS),
    Miss(ALICE.id, "net", 3, ((1, 2), (9, 9))),
    Digest(2**64 - 1, {"": 1, "net": 0}),
    Branches((1,), tuple(range(16)), {}),
    Branches((16, 31), None, {"": tuple(range(32)), "net": (2**64 - 1,) * 32}),
    VECTOR,
    replace(VECTOR, branches=(16, 300, 511)),
    Ticket(2**40),
    Back(0),
    Got((b"x" * 18, b"")),
    Follow("net", 3, 2**40),
    Followed("", 1, 0),
    Who(),
    Join(CARD),
    Join(CARD, (BLOCK, HEAD)),
    Sync(VECTOR),
    State(ITEMS, more=True),
    Flood((b"one", b"two" * 900)),
    Try(),
    Done(),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_messages_are_read_as_written(message: Message) -> None:
    assert decode(encode(message)) == message


@given(st.binary(max_size=300))
def test_any_bytes_are_a_message_or_none(data: bytes) -> None:
    decode(data)


@settings(max_examples=400)
@given(st.sampled_from(MESSAGES), st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), max_size=4), st.data())
def test_any_damage_to_a_message_is_survived(
    message: Message, changes: list[tuple[int, int]], data: st.DataObject
) -> None:
    written = bytearray(encode(message))
    for at, value in changes:
        written[at % len(written)] = value
    cut = data.draw(st.integers(0, len(written)))
    decode(bytes(written[:cut]))
    decode(bytes(written))


@pytest.mark.parametrize("kind", range(256))
def test_what_claims_to_hold_more_than_it_has_is_none(kind: int) -> None:
    assert decode(bytes((kind,)) + b"\xff" * 9 + b"\x01" + b"\xff" * 9) is None


def test_an_idle_probe_has_the_bytes_that_the_budget_gives() -> None:
    ping, same = encode(Ping(7, 2**63)), encode(Ack(7, None))
    headers, tag, counter = 17 + 28, 16, 3
    both = len(ping) + len(same) + 2 * (headers + tag + counter)
    assert 2 * both <= 300, "two probes a second, each asked and answered"


def test_a_signature_under_several_items_is_said_once() -> None:
    drafts = draft_blocks(ALICE.id, "net", 1, 1, [Event(n, "t", f"{n:064x}", b"v" * 115) for n in range(1, 100)])
    said = sign(ALICE, [*drafts, draft_head(ALICE.id, "", 1, 0, (), complete=True)])
    others = write_blocks(BOB, "net", 1, 1, [Event(1, "t", "k", b"v")])
    items = (*said[:3], *others, *said[3:], Opinion(BOB.id, 1, 0, 2))
    data = encode(Delta(items))
    assert decode(data) == Delta(items)
    roots = {item.proof[-64:] for item in (*said, *others)}
    assert len(data) < sum(map(len, map(encode_item, items))) - (len(said) + 1 - len(roots)) * 62
    for at in range(0, len(data), 7):  # whatever is changed, nothing is raised
        decode(data[:at] + bytes((data[at] ^ 0x42,)) + data[at + 1 :])
    again = data.replace(b"\x06\x00", b"\x06\x7f")
    assert again != data
    assert decode(again) is None, "a signature that was not said"


def test_packets_are_filled_and_never_too_large() -> None:
    blocks = write_blocks(ALICE, "n" * 64, 1, 1, [Event(n, "t", f"{n:064x}", b"v" * 115) for n in range(1, 101)])
    assert len(blocks) == 17
    assert all(len(encode(Spread((block,)))) + OVERHEAD_BYTES <= PACKET_BYTES for block in blocks)
    opinions = [Opinion(ALICE.id, 1, 1, level) for level in range(500)]
    groups = list(filled(opinions, ITEMS_BYTES))
    assert [opinion for group in groups for opinion in group] == opinions
    assert all(len(encode(Spread(group))) + OVERHEAD_BYTES <= PACKET_BYTES for group in groups)
    assert all(sum(map(len, map(encode_item, group))) > ITEMS_BYTES - 30 for group in groups[:-1])


def test_versions_are_cut_into_portions_without_loss() -> None:
    parts = list(portions(VERSIONS, 2))
    assert [sum(map(len, part.values())) for part in parts] == [2, 1]
    assert {(s, o, v) for part in parts for s, owners in part.items() for o, v in owners.items()} == {
        (s, o, v) for s, owners in VERSIONS.items() for o, v in owners.items()
    }
