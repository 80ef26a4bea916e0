"""Every kind of record of the cluster comes back from the store as it was."""

from __future__ import annotations

import msgspec
import pytest

from fairlead.model import codes
from fairlead.model.cluster import (
    KINDS,
    Authority,
    Cluster,
    ClusterNetwork,
    ClusterNode,
    ClusterRecord,
    Counters,
    Key,
    Lease,
    NodeDescription,
    Ring,
)
from fairlead.model.container import ContainerConfig
from fairlead.model.errors import Internal
from fairlead.model.health import HealthCheck
from fairlead.model.network import Network, Pool
from fairlead.model.service import Restart, Service, ServiceNetwork, ServiceSpec, Task, TaskAddress, TaskSpec
from fairlead.store.cluster_records import decode, encode

TASK = TaskSpec(
    ContainerConfig("nginx", labels={"a": "b"}, health=HealthCheck(("CMD", "true"))),
    restart=Restart(max_attempts=3),
    networks=(ServiceNetwork("w" * 64, aliases=("www",), addresses=("10.0.0.9",)),),
)
RECORDS: list[ClusterRecord] = [
    Cluster(
        "c" * 25,
        1.5,
        2.5,
        Authority("root", "key"),
        "worker",
        "manager",
        default_pools=(("10.0.0.0/8", 24), ("fd00::/8", 64)),
        gossip_keys=Ring((Key(1, "ab"), Key(2, "cd")), primary=2),
        removed={"n" * 25: 3.5},
    ),
    ClusterNode("n" * 25, 1.0, 2.0, description=NodeDescription("one", drivers=("bridge", "overlay"))),
    ClusterNetwork(Network("w" * 64, "web", "overlay", 1.0, pools=(Pool("p", "10.0.0.0/24"),)), 2.0),
    Lease("w" * 64, "10.0.0.2", "n" * 25, 7),
    Counters(),
    Service("s" * 25, 1.0, 2.0, ServiceSpec("web", TASK), previous=ServiceSpec("web", TASK, replicas=2)),
    Task("t" * 25, "s" * 25, "web", 1, 1.0, 2.0, TASK, 1, addresses=(TaskAddress("w" * 64, "10.0.0.2/24", "", 7),)),
]


def key_of(record: ClusterRecord) -> str:
    return f"{KINDS[type(record)]}/{record.id}"


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: KINDS[type(record)])
def test_a_record_comes_back_as_it_was(record: ClusterRecord) -> None:
    assert decode(key_of(record), encode(record)) == record


def test_there_is_an_example_of_every_kind() -> None:
    assert {type(record) for record in RECORDS} == set(KINDS)


def test_no_kind_begins_like_another() -> None:
    prefixes = [f"{kind}/" for kind in KINDS.values()]
    assert not [(one, other) for one in prefixes for other in prefixes if one != other and one.startswith(other)]


def test_fields_that_are_new_since_a_record_was_written_have_their_defaults() -> None:
    fields = msgspec.json.decode(encode(RECORDS[1]))
    del fields["spec"], fields["leader"], fields["version"]
    assert decode(key_of(RECORDS[1]), msgspec.json.encode(fields)) == RECORDS[1]


@pytest.mark.parametrize(
    ("key", "value"),
    [("secret/x", b"{}"), ("node", b"{}"), ("", b"{}"), ("node/x", b""), ("node/x", b"{"), ("node/x", b'{"id": 7}')],
)
def test_what_this_version_cannot_read_is_named(key: str, value: bytes) -> None:
    with pytest.raises(Internal) as caught:
        decode(key, value)
    assert caught.value.code == codes.STORE_FAILED
    assert key in caught.value.message
