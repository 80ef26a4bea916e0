"""Who belongs to the cluster, and what is believed of each.

Theory of operation (SWIM, DSN 2002, sections 4.2 and 4.3; changed where marked). Each node signs a *card*: its key, where
it listens, a word about itself, the epoch of its life and an incarnation that it alone raises. Others hold opinions of a
card; of two cards the newer one counts (epoch, then incarnation), and a node that hears ill of itself raises its
incarnation and is alive again by its own word.

Changed: an opinion of a card is a *level*, even for alive and odd for dead, and the greater level counts. Whoever loses a
node raises an even level by one, and whoever has an answer of a node that is said to be dead raises an odd one; so does
that node itself. So what one sees outranks what one hears, for everybody and without a new signature, and the opinions of all meet in the greatest
level whatever way they take: after a partition one contact between the halves brings all back.

The dead are not forgotten: a dead node is a member whose records are hidden, until it leaves or is removed. A suspicion
is a question that one node has under way; it is no opinion and travels to nobody but its subject.

    card      public key 32 | epoch | incarnation | left | port | host | metadata | signature 64

Cards and levels are state that nodes compare (``sum``).
"""

from __future__ import annotations

import hashlib
import ipaddress
import struct
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import IntEnum

from fairlead.gossip import codec
from fairlead.gossip.codec import Malformed, Reader
from fairlead.gossip.identity import (
    PUBLIC_KEY_BYTES,
    SIGNATURE_BYTES,
    Address,
    Identity,
    NodeId,
    Verify,
    node_id,
    verified,
)
from fairlead.gossip.keyring import EPOCH_MAX, ShortId, short
from fairlead.gossip.sums import Sums

#: Bytes of what a node says of itself (memberlist's limit).
METADATA_BYTES_MAX = 512
#: Members at most: what a forger who has a cluster key could make a node remember.
MEMBERS_MAX = 65536
#: Largest level on the wire; odd, so that a forger who says it of a living node is contradicted by the node's next card.
LEVEL_MAX = 2**32 - 1
_CARD_LABEL = b"fairlead gossip card\0"


class Standing(IntEnum):
    """What is believed of a member, worse last."""

    ALIVE = 0
    SUSPECT = 1
    DEAD = 2
    LEFT = 3


@dataclass(frozen=True, slots=True)
class Card:
    """What a node says of itself. ``left`` is its farewell."""

    public_key: bytes
    epoch: int
    incarnation: int
    address: Address
    metadata: bytes
    left: bool
    body: bytes
    signature: bytes

    @property
    def id(self) -> NodeId:
        """Whose it is."""
        return node_id(self.public_key)

    @property
    def order(self) -> tuple[int, int]:
        """Greater is newer."""
        return self.epoch, self.incarnation


@dataclass(frozen=True, slots=True)
class Opinion:
    """What is said of a card of this order: an even level that its node lives, an odd one that it is dead. ``suspect``:
    only that it may be (plain SWIM says so to all)."""

    id: NodeId
    epoch: int
    incarnation: int
    level: int
    suspect: bool = False

    @property
    def order(self) -> tuple[int, int]:
        """Of which card it speaks."""
        return self.epoch, self.incarnation

    @property
    def dead(self) -> bool:
        """Whether it says that the node is dead."""
        return bool(self.level & 1)


@dataclass(frozen=True, slots=True)
class Member:
    """A node as one believes it to be."""

    id: NodeId
    card: Card
    level: int = 0
    suspected: bool = False

    @property
    def standing(self) -> Standing:
        """What all that is known of it comes to."""
        if self.card.left:
            return Standing.LEFT
        if self.level & 1:
            return Standing.DEAD
        return Standing.SUSPECT if self.suspected else Standing.ALIVE

    @property
    def opinion(self) -> Opinion:
        """What is believed of it, to tell others."""
        return Opinion(self.id, *self.card.order, self.level)

    @property
    def reachable(self) -> bool:
        """Whether it is to be spoken to as a matter of course: also while it is suspected."""
        return not self.level & 1 and not self.card.left


