"""What is heard of other nodes by gossip, and what of it the engine is told.

Events of gossip go in one by one; what they come to is taken out in batches, each thing once however often it changed
meanwhile. The endpoints of a node that cannot be reached stay in the data path: whoever can still reach its containers
(its daemon alone may be gone, or we alone cut off) is not disturbed, and nobody else is given their addresses before a
manager has taken them back. Their names go at once, for a client should be sent elsewhere. A word of an owner that cannot
be opened for want of its key changes nothing of what is believed of that owner: while keys rotate, no name is missing and
no endpoint out of reach for a moment.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address

from fairlead.daemon.cluster import records
from fairlead.daemon.cluster.records import NAMES, PEERS, UNSEALED, Fact
from fairlead.gossip.contract import Event, MemberChanged, MemberDown, MemberLeft, MemberUp, RecordChanged
from fairlead.gossip.identity import Address, NodeId
from fairlead.gossip.log import Record
from fairlead.gossip.veil import Veil
from fairlead.model.addresses import bare
from fairlead.model.cluster import Peer, PeerNames, Station
from fairlead.model.events import NamesSeen, PeersSeen, StationsSeen

#: Changes that the engine is told of in one turn: a burst is one, and a flood lets others have their turns between.
CHANGES_TURN = 2048
#: Nodes of which it is remembered that something of them was not believed.
DOUBTED_MAX = 4096
#: What ids and addresses in a node's metadata have at most, characters.
_TEXT_MAX = 64
_MTU_MAX = 65535

_Name = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a node says of itself in its card: its id in the cluster, the end of its tunnels, their MTU in bytes, and what it
    drew for its present life as an end of encrypted tunnels (``Station``)."""

    node_id: str = ""
    data_path: str = ""
    mtu: int = 0
    nonce: str = ""

    def encode(self) -> bytes:
        """As it stands in the card."""
        said = {"node": self.node_id, "data_path": self.data_path, "mtu": self.mtu}
        return json.dumps(said | {"nonce": self.nonce} if self.nonce else said).encode()


