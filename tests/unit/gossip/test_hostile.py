"""Bytes from strangers, and from members who lie."""

from __future__ import annotations

from random import Random
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fuzz.hostile import Attacker, Victims, buffers_of, overgrown
from tests.unit.gossip.test_wire import MESSAGES
from tests.unit.gossip.village import KEY, NET, Village, address_of, identity_of

from fairlead.gossip.contract import Datagram, MemberDown, RecordChanged
from fairlead.gossip.frames import FrameReader
from fairlead.gossip.guard import JUNK_BYTES_PER_S
from fairlead.gossip.identity import Address
from fairlead.gossip.keyring import Keyring, Sealer, short, unseal
from fairlead.gossip.log import Version
from fairlead.gossip.members import Opinion, Standing
from fairlead.gossip.messages import Ack, Have, Message, Miss, Ping, Seek, Spread, Vector, Want
from fairlead.gossip.views import decode_verdict, encode_verdict
from fairlead.gossip.wire import decode, encode

ELSEWHERE = Address("192.0.2.1", 1234)


def test_a_flood_of_junk_changes_nothing_and_grows_nothing() -> None:
    village = Village(3)
    village.attach()
    village.settled()
    village.put(1, "k", "v")
    village.run(2.0)
    node, chance = village.nodes[0], Random(7)
    before = node.snapshot()
    sealed = Sealer(village.id(1), 1, Keyring(KEY)).seal(b"\x07\0" + b"x" * 100)
    for number in range(20_000):
        data = chance.randbytes(chance.randrange(1500))
        if number % 3 == 0:
            damaged = bytearray(sealed)
            damaged[chance.randrange(len(damaged))] ^= 1 + chance.randrange(255)
            data = bytes(damaged)
        source = Address(f"192.0.{number % 200}.{number % 250}", 1 + number % 60000)
        node.receive(data, source, village.now)
        assert node.serve(data, source, village.now) == b""
    assert node.outgoing(village.now) == []
    assert node.events() == []
    after = node.snapshot()
    assert after.versions == before.versions
    assert after.peers == before.peers
    assert len(node._guard._junk) <= 1024
    assert len(node._outbox.keyring._derived) <= 6
    village.run(5.0)
    assert village.agree()


def test_one_source_of_junk_is_not_looked_at_beyond_its_budget_but_a_member_is_not_silenced() -> None:
    village = Village(2).settled()
    node = village.nodes[0]
    for _ in range(2 * JUNK_BYTES_PER_S // 1000):
        node.receive(b"\x18" + bytes(999), ELSEWHERE, village.now)
        node.receive(b"\x18" + bytes(999), address_of(1), village.now)
    assert node.snapshot().counters["over_budget"] > 0
    village.run(10.0)
    assert village.standing(0, 1) is Standing.ALIVE
    assert not [event for event in village.events[0] if isinstance(event, MemberDown)]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=200) | st.sampled_from([encode(one) for one in MESSAGES]), max_size=25))
def test_whatever_a_member_seals_is_survived(payloads: list[bytes]) -> None:
    village = Village(3)
    village.attach()
    village.settled()
    village.put(2, "k", "v")
    village.run(0.5)
    liar = Sealer(village.id(1), 1, Keyring(KEY))
    liar._counter = 5000  # beyond what it has said until now
    for payload in payloads:
        for to in (None, short(village.id(0))):
            packet = liar.seal(payload, to)
            village.nodes[0].receive(packet, address_of(1), village.now)
            village.nodes[0].serve(liar.seal(payload, to), address_of(1), village.now)
            village.drain(0)
    village.run(1.0)
    assert village.value(0, "k") == "v"
    assert village.value(2, "k") == "v"


def test_a_packet_played_again_counts_once() -> None:
    village = Village(2).settled()
    village.run(2.0)
    ping = village.nodes[1]._outbox.seal(Ping(1, 0), village.nodes[1].members.get(village.id(0)))
    node = village.nodes[0]
    node.receive(ping, address_of(1), village.now)
    answers = len(node.outgoing(village.now))
    assert answers
    node.receive(ping, ELSEWHERE, village.now)
    assert node.outgoing(village.now) == []
    assert node.snapshot().counters["replayed"] == 1


def test_what_is_meant_for_one_node_is_nothing_to_another() -> None:
    village = Village(3).settled()
    for_one = village.nodes[1]._outbox.seal(Ack(1, None), village.nodes[1].members.get(village.id(0)))
    before = village.nodes[2].snapshot().counters.get("unopened", 0)
    village.nodes[2].receive(for_one, address_of(1), village.now)
    village.drain(2)
    assert village.nodes[2].snapshot().counters["unopened"] == before + 1


def test_what_was_said_in_one_network_is_not_believed_in_another() -> None:
    village = Village(3)
    for scope in ("a", "b"):
        village.attach(scope=scope)
    village.run_until(lambda: all(len(node.tables.attached) == 2 for node in village.nodes.values()), 3.0)
    village.put(1, "k", "v", scope="a")
    village.run(0.5)
    assert village.value(0, "k", scope="a") == "v"
    assert village.value(0, "k", scope="b") is None