def write_card(
    identity: Identity, epoch: int, incarnation: int, address: Address, metadata: bytes = b"", *, left: bool = False
) -> Card:
    """A signed card."""
    if len(metadata) > METADATA_BYTES_MAX:
        raise ValueError(f"metadata of {len(metadata)} bytes; at most {METADATA_BYTES_MAX}")
    host = ipaddress.ip_address(address.host).packed
    parts = [identity.public_key, codec.varint(epoch), codec.varint(incarnation), bytes((left,))]
    parts += [codec.varint(address.port), codec.blob(host), codec.blob(metadata)]
    body = b"".join(parts)
    signature = identity.sign(_CARD_LABEL + body)
    return Card(identity.public_key, epoch, incarnation, address, metadata, left, body, signature)


def encode_card(card: Card) -> bytes:
    """A card as it is sent."""
    return codec.blob(card.body) + card.signature


def read_card(reader: Reader) -> Card:
    """A card, not yet checked; raises ``Malformed``."""
    body = reader.blob(PUBLIC_KEY_BYTES + 64 + METADATA_BYTES_MAX)
    signature = reader.take(SIGNATURE_BYTES)
    inner = Reader(body)
    key, epoch, incarnation = inner.take(PUBLIC_KEY_BYTES), inner.varint(EPOCH_MAX), inner.varint(EPOCH_MAX)
    left, port = inner.byte(), inner.varint(65535)
    host, metadata = inner.blob(16), inner.blob(METADATA_BYTES_MAX)
    inner.end()
    if left > 1 or not port or len(host) not in (4, 16):
        raise Malformed
    where = ipaddress.ip_address(host)
    if where.is_multicast or where.is_unspecified:  # nobody is there, and all would send probes to many
        raise Malformed
    return Card(key, epoch, incarnation, Address(str(where), port), metadata, bool(left), body, signature)


def genuine_card(card: Card, verify: Verify = verified) -> bool:
    """Whether the owner of the key in it signed it."""
    return verify(card.public_key, card.signature, _CARD_LABEL + card.body)


