"""Cards, and what is believed of those who signed them."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from fairlead.gossip.codec import Malformed, Reader
from fairlead.gossip.identity import Address, Identity
from fairlead.gossip.members import (
    Card,
    Members,
    Standing,
    encode_card,
    genuine_card,
    read_card,
    write_card,
)

ALICE, BOB = Identity(b"A" * 32), Identity(b"B" * 32)
HERE = Address("10.0.0.1", 7946)


def card(identity: Identity, epoch: int = 1, incarnation: int = 0, *, left: bool = False) -> Card:
    return write_card(identity, epoch, incarnation, HERE, left=left)


def met(*cards: Card) -> Members:
    members = Members(card(ALICE))
    for one in cards:
        members.meet(one)
    return members


def standing(members: Members) -> Standing | None:
    member = members.get(BOB.id)
    return member.standing if member else None


@given(
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
    st.ip_addresses(),
    st.integers(1, 65535),
    st.binary(max_size=512),
    st.booleans(),
)
def test_a_card_is_read_as_written(
    epoch: int,
    incarnation: int,
    host: object,
    port: int,
    metadata: bytes,
    left: bool,
) -> None:
    written = write_card(ALICE, epoch, incarnation, Address(str(host), port), metadata, left=left)
    assert read_card(Reader(encode_card(written))) == written
    assert genuine_card(written)


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_no_byte_of_a_card_can_be_changed(at: int, change: int) -> None:
    data = bytearray(encode_card(card(ALICE)))
    data[at % len(data)] ^= change
    try:
        forged = read_card(Reader(bytes(data)))
    except Malformed:
        return
    assert not genuine_card(forged)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_card_or_refused(data: bytes) -> None:
    try:
        read_card(Reader(data))
    except Malformed:
        return


def test_a_suspicion_is_refuted_by_a_higher_incarnation_only() -> None:
    members = met(card(BOB))
    assert members.judge(BOB.id, (1, 0), Standing.SUSPECT)
    assert members.meet(card(BOB)) is None
    assert standing(members) == Standing.SUSPECT
    assert members.meet(card(BOB, incarnation=1))
    assert standing(members) == Standing.ALIVE
    assert members.judge(BOB.id, (1, 0), Standing.DEAD) is None, "about a card of the past"


def test_the_worse_opinion_of_the_same_card_counts() -> None:
    members = met(card(BOB))
    assert members.judge(BOB.id, (1, 0), Standing.DEAD)
    assert members.judge(BOB.id, (1, 0), Standing.SUSPECT) is None
    assert standing(members) == Standing.DEAD


def test_who_starts_again_is_the_same_node_at_once() -> None:
    members = met(card(BOB, epoch=1, incarnation=7))
    members.judge(BOB.id, (1, 7), Standing.DEAD)
    members.meet(card(BOB, epoch=2))
    assert standing(members) == Standing.ALIVE
    assert len(members) == 2


def test_what_is_seen_counts_more_than_what_is_heard() -> None:
    members = met(card(BOB))
    members.judge(BOB.id, (1, 0), Standing.DEAD)
    assert members.see(BOB.id)
    assert standing(members) == Standing.ALIVE
    assert members.see(BOB.id) is None


def test_a_farewell_is_final_until_the_next_card() -> None:
    members = met(card(BOB), card(BOB, incarnation=1, left=True))
    assert standing(members) == Standing.LEFT
    assert members.see(BOB.id) is None
    assert members.judge(BOB.id, (9, 9), Standing.DEAD) is None
    assert members.meet(card(BOB, epoch=2))
    assert standing(members) == Standing.ALIVE


@given(st.integers(0, 2**32))
def test_the_same_news_in_any_order_ends_in_the_same_belief_and_sum(seed: int) -> None:
    chance = random.Random(seed)
    news: list[Card | tuple[tuple[int, int], Standing]] = []
    for epoch in (1, 2):
        for incarnation in range(3):
            news.append(card(BOB, epoch, incarnation, left=(epoch, incarnation) == (1, 2)))
            news.append(((epoch, incarnation), Standing.DEAD if incarnation < 2 else Standing.SUSPECT))
    sums, standings = set(), set()
    for _ in range(3):
        chance.shuffle(news)
        members = met(card(BOB, 1, 0))
        for item in (*news, *(item for item in news if isinstance(item, tuple))):
            if isinstance(item, Card):
                members.meet(item)
            else:
                members.judge(BOB.id, *item)
        sums.add(members.sum)
        standings.add(standing(members))
    assert len(sums) == len(standings) == 1
