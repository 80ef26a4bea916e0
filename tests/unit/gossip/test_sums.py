"""Sums over many owners, and how two nodes descend to where they differ."""

from __future__ import annotations

from random import Random

from tests.unit.gossip.village import Village, address_of

from fairlead.gossip.identity import NodeId
from fairlead.gossip.sums import CHILDREN, LEAF_MIN, ROOT, Sums, is_branch, under
from fairlead.gossip.views import CLUSTER


def owners(count: int) -> list[NodeId]:
    chance = Random(1)
    return [NodeId(chance.randbytes(16)) for _ in range(count)]


def test_a_branch_is_the_sum_over_its_children_in_whatever_order_they_came() -> None:
    chance, sums, other = Random(2), Sums(), Sums()
    weights = {owner: chance.getrandbits(64) for owner in owners(1000)}
    for owner, weight in weights.items():
        sums.add(owner, weight)
    for owner in reversed(weights):
        other.add(owner, 7)
        other.add(owner, weights[owner] - 7)
    assert sums.total == other.total == sum(weights.values()) % 2**64
    for branch in (ROOT, *range(16, 32)):
        assert sums.children(branch) == other.children(branch)
    assert sum(sums.children(ROOT)) % 2**64 == sums.total
    for branch, total in zip(range(16, 32), sums.children(ROOT), strict=True):
        assert sum(sums.children(branch)) % 2**64 == total
        firsts = under([branch])
        assert sum(weight for owner, weight in weights.items() if owner[0] in firsts) % 2**64 == total


def test_what_goes_leaves_nothing() -> None:
    sums = Sums()
    for owner in owners(300):
        sums.add(owner, 5)
    for owner in owners(300):
        sums.add(owner, -5)
    assert sums.total == 0
    assert not any(sums.children(ROOT))


def test_branches_are_the_numbers_of_the_heap() -> None:
    assert [number for number in range(600) if is_branch(number)] == [1, *range(16, 32), *range(256, 512)]
    assert under([ROOT]) == frozenset(range(256))
    assert under([CHILDREN + 1]) == frozenset(range(16, 32))
    assert under([LEAF_MIN + 7]) == {7}


def test_one_difference_among_many_owners_is_found_with_few_bytes() -> None:
    village = Village(2)
    for number in range(2, 122):
        # they come, say something, and go; what they said stays
        node = village.start(number)
        node.join([address_of(0)], village.now)
        node.put(CLUSTER, "t", f"k{number}", b"v", village.now)
        village.drain(number)
        village.run(0.05)
        node.leave(village.now)
        village.drain(number)
        village.stop(number)
    first, second = village.nodes[0], village.nodes[1]
    village.run(5.0)
    assert len(first.tables.versions(CLUSTER)) >= 120
    assert first.snapshot().sums == second.snapshot().sums
    village.holes.add(1)
    first.put(CLUSTER, "t", "late", b"v", village.now)
    village.drain(0)
    village.run(1.5)
    village.holes.clear()
    packets, size, streamed = village.packets, village.bytes, village.streamed
    village.run_until(lambda: second.tables.get(CLUSTER, "t", "late") is not None, 5.0)
    village.run(1.0)
    assert first.snapshot().sums == second.snapshot().sums
    assert village.streamed == streamed, "a stream was needed"
    # the names of 240 owners and members would be 5,000 bytes at least
    assert village.bytes - size < 4000
    assert village.packets - packets < 40


def test_two_that_differ_in_much_go_by_stream_and_agree() -> None:
    village = Village(70)
    village.run(5.0)
    village.holes.add(9)
    for number in range(0, 70, 2):
        village.nodes[number].put(CLUSTER, "t", f"k{number}", b"v", village.now)
        village.drain(number)
    village.run(0.5)
    assert not list(village.nodes[9].tables.items(CLUSTER, "t"))
    village.holes.clear()
    village.run_until(lambda: len(list(village.nodes[9].tables.items(CLUSTER, "t"))) == 35, 5.0)
