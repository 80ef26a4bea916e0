"""Several nodes together: membership, records, faults."""

from __future__ import annotations

import pytest
from tests.unit.gossip.village import NET, Village, address_of

from fairlead.gossip.contract import MemberChanged, MemberDown, RecordChanged
from fairlead.gossip.members import Standing


@pytest.mark.parametrize("count", [2, 3, 10, 25])
def test_all_join_at_once_and_all_know_all(count: int) -> None:
    village = Village(count)
    assert village.run_until(village.agree, 5.0) < 2.0


@pytest.mark.parametrize("count", [3, 10, 25])
def test_what_one_puts_all_have_in_milliseconds(count: int) -> None:
    village = Village(count)
    village.attach()
    village.settled()
    village.put(count - 1, "web", "10.0.0.5")
    assert village.run_until(lambda: village.all_have("web", "10.0.0.5"), 1.0) < 0.005
    village.put(count - 1, "web", "10.0.0.6")
    village.run_until(lambda: village.all_have("web", "10.0.0.6"), 1.0)
    village.delete(count - 1, "web")
    village.run_until(lambda: village.all_have("web", None), 1.0)


def test_a_node_whose_host_vanishes_is_dead_for_all_within_two_seconds() -> None:
    village = Village(10).settled()
    village.run(5.0)
    village.holes.add(4)
    assert village.run_until(lambda: village.all_see(4, Standing.DEAD), 10.0) < 2.2


def test_a_process_that_dies_is_dead_for_all_at_once() -> None:
    village = Village(10).settled()
    village.run(5.0)
    village.stop(4)
    assert village.run_until(lambda: village.all_see(4, Standing.DEAD), 10.0) < 0.3


def test_nobody_who_lives_is_ever_lost() -> None:
    village = Village(10).settled()
    village.run(60.0)
    assert not [event for events in village.events.values() for event in events if isinstance(event, MemberDown)]


def test_a_node_joins_by_whom_it_meets_when_its_seeds_are_gone() -> None:
    """A new life that knows one seed, which died meanwhile, is greeted by the others, and asks them."""
    village = Village(3).settled()
    village.run(5.0)
    village.stop(0)
    village.stop(2)
    node = village.start(2, epoch=2)
    node.join([address_of(0)], village.now)
    village.drain(2)
    assert village.run_until(lambda: node.snapshot().joined, 20.0) < 5.0


def test_what_a_node_says_of_itself_may_change() -> None:
    village = Village(5).settled()
    village.run(1.0)
    village.do(2, lambda node: node.describe(b"mtu 1400", village.now))
    own = village.id(2)
    others = [village.nodes[number].members for number in (0, 1, 3, 4)]

    def known() -> bool:
        found = [members.get(own) for members in others]
        return all(member is not None and member.card.metadata == b"mtu 1400" for member in found)

    village.run_until(known, 1.0)
    changed = [event for events in village.events.values() for event in events if isinstance(event, MemberChanged)]
    assert [(event.id, event.metadata) for event in changed] == [(own, b"mtu 1400")] * 4
    before = village.nodes[2].snapshot().incarnation
    village.nodes[2].describe(b"mtu 1400", village.now)
    assert village.nodes[2].snapshot().incarnation == before


def test_watchers_see_the_value_before_and_after() -> None:
    village = Village(3)
    village.attach()
    village.settled()
    for value in ("a", "b"):
        village.put(0, "k", value)
        village.run(0.1)
    village.delete(0, "k")
    village.run(0.1)
    seen = [
        (event.before and event.before.value, event.after and event.after.value)
        for event in village.events[2]
        if isinstance(event, RecordChanged) and event.scope == NET
    ]
    assert seen == [(None, b"a"), (b"a", b"b"), (b"b", None)]


def test_hops_are_confirmed_for_seconds_after_a_loss_where_much_is_said() -> None:
    """A cluster that starts at once has packets that are only late: for half a minute each hop would be twice the work."""
    village = Village(3)
    village.attach()
    village.settled()
    spreading = village.nodes[0]._spreading

    def says(seconds: float) -> bool:
        for _ in range(int(200 * seconds)):
            village.now += 1 / 200
            confirmed = spreading._confirmed(village.now)
        return confirmed

    assert not says(2.0), "what comes after would show a gap"
    spreading.loss(village.now)
    assert says(0.1)
    assert not says(4.0)
    assert spreading.lossy(village.now), "silence may be a loss for longer"
