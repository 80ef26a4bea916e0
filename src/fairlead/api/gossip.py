"""Handlers of what gossip shows of itself: status, peers, tables. On the API socket only, as all diagnostics (SEC-25)."""

from __future__ import annotations

from collections import Counter

from aiohttp import web

from fairlead.api.router import Call, Route, answer
from fairlead.model.errors import NotFound
from fairlead.model.gossip import GossipPeer, GossipRecord, GossipStatus
from fairlead.model.state import State


async def status(call: Call) -> web.StreamResponse:
    """``GET /fairlead/gossip``: how this node takes part."""
    return answer(status_json(await call.node.gossip.status(), call.node.state))


async def peers(call: Call) -> web.StreamResponse:
    """``GET /fairlead/gossip/peers``: the other nodes."""
    filters, found = call.filters(), await call.node.gossip.status()
    chosen = [
        peer
        for peer in found.peers
        if filters.matches("id", peer.id)
        and filters.matches("node", peer.node_id)
        and filters.matches("state", peer.state)
    ]
    return answer([peer_json(peer, found) for peer in chosen])


async def table(call: Call) -> web.StreamResponse:
    """``GET /fairlead/gossip/table``: what is said in ``network`` (id, name or id prefix), or in the cluster's scope."""
    ref, state = call.text("network"), call.node.state
    network_id = state.network(ref).id if ref else ""
    try:
        found = await call.node.gossip.table(network_id)
    except NotFound as error:
        raise NotFound(
            f"this node takes no part in network {ref}",
            hint="it does as long as a container of this node is in it; ask another node",
            code=error.code,
        ) from None
    return answer([record_json(record) for record in found])


def status_json(found: GossipStatus, state: State) -> dict[str, object]:
    """A node's part in the gossip."""
    return {
        "ID": found.id,
        "NodeID": found.node_id,
        "Address": found.address,
        "Joined": found.joined,
        "Epoch": found.epoch,
        "Incarnation": found.incarnation,
        "Health": found.health,
        "DataPath": {"Address": found.data_path, "MTU": found.mtu},
        "Peers": len(found.peers),
        "PeersByState": dict(sorted(Counter(peer.state for peer in found.peers).items())),
        "Networks": [
            {
                "ID": network_id,
                "Name": state.networks[network_id].name if network_id in state.networks else "",
                "Digest": found.sums.get(network_id, ""),
                "Versions": _versions(found, network_id),
            }
            for network_id in found.networks
        ],
        "Cluster": {"Digest": found.sums.get("", ""), "Versions": _versions(found, "")},
        "LagSeconds": round(found.lag_s, 6),
        "QueuedPackets": found.queued_packets,
        "OrphanedBlocks": found.orphaned_blocks,
        "PendingChanges": found.pending,
        "WaitingForConvergence": found.waiting,
        "Keys": list(found.keys),
        "Counters": found.counters,
        "Traffic": found.traffic,
        "RecordsRefused": found.refused,
        "Forgers": found.forgers,
        "Warnings": list(found.warnings),
    }


def peer_json(peer: GossipPeer, found: GossipStatus) -> dict[str, object]:
    """Another node; ``Versions`` is how far its logs have come here, by scope."""
    return {
        "ID": peer.id,
        "NodeID": peer.node_id,
        "Address": peer.address,
        "State": peer.state,
        "Epoch": peer.epoch,
        "Incarnation": peer.incarnation,
        "DataPath": {"Address": peer.data_path, "MTU": peer.mtu},
        "RTTSeconds": peer.rtt_s,
        "LostSeconds": peer.lost_s,
        "Versions": {version.scope: version.seq for version in found.versions if version.owner == peer.id},
    }


def record_json(record: GossipRecord) -> dict[str, object]:
    """One record."""
    return {
        "Network": record.scope,
        "Table": record.table,
        "Key": record.key,
        "Owner": record.owner,
        "NodeID": record.node_id,
        "Epoch": record.epoch,
        "Version": record.seq,
        "Value": record.value,
        "Fault": record.fault,
    }


def _versions(found: GossipStatus, scope: str) -> dict[str, int]:
    return {version.owner: version.seq for version in found.versions if version.scope == scope}


def routes() -> tuple[Route, ...]:
    """The routes of this module."""
    return (
        Route("GET", "/fairlead/gossip", status),
        Route("GET", "/fairlead/gossip/peers", peers, filters=("id", "node", "state")),
        Route("GET", "/fairlead/gossip/table", table, query={"network": str}),
    )
