"""What goes wrong in clusters, and what must not come of it. The numbers are issues of moby."""

from __future__ import annotations

import pytest
from tests.unit.gossip.village import KEY, NET, Village, address_of, identity_of, write_blocks, write_head

from fairlead.gossip.blocks import Event
from fairlead.gossip.contract import Datagram, MemberDown, MemberLeft, RecordChanged, Written
from fairlead.gossip.identity import Address, Identity, NodeId
from fairlead.gossip.keyring import key_id
from fairlead.gossip.members import Standing, write_card
from fairlead.gossip.messages import Message, Spread
from fairlead.gossip.views import CLUSTER, EVERYTHING, VERDICTS, Verdict, encode_verdict

NEXT, THIRD = b"2" * 32, b"3" * 32


def villages(count: int) -> Village:
    village = Village(count)
    village.attach()
    return village.settled()


def hidden(village: Village, at: int) -> list[str]:
    """Keys that a reader at a node has seen vanish."""
    return [
        event.key
        for event in village.events[at]
        if isinstance(event, RecordChanged) and event.scope == NET and event.after is None
    ]


@pytest.mark.parametrize("blink_s", [10, 20, 30])
def test_53141_names_are_back_at_once_after_a_blink(blink_s: int) -> None:
    """networkdb dropped a failed node's attachments, and refused its entries for hours after it was back."""
    village = villages(6)
    for number in range(6):
        village.put(number, f"name{number}", "there")
    village.run(1.0)
    village.holes.add(2)
    village.run(blink_s)
    assert village.value(0, "name2") is None
    # Whoever hears nobody doubts itself first, and takes up to 13 s for the last of five.
    assert blink_s == 10 or village.value(2, "name0") is None
    village.put(2, "while-away", "kept")
    village.put(0, "meanwhile", "said")
    village.holes.discard(2)
    took = village.run_until(
        lambda: all(village.all_have(key, "there") for key in [f"name{number}" for number in range(6)]), 10.0
    )
    assert took < 1.0
    village.run_until(lambda: village.all_have("while-away", "kept") and village.all_have("meanwhile", "said"), 1.0)


def test_47728_what_was_lost_on_the_way_is_found_by_comparing() -> None:
    """networkdb does not reliably converge: whoever missed a rumour waited for luck."""
    village = villages(8)
    village.cut = lambda one, other: 5 in {one, other}
    for number in range(40):
        village.put(number % 5, f"k{number}", "v")
    village.delete(0, "k0")
    village.run(0.3)
    village.cut = lambda _one, _other: False
    village.run_until(lambda: village.value(5, "k39") == "v" and village.agree(), 3.0)
    assert village.value(5, "k0") is None


def test_35548_a_verdict_of_a_manager_ends_what_a_dead_node_said_for_good() -> None:
    """Tasks of a failed node stayed in the load balancer."""
    village = Village(0)
    village.settings = type(village.settings)(authorities=frozenset({village.id(0)}))
    for number in range(4):
        village.start(number)
        village.do(number, lambda node: node.join([address_of(0)], village.now))
    village.attach()
    village.settled()
    village.put(3, "task", "running")
    village.run(1.0)
    record = village.nodes[0].tables.get(NET, "t", "task")
    assert record is not None
    verdict = encode_verdict(Verdict(village.id(3), record.epoch, record.seq, NET, "t", "task"))
    village.holes.add(3)
    village.run(3.0)
    village.do(0, lambda node: node.put(CLUSTER, VERDICTS, "task", verdict, village.now))
    village.run(1.0)
    village.holes.discard(3)
    village.run_until(lambda: village.all_see(3, Standing.ALIVE) and village.agree(), 5.0)
    assert village.all_have("task", None)
    village.put(3, "task", "anew")
    village.run_until(lambda: village.all_have("task", "anew"), 1.0)


