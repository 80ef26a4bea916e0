"""Gossip as people see it: who is there, what is said, how far it has come. For the API, metrics and the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class GossipPeer:
    """One other node. ``id`` is its id among gossip's members, ``node_id`` the cluster's (empty: it has not said it);
    ``state`` is ``alive``, ``suspect``, ``dead`` or ``left``; ``rtt_s`` the round trip, None before the first one;
    ``lost_s`` since how many seconds it is dead. ``mtu`` is that of its data path in bytes, 0 when unknown."""

    id: str
    node_id: str
    address: str
    state: str
    epoch: int
    incarnation: int
    data_path: str = ""
    mtu: int = 0
    rtt_s: float | None = None
    lost_s: float | None = None


@dataclass(frozen=True, slots=True)
class GossipVersion:
    """How much is held of one owner's log in a scope (a network's id; empty: the cluster's)."""

    scope: str
    owner: str
    epoch: int
    seq: int


@dataclass(frozen=True, slots=True)
class GossipRecord:
    """One record as a reader here sees it. ``value`` is what it says, by field; empty with ``fault`` set when it
    cannot be believed."""

    scope: str
    table: str
    key: str
    owner: str
    node_id: str
    epoch: int
    seq: int
    value: Mapping[str, object] = field(default_factory=dict)
    fault: str = ""


@dataclass(frozen=True, slots=True)
class GossipStatus:
    """How a node takes part. ``lag_s`` is the age of the oldest thing of its own that not all have confirmed (0: none),
    ``health`` Lifeguard's local health (0: well), ``networks`` the scopes that it is in, ``sums`` scope -> a sum that is
    the same at all nodes that hold the same, ``queued_packets`` what waits to be sent, ``pending`` what is heard and not
    yet told to the engine. ``refused`` counts records that were not believed, by reason; ``forgers`` says who sent how
    much that was never said by its owner (SEC-27). ``waiting`` are writes whose convergence is waited for."""

    id: str
    node_id: str
    address: str
    epoch: int
    incarnation: int
    joined: bool
    health: int
    data_path: str
    mtu: int
    peers: tuple[GossipPeer, ...]
    networks: tuple[str, ...]
    versions: tuple[GossipVersion, ...]
    sums: Mapping[str, str]
    lag_s: float
    queued_packets: int
    orphaned_blocks: int
    pending: int
    waiting: int
    keys: tuple[str, ...]
    counters: Mapping[str, int]
    traffic: Mapping[str, int]
    refused: Mapping[str, int]
    forgers: Mapping[str, int]
    warnings: tuple[str, ...] = ()
