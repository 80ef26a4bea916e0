"""The trees along which news goes."""

from __future__ import annotations

import math
from random import Random

import pytest

from fairlead.gossip.identity import Address, Identity, NodeId
from fairlead.gossip.members import Members, write_card
from fairlead.gossip.tables import Tables
from fairlead.gossip.tree import DIRECT_MAX, FANOUT, Tree
from fairlead.gossip.views import CLUSTER

HERE = Address("10.0.0.1", 7946)
CARDS = [write_card(Identity(number.to_bytes(4, "big") * 8), 1, 0, HERE) for number in range(120)]
IDS = [card.id for card in CARDS]


def tree_at(place: int, count: int, dead: set[NodeId], suspected: set[NodeId] = frozenset()) -> Tree:  # type: ignore[assignment]
    members = Members(CARDS[place])
    for card in CARDS[:count]:
        members.meet(card)
    for one in dead:
        members.lose(one)
    for one in suspected:
        members.suspect(one)
    return Tree(members, Tables(Identity(place.to_bytes(4, "big") * 8), 1))


@pytest.mark.parametrize("count", [1, 2, 3, 16, 17, 18, 60, 100])
def test_every_living_node_is_reached_once_and_soon(count: int) -> None:
    chance = Random(count)
    for dead_count in (0, count // 4):
        dead = set(chance.sample(IDS[1:count], min(dead_count, count - 1)))
        trees = {IDS[place]: tree_at(place, count, dead) for place in range(count) if IDS[place] not in dead}
        for root in chance.sample(sorted(trees), min(5, len(trees))):
            reached, level, depth = {root}, [root], 0
            while level:
                level = [child for node in level for child in trees[node].children(CLUSTER, root)]
                assert not reached & set(level)
                assert len(set(level)) == len(level)
                reached |= set(level)
                depth += bool(level)
            assert reached == set(trees)
            assert depth <= (1 if count <= DIRECT_MAX + 1 else math.ceil(math.log(count, FANOUT)))


def test_the_children_of_a_suspect_are_reached_without_it() -> None:
    count = 60
    trees = {IDS[place]: tree_at(place, count, set()) for place in range(count)}
    root = IDS[0]
    child = trees[root].children(CLUSTER, root)[0]
    wary = tree_at(0, count, set(), {child})
    assert set(wary.children(CLUSTER, root)) == {
        *trees[root].children(CLUSTER, root),
        *trees[child].children(CLUSTER, root),
    }


def test_the_load_of_forwarding_is_even() -> None:
    count = 100
    tree = tree_at(7, count, set())
    children = [len(tree.children(CLUSTER, root)) for root in IDS[:count]]
    assert sum(children) == count - 1
    assert max(children) == FANOUT


def test_a_network_has_a_tree_of_its_own() -> None:
    tree = tree_at(0, 5, set())
    tree._tables.attached["net"] = {IDS[0], IDS[2], IDS[9]}
    tree._tables.attachment_changes += 1
    assert tree.ring("net") == sorted([IDS[0], IDS[2]]), "who is not known yet has no place"
    assert tree.children("net", IDS[0]) == (IDS[2],)
    assert tree.children("net", IDS[4]) in {(), (IDS[2],)}, "a root from outside stands before the first"
