"""Pacing, streams and sending again."""

from __future__ import annotations

from collections import Counter

from tests.unit.gossip.village import KEY, address_of

from fairlead.gossip.blocks import PACKET_BYTES
from fairlead.gossip.contract import Datagram, Request
from fairlead.gossip.identity import Identity
from fairlead.gossip.keyring import Keyring, Sealer, name_of, short, unseal
from fairlead.gossip.links import (
    AGAIN_MAX,
    AGAIN_TWICE,
    FLIGHT,
    FLIGHTS_MAX,
    LATE_S_MAX,
    QUEUED_BYTES_MAX,
    QUEUED_MAX,
    STREAM_AT,
    Links,
)
from fairlead.gossip.members import Members, write_card
from fairlead.gossip.messages import Done, Flood, Got, Ticket
from fairlead.gossip.outbox import Outbox
from fairlead.gossip.wire import decode, encode

ALICE, BOB = Identity(b"A" * 32), Identity(b"B" * 32)


class Bench:
    """Alice's links, with what they send to Bob read as he would."""

    def __init__(self) -> None:
        self.members = Members(write_card(ALICE, 1, 0, address_of(0)))
        self.members.meet(write_card(BOB, 1, 0, address_of(1)))
        self.counters: Counter[str] = Counter()
        self.losses: list[float] = []
        self.outbox = Outbox(ALICE.id, 1, Keyring(KEY), self.counters)
        self.links = Links(self.members, self.outbox, self.counters, lambda _: 0.001, self.losses.append)
        self.bob = Sealer(BOB.id, 1, Keyring(KEY))

    def packet(self, size: int = 100) -> bytes:
        return Sealer(ALICE.id, 1, Keyring(KEY)).seal(bytes(size))

    def push(self, count: int, *, confirm: bool = False, size: int = 100) -> None:
        sealer = Sealer(ALICE.id, 2, Keyring(KEY))
        for _ in range(count):
            self.links.push(BOB.id, sealer.seal(bytes(size)), 0.0, confirm=confirm)

    def sent(self) -> tuple[int, list[int], list[Request]]:
        """Plain packets, numbers of tickets, and requests since the last call."""
        plain, tickets, requests = 0, [], []
        for wish in self.outbox.taken():
            if isinstance(wish, Request):
                requests.append(wish)
            elif isinstance(wish, Datagram):
                opened = unseal(Keyring(KEY), wish.data, short(BOB.id))
                message = decode(opened.payload) if opened else None
                if isinstance(message, Ticket):
                    tickets.append(message.number)
                else:
                    plain += 1
        return plain, tickets, requests


def test_a_few_packets_go_at_once_and_more_wait_for_the_ticket() -> None:
    bench = Bench()
    bench.push(FLIGHT - 1)
    assert bench.sent() == (FLIGHT - 1, [], [])
    bench.push(30)
    assert bench.sent() == (FLIGHT * FLIGHTS_MAX - FLIGHT + 1, [1, 2], [])
    assert bench.links.queued == FLIGHT - 1 + 30 - FLIGHT * FLIGHTS_MAX
    bench.links.back(BOB.id, 1, 0.01)
    assert bench.sent()[0] == FLIGHT - 1 + 30 - FLIGHT * FLIGHTS_MAX
    assert bench.links.queued == 0


def test_a_ticket_that_never_comes_back_stops_nothing_for_long() -> None:
    bench = Bench()
    bench.push(50)
    bench.sent()
    deadline = bench.links.deadline()
    assert deadline is not None
    bench.links.tick(deadline)
    assert bench.sent()[0] == 50 - FLIGHT * FLIGHTS_MAX


def test_a_long_queue_goes_by_stream_and_goes_on_when_it_is_answered() -> None:
    bench = Bench()
    bench.push(FLIGHT * FLIGHTS_MAX + STREAM_AT + 1)
    _, _, requests = bench.sent()
    assert len(requests) == 1
    opened = unseal(Keyring(KEY), requests[0].data, short(BOB.id))
    assert opened is not None
    flood = decode(opened.payload)
    assert isinstance(flood, Flood)
    assert len(flood.packets) == STREAM_AT + 1
    bench.push(5)
    assert bench.sent() == (0, [], []), "in order"
    bench.links.back(BOB.id, 2, 0.1)
    bench.outbox.answered(requests[0].id, bench.bob.seal(encode(Done()), short(ALICE.id)), 0.1)
    assert bench.sent()[0] == 5


def test_what_fits_no_datagram_goes_by_stream() -> None:
    bench = Bench()
    bench.push(1, size=PACKET_BYTES)
    plain, _, requests = bench.sent()
    assert (plain, len(requests)) == (0, 1)


def test_a_stream_that_fails_is_a_loss_and_the_rest_goes_on() -> None:
    bench = Bench()
    bench.push(1, size=PACKET_BYTES)
    _, _, (request,) = bench.sent()
    bench.push(3)
    bench.outbox.answered(request.id, None, 2.0)
    assert bench.sent()[0] == 3
    assert bench.losses == [2.0]
    assert bench.counters["floods_lost"] == 1


