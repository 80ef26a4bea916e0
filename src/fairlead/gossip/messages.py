"""What nodes say to each other, as values. ``wire.py`` has them as bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fairlead.gossip.blocks import Block, Head, Span
from fairlead.gossip.identity import NodeId
from fairlead.gossip.log import Version
from fairlead.gossip.members import Card, Opinion
from fairlead.gossip.sums import ROOT

Item = Card | Opinion | Block | Head
#: Scope -> owner -> how much is held of its log there.
Versions = Mapping[str, Mapping[NodeId, Version]]


@dataclass(frozen=True, slots=True)
class Ping:
    """Are you there? ``sum`` is what the sender holds of what both share. With ``accused``: this is said of you."""

    number: int
    sum: int
    accused: Opinion | None = None


@dataclass(frozen=True, slots=True)
class Ack:
    """I am. ``sum`` is None when it is the ping's."""

    number: int
    sum: int | None


@dataclass(frozen=True, slots=True)
class Seek:
    """Can you reach ``subject``?"""

    number: int
    subject: NodeId


@dataclass(frozen=True, slots=True)
class Sought:
    """I could, or could not, reach whom you asked about."""

    number: int
    reached: bool


@dataclass(frozen=True, slots=True)
class Spread:
    """News, to be passed on along the sealer's tree. With ``lossy`` each node confirms it to whom it has it from, and with
    ``seen`` the sealer itself has seen packets get lost."""

    items: tuple[Item, ...]
    lossy: bool = False
    seen: bool = False


@dataclass(frozen=True, slots=True)
class Delta:
    """What the receiver lacks."""

    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Have:
    """How much the sender holds. With ``ask`` it wants to know the receiver's."""

    versions: Versions
    ask: bool = False


@dataclass(frozen=True, slots=True)
class Want:
    """Send me the cards of these, and what of these logs comes after these versions."""

    cards: tuple[NodeId, ...]
    versions: Versions


@dataclass(frozen=True, slots=True)
class Miss:
    """Send me these events of a log (NACK): those after them are here."""

    owner: NodeId
    scope: str
    epoch: int
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Digest:
    """What the sender holds of what both share, as sums."""

    members: int
    sums: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Branches:
    """What the sender holds under some branches (``sums.py``), none of them a leaf, as the sums over the children of each:
    of the members, unless those are the same, and of scopes."""

    branches: tuple[int, ...]
    members: tuple[int, ...] | None
    sums: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Vector:
    """What the sender holds under some branches, named. It is all that it holds there of the scopes in ``versions``, and of
    the members when ``members`` is set. With ``ask`` the receiver answers with its own."""

    opinions: tuple[Opinion, ...]
    versions: Versions
    members: bool
    ask: bool
    branches: tuple[int, ...] = (ROOT,)


@dataclass(frozen=True, slots=True)
class Ticket:
    """Tell me when you have got here."""

    number: int


@dataclass(frozen=True, slots=True)
class Back:
    """I have got here."""

    number: int


@dataclass(frozen=True, slots=True)
class Got:
    """These packets have come."""

    names: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Follow:
    """Tell me when you do what my log in ``scope`` says up to an event: holding it is not enough."""

    scope: str
    epoch: int
    seq: int


@dataclass(frozen=True, slots=True)
class Followed:
    """I do what your log says up to there."""

    scope: str
    epoch: int
    seq: int


@dataclass(frozen=True, slots=True)
class Who:
    """I do not know who you are; send me your card."""


@dataclass(frozen=True, slots=True)
class Join:
    """By stream: I belong to you, and this is what I say; the reply is a ``State``."""

    card: Card
    items: tuple[Item, ...] = ()


@dataclass(frozen=True, slots=True)
class Sync:
    """By stream: this is what I hold of members and of these scopes; the reply is a ``State`` with what I lack."""

    vector: Vector


@dataclass(frozen=True, slots=True)
class State:
    """By stream: what you lack; ``more`` when it was too much for one message."""

    items: tuple[Item, ...]
    more: bool


@dataclass(frozen=True, slots=True)
class Flood:
    """By stream: sealed packets that were too many for datagrams."""

    packets: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Try:
    """By stream: are you there? The reply is ``Done``."""


@dataclass(frozen=True, slots=True)
class Done:
    """By stream: it is as you wish."""


Message = (
    Ping | Ack | Seek | Sought | Spread | Delta | Have | Want | Digest | Branches | Vector
    | Miss | Ticket | Back | Got | Follow | Followed | Who | Join | Sync | State | Flood | Try | Done
)  # fmt: skip