def test_a_node_removed_by_verdict_is_forgotten_by_all() -> None:
    village = Village(0)
    village.settings = type(village.settings)(authorities=frozenset({village.id(0)}))
    for number in range(5):
        village.start(number)
        village.do(number, lambda node: node.join([address_of(0)], village.now))
    village.attach()
    village.settled()
    village.put(4, "k", "v")
    village.run(1.0)
    village.stop(4)
    village.run(1.0)
    gone = encode_verdict(Verdict(village.id(4), 1, EVERYTHING))
    village.do(0, lambda node: node.put(CLUSTER, VERDICTS, "gone", gone, village.now))
    village.run_until(village.agree, 3.0)
    assert all(node.members.get(village.id(4)) is None for node in village.nodes.values())
    assert village.all_have("k", None)
    village.start(5)
    village.do(5, lambda node: node.join([address_of(1)], village.now))
    village.attach(5)
    village.run_until(village.agree, 3.0)


def test_50229_watchers_get_an_update_as_an_update() -> None:
    """Updates were told as deletions; names flickered."""
    village = villages(3)
    village.put(1, "k", "old")
    village.run(0.5)
    village.put(1, "k", "new")
    village.run(0.5)
    changes = [
        (event.before and event.before.value, event.after and event.after.value)
        for event in village.events[2]
        if isinstance(event, RecordChanged) and event.key == "k"
    ]
    assert changes == [(None, b"old"), (b"old", b"new")]


def test_50232_an_address_that_moves_to_another_node_is_the_new_ones_everywhere() -> None:
    """Neighbour entries of an address's last holder stayed."""
    village = villages(6)
    for turn in range(12):
        holder, former = turn % 6, (turn - 1) % 6
        village.put(holder, "10.0.0.7", f"at{holder}")
        if turn:
            village.delete(former, "10.0.0.7")
        village.run_until(lambda: village.all_have("10.0.0.7", f"at{holder}"), 2.0)  # noqa: B023 - called at once
    assert all(sum(1 for _ in node.tables.items(NET, "t")) == 1 for node in village.nodes.values())


def test_50236_another_node_at_a_dead_ones_address_is_not_taken_for_it() -> None:
    village = villages(4)
    village.put(3, "k", "v")
    village.stop(3)
    village.run(0.5)
    village.start(7, address=address_of(3))
    village.do(7, lambda node: node.join([address_of(0)], village.now))
    village.attach(7)
    village.put(7, "k7", "v7")
    village.run(5.0)
    assert village.all_see(7, Standing.ALIVE)
    assert village.all_see(3, Standing.DEAD)
    assert village.all_have("k", None)
    assert village.all_have("k7", "v7")


def test_52661_a_mass_redeploy_leaves_nothing_stale() -> None:
    """Thousands of creations, updates and deletions at once: queues overflowed, rows stayed for hours."""
    village = villages(8)
    for turn in ("old", "new"):
        for number in range(8):
            node = village.nodes[number]
            for task in range(60):
                node.put(NET, "t", f"{number}/{task}", turn.encode() * 20, village.now)
                if turn == "new" and task % 3 == 0:
                    node.delete(NET, "t", f"{number}/{task}", village.now)
            village.drain(number)
    village.run(0.05)
    village.run_until(village.agree, 5.0)
    for node in village.nodes.values():
        records = list(node.tables.items(NET, "t"))
        assert len(records) == 8 * 40
        assert {record.value for record in records} == {b"new" * 20}
    village.run(2.0)
    assert village.agree(), "summed up"


def test_what_is_written_before_the_join_is_kept() -> None:
    village = villages(3)
    village.start(9)
    village.attach(9)
    village.put(9, "early", "bird")
    village.run(2.0)
    village.do(9, lambda node: node.join([address_of(1)], village.now))
    village.run_until(lambda: village.all_have("early", "bird"), 2.0)


