"""When a network counts as heard out: two of the others hold the same, or nobody else is there."""

from __future__ import annotations

from collections import Counter

from fairlead.gossip.contract import Settled
from fairlead.gossip.holding import Holding
from fairlead.gossip.identity import Address, Identity, NodeId
from fairlead.gossip.log import Change, Record
from fairlead.gossip.members import Members, write_card
from fairlead.gossip.settling import ALONE_S, Settling
from fairlead.gossip.tables import ATTACHMENTS, Tables, attachment_key
from fairlead.gossip.tree import Tree
from fairlead.gossip.views import CLUSTER

OWN, *OTHERS = [Identity(bytes([seed]) * 32) for seed in (1, 2, 3, 4)]


class Bed:
    """A node that has attached ``web``, and some others there."""

    def __init__(self, others: int) -> None:
        self.members = Members(write_card(OWN, 1, 0, Address("10.0.0.1", 7946)))
        tables = Tables(OWN, 1)
        self.holding = Holding(OWN, self.members, tables, Counter())
        self.settling = Settling(self.holding, Tree(self.members, tables))
        for number, other in enumerate(OTHERS[:others], 2):
            self.members.meet(write_card(other, 1, 0, Address(f"10.0.0.{number}", 7946)))
            key = attachment_key("web", other.id)
            record = Record(other.id, CLUSTER, ATTACHMENTS, key, b"", 1, 1, 1)
            tables._see([Change(None, record)])
        self.settling.begin("web", 0.0)

    def told(self) -> bool:
        return Settled("web") in self.holding.events


def agree(bed: Bed, *nodes: NodeId) -> None:
    for node in nodes:
        bed.settling.agree(node)


def test_two_others_that_hold_the_same_are_enough() -> None:
    bed = Bed(3)
    agree(bed, OTHERS[0].id)
    assert not bed.told()
    agree(bed, OTHERS[0].id)
    assert not bed.told(), "twice the same node is one"
    agree(bed, OTHERS[1].id)
    assert bed.told()


def test_the_only_other_is_enough() -> None:
    bed = Bed(1)
    agree(bed, OTHERS[1].id)
    assert not bed.told(), "it is not in the network"
    agree(bed, OTHERS[0].id)
    assert bed.told()
    bed.holding.events.clear()
    agree(bed, OTHERS[0].id)
    assert not bed.told(), "it is told once"


def test_who_is_alone_knows_it_after_a_while_and_in_the_cluster_only() -> None:
    bed = Bed(0)
    assert bed.settling.deadline(joined=False) is None
    bed.settling.tick(2 * ALONE_S, joined=False)
    assert not bed.told()
    assert bed.settling.deadline(joined=True) == ALONE_S
    bed.settling.tick(ALONE_S / 2, joined=True)
    assert not bed.told()
    bed.settling.tick(ALONE_S, joined=True)
    assert bed.told()


def test_a_network_that_was_left_is_not_told() -> None:
    bed = Bed(0)
    bed.settling.end("web")
    bed.settling.tick(2 * ALONE_S, joined=True)
    assert not bed.told()
