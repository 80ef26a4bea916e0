"""Values of a network: only who has its ring reads and writes them, and only as who they are."""

from __future__ import annotations

import pytest

from fairlead.gossip.identity import NodeId
from fairlead.gossip.veil import OVERHEAD_BYTES, Veil
from fairlead.model.cluster import Key, Ring
from fairlead.model.errors import Invalid

OLD, NEW = Key(1, "11" * 32), Key(2, "22" * 32)
A, B = NodeId(b"a" * 16), NodeId(b"b" * 16)


def test_what_is_sealed_is_opened_and_looks_the_same_each_time() -> None:
    veil = Veil("web", Ring((OLD,), 1))
    sealed = veil.seal("peers", "key", A, b"value")
    assert sealed == Veil("web", Ring((OLD,), 1)).seal("peers", "key", A, b"value")
    assert b"value" not in sealed
    assert veil.unseal("peers", "key", A, sealed) == b"value"
    assert veil.unseal("peers", "key", A, veil.seal("peers", "key", A, b"")) == b""


@pytest.mark.parametrize(
    ("network", "table", "key", "owner"),
    [("db", "peers", "key", A), ("web", "names", "key", A), ("web", "peers", "other", A), ("web", "peers", "key", B)],
)
def test_it_opens_nowhere_else_and_for_nobody_else(network: str, table: str, key: str, owner: NodeId) -> None:
    sealed = Veil("web", Ring((OLD,), 1)).seal("peers", "key", A, b"value")
    assert Veil(network, Ring((OLD,), 1)).unseal(table, key, owner, sealed) is None


def test_sec_27_who_has_another_ring_reads_and_writes_nothing() -> None:
    inside, outside = Veil("web", Ring((OLD,), 1)), Veil("web", Ring((Key(1, "33" * 32),), 1))
    assert outside.unseal("peers", "key", A, inside.seal("peers", "key", A, b"value")) is None
    assert inside.unseal("peers", "key", A, outside.seal("peers", "key", A, b"forged")) is None


def test_a_ring_of_two_keys_opens_both_and_seals_with_the_primary() -> None:
    both = Veil("web", Ring((OLD, NEW), 2))
    assert both.unseal("peers", "key", A, Veil("web", Ring((OLD,), 1)).seal("peers", "key", A, b"value")) == b"value"
    fresh = both.seal("peers", "key", A, b"value")
    assert Veil("web", Ring((NEW,), 2)).unseal("peers", "key", A, fresh) == b"value"
    assert Veil("web", Ring((OLD,), 1)).unseal("peers", "key", A, fresh) is None


@pytest.mark.parametrize("cut", [0, 3, OVERHEAD_BYTES - 1, OVERHEAD_BYTES, OVERHEAD_BYTES + 2])
def test_anything_else_is_nothing(cut: int) -> None:
    veil = Veil("web", Ring((OLD,), 1))
    sealed = veil.seal("peers", "key", A, b"value")
    assert veil.unseal("peers", "key", A, sealed[:cut]) is None
    assert veil.unseal("peers", "key", A, sealed[:-1] + bytes([sealed[-1] ^ 1])) is None


@pytest.mark.parametrize("ring", [Ring(), Ring((OLD,), 2), Ring((Key(1, "xy"),), 1), Ring((Key(1, "11"),), 1)])
def test_a_ring_that_is_none_is_refused(ring: Ring) -> None:
    with pytest.raises(Invalid):
        Veil("web", ring)
