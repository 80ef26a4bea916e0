"""Who does what was said, beyond who holds it: asked of each living member, until it says so itself."""

from __future__ import annotations

from tests.unit.gossip.village import NET, Village

from fairlead.gossip.contract import FollowAsked, Written
from fairlead.gossip.messages import Followed
from fairlead.gossip.voice import Voice


def town(count: int) -> tuple[Village, Written]:
    """Nodes of one network; what the first has said there last."""
    village = Village(count)
    village.attach()
    village.settled()
    village.put(0, "key", "value")
    village.run_until(lambda: village.all_have("key", "value"), 2)
    return village, Written(NET, 1, village.nodes[0].tables.own(NET).seq)


def followed(village: Village, written: Written) -> bool:
    answers: list[bool] = []
    village.do(0, lambda node: answers.append(node.following.complete(written)))
    return answers[0]


def asked(village: Village, number: int) -> list[FollowAsked]:
    return [event for event in village.events[number] if isinstance(event, FollowAsked)]


def answer(village: Village, number: int) -> None:
    """A node does what it was asked about last."""
    question = asked(village, number)[-1]
    village.do(number, lambda node: node.following.answer(question))


def test_to_hold_it_is_not_to_do_it() -> None:
    village, written = town(3)
    assert not followed(village, written)
    village.run(1)
    assert village.nodes[0].converged(written) and not followed(village, written)
    answer(village, 1)
    village.run(1)
    assert not followed(village, written)
    answer(village, 2)
    village.run_until(lambda: followed(village, written), 1)


def test_a_question_or_an_answer_that_is_lost_is_said_again() -> None:
    village, written = town(2)
    village.holes.add(1)
    assert not followed(village, written)
    village.run(0.1)
    village.holes.clear()
    village.run_until(lambda: bool(asked(village, 1)), 2)
    village.holes.add(1)
    answer(village, 1)
    village.run(0.1)
    village.holes.clear()
    count = len(asked(village, 1))
    village.run_until(lambda: len(asked(village, 1)) > count, 3)
    answer(village, 1)
    village.run_until(lambda: followed(village, written), 1)


def test_nobody_waits_for_the_dead_nor_for_those_who_take_no_part() -> None:
    village, written = town(4)
    village.do(3, lambda node: node.detach(NET, village.now))
    assert not followed(village, written)
    village.run_until(lambda: bool(asked(village, 1) and asked(village, 2)), 2)
    answer(village, 1)
    village.stop(2)
    village.run_until(lambda: followed(village, written), 20)
    assert not asked(village, 3)


def test_what_was_done_before_says_nothing_of_what_came_after() -> None:
    village, written = town(2)
    assert not followed(village, written)
    village.run_until(lambda: bool(asked(village, 1)), 2)
    answer(village, 1)
    village.run_until(lambda: followed(village, written), 1)
    village.put(0, "key", "another")
    later = Written(NET, 1, written.seq + 1)
    assert not followed(village, later) and followed(village, written)


def test_nobody_can_have_done_more_than_was_said() -> None:
    village, written = town(2)

    def boast(node: Voice) -> None:
        member = node.members.get(village.id(0))
        assert member is not None
        node._outbox.tell(member, Followed(NET, 1, written.seq + 9))  # no honest node says so

    village.do(1, boast)
    village.run(1)
    assert not followed(village, written)


def test_it_is_only_asked_of_what_is_held() -> None:
    village, written = town(2)
    village.cut = lambda one, other: True
    village.put(0, "late", "value")
    later = Written(NET, 1, written.seq + 1)
    assert not followed(village, later)
    assert not asked(village, 1)
    village.cut = lambda one, other: False
    village.run_until(lambda: any(one.seq == later.seq for one in asked(village, 1)), 5)
    assert village.value(1, "late") == "value"
