"""Gossip for people: the core's numbers and records, and what the daemon knows of them, as values of the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from fairlead.daemon.cluster import records
from fairlead.daemon.cluster.hearsay import Hearsay, Metadata, read_metadata
from fairlead.gossip.contract import Peer, Snapshot
from fairlead.gossip.log import Record
from fairlead.gossip.tables import ATTACHMENTS
from fairlead.gossip.views import CLUSTER, VERDICTS, decode_verdict
from fairlead.model.gossip import GossipPeer, GossipRecord, GossipStatus, GossipVersion


def status(
    snapshot: Snapshot,
    hearsay: Hearsay,
    *,
    own: Metadata,
    address: str,
    traffic: Mapping[str, int],
    waiting: int,
    warnings: tuple[str, ...],
) -> GossipStatus:
    """How a node takes part."""
    return GossipStatus(
        id=snapshot.id.hex(),
        node_id=own.node_id,
        address=address,
        epoch=snapshot.epoch,
        incarnation=snapshot.incarnation,
        joined=snapshot.joined,
        health=snapshot.health,
        data_path=own.data_path,
        mtu=own.mtu,
        peers=tuple(_peer(peer, read_metadata(peer.metadata)) for peer in snapshot.peers),
        networks=snapshot.networks,
        versions=tuple(
            GossipVersion(scope, owner.hex(), version.epoch, version.seq)
            for scope, owners in sorted(snapshot.versions.items())
            for owner, version in sorted(owners.items())
        ),
        sums={scope: f"{value:016x}" for scope, value in snapshot.sums.items()},
        lag_s=snapshot.lag_s,
        queued_packets=snapshot.queued_packets,
        orphaned_blocks=snapshot.orphaned_blocks,
        pending=hearsay.waiting(),
        waiting=waiting,
        keys=tuple(key.hex() for key in snapshot.keys),
        counters=dict(sorted(snapshot.counters.items())),
        traffic=dict(sorted(traffic.items())),
        refused=dict(sorted(hearsay.refused.items())),
        forgers=dict(sorted(snapshot.forgers.items())),
        warnings=warnings,
    )


def record_row(record: Record, hearsay: Hearsay, own: Metadata) -> GossipRecord:
    """One record. Values of the cluster's own tables are plain, those of a network are opened if they can be."""
    metadata = hearsay.members.get(record.owner, own if record.owner == hearsay.own else Metadata())
    value, fault = _value(record, hearsay, metadata)
    return GossipRecord(
        scope=record.scope,
        table=record.table,
        key=record.key,
        owner=record.owner.hex(),
        node_id=metadata.node_id,
        epoch=record.epoch,
        seq=record.seq,
        value=value,
        fault=fault,
    )


def _value(record: Record, hearsay: Hearsay, metadata: Metadata) -> tuple[Mapping[str, object], str]:
    if record.scope != CLUSTER:
        if not record.value:
            return {}, "withdrawn"
        fact, fault = records.read(record, hearsay.veil(record.scope), metadata.data_path or None)
        return (asdict(fact), "") if fact is not None else ({}, fault)
    if record.table == ATTACHMENTS:
        return {"network_id": record.key.partition("/")[0]}, ""
    verdict = decode_verdict(record.value) if record.table == VERDICTS else None
    if verdict is None:
        return {}, records.MALFORMED
    return {"removed": verdict.owner.hex(), "epoch": verdict.epoch}, ""


def _peer(peer: Peer, metadata: Metadata) -> GossipPeer:
    return GossipPeer(
        id=peer.id.hex(),
        node_id=metadata.node_id,
        address=str(peer.address),
        state=peer.standing.name.lower(),
        epoch=peer.epoch,
        incarnation=peer.incarnation,
        data_path=metadata.data_path,
        mtu=metadata.mtu,
        rtt_s=peer.rtt_s,
        lost_s=peer.lost_s,
    )