def test_what_is_not_confirmed_is_sent_again_and_not_for_ever() -> None:
    bench = Bench()
    bench.push(1, confirm=True)
    bench.sent()
    times = []
    while (deadline := bench.links.deadline()) is not None:
        bench.links.tick(deadline)
        times.append(bench.sent()[0])
    assert times == [1] * (AGAIN_TWICE - 1) + [2] * (AGAIN_MAX - AGAIN_TWICE + 1) + [0], "twice when that was lost, too"
    assert not bench.losses, "it may be slow"


def test_how_long_is_waited_is_what_a_neighbour_usually_takes() -> None:
    bench = Bench()

    def waits(took: float) -> float:
        packet = bench.packet()
        bench.links.push(BOB.id, packet, 0.0, confirm=True)
        deadline = bench.links.deadline()
        assert deadline is not None
        bench.links.got(BOB.id, [name_of(packet)], took)
        bench.links.tick(deadline)
        return deadline

    quick = [waits(0.001) for _ in range(20)]
    assert quick[-1] < quick[0], "it is known to be quick"
    slow = [waits(0.1) for _ in range(20)][-1]
    assert slow > 0.1
    assert bench.counters["packets_again"] == 0


def test_what_is_confirmed_is_not_sent_again_and_what_was_sent_in_vain_teaches_patience() -> None:
    bench = Bench()
    packet = bench.packet()
    bench.links.push(BOB.id, packet, 0.0, confirm=True)
    first = bench.links.deadline()
    assert first is not None
    bench.links.tick(first)
    for _ in range(2):  # both have come
        bench.links.got(BOB.id, [name_of(packet)], 0.1)
    assert bench.counters["packets_again_in_vain"] == 1
    bench.sent()
    while (deadline := bench.links.deadline()) is not None:
        bench.links.tick(deadline)
    assert bench.sent()[0] == 0
    bench.push(1, confirm=True)
    second = bench.links.deadline()
    assert second is not None
    assert second > first


def test_who_is_late_itself_waits_once_more_before_it_sends_again() -> None:
    bench = Bench()
    bench.push(1, confirm=True)
    bench.sent()
    due = bench.links.deadline()
    assert due is not None
    bench.links.tick(due + 0.1)
    assert bench.sent()[0] == 0
    again = bench.links.deadline()
    assert again is not None
    assert due + 0.1 < again <= due + 0.1 + LATE_S_MAX
    bench.links.tick(again + 0.1)
    assert bench.sent()[0] == 1


def test_what_all_take_is_expected_of_one_that_is_not_known_yet() -> None:
    bench = Bench()
    carol = Identity(b"C" * 32)
    bench.members.meet(write_card(carol, 1, 0, address_of(2)))
    for _ in range(20):
        packet = bench.packet()
        bench.links.push(BOB.id, packet, 0.0, confirm=True)
        bench.links.got(BOB.id, [name_of(packet)], 0.3)
    while (deadline := bench.links.deadline()) is not None:
        bench.links.tick(deadline)
    bench.links.push(carol.id, bench.packet(), 0.0, confirm=True)
    expected = bench.links.deadline()
    assert expected is not None
    assert expected > 0.3


def test_what_comes_from_a_stranger_is_confirmed_to_its_address() -> None:
    bench = Bench()
    bench.links.confirm(address_of(7), b"name")
    bench.links.flush()
    (wish,) = bench.outbox.taken()
    assert isinstance(wish, Datagram)
    assert wish.to == address_of(7)
    opened = unseal(Keyring(KEY), wish.data, short(BOB.id))
    assert opened is not None
    assert decode(opened.payload) == Got((b"name",))


def test_confirmations_are_gathered() -> None:
    bench = Bench()
    for number in range(3):
        bench.links.confirm(BOB.id, b"%d" % number)
    bench.links.flush()
    (wish,) = bench.outbox.taken()
    assert isinstance(wish, Datagram)
    opened = unseal(Keyring(KEY), wish.data, short(BOB.id))
    assert opened is not None
    assert decode(opened.payload) == Got((b"0", b"1", b"2"))


def test_queues_are_bounded_and_end_with_their_neighbour() -> None:
    bench = Bench()
    bench.push(FLIGHT * FLIGHTS_MAX + STREAM_AT + 1)
    bench.links.queued += QUEUED_MAX
    bench.push(1)
    assert bench.counters["queue_dropped"] == 1
    bench.links.queued -= QUEUED_MAX
    bench.push(7)
    bench.links.drop(BOB.id)
    assert bench.links.queued == 0


def test_large_packets_that_wait_are_bounded_by_their_bytes() -> None:
    """A value may have 64 KiB: so many of them as there may be packets would be 4 GiB."""
    bench = Bench()
    for _ in range(2000):
        bench.links.push(BOB.id, bytes(60_000), 0.0)
    assert QUEUED_BYTES_MAX - 60_000 < bench.links.queued_bytes <= QUEUED_BYTES_MAX
    bench.links.drop(BOB.id)
    assert bench.links.queued == bench.links.queued_bytes == 0