def read_metadata(data: bytes) -> Metadata:
    """What a card says; empty for what it does not say in a way that makes sense."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return Metadata()
    if not isinstance(found, dict):
        return Metadata()
    node, path, mtu, nonce = (found.get(name) for name in ("node", "data_path", "mtu", "nonce"))
    return Metadata(
        node if isinstance(node, str) and len(node) <= _TEXT_MAX and node.isalnum() else "",
        path if isinstance(path, str) and _is_address(path) else "",
        mtu if isinstance(mtu, int) and 0 < mtu <= _MTU_MAX else 0,
        nonce if isinstance(nonce, str) and len(nonce) <= _TEXT_MAX and nonce.isascii() and nonce.isalnum() else "",
    )


class Hearsay:
    """What one node (``own``) believes of the others' endpoints."""

    def __init__(self, own: NodeId) -> None:
        self.own = own
        self._veils: dict[str, Veil] = {}
        self._removed: frozenset[str] = frozenset()
        self._down: set[NodeId] = set()
        #: (network, table, endpoint) -> what the engine was told, or is to be told next, and by whom.
        self._believed: dict[_Name, tuple[NodeId, Fact]] = {}
        #: Of those the ones whose owners are down.
        self._kept: dict[NodeId, set[_Name]] = {}
        self._pending: dict[_Name, Fact | None] = {}
        #: Ends of encrypted tunnels by their addresses, and those of which the engine is to be told.
        self.stations: dict[str, Station] = {}
        self._moved: set[str] = set()
        #: Owners of records that were not believed for what their cards say, or for keys that are not held.
        self._doubted: set[NodeId] = set()
        self.members: dict[NodeId, Metadata] = {}
        #: Where all that are or were there listen, for the next start.
        self.addresses: dict[NodeId, Address] = {}
        #: Why records were not believed, and how often.
        self.refused: Counter[str] = Counter()

    def waiting(self) -> int:
        """How many changes wait to be taken."""
        return len(self._pending) + len(self._moved)

    def enter(self, network: str, veil: Veil) -> None:
        """This node takes part in a network, or has other keys of it; what is said there is to be heard again."""
        self._veils[network] = veil

    def leave(self, network: str) -> None:
        """It takes no part any more; the engine knows."""
        self._veils.pop(network, None)
        for name in [name for name in self._believed if name[0] == network]:
            self._forget(name)
        for name in [name for name in self._pending if name[0] == network]:
            del self._pending[name]

    def networks(self) -> Collection[str]:
        """Networks that this node takes part in."""
        return self._veils.keys()

    def veil(self, network: str) -> Veil | None:
        """What opens the values of a network."""
        return self._veils.get(network)

    def remove_nodes(self, nodes: Collection[str]) -> None:
        """These nodes (by their ids in the cluster) are out: nothing of them is believed, from now on."""
        self._removed = frozenset(nodes)
        for member, metadata in self.members.items():
            if metadata.node_id in self._removed:
                self._withdraw_all(member)
                self._locate(metadata, Metadata())

    def hear(self, event: Event) -> bool:
        """Take an event. True when records that were not believed may be now, and are to be heard again (``hear_again``)."""
        match event:
            case RecordChanged():
                self._record(event.scope, event.table, event.key, event.owner, event.before, event.after)
            case MemberUp():
                return self._up(event)
            case MemberChanged():
                return self._described(event.id, event.address, event.metadata)
            case MemberDown():
                self._down.add(event.id)
            case MemberLeft():
                self._down.discard(event.id)
                self.addresses.pop(event.id, None)
                self._locate(self.members.pop(event.id, Metadata()), Metadata())
                self._withdraw_all(event.id)
            case _:
                pass
        return False

    def hear_again(self, found: Iterable[Record]) -> None:
        """Records as they stand: what was not believed before may be now."""
        self._doubted.clear()
        for record in found:
            self._record(record.scope, record.table, record.key, record.owner, None, record)

    def take(self) -> Iterator[StationsSeen | PeersSeen | NamesSeen]:
        """What the engine is to be told now; nodes before endpoints, so that nothing is sent to one before it can be
        encrypted, and endpoints before names, so that whoever has a name can be reached."""
        if self._moved:
            moved, self._moved = sorted(self._moved), set()
            yield StationsSeen(tuple((vtep, self.stations.get(vtep)) for vtep in moved))
        batch = [(name, self._pending.pop(name)) for name in list(self._pending)[:CHANGES_TURN]]
        for network in dict.fromkeys(name[0] for name, _ in batch):
            told = [(name, fact) for name, fact in batch if name[0] == network]
            peers = tuple(
                (one, fact) for (_, table, one), fact in told if table == PEERS and isinstance(fact, Peer | None)
            )
            names = tuple(
                (one, fact) for (_, table, one), fact in told if table == NAMES and isinstance(fact, PeerNames | None)
            )
            if peers:
                yield PeersSeen(network, peers)
            if names:
                yield NamesSeen(network, names)

    def put_back(self, event: StationsSeen | PeersSeen | NamesSeen) -> None:
        """The engine could not follow this: it is to be told again, but for what there is newer word of."""
        if isinstance(event, StationsSeen):
            self._moved |= {vtep for vtep, _ in event.changes}
            return
        table = PEERS if isinstance(event, PeersSeen) else NAMES
        if event.network_id in self._veils:
            for endpoint, fact in event.changes:
                self._pending.setdefault((event.network_id, table, endpoint), fact)

    def told(self, node: str) -> bool:
        """Whether anything of a node (by its id in the cluster) is believed, or was and the engine has not been told."""
        return any(self.members.get(owner, Metadata()).node_id == node for owner, _ in self._believed.values()) or any(
            fact is None for fact in self._pending.values()
        )

    def claimed(self, network: str, address: str, generation: int) -> bool:
        """The same of an address up to a generation. What is left of a node that is down is withdrawn."""
        held = [
            (name, owner)
            for name, (owner, fact) in self._believed.items()
            if name[0] == network
            and isinstance(fact, Peer)
            and fact.generation <= generation
            and address in {bare(fact.ipv4), bare(fact.ipv6)}
        ]
        for name, owner in held:
            if owner in self._down:
                self._withdraw(name)
        return any(name in self._believed for name, _ in held) or any(fact is None for fact in self._pending.values())

    def _record(
        self, scope: str, table: str, key: str, owner: NodeId, before: Record | None, after: Record | None
    ) -> None:
        if scope not in self._veils or table not in (PEERS, NAMES) or owner == self.own:
            return
        name = (scope, table, records.endpoint_of(key))
        known = self._believed.get(name)
        if after is None:
            if known is None or known[0] != owner:
                return
            if table == PEERS and owner in self._down:
                self._kept.setdefault(owner, set()).add(name)
            else:
                self._withdraw(name)
            return
        metadata = self.members.get(owner, Metadata())
        fact, fault = records.read(after, self._veils[scope], metadata.data_path or None)
        if fault and not after.value:
            fault = "withdrawn"  # said by its owner before it is taken back, so that it counts in this life of it
        elif fault or metadata.node_id in self._removed:
            self.refused[fault or "removed"] += 1
            if len(self._doubted) < DOUBTED_MAX:
                self._doubted.add(owner)
            if fault == UNSEALED and metadata.node_id not in self._removed and known is not None and known[0] == owner:
                # Keys and records come by different ways: a key may be dropped here before its owner's word under the
                # next one arrives, or that word before its key. What is believed of the owner holds until then.
                self._kept.get(owner, set()).discard(name)
                return
        elif self._claimed_by_another(name, owner):
            self.refused["claimed_twice"] += 1
            return
        if fact is None or metadata.node_id in self._removed:
            if known is not None and known[0] == owner:
                self._withdraw(name)
            return
        self._kept.get(owner, set()).discard(name)
        if known is None or known[1] != fact:
            self._believed[name] = (owner, fact)
            self._pending[name] = fact

    def _claimed_by_another(self, name: _Name, owner: NodeId) -> bool:
        """Whether another node has said this endpoint. Names are withdrawn while their node is away, its endpoints are not:
        so nobody takes over the names of somebody who is away."""
        scope, table, endpoint = name
        said = (self._believed.get((scope, part, endpoint)) for part in dict.fromkeys((table, PEERS)))
        return any(claim is not None and claim[0] != owner for claim in said)

    def _up(self, event: MemberUp) -> bool:
        """A node is there (again). What it said is heard already: what was kept of it and was not said again is over."""
        self._down.discard(event.id)
        for name in self._kept.pop(event.id, set()):
            self._withdraw(name)
        return self._described(event.id, event.address, event.metadata)

    def _described(self, member: NodeId, address: Address, data: bytes) -> bool:
        self.addresses[member] = address
        before, after = self.members.get(member), read_metadata(data)
        self.members[member] = after
        if before == after:
            return False
        self._locate(before or Metadata(), after)
        moved = before is not None and before.data_path != after.data_path
        if moved:  # its tunnels end elsewhere: what it says of its endpoints is to be heard again
            self._withdraw_all(member)
        return moved or member in self._doubted

    def _locate(self, before: Metadata, after: Metadata) -> None:
        """A node's tunnels end elsewhere now, or it has begun another life; nowhere, if it says no nonce or is out."""
        old = self.stations.get(before.data_path)
        if old is not None and old.node_id == before.node_id:
            del self.stations[before.data_path]
            self._moved.add(before.data_path)
        if after.nonce and after.data_path and after.node_id and after.node_id not in self._removed:
            self.stations[after.data_path] = Station(after.node_id, after.data_path, after.nonce)
            self._moved.add(after.data_path)

    def _withdraw_all(self, owner: NodeId) -> None:
        self._kept.pop(owner, None)
        for name in [name for name, (by, _) in self._believed.items() if by == owner]:
            self._withdraw(name)

    def _withdraw(self, name: _Name) -> None:
        if name in self._believed:
            self._forget(name)
            self._pending[name] = None

    def _forget(self, name: _Name) -> None:
        owner, _ = self._believed.pop(name)
        self._kept.get(owner, set()).discard(name)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
