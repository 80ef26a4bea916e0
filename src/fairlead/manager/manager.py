"""The manager's front door: one message in, one decision out."""

from __future__ import annotations

from collections.abc import Iterable

from fairlead.manager.decision import Decision, Stored
from fairlead.model.cluster_commands import ClusterCommand, ClusterEvent
from fairlead.model.ids import Chance


class Manager:
    """The brain of a cluster. Not thread-safe; every call is quick and pure.

    The caller carries each decision out in order: persist (one transaction), then tell ``committed``, then push, answer
    and tell. Several decisions made one after the other may be persisted as one transaction; of several writes of one
    record the last counts, with the first one's revision. When the store refuses, nothing of them has happened: load all
    records, ``restore`` and decide anew. A manager whose store did not answer at all does the same once it does.
    """

    def __init__(self, chance: Chance) -> None:
        self.chance = chance

    def restore(self, stored: Iterable[Stored], now: float, at: float) -> Decision:
        """Take up the records, forgetting what was known of them; sessions that are open stay so and are told
        everything anew. Nodes that were ready are unknown until they are heard of."""
        raise NotImplementedError

    def handle(self, message: ClusterCommand | ClusterEvent, now: float, at: float) -> Decision:
        """Decide. ``now`` is monotonic seconds, ``at`` epoch seconds. A command, or a node's wish, that cannot be met
        raises ``NetError`` and changes nothing; other events never do."""
        raise NotImplementedError

    def committed(self, decision: Decision, revision: int) -> None:
        """The decision's writes stand, at this revision of the store. Must follow each decision that has writes before
        the next is carried out (not: before the next is made)."""
        raise NotImplementedError
