"""Every message that nodes send each other, as bytes and back.

What is here goes inside a sealed packet (``keyring.py``). The first byte is the kind. Probes, which are all that an idle
cluster sends, have a fixed form; the rest is written in the letters of ``codec.py``. ``decode`` is total: bytes that are no
message are None, and the work is bounded by their length.

    ping        number 4 | sum 8                          same       number 4
    accuse      number 4 | sum 8 | opinion                ack        number 4 | sum 8
    seek        number 4 | subject 16                     sought     number 4 | reached 1
    spread      flags 1 | items                           delta      items
    have        flags 1 | versions                        want       cards wanted | versions
    digest      members' sum 8 | scopes with sums         vector     flags 1 | branches | opinions | versions
    branches    flags 1 | branches | members' sums | scopes with sums; 16 sums for each branch
    ticket      number                                    back       number
    got         names of packets                          who        nothing
    miss        owner 16 | scope | epoch | spans
    follow      scope | epoch | seq                       followed   scope | epoch | seq
    join, sync, state, flood, try, done                   by stream

    items       1 card | 2 opinion | 3 block | 4 head | 5 opinion that is a suspicion, each after its number; 6 block and 7
                head after the place of their signature among those that the message has had: it is not said again
    opinion     id 16 | epoch | incarnation | level
    versions    scope, then owner 16 | epoch | seq | head for each; scope after scope
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from fairlead.gossip import codec
from fairlead.gossip.blocks import (
    NAME_BYTES_MAX,
    Block,
    Head,
    encode_block,
    encode_head,
    read_block,
    read_head,
)
from fairlead.gossip.codec import Malformed, Reader
from fairlead.gossip.identity import NODE_ID_BYTES, SIGNATURE_BYTES, NodeId
from fairlead.gossip.keyring import EPOCH_MAX
from fairlead.gossip.log import Version
from fairlead.gossip.members import LEVEL_MAX, Opinion, encode_card, read_card
from fairlead.gossip.messages import (
    Ack,
    Back,
    Branches,
    Delta,
    Digest,
    Done,
    Flood,
    Follow,
    Followed,
    Got,
    Have,
    Item,
    Join,
    Message,
    Miss,
    Ping,
    Seek,
    Sought,
    Spread,
    State,
    Sync,
    Ticket,
    Try,
    Vector,
    Versions,
    Want,
    Who,
)
from fairlead.gossip.sums import BRANCH_MAX, CHILDREN, LEAF_MIN, is_branch

#: Bytes of a packet's name (``keyring.name_of``) at most.
_NAME_MAX = 18
#: Gaps of a log named in one message, cards asked for, and packets in a flood (half a megabyte of the smallest).
_SPANS_MAX, CARDS_MAX, _PACKETS_MAX = 64, 64, 16384

_PING, _ACCUSE, _SAME, _ACK, _SEEK, _SOUGHT, _SPREAD, _DELTA, _HAVE, _WANT = range(1, 11)
_DIGEST, _VECTOR, _TICKET, _BACK, _GOT, _WHO, _JOIN, _SYNC, _STATE, _FLOOD, _TRY, _DONE, _MISS, _BRANCHES = range(
    11, 25
)
_FOLLOW, _FOLLOWED = 25, 26
#: Events of a log: what 48 bits number.
_SEQ_MAX = 2**48
_CARD, _OPINION, _BLOCK, _HEAD, _SUSPICION, _BLOCK_AGAIN, _HEAD_AGAIN = range(1, 8)

_BI = struct.Struct(">BI")
_BIQ = struct.Struct(">BIQ")


def encode(message: Message) -> bytes:
    """A message as bytes."""
    match message:
        case Ping(number, total, None):
            return _BIQ.pack(_PING, number, total)
        case Ping(number, total, accused) if accused is not None:
            return _BIQ.pack(_ACCUSE, number, total) + _opinion(accused)
        case Ack(number, None):
            return _BI.pack(_SAME, number)
        case Ack(number, total) if total is not None:
            return _BIQ.pack(_ACK, number, total)
        case Seek(number, subject):
            return _BI.pack(_SEEK, number) + subject
        case Sought(number, reached):
            return _BI.pack(_SOUGHT, number) + bytes((reached,))
        case Spread(items, lossy, seen):
            return bytes((_SPREAD, lossy | seen << 1)) + _items(items)
        case Delta(items):
            return bytes((_DELTA,)) + _items(items)
        case Have(versions, ask):
            return bytes((_HAVE, ask)) + _versions(versions)
        case Want(cards, versions):
            return bytes((_WANT,)) + codec.varint(len(cards)) + b"".join(cards) + _versions(versions)
        case Miss(owner, scope, epoch, spans):
            return bytes((_MISS,)) + owner + codec.text(scope) + codec.varint(epoch) + codec.ranges(spans)
        case Digest(members, sums):
            named = b"".join(codec.text(scope) + total.to_bytes(8, "big") for scope, total in sums.items())
            return bytes((_DIGEST,)) + members.to_bytes(8, "big") + named
        case Branches(branches, own, sums):
            named = b"".join(codec.text(scope) + _sums(totals) for scope, totals in sums.items())
            return bytes((_BRANCHES, own is not None)) + _numbers(branches) + _sums(own or ()) + named
        case Vector():
            return bytes((_VECTOR,)) + _vector(message)
        case Ticket(number):
            return bytes((_TICKET,)) + codec.varint(number)
        case Back(number):
            return bytes((_BACK,)) + codec.varint(number)
        case Got(names):
            return bytes((_GOT,)) + b"".join(codec.blob(name) for name in names)
        case Follow(scope, epoch, seq):
            return bytes((_FOLLOW,)) + codec.text(scope) + codec.varint(epoch) + codec.varint(seq)
        case Followed(scope, epoch, seq):
            return bytes((_FOLLOWED,)) + codec.text(scope) + codec.varint(epoch) + codec.varint(seq)
        case Join(card, items):
            return bytes((_JOIN,)) + encode_card(card) + _items(items)
        case Sync(vector):
            return bytes((_SYNC,)) + _vector(vector)
        case State(items, more):
            return bytes((_STATE, more)) + _items(items)
        case Flood(packets):
            return bytes((_FLOOD,)) + b"".join(codec.blob(packet) for packet in packets)
        case Who():
            return bytes((_WHO,))
        case Try():
            return bytes((_TRY,))
        case _:
            return bytes((_DONE,))


def decode(data: bytes) -> Message | None:
    """The message that these bytes are; None when they are none."""
    if not data:
        return None
    read = _READERS.get(data[0])
    if read is None:
        return None
    reader = Reader(data)
    try:
        reader.byte()
        message = read(reader)
        reader.end()
    except Malformed:
        return None
    return message


def encode_item(item: Item) -> bytes:
    """One item of a spread, a delta or a state."""
    if isinstance(item, Block):
        return bytes((_BLOCK,)) + encode_block(item)
    if isinstance(item, Head):
        return bytes((_HEAD,)) + encode_head(item)
    if isinstance(item, Opinion):
        return bytes((_SUSPICION if item.suspect else _OPINION,)) + _opinion(item)
    return bytes((_CARD,)) + encode_card(item)


def filled(items: Iterable[Item], limit: int) -> Iterator[tuple[Item, ...]]:
    """Items in their order, in groups that have at most ``limit`` bytes; a larger one is alone."""
    group: list[Item] = []
    size = 0
    for item in items:
        length = len(encode_item(item))
        if group and size + length > limit:
            yield tuple(group)
            group, size = [], 0
        group.append(item)
        size += length
    if group:
        yield tuple(group)


def portions(versions: Versions, count: int) -> Iterator[dict[str, dict[NodeId, Version]]]:
    """Versions in parts of at most ``count`` logs."""
    part: dict[str, dict[NodeId, Version]] = {}
    size = 0
    for scope, owners in versions.items():
        for owner, version in owners.items():
            part.setdefault(scope, {})[owner] = version
            size += 1
            if size == count:
                yield part
                part, size = {}, 0
    if part:
        yield part


def _items(items: Sequence[Item]) -> bytes:
    """Items; a signature under several of them is said once."""
    parts: list[bytes] = []
    places: dict[bytes, int] = {}
    for item in items:
        place = None
        if isinstance(item, Block | Head):
            signature = item.proof[-SIGNATURE_BYTES:]
            place = places.get(signature)
            places.setdefault(signature, len(places))
        if place is None:
            parts.append(encode_item(item))
        elif isinstance(item, Block):
            parts.append(bytes((_BLOCK_AGAIN,)) + codec.varint(place) + encode_block(item, signed=False))
        elif isinstance(item, Head):
            parts.append(bytes((_HEAD_AGAIN,)) + codec.varint(place) + encode_head(item, signed=False))
    return b"".join(parts)


def _opinion(opinion: Opinion) -> bytes:
    numbers = (opinion.epoch, opinion.incarnation, opinion.level)
    return opinion.id + b"".join(map(codec.varint, numbers))


def _versions(versions: Versions) -> bytes:
    parts = [codec.varint(len(versions))]
    for scope, owners in versions.items():
        parts += [codec.text(scope), codec.varint(len(owners))]
        for owner, known in owners.items():
            parts += [owner, codec.varint(known.epoch), codec.varint(known.seq), codec.varint(known.head)]
    return b"".join(parts)


def _vector(vector: Vector) -> bytes:
    flags = bytes((vector.members | vector.ask << 1,)) + _numbers(vector.branches)
    opinions = b"".join(map(_opinion, vector.opinions))
    return flags + codec.varint(len(vector.opinions)) + opinions + _versions(vector.versions)


def _numbers(numbers: Sequence[int]) -> bytes:
    return codec.varint(len(numbers)) + b"".join(map(codec.varint, numbers))


def _sums(totals: Iterable[int]) -> bytes:
    return b"".join(total.to_bytes(8, "big") for total in totals)


def _read_id(reader: Reader) -> NodeId:
    return NodeId(reader.take(NODE_ID_BYTES))


def _read_u32(reader: Reader) -> int:
    return int.from_bytes(reader.take(4), "big")


def _read_u64(reader: Reader) -> int:
    return int.from_bytes(reader.take(8), "big")


def _read_flags(reader: Reader, limit: int) -> int:
    flags = reader.byte()
    if flags > limit:
        raise Malformed
    return flags


def _read_opinion(reader: Reader) -> Opinion:
    return Opinion(_read_id(reader), reader.varint(EPOCH_MAX), reader.varint(EPOCH_MAX), reader.varint(LEVEL_MAX))


def _read_suspicion(reader: Reader) -> Opinion:
    return replace(_read_opinion(reader), suspect=True)


def _read_items(reader: Reader) -> tuple[Item, ...]:
    items: list[Item] = []
    known: set[bytes] = set()
    signatures: list[bytes] = []
    while reader.left:
        kind = reader.byte()
        read = _ITEM_READERS.get(kind)
        if read is not None:
            item = read(reader)
            if isinstance(item, Block | Head) and (signature := item.proof[-SIGNATURE_BYTES:]) not in known:
                known.add(signature)
                signatures.append(signature)
        elif kind in {_BLOCK_AGAIN, _HEAD_AGAIN} and signatures:
            signature = signatures[reader.varint(len(signatures) - 1)]
            item = (read_block if kind == _BLOCK_AGAIN else read_head)(reader, signature)
        else:
            raise Malformed
        items.append(item)
    return tuple(items)


def _read_versions(reader: Reader) -> dict[str, dict[NodeId, Version]]:
    found: dict[str, dict[NodeId, Version]] = {}
    for _ in range(reader.varint(reader.left)):
        owners = found.setdefault(reader.text(NAME_BYTES_MAX), {})
        for _ in range(reader.varint(reader.left)):
            owner = _read_id(reader)
            owners[owner] = Version(reader.varint(EPOCH_MAX), reader.varint(_SEQ_MAX), reader.varint(2**50))
    return found


def _read_vector(reader: Reader) -> Vector:
    flags, branches = _read_flags(reader, 3), _read_branches(reader, BRANCH_MAX)
    opinions = tuple(_read_opinion(reader) for _ in range(reader.varint(reader.left)))
    return Vector(opinions, _read_versions(reader), bool(flags & 1), bool(flags & 2), branches)


def _read_branches(reader: Reader, limit: int) -> tuple[int, ...]:
    """Branches below ``limit``, ascending."""
    branches = tuple(reader.varint(limit - 1) for _ in range(reader.varint(min(limit, reader.left))))
    if not all(is_branch(branch) for branch in branches) or list(branches) != sorted(set(branches)):
        raise Malformed
    return branches


def _read_sums(reader: Reader, count: int) -> tuple[int, ...]:
    return struct.unpack(f">{count}Q", reader.take(8 * count))


def _read_branched(reader: Reader) -> Branches:
    members, branches = _read_flags(reader, 1), _read_branches(reader, LEAF_MIN)
    if not branches:
        raise Malformed
    count = CHILDREN * len(branches)
    own = _read_sums(reader, count) if members else None
    sums: dict[str, tuple[int, ...]] = {}
    while reader.left:
        scope = reader.text(NAME_BYTES_MAX)
        sums[scope] = _read_sums(reader, count)
    return Branches(branches, own, sums)


def _read_accuse(reader: Reader) -> Ping:
    return Ping(_read_u32(reader), _read_u64(reader), _read_opinion(reader))


def _read_spread(reader: Reader) -> Spread:
    flags = _read_flags(reader, 3)
    return Spread(_read_items(reader), bool(flags & 1), bool(flags & 2))


def _read_have(reader: Reader) -> Have:
    ask = bool(_read_flags(reader, 1))
    return Have(_read_versions(reader), ask)


def _read_want(reader: Reader) -> Want:
    cards = tuple(_read_id(reader) for _ in range(reader.varint(CARDS_MAX)))
    return Want(cards, _read_versions(reader))


def _read_miss(reader: Reader) -> Miss:
    return Miss(_read_id(reader), reader.text(NAME_BYTES_MAX), reader.varint(EPOCH_MAX), reader.ranges(_SPANS_MAX))


def _read_place(reader: Reader) -> tuple[str, int, int]:
    return reader.text(NAME_BYTES_MAX), reader.varint(EPOCH_MAX), reader.varint(_SEQ_MAX)


def _read_digest(reader: Reader) -> Digest:
    members = _read_u64(reader)
    sums: dict[str, int] = {}
    while reader.left:
        scope = reader.text(NAME_BYTES_MAX)
        sums[scope] = _read_u64(reader)
    return Digest(members, sums)


def _read_got(reader: Reader) -> Got:
    names: list[bytes] = []
    while reader.left:
        names.append(reader.blob(_NAME_MAX))
    return Got(tuple(names))


def _read_state(reader: Reader) -> State:
    more = bool(_read_flags(reader, 1))
    return State(_read_items(reader), more)


def _read_flood(reader: Reader) -> Flood:
    packets: list[bytes] = []
    while reader.left:
        packets.append(reader.blob(reader.left))
        if len(packets) > _PACKETS_MAX:
            raise Malformed
    return Flood(tuple(packets))


_ITEM_READERS: dict[int, Callable[[Reader], Item]] = {
    _CARD: read_card,
    _OPINION: _read_opinion,
    _BLOCK: read_block,
    _HEAD: read_head,
    _SUSPICION: _read_suspicion,
}

_READERS: dict[int, Callable[[Reader], Message]] = {
    _PING: lambda reader: Ping(_read_u32(reader), _read_u64(reader)),
    _ACCUSE: _read_accuse,
    _SAME: lambda reader: Ack(_read_u32(reader), None),
    _ACK: lambda reader: Ack(_read_u32(reader), _read_u64(reader)),
    _SEEK: lambda reader: Seek(_read_u32(reader), _read_id(reader)),
    _SOUGHT: lambda reader: Sought(_read_u32(reader), bool(_read_flags(reader, 1))),
    _SPREAD: _read_spread,
    _DELTA: lambda reader: Delta(_read_items(reader)),
    _HAVE: _read_have,
    _WANT: _read_want,
    _MISS: _read_miss,
    _DIGEST: _read_digest,
    _VECTOR: _read_vector,
    _BRANCHES: _read_branched,
    _TICKET: lambda reader: Ticket(reader.varint()),
    _BACK: lambda reader: Back(reader.varint()),
    _GOT: _read_got,
    _FOLLOW: lambda reader: Follow(*_read_place(reader)),
    _FOLLOWED: lambda reader: Followed(*_read_place(reader)),
    _WHO: lambda _: Who(),
    _JOIN: lambda reader: Join(read_card(reader), _read_items(reader)),
    _SYNC: lambda reader: Sync(_read_vector(reader)),
    _STATE: _read_state,
    _FLOOD: _read_flood,
    _TRY: lambda _: Try(),
    _DONE: lambda _: Done(),
}
