"""Cards, and what is believed of those who signed them."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.gossip.codec import Malformed, Reader
from fairlead.gossip.identity import Address, Identity
from fairlead.gossip.members import (
    Card,
    Members,
    Opinion,
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
    st.ip_addresses().filter(lambda host: not host.is_multicast and not host.is_unspecified),
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


def said(level: int, epoch: int = 1, incarnation: int = 0) -> Opinion:
    return Opinion(BOB.id, epoch, incarnation, level)


def test_an_accusation_is_refuted_by_a_higher_incarnation() -> None:
    members = met(card(BOB))
    assert members.judge(said(1))
    assert members.meet(card(BOB)) is None
    assert standing(members) == Standing.DEAD
    assert members.meet(card(BOB, incarnation=1))
    assert standing(members) == Standing.ALIVE
    assert members.judge(said(9)) is None, "about a card of the past"


def test_the_greater_level_of_the_same_card_counts() -> None:
    members = met(card(BOB))
    assert members.judge(said(1))
    assert members.judge(said(1)) is None
    assert standing(members) == Standing.DEAD
    assert members.judge(said(2))
    assert standing(members) == Standing.ALIVE
    assert members.judge(said(1)) is None


def test_who_starts_again_is_the_same_node_at_once() -> None:
    members = met(card(BOB, epoch=1, incarnation=7))
    members.judge(said(1, 1, 7))
    members.meet(card(BOB, epoch=2))
    assert standing(members) == Standing.ALIVE
    assert len(members) == 2


def test_what_is_seen_counts_more_than_what_is_heard() -> None:
    members = met(card(BOB))
    members.judge(said(1))
    seen = members.see(BOB.id)
    assert seen is not None
    assert seen.level == 2
    assert standing(members) == Standing.ALIVE
    assert members.see(BOB.id) is None
    contradicted = members.see(BOB.id, level=5)
    assert contradicted is not None
    assert contradicted.level == 6


def test_a_suspicion_is_nobodys_business_until_it_is_sure() -> None:
    members = met(card(BOB))
    before = members.sums.total
    members.suspect(BOB.id)
    assert standing(members) == Standing.SUSPECT
    assert members.sums.total == before
    assert list(members.lost) == []
    assert members.lose(BOB.id)
    assert list(members.lost) == [BOB.id]
    assert members.lose(BOB.id) is None
    assert members.sums.total != before


def test_a_farewell_is_final_until_the_next_card() -> None:
    members = met(card(BOB), card(BOB, incarnation=1, left=True))
    assert standing(members) == Standing.LEFT
    assert members.ring == [ALICE.id]
    assert members.see(BOB.id) is None
    assert members.judge(said(9, 1, 1)) is None
    assert members.meet(card(BOB, epoch=2))
    assert standing(members) == Standing.ALIVE


def test_who_is_removed_is_forgotten_until_its_next_life() -> None:
    members = met(card(BOB))
    empty = met().sums.total
    assert members.remove(BOB.id, 1)
    assert members.sums.total == empty
    assert members.ring == [ALICE.id]
    assert members.at(HERE) is None or members.at(HERE) == members.get(ALICE.id)
    assert members.meet(card(BOB, incarnation=9)) is None
    assert members.meet(card(BOB, epoch=2))


@given(st.integers(0, 2**32))
def test_the_same_news_in_any_order_ends_in_the_same_belief_and_sum(seed: int) -> None:
    chance = random.Random(seed)
    news: list[Card | Opinion] = []
    for epoch in (1, 2):
        for incarnation in range(3):
            news.append(card(BOB, epoch, incarnation, left=(epoch, incarnation) == (1, 2)))
            news.append(said(chance.randrange(5), epoch, incarnation))
    sums, standings = set(), set()
    for _ in range(3):
        chance.shuffle(news)
        members = met(card(BOB, 1, 0))
        for item in (*news, *(item for item in news if isinstance(item, Opinion))):
            if isinstance(item, Card):
                members.meet(item)
            else:
                members.judge(item)
        sums.add(members.sums.total)
        standings.add(standing(members))
    assert len(sums) == len(standings) == 1


@pytest.mark.parametrize("host", ["0.0.0.0", "224.0.0.1", "::", "ff02::1"])
def test_nobody_can_have_all_probe_an_address_that_is_many_or_none(host: str) -> None:
    card = write_card(BOB, 1, 0, Address(host, 7946))
    with pytest.raises(Malformed):
        read_card(Reader(encode_card(card)))