def test_a_block_whose_owner_is_not_known_yet_waits_for_its_card() -> None:
    """Write before join, seen from the receiver: nothing is refused because another message is late."""
    village = villages(2)
    stranger = village.start(9)
    stranger.attach(NET, village.now)
    stranger.put(CLUSTER, "t", "early", b"bird", village.now)
    stranger.members.meet(village.nodes[0].members.get(village.id(0)).card)  # type: ignore[union-attr] # it is there
    stranger.members.meet(village.nodes[1].members.get(village.id(1)).card)  # type: ignore[union-attr] # it is there
    node = village.nodes[0]
    for packet in [wish.data for wish in stranger.outgoing(village.now + 1) if isinstance(wish, Datagram)]:
        node.receive(packet, address_of(9), village.now)
    assert village.standing(0, 9) is None
    assert node.snapshot().orphaned_blocks == 1
    assert village.value(0, "early", CLUSTER) is None
    village.do(9, lambda node: node.join([address_of(0)], village.now))
    village.run_until(lambda: village.all_have("early", "bird", CLUSTER), 2.0)


def test_halves_that_were_apart_for_half_a_minute_agree_within_a_second() -> None:
    village = villages(10)
    for number in range(10):
        village.put(number, f"old{number}", "v")
    village.run(1.0)
    left = set(range(5))
    village.cut = lambda one, other: (one in left) != (other in left)
    village.run(15.0)
    for number in range(10):
        village.put(number, f"new{number}", "w")
    village.run(15.0)
    for number in range(10):
        same_side = [other for other in range(10) if (other in left) == (number in left)]
        assert all(village.value(at, f"old{number}") == "v" for at in same_side), "the reachable are never hidden"
        assert not set(hidden(village, number)) & {f"old{other}" for other in same_side}
    before = {number: len(hidden(village, number)) for number in range(10)}
    village.cut = lambda _one, _other: False
    assert village.run_until(village.agree, 5.0) < 1.0
    village.run(20.0)
    assert all(len(hidden(village, number)) == before[number] for number in range(10)), "no removal after the heal"
    for number in range(10):
        assert village.all_have(f"old{number}", "v")
        assert village.all_have(f"new{number}", "w")


def test_halves_that_meet_again_need_no_new_cards() -> None:
    """Who is said to be dead raises the level of what is said: a new card would have to be checked by everybody."""
    village = villages(12)
    left = set(range(6))
    village.cut = lambda one, other: (one in left) != (other in left)
    village.run(15.0)
    assert village.standing(0, 11) is Standing.DEAD
    before = {number: village.nodes[number].members.card.incarnation for number in village.nodes}
    village.cut = lambda _one, _other: False
    village.run_until(village.agree, 5.0)
    assert all(village.all_see(number, Standing.ALIVE) for number in village.nodes)
    assert {number: village.nodes[number].members.card.incarnation for number in village.nodes} == before


def test_two_that_ask_each_other_about_the_third_find_it_dead_in_time() -> None:
    """Both probe it at about the same time: neither may wait for what the other will say."""
    for seed in range(16):
        village = Village(3, seed)
        village.settled()
        village.run(2.0 + 0.37 * seed % 1)
        village.holes = {2}
        assert village.run_until(lambda: village.all_see(2, Standing.DEAD), 10.0) < 2.2  # noqa: B023 - called at once


def test_an_accused_node_is_never_hidden_by_who_can_reach_it() -> None:
    """One node cannot reach another; all others can."""
    village = villages(6)
    village.put(1, "k", "v")
    village.run(1.0)
    village.cut = lambda one, other: {one, other} == {0, 1}
    village.run(60.0)
    assert not any(hidden(village, number) for number in range(6))


def test_one_way_loss_of_everything_but_one_neighbour_hides_nothing_there() -> None:
    village = villages(5)
    village.put(4, "k", "v")
    village.run(1.0)
    village.cut = lambda one, other: 4 in {one, other} and 3 not in {one, other}
    village.run(30.0)
    assert village.value(3, "k") == "v"
    assert hidden(village, 3) == []


