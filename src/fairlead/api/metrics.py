"""The node's numbers in Prometheus' text format (version 0.0.4), on the API socket only (SEC-25).

Names end in their unit, counters in ``_total``. A scraper reads them with, say, ``curl --unix-socket``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from aiohttp import web

import fairlead
from fairlead.api.balance import balance_metrics
from fairlead.api.metric import Labels, Metric
from fairlead.api.router import Call, Route
from fairlead.model.gossip import GossipStatus
from fairlead.model.state import State

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

#: States of peers that are told also when nobody is in them, so that a graph has no holes.
PEER_STATES = ("alive", "suspect", "dead", "left")


async def metrics(call: Call) -> web.StreamResponse:
    """``GET /fairlead/metrics``."""
    found = list(node_metrics(call.node.state))
    if call.node.gossip.speaks:
        found += gossip_metrics(await call.node.gossip.status())
        found += balance_metrics(await call.node.balance.services())
        found.append(encryption_metric(await call.node.encryption.dropped()))
    text = render(found) + await call.node.http_mesh.metrics()
    return web.Response(text=text, headers={"Content-Type": CONTENT_TYPE})


def render(families: Iterable[Metric]) -> str:
    """The text."""
    lines: list[str] = []
    for family in families:
        lines += [f"# HELP {family.name} {_escaped(family.help)}", f"# TYPE {family.name} {family.kind}"]
        lines += [f"{family.name}{_labels(labels)} {_number(value)}" for labels, value in family.samples]
    return "".join(f"{line}\n" for line in lines)


def node_metrics(state: State) -> Iterator[Metric]:
    """Of the node's own records."""
    yield Metric("fairlead_info", "This daemon.", samples=(({"version": fairlead.__version__}, 1),))
    yield _one("fairlead_networks", "Networks that this node knows.", len(state.networks))
    yield _one("fairlead_endpoints", "Endpoints on this node.", len(state.endpoints))
    statuses = Counter(container.state.status for container in state.containers.values())
    samples = _by("state", statuses) or (({"state": "running"}, 0.0),)
    yield Metric("fairlead_containers", "Containers on this node.", samples=samples)


def encryption_metric(dropped: Mapping[str, int]) -> Metric:
    """Of the guards of encrypted networks (SEC-02)."""
    says = "Clear packets of encrypted networks that were dropped, since the daemon began."
    return Metric("fairlead_overlay_plaintext_drops_total", says, "counter", _by("direction", dropped))


def gossip_metrics(status: GossipStatus) -> Iterator[Metric]:
    """Of the node's part in the gossip."""
    states = Counter(peer.state for peer in status.peers)
    by_state = {state: states.get(state, 0) for state in PEER_STATES}
    yield Metric("fairlead_gossip_peers", "Other nodes, by what is believed of them.", samples=_by("state", by_state))
    yield _one("fairlead_gossip_joined", "Whether the cluster's state has come (1) or not (0).", status.joined)
    yield _one("fairlead_gossip_epoch", "Boot epoch of this node.", status.epoch)
    yield _one("fairlead_gossip_health", "Lifeguard's local health; 0 is well.", status.health)
    lag = "Age of the oldest thing said here that not all have confirmed."
    yield _one("fairlead_gossip_convergence_lag_seconds", lag, status.lag_s)
    yield _one("fairlead_gossip_queued_packets", "Packets that wait to be sent.", status.queued_packets)
    yield _one("fairlead_gossip_orphaned_blocks", "Blocks that wait for their owner's card.", status.orphaned_blocks)
    pending = "Changes heard that wait for the engine."
    yield _one("fairlead_gossip_pending_changes", pending, status.pending)
    yield _one("fairlead_gossip_awaited_writes", "Writes whose convergence is waited for.", status.waiting)
    yield _one("fairlead_gossip_keys", "Keys on the ring.", len(status.keys))
    yield _one("fairlead_gossip_data_path_mtu_bytes", "MTU of the way to the other nodes.", status.mtu)
    logs = tuple(({"scope": one.scope, "owner": one.owner}, float(one.seq)) for one in status.versions)
    yield Metric("fairlead_gossip_log_version", "Events held of an owner's log in a scope.", samples=logs)
    rtts = tuple(({"peer": peer.id}, peer.rtt_s) for peer in status.peers if peer.rtt_s is not None)
    yield Metric("fairlead_gossip_rtt_seconds", "Round trip to a node.", samples=rtts)
    events = "What the protocol has counted since it began."
    yield Metric("fairlead_gossip_events_total", events, "counter", _by("event", status.counters))
    traffic = "What has passed the sockets, in datagrams, connections or bytes by name."
    yield Metric("fairlead_gossip_traffic_total", traffic, "counter", _by("kind", status.traffic))
    refused = "Records of others that were not believed, by reason."
    yield Metric("fairlead_gossip_records_refused_total", refused, "counter", _by("reason", status.refused))
    forged = "What was never said by its owner, by who sent it."
    yield Metric("fairlead_gossip_forged_total", forged, "counter", _by("by", status.forgers))


def _one(name: str, text: str, value: float) -> Metric:
    return Metric(name, text, samples=(({}, value),))


def _by(label: str, values: Mapping[str, int]) -> tuple[tuple[Labels, float], ...]:
    return tuple(({label: name}, float(value)) for name, value in values.items())


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    inner = ",".join(f'{name}="{_quoted(value)}"' for name, value in labels.items())
    return f"{{{inner}}}"


def _quoted(text: str) -> str:
    return _escaped(text).replace('"', '\\"')


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))


def routes() -> tuple[Route, ...]:
    """The routes of this module."""
    return (Route("GET", "/fairlead/metrics", metrics),)
