"""What readers see of everybody's logs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fairlead.gossip.identity import Identity, NodeId
from fairlead.gossip.log import Change, Version
from fairlead.gossip.tables import Tables
from fairlead.gossip.views import CLUSTER, VERDICTS, Verdict, decode_verdict, encode_verdict

ALICE, BOB, MANAGER = Identity(b"A" * 32), Identity(b"B" * 32), Identity(b"M" * 32)


def tables(identity: Identity, epoch: int = 1) -> Tables:
    return Tables(identity, epoch, authorities=[MANAGER.id])


def say(source: Tables, scope: str, table: str, key: str, value: str | None, *listeners: Tables) -> list[Change]:
    """Put and hand on; what the first listener sees."""
    owner = source.own(CLUSTER).owner
    if scope != CLUSTER and not source.counts(owner, scope):
        source.attach(scope)
        source.flush(CLUSTER)
    for listener in listeners:
        listener.offer(owner, CLUSTER, *source.own(CLUSTER).since(Version()))
    source.put(scope, table, key, value.encode() if value is not None else None)
    blocks, _ = source.flush(scope)
    seen = [listener.offer(blocks[0].owner, scope, None, blocks) for listener in listeners if blocks]
    return seen[0] if seen else []


def value(source: Tables, key: str, scope: str = "net") -> str | None:
    record = source.get(scope, "t", key)
    return record.value.decode() if record else None


def test_the_newest_claim_wins_and_the_older_is_back_when_it_ends() -> None:
    alice, bob, reader = tables(ALICE), tables(BOB), tables(Identity(b"R" * 32))
    say(alice, "net", "t", "10.0.0.5", "alice", reader, bob)
    seen = say(bob, "net", "t", "10.0.0.5", "bob", reader, alice)
    assert [(c.before and c.before.value, c.after and c.after.value) for c in seen] == [(b"alice", b"bob")]
    assert value(alice, "10.0.0.5") == value(bob, "10.0.0.5") == value(reader, "10.0.0.5") == "bob"
    say(bob, "net", "t", "10.0.0.5", None, reader)
    assert value(reader, "10.0.0.5") == "alice"


def test_records_of_a_lost_node_are_hidden_and_back_at_once() -> None:
    alice, reader = tables(ALICE), tables(BOB)
    for number in range(3):
        say(alice, "net", "t", f"k{number}", "v", reader)
    assert sorted(c.before.key for c in reader.hide(ALICE.id) if c.before and c.before.scope) == ["k0", "k1", "k2"]
    assert reader.hide(ALICE.id) == []
    assert value(reader, "k1") is None
    assert say(alice, "net", "t", "k1", "new", reader) == [], "still hidden, but kept"
    shown = reader.show(ALICE.id)
    assert sorted(c.after.key for c in shown if c.after and c.after.scope) == ["k0", "k1", "k2"]
    assert value(reader, "k1") == "new"


def test_a_record_said_again_is_no_news() -> None:
    alice, reader = tables(ALICE), tables(BOB)
    say(alice, "net", "t", "k", "v", reader)
    assert say(alice, "net", "t", "k", "v", reader) == []


def test_a_verdict_of_a_manager_ends_a_record_and_what_is_said_later_counts() -> None:
    alice, manager, reader = tables(ALICE), tables(MANAGER), tables(BOB)
    say(alice, "net", "t", "task", "old", reader)
    record = reader.get("net", "t", "task")
    assert record is not None
    verdict = Verdict(ALICE.id, record.epoch, record.seq, "net", "t", "task")
    manager.put(CLUSTER, VERDICTS, "v1", encode_verdict(verdict))
    blocks, _ = manager.flush(CLUSTER)
    reader.offer(MANAGER.id, CLUSTER, None, blocks)
    assert value(reader, "task") is None
    reader.hide(ALICE.id)
    reader.show(ALICE.id)
    assert value(reader, "task") is None, "for good"
    say(alice, "net", "t", "task", "new", reader)
    assert value(reader, "task") == "new"


def test_a_verdict_of_anybody_else_is_only_a_record() -> None:
    alice, bob, reader = tables(ALICE), tables(BOB), tables(Identity(b"R" * 32))
    say(alice, "net", "t", "k", "v", reader)
    bob.put(CLUSTER, VERDICTS, "v", encode_verdict(Verdict(ALICE.id, 9, 9**9)))
    reader.offer(BOB.id, CLUSTER, None, bob.flush(CLUSTER)[0])
    assert value(reader, "k") == "v"


def test_a_verdict_that_comes_first_waits_for_what_it_is_about() -> None:
    alice, manager, reader = tables(ALICE), tables(MANAGER), tables(BOB)
    manager.put(CLUSTER, VERDICTS, "gone", encode_verdict(Verdict(ALICE.id, 1, 10)))
    reader.offer(MANAGER.id, CLUSTER, None, manager.flush(CLUSTER)[0])
    say(alice, "net", "t", "k", "v", reader)
    assert value(reader, "k") is None
    manager.put(CLUSTER, VERDICTS, "gone", None)
    reader.offer(MANAGER.id, CLUSTER, None, manager.flush(CLUSTER)[0])
    assert value(reader, "k") == "v", "taken back"


def test_who_holds_the_same_has_the_same_sum() -> None:
    alice, bob = tables(ALICE), tables(BOB)
    assert alice.digest([CLUSTER, "net"]) == bob.digest([CLUSTER, "net"]) == 0
    say(alice, "net", "t", "k", "v")
    say(bob, "net", "t", "k", "w")
    assert alice.digest(["net"]) != bob.digest(["net"])
    for one, other in ((alice, bob), (bob, alice)):
        for scope in (CLUSTER, "net"):
            for owner, version in one.versions(scope).items():
                log, theirs = one.log(owner, scope), other.log(owner, scope)
                assert log is not None
                assert log.version == version
                other.offer(owner, scope, *log.since(theirs.version if theirs else Version()))
    assert alice.digest(["net"]) == bob.digest(["net"]) != 0
    assert alice.versions("net") == bob.versions("net")
    assert value(alice, "k") == value(bob, "k")


def test_what_outruns_its_owners_attachment_is_kept_and_counts_from_then_on() -> None:
    alice, reader = tables(ALICE), tables(BOB)
    alice.attach("net")
    attachment, _ = alice.flush(CLUSTER)
    alice.put("net", "t", "k", b"v")
    assert reader.offer(ALICE.id, "net", None, alice.flush("net")[0]) == []
    assert value(reader, "k") is None
    assert reader.digest(["net"]) == 0
    seen = reader.offer(ALICE.id, CLUSTER, None, attachment)
    assert [c.after.key for c in seen if c.after and c.after.scope == "net"] == ["k"]
    assert value(reader, "k") == "v"
    assert reader.digest([CLUSTER, "net"]) == alice.digest([CLUSTER, "net"])


def test_what_is_said_in_a_network_ends_with_its_owners_part_in_it() -> None:
    alice, reader = tables(ALICE), tables(BOB)
    say(alice, "net", "t", "k", "v", reader)
    alice.attach("net", there=False)
    reader.offer(ALICE.id, CLUSTER, None, alice.flush(CLUSTER)[0])
    assert value(reader, "k") is None
    assert reader.log(ALICE.id, "net") is None
    assert reader.digest(["net"]) == 0


def test_numbers_are_not_used_twice_by_who_comes_back_to_a_network() -> None:
    alice, reader = tables(ALICE), tables(BOB)
    say(alice, "net", "t", "k", "v", reader)
    alice.attach("net", there=False)
    alice.flush(CLUSTER)
    alice.forget_scope("net")
    say(alice, "net", "t", "again", "w", reader)
    assert alice.own("net").seq == 2
    head, _ = alice.sum_up("net", complete=False, anyhow=True)
    log = alice.log(ALICE.id, "net")
    assert log is not None
    reader.offer(ALICE.id, "net", head, log.since(Version())[1])
    assert value(reader, "again") == "w"
    assert value(reader, "k") is None


def test_what_an_expelled_node_said_is_gone() -> None:
    alice, reader = tables(ALICE), tables(BOB)
    say(alice, "net", "t", "k", "v", reader)
    assert [c.before.key for c in reader.expel(ALICE.id) if c.before and c.before.scope == "net"] == ["k"]
    assert value(reader, "k") is None
    assert reader.digest([CLUSTER, "net"]) == 0


def test_nothing_that_others_send_changes_ones_own_log() -> None:
    alice, again = tables(ALICE), tables(ALICE, epoch=2)
    say(alice, "net", "t", "k", "v")
    assert again.offer(ALICE.id, "net", *alice.own("net").since(Version())) == []
    assert value(again, "k") is None


def test_leaving_a_scope_leaves_nothing_of_it() -> None:
    alice, reader = tables(ALICE), tables(BOB)
    say(alice, "net", "t", "k", "v", reader)
    say(alice, "other", "t", "k", "v", reader)
    gone = reader.forget_scope("net")
    assert [c.before.key for c in gone if c.before] == ["k"]
    assert reader.log(ALICE.id, "net") is None
    assert list(reader.items("net", "t")) == []
    assert len(list(reader.items("other", "t"))) == 1
    assert reader.digest(["net"]) == 0


@given(
    st.binary(min_size=16, max_size=16),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**60),
    st.none() | st.text(max_size=9),
)
def test_verdicts_are_read_as_written(owner: bytes, epoch: int, seq: int, word: str | None) -> None:
    verdict = Verdict(NodeId(owner), epoch, seq, word, None, word)
    assert decode_verdict(encode_verdict(verdict)) == verdict


@given(st.binary(max_size=60))
def test_any_bytes_are_a_verdict_or_none(value: bytes) -> None:
    decode_verdict(value)