@pytest.mark.parametrize("loss", [0.1, 0.25])
def test_losses_delay_but_lose_nothing_and_kill_nobody(loss: float) -> None:
    village = villages(12)
    village.loss = loss
    village.run(3.0)
    for number in range(24):
        village.put(number % 12, f"k{number}", "v")
        village.run_until(lambda: village.all_have(f"k{number}", "v"), 3.0)  # noqa: B023 - called at once
    village.run(60.0)
    assert not [event for events in village.events.values() for event in events if isinstance(event, MemberDown)]


def test_keys_are_rotated_without_a_lost_write_and_whoever_missed_rotations_comes_back() -> None:
    village = villages(5)

    def write(key: str, but: tuple[int, ...] = ()) -> None:
        village.put(1, key, "v")
        village.run_until(lambda: village.all_have(key, "v", but=but), 2.0)

    village.holes.add(4)
    village.run(5.0)
    present = range(4)
    for old, new in ((KEY, NEXT), (NEXT, THIRD)):
        for number in present:
            village.nodes[number].install_key(new)
            write(f"install{number}{new[:1]!r}", but=(4,))
        for number in present:
            village.nodes[number].use_key(key_id(new))
            write(f"use{number}{new[:1]!r}", but=(4,))
        for number in present:
            village.nodes[number].remove_key(key_id(old))
            write(f"remove{number}{new[:1]!r}", but=(4,))
    assert not [event for number in present for event in village.events[number][-1:] if isinstance(event, MemberLeft)]
    village.holes.discard(4)
    village.run(3.0)
    assert village.standing(0, 4) is Standing.DEAD, "it has only the first key"
    village.nodes[4].install_key(THIRD)
    village.nodes[4].use_key(key_id(THIRD))
    village.run_until(village.agree, 10.0)
    village.run_until(lambda: village.all_see(4, Standing.ALIVE), 2.0)
    write("last")


def test_news_of_a_death_goes_round_the_dead_node() -> None:
    """Who forwards the news does not believe it yet; the nodes behind the dead one must not wait until it does."""
    village = villages(30)
    village.run(3.0)
    for number in (4, 11, 19, 25):
        village.holes.add(number)
        took = village.run_until(lambda: village.all_see(number, Standing.DEAD, tuple(village.holes)), 10.0)  # noqa: B023
        assert took < 2.2
        village.run(0.5)


def test_a_farewell_is_no_death() -> None:
    village = villages(5)
    village.put(3, "k", "v")
    village.run(0.5)
    village.do(3, lambda node: node.leave(village.now))
    village.run(0.05)
    village.stop(3)
    village.run_until(lambda: village.all_see(3, Standing.LEFT), 1.0)
    assert village.all_have("k", None)
    village.run(5.0)
    assert not [event for events in village.events.values() for event in events if isinstance(event, MemberDown)]


def test_who_starts_again_is_the_same_node_and_its_records_never_blink() -> None:
    village = villages(4)
    for key in ("stays", "goes"):
        village.put(2, key, "v1")
    village.run(1.0)
    del village.nodes[2]
    village.start(2, epoch=2)
    village.do(2, lambda node: node.join([address_of(0)], village.now))
    village.run_until(lambda: village.nodes[0].members.get(village.id(2)).card.epoch == 2, 1.0)  # type: ignore[union-attr]
    village.attach(2)
    village.put(2, "stays", "v2")
    village.run_until(lambda: village.all_have("stays", "v2"), 1.0)
    assert village.all_have("goes", "v1", but=(2,)), "until the node says that it has said all"
    village.do(2, lambda node: node.complete(village.now))
    village.run_until(lambda: village.all_have("goes", None), 1.0)
    village.run(2.0)
    assert village.agree()
    assert [key for number in (0, 1, 3) for key in hidden(village, number)] == ["goes"] * 3


