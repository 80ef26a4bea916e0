"""Whose verdicts count may change while a node runs: managers come and go."""

from __future__ import annotations

from fairlead.gossip.blocks import Event, draft_blocks
from fairlead.gossip.identity import Identity
from fairlead.gossip.tables import Tables
from fairlead.gossip.views import CLUSTER, VERDICTS, Verdict, encode_verdict

OWN, MANAGER, WORKER = (Identity(bytes([seed]) * 32) for seed in (1, 2, 3))


def tables_with_a_verdict(*authorities: Identity) -> Tables:
    """A worker's record, and a manager's verdict on it, both heard already."""
    tables = Tables(OWN, 1, [authority.id for authority in authorities])
    tables.offer(WORKER.id, CLUSTER, None, draft_blocks(WORKER.id, CLUSTER, 1, 1, [Event(1, "facts", "key", b"x")]))
    verdict = encode_verdict(Verdict(WORKER.id, 1, 1, CLUSTER, "facts", "key"))
    said = draft_blocks(MANAGER.id, CLUSTER, 1, 1, [Event(2, VERDICTS, "on the worker", verdict)])
    tables.offer(MANAGER.id, CLUSTER, None, said)
    return tables


def test_a_verdict_that_was_heard_before_its_author_was_trusted_counts_from_then_on() -> None:
    tables = tables_with_a_verdict()
    assert tables.get(CLUSTER, "facts", "key") is not None
    (change,) = tables.trust([MANAGER.id])
    assert (change.before is not None, change.after) == (True, None)
    assert tables.get(CLUSTER, "facts", "key") is None
    assert tables.trust([MANAGER.id]) == [], "trusted already"


def test_a_verdict_of_one_who_is_no_manager_any_more_counts_no_more() -> None:
    tables = tables_with_a_verdict(MANAGER)
    assert tables.get(CLUSTER, "facts", "key") is None
    (change,) = tables.trust([])
    assert change.after is not None
    assert tables.get(CLUSTER, "facts", "key") is not None
