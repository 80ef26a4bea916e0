"""Nodes: admitted, heard of, promoted, removed; the cluster's spec, tokens and authority."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.sim.cluster_world import Villager, World

from fairlead.model import codes
from fairlead.model.cluster import (
    DOWN,
    DRAIN,
    MANAGER,
    READY,
    UNKNOWN,
    WORKER,
    ClusterNode,
    ClusterSpec,
    NodeDescription,
)
from fairlead.model.cluster_commands import (
    Admission,
    AdmitNode,
    InitCluster,
    RemoveNode,
    RenewNode,
    ReplaceAuthority,
    SessionOpened,
    UpdateCluster,
    UpdateNode,
)
from fairlead.model.errors import Ambiguous, Conflict, Forbidden, Internal, Invalid, NotFound, Unavailable
from fairlead.model.session import Assignments, Dismissed, Heartbeat, Hello
from fairlead.pki import rotation
from fairlead.pki.authority import issuer_id, new_authority


@pytest.fixture
def world() -> World:
    made = World()
    made.found()
    return made


def _record(world: World, node: Villager) -> ClusterNode:
    return world.manager.state.nodes[node.id]


def _promote(world: World, node: Villager, role: str = MANAGER) -> ClusterNode:
    spec = replace(_record(world, node).spec, role=role)
    changed = world.must(UpdateNode(node.id, spec))
    assert isinstance(changed, ClusterNode)
    world.settle()
    return changed


def _init(world: World, **more: object) -> object:
    description = NodeDescription("m")
    return World(1).must(InitCluster(new_authority(world.chance, world.at), description, **more))  # type: ignore[arg-type]


def test_the_first_node_is_a_manager_and_ready(world: World) -> None:
    (node,) = world.manager.state.nodes.values()
    assert (node.role, node.spec.role, node.state, node.leader) == (MANAGER, MANAGER, READY, True)
    assert node.manager_address == ""  # said by the node itself when it opens its session


def test_a_token_decides_the_role(world: World) -> None:
    worker, manager = world.join("w"), world.join("v", role=MANAGER)
    assert (_record(world, worker).role, _record(world, manager).role) == (WORKER, MANAGER)


def test_sec_a_wrong_or_rotated_token_admits_nobody(world: World) -> None:
    cluster = world.manager.state.cluster
    nodes = len(world.manager.state.nodes)
    wrong = cluster.worker_token[:-1] + ("0" if cluster.worker_token[-1] != "0" else "1")
    with pytest.raises(Forbidden, match="A valid join token is necessary to join this cluster"):
        world.must(AdmitNode(wrong, "key", NodeDescription("w")))
    world.must(UpdateCluster(rotate_worker_token=True))
    with pytest.raises(Forbidden):
        world.must(AdmitNode(cluster.worker_token, "key", NodeDescription("w")))
    assert len(world.manager.state.nodes) == nodes
    assert world.manager.state.cluster.manager_token == cluster.manager_token


def test_sec_a_join_is_not_replayed(world: World) -> None:
    token = world.manager.state.cluster.worker_token
    asked = AdmitNode(token, "key", NodeDescription("w", gossip_key="aa"))
    world.must(asked)
    for again in (asked, replace(asked, public_key="other"), replace(asked, description=NodeDescription("v"))):
        with pytest.raises(Forbidden) as refused:
            world.must(again)
        assert refused.value.code == codes.JOIN_REPLAYED


def test_three_heartbeats_missed_and_a_node_is_down(world: World) -> None:
    node = world.join("w")
    world.tick(14.9)
    assert _record(world, node).state == READY
    node.say(Heartbeat())
    world.tick(14.9)
    assert _record(world, node).state == READY
    world.tick(0.2)
    assert (_record(world, node).state, _record(world, node).message) == (DOWN, "heartbeat failure")
    node.connect()
    assert _record(world, node).state == READY


def test_after_a_managers_restart_nodes_are_unknown_and_have_longer(world: World) -> None:
    node, gone = world.join("w"), world.join("v")
    world.tick(16)
    node.connect()
    world.restart()
    assert _record(world, node).state == UNKNOWN
    assert _record(world, gone).state == DOWN
    world.tick(29.9)
    assert _record(world, node).state == UNKNOWN
    world.tick(0.2)
    assert _record(world, node).state == DOWN


def test_a_node_is_found_by_id_name_and_prefix(world: World) -> None:
    node, state = world.join("w"), world.manager.state
    assert state.node(node.id) is state.node("w") is state.node(node.id[:12])
    with pytest.raises(NotFound, match="node nope not found"):
        state.node("nope")
    world.join("w2")
    world.must(UpdateNode("w2", replace(state.node("w2").spec, name="w")))
    with pytest.raises(Ambiguous, match=r"node w is ambiguous \(2 matches found\)"):
        state.node("w")


def test_availability_and_labels_reach_the_node(world: World) -> None:
    node = world.join("w")
    spec = replace(_record(world, node).spec, availability=DRAIN, labels={"rack": "3"})
    changed = world.must(UpdateNode("w", spec, version=_record(world, node).version))
    assert isinstance(changed, ClusterNode)
    told = [message for _, message in node.inbox if isinstance(message, Assignments) and message.node]
    assert told[0].node is not None
    assert (told[0].node.availability, told[0].node.labels) == (DRAIN, {"rack": "3"})
    with pytest.raises(Internal, match="rpc error: code = Unknown desc = update out of sequence"):
        world.must(UpdateNode("w", spec, version=changed.version - 1))
    with pytest.raises(Invalid, match="invalid availability"):
        world.must(UpdateNode("w", replace(spec, availability="asleep")))


def test_a_promotion_is_wanted_told_certified_and_then_so(world: World) -> None:
    node = world.join("w")
    changed = _promote(world, node)
    assert (changed.spec.role, changed.role) == (MANAGER, WORKER)
    assert node.told_role == MANAGER
    admission = world.must(RenewNode(node.id, "new key"))
    assert admission == Admission(node.id, MANAGER, world.manager.state.cluster.id)
    node.role = MANAGER
    node.connect()
    assert _record(world, node).role == MANAGER


def test_the_last_manager_stays_one(world: World) -> None:
    manager = next(iter(world.nodes.values()))
    with pytest.raises(Invalid, match="attempting to demote the last manager of the swarm"):
        _promote(world, manager, WORKER)
    _promote(world, world.join("w"))
    assert _promote(world, manager, WORKER).spec.role == WORKER


def test_removal_is_refused_in_swarms_words(world: World) -> None:
    node, manager = world.join("w"), world.join("v", role=MANAGER)
    with pytest.raises(Invalid, match=f"FailedPrecondition desc = node {node.id} is not down and can't be removed"):
        world.must(RemoveNode("w"))
    with pytest.raises(Invalid, match=f"node {manager.id} is a cluster manager and is a member of the raft cluster"):
        world.must(RemoveNode("v", force=True))
    node.disconnect()
    world.beat(20)
    world.must(RemoveNode("w"))
    assert node.id not in world.manager.state.nodes


def test_sec_a_removed_node_is_out_at_once_and_everybody_knows(world: World) -> None:
    node, other = world.join("w"), world.join("v")
    before = world.manager.state.cluster.gossip_keys
    world.must(RemoveNode("w", force=True))
    assert [message for _, message in node.inbox] == [Dismissed("the node was removed from the cluster", removed=True)]
    told = [one.settings for _, one in other.inbox if isinstance(one, Assignments) and one.settings]
    assert told[0].removed == (node.id,)
    assert told[0].removed_keys == (node.description.gossip_key,)
    assert len(world.manager.state.cluster.gossip_keys.keys) == len(before.keys) + 1
    with pytest.raises(Forbidden, match="is not part of the cluster"):
        world.must(RenewNode(node.id))
    node.connect()
    node.read()
    assert node.is_out
    until = world.manager.state.cluster.removed[node.id] - world.at
    assert until == 97 * 86400


def test_a_late_session_does_not_push_out_a_newer_one(world: World) -> None:
    node = world.join("w")
    session = node.session
    node.connect()
    world.ask(SessionOpened(node.id, session, Hello(node.description), WORKER))
    node.say(Heartbeat())
    world.settle()
    assert world.manager.core.sessions[node.id].number == node.session


def test_the_clusters_spec(world: World) -> None:
    cluster = world.manager.state.cluster
    with pytest.raises(Internal, match="update out of sequence"):
        world.must(UpdateCluster(ClusterSpec(), version=cluster.version + 1))
    with pytest.raises(Invalid, match='swarm spec must be named "default"'):
        world.must(UpdateCluster(ClusterSpec(name="mine")))
    with pytest.raises(Invalid, match="minimum certificate expiry time is: 1h0m0s"):
        world.must(UpdateCluster(ClusterSpec(certificate_s=60)))
    world.must(UpdateCluster(ClusterSpec(heartbeat_s=1.0), version=cluster.version))
    node = world.join("w")
    node.say(Heartbeat())
    world.tick(3.1)
    assert _record(world, node).state == DOWN


def test_autolock_makes_an_unlock_key_and_takes_it_back(world: World) -> None:
    world.must(UpdateCluster(ClusterSpec(autolock=True)))
    key = world.manager.state.cluster.unlock_key
    assert key.startswith("SWMKEY-1-")
    world.must(UpdateCluster(ClusterSpec(autolock=True), rotate_unlock_key=True))
    assert world.manager.state.cluster.unlock_key not in ("", key)
    world.must(UpdateCluster(ClusterSpec()))
    assert world.manager.state.cluster.unlock_key == ""


def test_a_new_root_takes_over_when_every_node_has_its_certificate(world: World) -> None:
    node = world.join("w")
    before = world.manager.state.cluster
    old_root = node.roots
    world.must(ReplaceAuthority())
    authority = world.manager.state.cluster.authority
    assert rotation.is_rotating(authority)
    world.settle()
    assert old_root in node.roots
    assert node.roots != old_root
    world.issuer = issuer_id(authority)
    first, *others = world.nodes.values()
    first.connect()
    assert rotation.is_rotating(world.manager.state.cluster.authority)
    for one in others:
        one.connect()
    world.settle()
    after = world.manager.state.cluster
    assert not rotation.is_rotating(after.authority)
    assert old_root not in node.roots
    assert after.worker_token.split("-")[2] != before.worker_token.split("-")[2]


def test_nodes_are_told_to_renew_while_the_root_is_replaced(world: World) -> None:
    node = world.join("w")
    world.must(ReplaceAuthority())
    told = [one.node for _, one in node.inbox if isinstance(one, Assignments) and one.node]
    assert told[-1].renew


def test_a_cluster_that_cannot_be_is_refused(world: World) -> None:
    with pytest.raises(Invalid, match="subnet size is out of range: 30"):
        _init(world, default_pools=(("10.0.0.0/8", 30),))
    with pytest.raises(Invalid, match="invalid base pool nonsense"):
        _init(world, default_pools=(("nonsense", 24),))
    with pytest.raises(Invalid, match=r'invalid CIDR: "10\.0\.0\.0/16"\. Subnet size is too small for pool: 12'):
        _init(world, default_pools=(("10.0.0.0/16", 12),))
    with pytest.raises(Invalid, match="overlaps with"):
        _init(world, default_pools=(("10.0.0.0/8", 24), ("10.1.0.0/16", 24)))
    with pytest.raises(Invalid, match=r"VXLAN UDP port number is not in valid range \(1024-49151\): 80"):
        _init(world, data_path_port=80)
    with pytest.raises(Conflict, match="already part of a swarm"):
        world.must(InitCluster(new_authority(world.chance, world.at), NodeDescription("m")))
    with pytest.raises(Unavailable, match="This node is not a swarm manager"):
        World(1).must(UpdateCluster())