class Members:
    """What one node believes of all, itself included. ``changes`` grows whenever the ring or who is reachable changes."""

    def __init__(self, own: Card) -> None:
        self.own = own.id
        #: Over what is believed of each: the same for those who believe the same.
        self.sums = Sums()
        self.changes = 0
        #: Ids of all that have not left, dead ones too, ascending: the ring of probes and trees.
        self.ring: list[NodeId] = []
        self._members: dict[NodeId, Member] = {}
        #: Beginnings of ids -> whose they are.
        self.shorts: dict[ShortId, NodeId] = {}
        #: Hosts of all that have not left -> how many are there.
        self.hosts: Counter[str] = Counter()
        self._addresses: dict[Address, NodeId] = {}
        #: Ids of the dead.
        self.lost: set[NodeId] = set()
        #: Whom verdicts have removed, and up to which epoch.
        self.banned: dict[NodeId, int] = {}
        self._set(Member(own.id, own))

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, identifier: object) -> bool:
        return identifier in self._members

    def __iter__(self) -> Iterator[Member]:
        return iter(self._members.values())

    def get(self, identifier: NodeId) -> Member | None:
        """One member, None when there is none of that id."""
        return self._members.get(identifier)

    @property
    def card(self) -> Card:
        """This node's own."""
        return self._members[self.own].card

    def named(self, name: ShortId) -> Member | None:
        """The member whose id begins so."""
        identifier = self.shorts.get(name)
        return self._members.get(identifier) if identifier else None

    def lives(self, name: ShortId, epoch: int) -> bool:
        """Whether a member of this short id is in this epoch by its card."""
        member = self.named(name)
        return member is not None and member.card.epoch == epoch

    def at(self, address: Address) -> Member | None:
        """The member that said last that it listens there."""
        identifier = self._addresses.get(address)
        return self._members.get(identifier) if identifier else None

    def successors(self, count: int) -> list[Member]:
        """The next reachable nodes on the ring after this one."""
        found: list[Member] = []
        at = bisect_left(self.ring, self.own)
        for step in range(1, len(self.ring)):
            member = self._members[self.ring[(at + step) % len(self.ring)]]
            if member.reachable and member.id != self.own:
                found.append(member)
                if len(found) >= count:
                    break
        return found

    def meet(self, card: Card) -> Member | None:
        """Take a card (checked); the member when it is news."""
        known = self._members.get(card.id)
        if known is not None and card.order <= known.card.order:
            return None
        if known is None and len(self._members) >= MEMBERS_MAX:
            return None
        if card.epoch <= self.banned.get(card.id, -1) or self.shorts.get(short(card.id), card.id) != card.id:
            return None
        return self._set(Member(card.id, card))

    def judge(self, opinion: Opinion) -> Member | None:
        """Take an opinion; the member when it is news."""
        known = self._members.get(opinion.id)
        if known is None or known.card.left or opinion.order != known.card.order or opinion.level <= known.level:
            return None
        return self._set(replace(known, level=opinion.level, suspected=False))

    def see(self, identifier: NodeId, level: int = 0) -> Member | None:
        """It has answered, whatever is said (of level ``level``): it lives. The member when that is news."""
        known = self._members.get(identifier)
        if known is None or known.card.left:
            return None
        level = max(known.level, level)
        level += level & 1
        if level > LEVEL_MAX or (level == known.level and not known.suspected):
            return None
        return self._set(replace(known, level=level, suspected=False))

    def suspect(self, identifier: NodeId) -> None:
        """Ask oneself whether it lives."""
        known = self._members.get(identifier)
        if known is not None and known.reachable and not known.suspected:
            self._set(replace(known, suspected=True))

    def lose(self, identifier: NodeId, level: int = 0) -> Member | None:
        """It is dead, as far as one can tell; the member when that is news."""
        known = self._members.get(identifier)
        if known is None or not known.reachable:
            return None
        return self._set(replace(known, level=max(known.level + 1, level), suspected=False))

    def remove(self, identifier: NodeId, epoch: int) -> Member | None:
        """Forget a member and its lives up to an epoch, by a verdict of a manager."""
        known = self._members.get(identifier)
        self.banned[identifier] = max(epoch, self.banned.get(identifier, -1))
        if known is None or known.card.epoch > epoch or identifier == self.own:
            return None
        self._unset(known)
        self.changes += 1
        return known

    def _unset(self, known: Member) -> None:
        del self._members[known.id]
        self.sums.add(known.id, -_weight(known))
        self.lost.discard(known.id)
        self.shorts.pop(short(known.id), None)
        if self._addresses.get(known.card.address) == known.id:
            del self._addresses[known.card.address]
        if not known.card.left:
            self.hosts[known.card.address.host] -= 1
            if not self.hosts[known.card.address.host]:
                del self.hosts[known.card.address.host]
            self.ring.pop(bisect_left(self.ring, known.id))

    def _set(self, member: Member) -> Member:
        known = self._members.get(member.id)
        if known is not None:
            self._unset(known)
        self._members[member.id] = member
        self.sums.add(member.id, _weight(member))
        self.shorts[short(member.id)] = member.id
        if not member.card.left:
            insort(self.ring, member.id)
            self.hosts[member.card.address.host] += 1
            self._addresses[member.card.address] = member.id
            if member.level & 1:
                self.lost.add(member.id)
        if known is None or known.standing != member.standing:
            self.changes += 1
        return member


def _weight(member: Member) -> int:
    """What a member adds to the sum."""
    numbers = struct.pack(">IIB", *member.card.order, member.card.left) + codec.varint(member.level)
    return int.from_bytes(hashlib.blake2b(member.id + numbers, digest_size=8).digest(), "big")