def test_a_member_who_asks_for_the_moon_gets_what_there_is() -> None:
    village = Village(2)
    village.attach()
    village.settled()
    stranger = village.id(9)
    greedy: list[Message] = [
        Want(
            (stranger,) * 60, {NET: {stranger: Version(), village.id(0): Version(9, 9, 9)}, "?": {stranger: Version()}}
        ),
        Miss(village.id(0), NET, 1, ((1, 2**40),)),
        Have({NET: {stranger: Version(5, 2**40, 3), village.id(0): Version(9, 9, 9)}}, ask=True),
        Seek(1, stranger),
        Vector((Opinion(stranger, 1, 1, 1), Opinion(village.id(0), 1, 0, 7)), {"?": {}}, members=True, ask=True),
        Spread((Opinion(village.id(1), 1, 0, 9),)),
    ]
    for message in greedy:
        packet = village.nodes[1]._outbox.seal(message, village.nodes[1].members.get(village.id(0)))
        village.nodes[0].receive(packet, address_of(1), village.now)
        village.drain(0)
    village.run(3.0)
    assert village.all_see(0, Standing.ALIVE)
    assert village.all_see(1, Standing.ALIVE)


def test_whatever_a_prefix_of_a_message_is_it_is_read_as_it_is_written() -> None:
    assert {type(message) for message in MESSAGES} == set(get_args(Message)), "every kind is among them"
    for message in MESSAGES:
        data = encode(message)
        for cut in range(len(data)):
            _steady(data[:cut])
        for more in (b"\0", b"\xff", data):
            _steady(data + more)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_every_byte_of_a_message_may_be_any_other(message: Message) -> None:
    data = encode(message)
    step = 1 if len(data) < 300 or isinstance(message, Spread) else 5  # the items are the same in all kinds
    for at in range(0, len(data), step):
        changed = bytearray(data)
        for value in range(256):
            changed[at] = value
            _steady(bytes(changed))


def _steady(data: bytes) -> None:
    """What is read of bytes is a message, and what is written of that is no longer and read the same; or nothing."""
    found = decode(data)
    if found is not None:
        again = encode(found)
        assert len(again) <= len(data)
        assert decode(again) == found


def test_no_prefix_and_no_single_changed_byte_of_a_sealed_packet_opens() -> None:
    ring, alice, bob = Keyring(KEY), identity_of(1).id, short(identity_of(2).id)
    for to in (None, bob):
        packet = Sealer(alice, 7, ring).seal(encode(MESSAGES[0]), to)
        assert unseal(ring, packet, bob) is not None
        assert all(unseal(ring, packet[:cut], bob) is None for cut in range(len(packet)))
        for at in range(len(packet)):
            changed = bytearray(packet)
            for value in set(range(256)) - {packet[at]}:
                changed[at] = value
                assert unseal(ring, bytes(changed), bob) is None


@given(st.binary(max_size=120))
def test_a_verdict_is_one_or_none(data: bytes) -> None:
    found = decode_verdict(data)
    assert found is None or decode_verdict(encode_verdict(found)) == found


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=12), st.integers(0, 100))
def test_a_stream_is_a_message_or_an_end_however_it_is_cut(pieces: list[bytes], limit: int) -> None:
    reader, whole = FrameReader(limit), b"".join(pieces)
    length = int.from_bytes(whole[:4], "big") if len(whole) >= 4 else None
    found: bytes | None = None
    try:
        for piece in pieces:
            found = reader.feed(piece)
    except ValueError:
        assert length is not None
        assert length > limit or len(whole) > 4 + length
    else:
        assert reader.held == len(whole)
        assert found == (whole[4:] if length is not None and len(whole) == 4 + length else None)


class Heard(Village):
    """A village whose datagrams are recorded for an attacker."""

    def __init__(self, count: int) -> None:
        self.tape: list[tuple[Address, bytes]] = []
        super().__init__(count)

    def _datagram(self, number: int, wish: Datagram) -> None:
        if len(self.tape) < 4000:
            self.tape.append((wish.to, wish.data))
        super()._datagram(number, wish)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_crowd_of_hostile_datagrams_changes_nothing_while_life_goes_on(seed: int) -> None:
    """A share of what ``./run fuzz gossip`` sends: 70,000 of each seed, at the doors of the cores."""
    village = Heard(4)
    village.attach()
    village.settled()
    for number in range(60):
        village.put(number % 4, f"before{number}", "v")
    village.run(3.0)
    places = range(4)
    victims = Victims(
        [address_of(n) for n in places], [village.id(n) for n in places], [1] * 4, NET, KEY, list(village.tape)
    )
    attacker = Attacker(
        victims, Random(seed), lambda chance: Address(f"192.0.{chance.randrange(256)}.{chance.randrange(256)}", 7)
    )
    for number in range(70_000):
        source, to, data = attacker.datagram()
        village.nodes[village.at[to]].receive(data, source, village.now)
        village.drain(village.at[to])
        if number % 10 == 0:
            village.run(0.002)
        if number % 5_000 == 0:
            key = f"meanwhile{number}"
            village.put(number // 5_000 % 4, key, "v")
            village.run_until(lambda: village.all_have(key, "v"), 10.0)  # noqa: B023 - called at once
            for node in village.nodes.values():
                assert not overgrown(buffers_of(node), 4)
    village.run_until(village.agree, 10.0)
    told = [event for events in village.events.values() for event in events]
    assert not [event for event in told if isinstance(event, MemberDown)]
    assert not [event for event in told if isinstance(event, RecordChanged) and event.after is None]
    assert all(set(node.snapshot().forgers) <= {one.hex() for one in victims.ids} for node in village.nodes.values())
    counters = [node.snapshot().counters for node in village.nodes.values()]
    assert all(one[name] for one in counters for name in ("unopened", "malformed", "replayed", "forged_blocks"))
