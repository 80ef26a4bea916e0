"""What passes through the doors of the core: its settings, what it wants sent, what it tells, how it stands.

Everything here is data. ``Datagram``, ``Request`` and ``Lifeline`` are wishes to the edge; events are for the daemon;
``Snapshot`` is for people and metrics.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fairlead.gossip.identity import Address, NodeId
from fairlead.gossip.log import Record, Version
from fairlead.gossip.members import Standing

#: Bytes of the largest message on a stream: what a node of a large cluster lacks comes in several.
STREAM_BYTES_MAX = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class GossipSettings:
    """How a node takes part. ``authorities`` are those whose verdicts are believed (the managers)."""

    authorities: frozenset[NodeId] = frozenset()
    #: What the node says of itself, at most 512 bytes.
    metadata: bytes = b""
    #: Seconds between two probes of one kind (of the ring's successor, and of the shuffled list); 0.1 to 60. SWIM's
    #: protocol period; 1 s is memberlist's default.
    probe_period_s: float = 1.0
    #: Ring successors to which an idle TCP connection is held; 0 to 8.
    lifelines: int = 3
    #: Off: SWIM as published (``plain.py``), to measure what Lifeguard and looking for oneself are worth. All nodes alike.
    lifeguard: bool = True


@dataclass(frozen=True, slots=True)
class Datagram:
    """Send these bytes by UDP; nothing comes back to tell whether they arrived."""

    to: Address
    data: bytes


@dataclass(frozen=True, slots=True)
class Request:
    """Open a stream, send ``data`` as one framed message, and give the one reply (None when there is none, after at most
    ``timeout_s``) to ``Gossip.answered`` with this id."""

    id: int
    to: Address
    data: bytes
    timeout_s: float = 2.0


@dataclass(frozen=True, slots=True)
class Lifeline:
    """Hold an idle connection to a node (``open``), or hold it no longer. When it breaks, or cannot be made because it
    is refused, tell ``Gossip.lifeline_lost``."""

    to: Address
    open: bool


Wish = Datagram | Request | Lifeline


@dataclass(frozen=True, slots=True)
class Written:
    """Up to where a node's own log in ``scope`` must be held for a write to be there; for ``Gossip.converged``."""

    scope: str
    epoch: int
    seq: int


@dataclass(frozen=True, slots=True)
class Joined:
    """The state of the cluster has come from the node at ``seed``."""

    seed: Address


@dataclass(frozen=True, slots=True)
class MemberUp:
    """A node is there: for the first time, after it was lost, or in a new life (greater ``epoch``)."""

    id: NodeId
    address: Address
    metadata: bytes
    epoch: int


@dataclass(frozen=True, slots=True)
class MemberDown:
    """A node cannot be reached; its records are hidden until it can."""

    id: NodeId
    address: Address


@dataclass(frozen=True, slots=True)
class MemberLeft:
    """A node said farewell, or a verdict removed it."""

    id: NodeId
    address: Address


@dataclass(frozen=True, slots=True)
class MemberChanged:
    """A node says something else of itself: another address or other metadata."""

    id: NodeId
    address: Address
    metadata: bytes


@dataclass(frozen=True, slots=True)
class EpochTaken:
    """Others know a life of this node that is not this one: it has this ``epoch``, as great as ours or greater. Our boot
    epoch was used before (a clock went back and a disk was restored; a cloned machine). Nonces may be used twice and what
    is said here is not believed: end this core at once and begin another, with ``keyring.next_epoch(epoch, clock)``."""

    epoch: int


@dataclass(frozen=True, slots=True)
class RecordChanged:
    """What a reader sees under (scope, table, key) has changed from ``before`` to ``after``; None means absent.
    ``owner`` is whose word it was last."""

    scope: str
    table: str
    key: str
    owner: NodeId
    before: Record | None
    after: Record | None


@dataclass(frozen=True, slots=True)
class Settled:
    """All that the others say in a network has come, once after it was attached (and again after a late join)."""

    network: str


@dataclass(frozen=True, slots=True)
class FollowAsked:
    """A node (``by``) wants to know when this one does what its log in ``scope`` says up to an event. All of it was told
    before this; ``Following.answer`` answers. It is asked again until there is an answer."""

    by: NodeId
    scope: str
    epoch: int
    seq: int


Event = Joined | EpochTaken | Settled | MemberUp | MemberDown | MemberLeft | MemberChanged | RecordChanged | FollowAsked


@dataclass(frozen=True, slots=True)
class Peer:
    """One member as this node sees it. ``rtt_s`` is None before the first answer; ``lost_s`` since when it is dead."""

    id: NodeId
    address: Address
    standing: Standing
    epoch: int
    incarnation: int
    metadata: bytes
    rtt_s: float | None
    lost_s: float | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """How a node stands. ``lag_s`` is the age of the oldest thing of its own that not all have confirmed (0: none),
    ``digest`` what it holds of the cluster's scope as a sum that is the same for those who hold the same."""

    id: NodeId
    epoch: int
    incarnation: int
    joined: bool
    health: int
    peers: tuple[Peer, ...]
    networks: tuple[str, ...]
    #: Scope -> owner -> how much is held of its log there.
    versions: Mapping[str, Mapping[NodeId, Version]]
    #: Scope -> sum over all logs there.
    sums: Mapping[str, int]
    #: Sum over the members: the same for those who believe the same of them.
    members_sum: int
    queued_packets: int
    orphaned_blocks: int
    lag_s: float
    keys: tuple[bytes, ...]
    counters: Mapping[str, int]
    #: Who sent how much that was forged: the sender's id in hex, or its address.
    forgers: Mapping[str, int] = field(default_factory=dict)
