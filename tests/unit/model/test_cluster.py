"""What the cluster keeps to itself is in no representation of it: what is printed ends up in logs."""

from __future__ import annotations

import pytest

from fairlead.model.cluster import Authority, Cluster, Key, NodeDescription, Ring
from fairlead.model.cluster_commands import AdmitNode, InitCluster, ReplaceAuthority

AUTHORITY = Authority("root", "PLANTED-1", next_key="PLANTED-2")
CLUSTER = Cluster(
    "c" * 25,
    1.0,
    2.0,
    AUTHORITY,
    "PLANTED-3",
    "PLANTED-4",
    gossip_keys=Ring((Key(1, "PLANTED-5"),), 1),
    network_secret="PLANTED-6",
    unlock_key="PLANTED-7",
)


@pytest.mark.parametrize(
    "value",
    [
        CLUSTER,
        InitCluster(AUTHORITY, NodeDescription("first")),
        AdmitNode("PLANTED-8", "key id", NodeDescription("machine")),
        ReplaceAuthority("root", "PLANTED-9"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_no_secret_is_in_a_representation(value: object) -> None:
    for text in (repr(value), str(value), f"{value}"):
        assert "PLANTED" not in text
