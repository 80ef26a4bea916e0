"""A short run of what ``./run fuzz gossip`` does a million times."""

from __future__ import annotations

from tests.fuzz.gossip import cluster, datagrams, streams, unreachable

_SEED = 4


def test_hostile_datagrams_and_streams_change_nothing_and_grow_nothing() -> None:
    with cluster() as one:
        sent = datagrams(one, 60_000, _SEED)
        assert not sent.faults, "\n".join(sent.faults)
        assert sent.writes == 3
        for counter in (
            "unopened",
            "malformed",
            "replayed",
            "forged_blocks",
            "forged_heads",
            "forged_cards",
            "misplaced",
        ):
            assert sent.after["counters"][counter], "each kind of hostility was met"
        held = streams(one, 2_000, _SEED)
        assert not held.faults, "\n".join(held.faults)
        assert held.after["buffers"]["traffic turned_away"], "the crowd was larger than what is let in"


def test_a_stranger_who_says_of_everybody_that_it_is_gone_is_not_believed() -> None:
    """Whoever knows two addresses and the port can forge "port unreachable"; it must cost no more than a connection."""
    with cluster() as one:
        told = unreachable(one, 4.0)
    assert not told.faults, "\n".join(told.faults)
    assert told.after["counters"]["refusals"], "it was heard while a probe was under way"
