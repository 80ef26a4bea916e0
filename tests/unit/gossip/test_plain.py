"""SWIM as published, the measure for what is built on it."""

from __future__ import annotations

from tests.unit.gossip.village import Village

from fairlead.gossip.contract import GossipSettings
from fairlead.gossip.members import Standing
from fairlead.gossip.plain import SUSPICION_PERIODS

PLAIN = GossipSettings(lifeguard=False, lifelines=0)


def joined(count: int) -> Village:
    village = Village(count, settings=PLAIN)
    village.run_until(lambda: all(len(node.members) == count for node in village.nodes.values()), 10.0)
    village.run(2.0)
    return village


def standings(village: Village, number: int) -> set[Standing]:
    """What all others believe of a node."""
    members = (node.members.get(village.id(number)) for other, node in village.nodes.items() if other != number)
    return {member.standing for member in members if member is not None}


def test_who_is_silent_is_suspected_by_all_and_dead_after_the_fixed_time() -> None:
    village = joined(5)
    village.holes.add(3)
    others = {number: node for number, node in village.nodes.items() if number != 3}
    village.nodes = others
    suspected = village.run_until(lambda: standings(village, 3) == {Standing.SUSPECT}, 8.0)
    dead = village.run_until(lambda: standings(village, 3) == {Standing.DEAD}, 8.0)
    assert suspected < 6.0
    assert abs(dead - SUSPICION_PERIODS) < 1.0


def test_a_suspect_that_is_back_in_time_refutes_and_was_never_dead() -> None:
    village = joined(5)
    village.holes.add(3)
    village.run_until(lambda: Standing.SUSPECT in standings(village, 3), 8.0)
    before = village.nodes[0].members.get(village.id(3))
    village.holes.clear()
    village.run(4.0)
    assert standings(village, 3) == {Standing.ALIVE}
    after = village.nodes[0].members.get(village.id(3))
    assert before is not None
    assert after is not None
    assert after.card.incarnation > before.card.incarnation
    assert not any("MemberDown" in type(event).__name__ for number in (0, 1, 2, 4) for event in village.events[number])


def test_a_dead_one_that_is_back_hears_of_it_and_lives() -> None:
    village = joined(5)
    village.holes.add(3)
    village.run_until(lambda: standings(village, 3) == {Standing.DEAD}, 16.0)
    village.holes.clear()
    village.run_until(lambda: standings(village, 3) == {Standing.ALIVE}, 8.0)