def test_who_starts_again_elsewhere_is_found_there() -> None:
    village = villages(4)
    village.stop(2)
    village.run(0.2)
    village.start(2, epoch=2, address=Address("10.9.9.9", 7946))
    village.do(2, lambda node: node.join([address_of(0)], village.now))
    village.run_until(lambda: village.all_see(2, Standing.ALIVE), 2.0)
    member = village.nodes[0].members.get(village.id(2))
    assert member is not None
    assert member.card.address.host == "10.9.9.9"


def test_converged_is_true_when_every_living_member_has_confirmed() -> None:
    village = villages(8)
    village.run(1.0)
    node = village.nodes[5]
    village.cut = lambda one, other: 2 in {one, other}
    written = node.put(NET, "t", "k", b"v", village.now)
    village.drain(5)
    assert isinstance(written, Written)

    def confirmed() -> bool:
        done = node.converged(written)
        village.drain(5)
        return done

    village.run(0.02)
    assert not confirmed()
    village.run(0.1)
    assert not confirmed(), "one member has not confirmed"
    assert node.snapshot().lag_s > 0.1
    village.cut = lambda _one, _other: False
    assert village.run_until(confirmed, 3.0) < 2.0
    assert village.value(2, "k") == "v"
    village.run_until(lambda: node.snapshot().lag_s < 0.001, 5.0)


def test_a_new_node_has_a_thousand_records_in_little_more_than_their_bytes() -> None:
    village = villages(5)
    node = village.nodes[0]
    for number in range(1000):
        node.put(NET, "t", f"{number:064x}", b"v" * 115, village.now)
    village.drain(0)
    village.run_until(village.agree, 2.0)
    village.run(1.0)
    table = sum(len(record.key) + len(record.value) + 60 for record in node.tables.items(NET, "t"))
    village.start(9)
    village.do(9, lambda node: node.join([address_of(1)], village.now))
    streamed = village.streamed + village.bytes
    village.attach(9)
    assert village.run_until(village.agree, 2.0) < 0.3
    village.run(0.5)
    assert village.streamed + village.bytes - streamed < 1.4 * table


def test_an_idle_cluster_is_quiet() -> None:
    village = villages(10)
    for number in range(10):
        for key in range(20):
            village.put(number, f"{number}.{key}", "v" * 100)
    village.run(5.0)
    sent, streamed = village.bytes, village.streamed
    village.run(60.0)
    assert (village.bytes - sent) / 60 / 10 <= 300
    assert village.streamed == streamed


def test_sec_27_what_is_forged_is_ignored_and_counted_by_its_sender() -> None:
    """A member that has the cluster's key says things in another's name."""
    village = villages(4)
    village.put(1, "k", "true")
    village.run(1.0)
    forger = village.nodes[3]
    victim = identity_of(1)
    fakes = forge(village, victim.id)
    for fake in fakes:
        packet = forger._outbox.seal(fake)
        village.nodes[0].receive(packet, address_of(3), village.now)
        village.drain(0)
    village.run(2.0)
    assert village.value(0, "k") == "true"
    shot = village.nodes[0].snapshot()
    assert shot.counters["forged_blocks"] == 1
    assert shot.counters["forged_heads"] == 1
    assert shot.counters["forged_cards"] == 1
    assert shot.forgers == {village.id(3).hex(): 3}
    assert village.nodes[1].snapshot().forgers == {}, "it was passed on to nobody"
    assert village.all_see(1, Standing.ALIVE)


def forge(village: Village, victim: bytes) -> list[Message]:
    wrong = Identity(b"W" * 32)
    wrong.id = NodeId(victim)
    (block,) = write_blocks(wrong, NET, 1, 2, [Event(9**9, "t", "k", b"false")])
    head = write_head(wrong, NET, 1, 9, [(9, 9)], complete=True)
    wrong.public_key = identity_of(1).public_key
    card = write_card(wrong, 1, 9, address_of(3), left=True)
    return [Spread((block,)), Spread((head,)), Spread((card,))]
