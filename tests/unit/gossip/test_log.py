"""A log reaches the same state whatever way its blocks come."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from fairlead.gossip.blocks import Block, Event, Head
from fairlead.gossip.identity import Identity
from fairlead.gossip.log import Log, OwnLog, Version

ALICE = Identity(b"A" * 32)


def own(epoch: int = 1) -> OwnLog:
    return OwnLog(ALICE.id, "net", epoch)


def put(log: OwnLog, key: str, value: str, lamport: int = 0) -> None:
    log.say(Event(lamport, "t", key, value.encode()))


def delete(log: OwnLog, key: str) -> None:
    log.say(Event(0, "t", key, None))


def view(log: Log) -> dict[str, bytes]:
    return {record.key: record.value for record in log.records()}


def big(log: OwnLog, count: int, start: int = 0) -> list[Block]:
    """So many records, one to a block."""
    for number in range(start, start + count):
        log.say(Event(0, "t", f"k{number}", bytes(1100)))
    return log.flush()[0]


def test_put_update_delete_are_seen_with_what_was_before() -> None:
    alice, other = own(), Log(ALICE.id, "net")
    seen = []
    for value in (b"1", b"2", None):
        alice.say(Event(0, "t", "a", value))
        blocks, _ = alice.flush()
        seen += other.offer(None, blocks)
    assert [(c.before and c.before.value, c.after and c.after.value) for c in seen] == [
        (None, b"1"),
        (b"1", b"2"),
        (b"2", None),
    ]
    assert other.version == alice.version == Version(1, 3, 0)


def test_a_delete_of_nothing_is_not_said() -> None:
    alice = own()
    delete(alice, "a")
    assert alice.flush() == ([], [])
    put(alice, "a", "1")
    delete(alice, "a")
    assert alice.flush() == ([], []), "nobody had heard of it"


@given(st.integers(0, 2**32))
def test_any_order_with_losses_and_repetitions_ends_the_same_once_all_has_come(seed: int) -> None:
    chance = random.Random(seed)
    alice, other = own(), Log(ALICE.id, "net")
    blocks: list[Block] = []
    heads: list[Head] = []
    for _ in range(chance.randrange(1, 30)):
        for _ in range(chance.randrange(1, 6)):
            key = f"k{chance.randrange(12)}"
            if chance.random() < 0.4:
                delete(alice, key)
            else:
                alice.say(Event(0, "t", key, chance.randbytes(chance.randrange(800))))
        blocks += alice.flush()[0]
        if chance.random() < 0.3:
            head, _ = alice.sum_up(complete=chance.random() < 0.5)
            heads += [head] if head else []
        if chance.random() < 0.2:
            alice.compact()
            blocks += alice.flush()[0]
    messages: list[Block | Head] = [*blocks, *heads, *chance.choices(blocks, k=len(blocks) // 2)] if blocks else []
    chance.shuffle(messages)
    known: dict[str, bytes] = {}
    for message in messages:
        if chance.random() < 0.3:
            continue
        head, said = (message, ()) if isinstance(message, Head) else (None, (message,))
        for change in other.offer(head, said):
            one = change.after or change.before
            assert one is not None
            assert (change.before.value if change.before else None) == known.get(one.key)
            known.pop(one.key, None)
            if change.after:
                known[one.key] = change.after.value
    assert known == view(other)
    other.offer(*alice.since(other.version))
    assert view(other) == view(alice)
    assert other.version == alice.version or not messages
    assert not other.gap


def test_a_latecomer_needs_only_what_stands() -> None:
    alice = own()
    big(alice, 100)
    for number in range(95):
        delete(alice, f"k{number}")
    alice.flush()
    alice.sum_up(complete=True)
    head, blocks = alice.since(Version())
    assert head is not None
    assert len(blocks) == 5
    late = Log(ALICE.id, "net")
    late.offer(head, blocks)
    assert view(late) == view(alice)
    assert late.version == alice.version


def test_what_was_deleted_while_one_was_away_is_gone_when_it_is_back() -> None:
    alice, other = own(), Log(ALICE.id, "net")
    other.offer(None, big(alice, 10))
    away = other.version
    delete(alice, "k3")
    alice.flush()
    alice.sum_up(complete=True)
    changes = other.offer(*alice.since(away))
    assert [(c.before.key, c.after) for c in changes if c.before] == [("k3", None)]


def test_anybody_who_holds_it_can_pass_it_on() -> None:
    alice, bob, carol = own(), Log(ALICE.id, "net"), Log(ALICE.id, "net")
    big(alice, 20)
    for number in range(0, 20, 3):
        delete(alice, f"k{number}")
    alice.flush()
    alice.sum_up(complete=True)
    big(alice, 3, 50)
    bob.offer(*alice.since(Version()))
    carol.offer(*bob.since(Version()))
    assert view(carol) == view(bob) == view(alice)
    assert carol.version == alice.version


def test_a_restart_shows_what_was_until_it_says_that_it_is_complete() -> None:
    first, other = own(epoch=1), Log(ALICE.id, "net")
    put(first, "stays", "1")
    put(first, "goes", "1")
    other.offer(None, first.flush()[0])
    again = own(epoch=2)
    put(again, "stays", "2")
    changes = other.offer(None, again.flush()[0])
    assert [(c.before and c.before.value, c.after and c.after.value) for c in changes] == [(b"1", b"2")]
    assert view(other) == {"stays": b"2", "goes": b"1"}
    head, _ = again.sum_up(complete=True)
    changes = other.offer(head, ())
    assert [(c.before and c.before.key, c.after) for c in changes] == [("goes", None)]
    assert other.offer(None, first.since(Version())[1]) == [], "the past is over"
    assert view(other) == {"stays": b"2"}


def test_a_restart_with_nothing_to_say_ends_everything() -> None:
    first, other = own(epoch=1), Log(ALICE.id, "net")
    other.offer(None, big(first, 3))
    head, _ = own(epoch=2).sum_up(complete=True)
    assert head is not None
    assert len(other.offer(head, ())) == 3
    assert view(other) == {}


def test_a_log_stays_within_twice_what_stands() -> None:
    alice, other = own(), Log(ALICE.id, "net")
    chance = random.Random(5)
    for number in range(3000):
        put(alice, f"k{number % 200}", f"{number}" + "x" * chance.randrange(300))
        blocks = alice.flush()[0]
        if number % 10 == 0:
            alice.compact()
            blocks += alice.flush()[0]
            head, _ = alice.sum_up(complete=True)
            other.offer(head, blocks)
        else:
            other.offer(None, blocks)
    assert view(other) == view(alice)
    assert other.blocks <= 450


def test_blocks_that_cannot_be_applied_yet_are_bounded() -> None:
    alice, other = own(), Log(ALICE.id, "net")
    blocks = big(alice, 3000)
    other.offer(None, blocks[1:])
    assert other.blocks <= 2048
    other.offer(None, blocks)
    other.offer(*alice.since(other.version))
    assert view(other) == view(alice)
