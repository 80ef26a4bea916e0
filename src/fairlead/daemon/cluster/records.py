"""Endpoints and names as records of gossip: what is put under which key, and what of others' words is believed.

A record's key has its owner's id in it, so nobody can claim another node's record, and its value is sealed with the
network's ring (``gossip.veil``). Reading is total: whatever a record says, a fact about a peer or the reason why it is none.
"""

from __future__ import annotations

from ipaddress import IPv4Interface, IPv6Interface, ip_address

import msgspec

from fairlead.gossip.identity import NodeId
from fairlead.gossip.log import Record
from fairlead.gossip.veil import Veil
from fairlead.model.addresses import parse_mac
from fairlead.model.backend import Backend, is_sound
from fairlead.model.cluster import Peer, PeerNames
from fairlead.model.errors import Invalid

#: The tables of a network's scope: endpoints and their tunnel ends; their names once they are ready.
PEERS, NAMES = "peers", "names"
#: Names that an endpoint may have (Docker has no limit; a user's aliases are a handful), and characters of each (RFC 1035).
NAMES_MAX, NAME_CHARACTERS_MAX = 256, 253
#: Characters of an endpoint's id.
_ID_CHARACTERS = 64
#: Largest generation of a lease (a signed 64-bit number, as the store has it).
_GENERATION_MAX = 2**63 - 1

Fact = Peer | PeerNames
_TYPES: dict[str, type[Peer] | type[PeerNames]] = {PEERS: Peer, NAMES: PeerNames}

# Why a record is not believed.
UNSEALED, MALFORMED, MISPLACED, FOREIGN_TUNNEL = "unsealed", "malformed", "misplaced", "foreign_tunnel"


def table_of(fact: Fact) -> str:
    """The table that a fact belongs to."""
    return PEERS if isinstance(fact, Peer) else NAMES


def key_of(endpoint_id: str, owner: NodeId) -> str:
    """The key of a node's record of an endpoint."""
    return f"{endpoint_id}/{owner.hex()}"


def endpoint_of(key: str) -> str:
    """The endpoint that a key names."""
    return key.partition("/")[0]


def write(fact: Fact, owner: NodeId, veil: Veil) -> bytes:
    """A fact as the value of its record."""
    key = key_of(fact.endpoint_id, owner)
    return veil.seal(table_of(fact), key, owner, msgspec.msgpack.encode(fact))


def read(record: Record, veil: Veil | None, tunnel: str | None) -> tuple[Fact | None, str]:
    """What a record says, or None and why it is not believed. ``tunnel`` is the address of its owner's tunnel end as the
    owner says in its card, None: not known."""
    plain = veil.unseal(record.table, record.key, record.owner, record.value) if veil else None
    if plain is None:
        return None, UNSEALED
    kind = _TYPES.get(record.table)
    if kind is None:
        return None, MISPLACED
    try:
        fact: Fact = msgspec.msgpack.decode(plain, type=kind)
    except (msgspec.DecodeError, RecursionError):
        return None, MALFORMED
    if fact.network_id != record.scope or record.key != key_of(fact.endpoint_id, record.owner):
        return None, MISPLACED
    if not _sensible(fact):
        return None, MALFORMED
    if isinstance(fact, Peer) and fact.vtep != tunnel:
        return None, FOREIGN_TUNNEL
    return fact, ""


def _sensible(fact: Fact) -> bool:
    """Whether everything in it is what it should be: plans are made of it."""
    try:
        if len(fact.endpoint_id) > _ID_CHARACTERS or not fact.endpoint_id.isalnum():
            return False
        four = IPv4Interface(fact.ipv4) if fact.ipv4 else None
        six = IPv6Interface(fact.ipv6) if fact.ipv6 else None
        if (four is None and six is None) or (six is not None and six.scope_id is not None):
            return False
        if isinstance(fact, Peer):
            parse_mac(fact.mac)
            ip_address(fact.vtep)
            return 0 <= fact.generation <= _GENERATION_MAX
        if fact.backend is not None and not _serves(fact.backend):
            return False
    except (ValueError, Invalid):
        return False
    return _fit(fact.names)


def _serves(backend: Backend) -> bool:
    """Whether what is said of a service makes sense; raises ``ValueError`` if an address is none."""
    for vip in filter(None, (backend.vip4, backend.vip6)):
        ip_address(vip)
    return is_sound(backend) and _fit(backend.names)


def _fit(names: tuple[str, ...]) -> bool:
    fits = all(0 < len(name) <= NAME_CHARACTERS_MAX and name.isprintable() for name in names)
    return fits and len(names) <= NAMES_MAX
