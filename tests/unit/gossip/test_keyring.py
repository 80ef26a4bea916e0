"""Sealing, key rotation and replay."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.gossip.identity import Identity, NodeId, node_id, verified
from fairlead.gossip.keyring import (
    EPOCH_MAX,
    KEYS_MAX,
    OVERHEAD_BYTES,
    Keyring,
    Opened,
    Sealer,
    Window,
    key_id,
    name_of,
    short,
)
from fairlead.gossip.keyring import (
    unseal as unseal_at,
)
from fairlead.model.errors import Conflict, Invalid, NotFound

KEY, NEXT = bytes(range(32)), bytes(range(32, 64))
ALICE, BOB = NodeId(b"a" * 16), NodeId(b"b" * 16)


def unseal(ring: Keyring, packet: bytes) -> Opened | None:
    return unseal_at(ring, packet, short(BOB))


@given(st.binary(max_size=2000), st.integers(0, EPOCH_MAX))
def test_what_is_sealed_is_opened_by_every_holder_of_the_key(payload: bytes, epoch: int) -> None:
    packet = Sealer(ALICE, epoch, Keyring(KEY)).seal(payload)
    assert len(packet) == len(payload) + OVERHEAD_BYTES - 5
    opened = unseal(Keyring(KEY), packet)
    assert opened is not None
    assert (opened.sender, opened.epoch, opened.counter, opened.payload) == (short(ALICE), epoch, 1, payload)


@given(st.binary(max_size=200))
def test_bytes_that_nobody_sealed_are_nothing(packet: bytes) -> None:
    assert unseal(Keyring(KEY), packet) is None


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_no_byte_can_be_changed(at: int, change: int) -> None:
    packet = bytearray(Sealer(ALICE, 7, Keyring(KEY)).seal(b"the address of db"))
    packet[at % len(packet)] ^= change
    assert unseal(Keyring(KEY), bytes(packet)) is None


def test_the_same_words_look_different_by_sender_epoch_and_each_time() -> None:
    ring = Keyring(KEY)
    first = Sealer(ALICE, 1, ring)
    packets = [first.seal(b"x" * 50), first.seal(b"x" * 50), Sealer(ALICE, 2, ring).seal(b"x" * 50)]
    packets.append(Sealer(BOB, 1, ring).seal(b"x" * 50))
    assert len({packet[-66:-16] for packet in packets}) == 4


def test_a_direct_packet_opens_at_the_one_it_is_for() -> None:
    packet = Sealer(ALICE, 7, Keyring(KEY)).seal(b"are you there", short(BOB))
    opened = unseal(Keyring(KEY), packet)
    assert opened is not None
    assert opened.direct
    assert unseal_at(Keyring(KEY), packet, short(ALICE)) is None


def test_a_counter_has_the_bytes_it_needs() -> None:
    sealer, ring, names = Sealer(ALICE, 7, Keyring(KEY)), Keyring(KEY), set()
    for number in range(1, 70_000):
        packet = sealer.seal(b"")
        names.add(name_of(packet))
        if number in {1, 255, 256, 65535, 65536}:
            opened = unseal(ring, packet)
            assert opened is not None
            assert opened.counter == number
    assert len(names) == 69_999


def test_rotation_loses_no_packet_whoever_is_behind() -> None:
    ahead, behind = Keyring(KEY), Keyring(KEY)
    assert ahead.install(NEXT) == key_id(NEXT)
    behind.install(NEXT)
    ahead.use(key_id(NEXT))
    for ring, other in ((ahead, behind), (behind, ahead)):
        assert unseal(other, Sealer(ALICE, 1, ring).seal(b"hello")) is not None
    behind.use(key_id(NEXT))
    ahead.remove(key_id(KEY))
    assert ahead.ids == (key_id(NEXT),)
    assert unseal(ahead, Sealer(BOB, 1, behind).seal(b"hello")) is not None
    assert unseal(ahead, Sealer(BOB, 1, Keyring(KEY)).seal(b"hello")) is None


def test_a_removed_key_opens_nothing_even_if_it_just_did() -> None:
    ring = Keyring(KEY)
    ring.install(NEXT)
    packet = Sealer(BOB, 1, Keyring(KEY)).seal(b"hello")
    assert unseal(ring, packet) is not None
    ring.use(key_id(NEXT))
    ring.remove(key_id(KEY))
    assert unseal(ring, packet) is None


def test_the_ring_refuses_what_would_break_it() -> None:
    ring = Keyring(KEY)
    with pytest.raises(Invalid):
        ring.install(b"short")
    with pytest.raises(NotFound):
        ring.use(key_id(NEXT))
    with pytest.raises(Conflict):
        ring.remove(key_id(KEY))
    for number in range(KEYS_MAX - 1):
        ring.install(bytes([number]) * 32)
    with pytest.raises(Conflict):
        ring.install(NEXT)
    assert KEY.hex() not in repr(ring)


@given(st.lists(st.integers(1, 9000), max_size=300))
def test_a_window_takes_each_counter_once_and_none_that_is_too_old(counters: list[int]) -> None:
    window, taken, newest = Window(), set[int](), 0
    for counter in counters:
        expected = counter not in taken and counter > newest - 4096
        assert window.fresh(counter) is expected
        taken.add(counter)
        newest = max(newest, counter)


def test_a_signature_is_its_owners() -> None:
    alice, bob = Identity(b"A" * 32), Identity(b"B" * 32)
    assert alice.id == node_id(alice.public_key) != bob.id
    signature = alice.sign(b"words")
    assert verified(alice.public_key, signature, b"words")
    assert not verified(alice.public_key, signature, b"other words")
    assert not verified(bob.public_key, signature, b"words")
    assert not verified(b"no key", signature, b"words")
    assert not verified(alice.public_key, b"no signature", b"words")
    assert (b"A" * 32).hex() not in repr(alice)
