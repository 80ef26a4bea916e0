"""Who belongs to the cluster, and what is believed of each.

Theory of operation (SWIM, DSN 2002, sections 4.2 and 4.3; changed where marked). Each node signs a *card*: its key, where
it listens, a word about itself, the epoch of its life and an incarnation that it alone raises. Others hold opinions of a
card: alive, suspect, dead. Of two opinions the one about the newer card counts (epoch, then incarnation), and of the same
card the worse one; a node that hears ill of itself raises its incarnation and is alive again by its own word.

Changed: what one sees counts more than what one hears. Whoever has just had a packet from a node does not believe that
it is dead, but tells it what is said (the buddy system of Lifeguard, arXiv 1707.00788 section 4.3, taken further). And
the dead are not forgotten: a dead node is a member whose records are hidden, until it leaves or is removed.

    card      public key 32 | epoch | incarnation | left | port | host | metadata | signature 64

Cards and the opinions dead and left are state that nodes compare (``sum``); a suspicion is a question under way, and is
not.
"""

from __future__ import annotations

import hashlib
import ipaddress
import struct
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
    node_id,
    verified,
)
from fairlead.gossip.keyring import EPOCH_MAX

#: Bytes of what a node says of itself (memberlist's limit).
METADATA_BYTES_MAX = 512
#: Members at most: what a forger who has a cluster key could make a node remember.
MEMBERS_MAX = 65536
_CARD_LABEL = b"fairlead gossip card\0"
_U64 = 2**64


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
class Member:
    """A node as one believes it to be."""

    id: NodeId
    card: Card
    standing: Standing

    @property
    def reachable(self) -> bool:
        """Whether it is to be spoken to as a matter of course: also while it is suspected."""
        return self.standing <= Standing.SUSPECT


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
    return Card(
        key, epoch, incarnation, Address(str(ipaddress.ip_address(host)), port), metadata, bool(left), body, signature
    )


def genuine_card(card: Card) -> bool:
    """Whether the owner of the key in it signed it."""
    return verified(card.public_key, card.signature, _CARD_LABEL + card.body)


class Members:
    """What one node believes of all, itself included."""

    def __init__(self, own: Card) -> None:
        self.own = own.id
        self.sum = 0
        self._members: dict[NodeId, Member] = {}
        self._set(Member(own.id, own, Standing.ALIVE))

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, identifier: object) -> bool:
        return identifier in self._members

    def __iter__(self) -> Iterator[Member]:
        return iter(self._members.values())

    def get(self, identifier: NodeId) -> Member | None:
        """One member, None when there is none of that id."""
        return self._members.get(identifier)

    def reachable(self) -> list[NodeId]:
        """Ids of all that are spoken to, in the order of the ring: by id."""
        return sorted(member.id for member in self._members.values() if member.reachable)

    def meet(self, card: Card) -> Member | None:
        """Take a card (checked); the member when it is news."""
        known = self._members.get(card.id)
        if known is not None and card.order <= known.card.order:
            return None
        if known is None and len(self._members) >= MEMBERS_MAX:
            return None
        return self._set(Member(card.id, card, Standing.LEFT if card.left else Standing.ALIVE))

    def judge(self, identifier: NodeId, order: tuple[int, int], standing: Standing) -> Member | None:
        """Take an opinion about a card of this order; the member when it changes what is believed."""
        known = self._members.get(identifier)
        if known is None or known.standing == Standing.LEFT or order < known.card.order:
            return None
        if order == known.card.order and standing <= known.standing:
            return None
        return self._set(replace(known, standing=standing))

    def see(self, identifier: NodeId) -> Member | None:
        """A packet of this node's present life has come: whatever is said, it is there. The member when that is news."""
        known = self._members.get(identifier)
        if known is None or known.standing in (Standing.ALIVE, Standing.LEFT):
            return None
        return self._set(replace(known, standing=Standing.ALIVE))

    def remove(self, identifier: NodeId) -> Member | None:
        """Forget a member, by a verdict of a manager."""
        known = self._members.pop(identifier, None)
        if known is not None:
            self.sum = (self.sum - _weight(known)) % _U64
        return known

    def _set(self, member: Member) -> Member:
        known = self._members.get(member.id)
        if known is not None:
            self.sum = (self.sum - _weight(known)) % _U64
        self._members[member.id] = member
        self.sum = (self.sum + _weight(member)) % _U64
        return member


def _weight(member: Member) -> int:
    """What a member adds to the sum: a suspicion adds what life adds."""
    standing = Standing.ALIVE if member.standing == Standing.SUSPECT else member.standing
    numbers = struct.pack(">IIB", *member.card.order, standing)
    return int.from_bytes(hashlib.blake2b(member.id + numbers, digest_size=8).digest(), "big")
