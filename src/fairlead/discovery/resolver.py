"""From a question to an answer, for one sandbox: what Docker's embedded DNS answers, with its leaks closed.

Order of rules (``cnm.md`` 1.14):
  1. unreadable, other opcode, transfer of a zone: silence, FORMERR, NOTIMP, REFUSED
  2. reverse name of an address in the sandbox's networks: ``<name>.<network>``
  3. name known in one of its networks, whole or split as ``name.network``: addresses, or NOERROR and nothing
  4. a port of such a name, ``_80._tcp.name``: where it is offered (``services``)
  5. single-label name, one below a network of the sandbox, or below ``invalid`` or ``localhost``: NXDOMAIN from us, never
     forwarded, whatever the search list says; so are ports of these, and ``tasks.web`` while no task of ``web`` is ready
  6. sandbox in internal networks only: NXDOMAIN, never forwarded
  7. everything else: forwarded
Pure: ``Chance`` is passed. ``resolve`` is total: arbitrary bytes never raise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import NamedTuple

from fairlead.discovery import services, wire
from fairlead.discovery.names import TASKS, Registration, Tables, Zone
from fairlead.model.ids import Chance

#: Rotations of an answer with several addresses that are made at once: with 16, a long list still spreads and a miss
#: stays cheap.
ROTATIONS_MAX = 16
#: Answers drawn before a new order is made; 64 spreads the cost of making it.
DRAWS = 64


#: Domains of which no server outside may be asked (RFC 6761 sections 6.3, 6.4).
_NOWHERE = (".localhost", ".invalid")


class Upstream(NamedTuple):
    """A server to forward to. ``from_host`` says whether it is asked from the daemon's namespace (it came from the
    host's file) or from the sandbox's own (a user named it)."""

    address: str
    from_host: bool


@dataclass(frozen=True, slots=True)
class View:
    """What one sandbox may see. ``networks`` are ids in the order in which they are searched; ``forward`` is False
    for a sandbox in internal networks only; ``search`` (the user's own list) and ``ndots`` are those of its resolv.conf; ``links`` maps
    aliases that only this sandbox knows to names; ``netns`` is handed to the socket factory; ``pass_on`` forwards
    unknown single labels too, and what is below the name of a network, where the sandbox had a resolver before ours that
    may know them; ``domains`` are the names of its networks in lower case."""

    networks: tuple[str, ...] = ()
    forward: bool = True
    upstreams: tuple[Upstream, ...] = ()
    search: tuple[str, ...] = ()
    ndots: int = 0
    links: Mapping[str, str] = field(default_factory=dict)
    netns: str = ""
    pass_on: bool = False
    domains: frozenset[str] = frozenset()


class Answer(NamedTuple):
    """The reply is the query's id and one of ``bodies``, drawn in order; ``keep`` says whether the bodies hold until
    the generation of one of the view's networks changes."""

    bodies: tuple[bytes, ...]
    keep: bool


class Forward(NamedTuple):
    """Ask these servers in turn; the question ends at octet ``end`` of the query."""

    query: bytes
    upstreams: tuple[Upstream, ...]
    end: int


class Silence(NamedTuple):
    """No reply: the packet is not a query."""


def resolve(
    tables: Tables, view: View, query: bytes, chance: Chance, *, tcp: bool = False
) -> Answer | Forward | Silence:
    """Decide on one query. ``tcp`` lifts the size limit of UDP; such answers are made one at a time, none is kept."""
    question = wire.scan(query)
    if isinstance(question, wire.BadQuery):
        if question.rcode is None:
            return Silence()
        return Answer((wire.refusal(query, question.rcode)[2:],), keep=False)
    limit = wire.TCP_SIZE if tcp else question.size
    found = _find(tables, view, question)
    if found is not None:
        records, additional = found
        orders = [_shuffled(records, chance)] if tcp else _orders(records, chance)
        bodies = tuple(wire.body(query, question, wire.NOERROR, order, limit, additional) for order in orders)
        return Answer(_draws(bodies, chance), keep=not tcp)
    if not view.forward or _is_ours(tables, view, question):
        return Answer((wire.body(query, question, wire.NXDOMAIN, (), limit),), keep=False)
    if not view.upstreams:
        return Answer((wire.body(query, question, wire.SERVFAIL, (), limit),), keep=False)
    return Forward(query, view.upstreams, question.end)


def _find(tables: Tables, view: View, question: wire.Question) -> tuple[list[bytes], list[bytes]] | None:
    """The records of an answer and additional ones; None if nothing of ours has the name."""
    if question.name.endswith(".arpa"):
        records = _reverse(tables, view, question)
    else:
        records = _forward_records(tables, view, question)
        if records is None and question.name.startswith("_"):
            return _services(tables, view, question)
    return None if records is None else (records, [])


def _is_ours(tables: Tables, view: View, question: wire.Question) -> bool:
    """Whether nobody outside may be asked for a name that nobody here has: a misspelt or late name of a container, and what
    is looked for below it, is nobody's business (SEC-20)."""
    if question.name.endswith(_NOWHERE):
        return True
    name, labels, want = question.name, question.labels, services.wanted(question.name)
    if want is not None:
        name, labels = want.name, question.labels - want.depth
        if any(_holders(tables, view, name)):
            return True
    if name.startswith(TASKS) and any(tables.knew(network_id, name) for network_id in view.networks):
        return True
    return not view.pass_on and (labels == 1 or any(domain in view.domains for domain in _parents(name)))


def _parents(name: str) -> Iterator[str]:
    """What a name ends with, label by label, from the name itself to its last label."""
    yield name
    while "." in name:
        name = name.partition(".")[2]
        yield name


def _services(tables: Tables, view: View, question: wire.Question) -> tuple[list[bytes], list[bytes]] | None:
    """Where a port is offered; empty if it is, and another type is asked for."""
    want = services.wanted(question.name)
    if want is None:
        return None
    for zone, holders in _holders(tables, view, want.name):
        records, additional = services.offers(zone, holders, want)
        if records:
            return (records, additional) if question.type in (wire.SRV, wire.ANY) else ([], [])
    return None


def _reverse(tables: Tables, view: View, question: wire.Question) -> list[bytes] | None:
    """Records for a reverse name; None if no endpoint in sight has the address."""
    for network_id in view.networks:
        zone = tables.zone(network_id)
        holder = zone.holder(question.name) if zone else None
        if zone is None or holder is None or not holder.names:
            continue
        data = wire.name_data(f"{holder.names[0]}.{zone.network_name}.")
        wanted = question.type in (wire.PTR, wire.ANY) and data
        return [wire.record(wire.PTR, data, holder.ttl_s)] if wanted and data else []
    return None


def find(tables: Tables, view: View, name: str) -> tuple[str, ...]:
    """The addresses of a name as a program in the sandbox would find them among ours, IPv4 first; empty if it is not
    known here. Nobody else is asked."""
    for _, holders in _holders(tables, view, name.lower().rstrip(".")):
        packed = [*(holder.ipv4 for holder in holders), *(holder.ipv6 for holder in holders)]
        return tuple(str(ip_address(address)) for address in packed if address)
    return ()


def _forward_records(tables: Tables, view: View, question: wire.Question) -> list[bytes] | None:
    """Records for a name; empty if the name is known but not with this type, None if it is not known."""
    known = False
    for _, holders in _holders(tables, view, question.name):
        records = _addresses(holders, question.type)
        if records:
            return records
        known = True
    return [] if known else None


def _holders(tables: Tables, view: View, wanted: str) -> Iterator[tuple[Zone, tuple[Registration, ...]]]:
    """Who answers to a lower-case name and in which network, the nearest reading first."""
    links = view.links
    zones = [zone for zone in map(tables.zone, view.networks) if zone is not None]
    for name, label in _splits(view, wanted, {zone.label for zone in zones}):
        for zone in zones:
            if label and zone.label != label:
                continue
            holders = zone.find(links.get(name, name)) or zone.find(name)
            if holders:
                yield zone, holders


def _splits(view: View, name: str, labels: set[str]) -> list[tuple[str, str]]:
    """The readings of a name as (name, network), Docker's order: ``a.b.c`` anywhere, ``a.b`` in ``c``, ``a`` in
    ``b.c``, as far as ``labels`` has the network. Then, only where the sandbox's ndots makes programs try the search
    list first, a single label under a search domain is read as that label: an outside ``db.corp.example`` must not
    win over the container ``db``."""
    splits = [(name, "")]
    at = name.rfind(".")
    while at > 0:
        if name[at + 1 :] in labels:
            splits.append((name[:at], name[at + 1 :]))
        at = name.rfind(".", 0, at)
    if view.ndots > 0:
        head, _, tail = name.partition(".")
        if tail and any(tail == domain.lower().rstrip(".") for domain in view.search):
            splits.append((head, ""))
    return splits


def _addresses(holders: tuple[Registration, ...], kind: int) -> list[bytes]:
    records: list[bytes] = []
    if kind in (wire.A, wire.ANY):
        records += [wire.record(wire.A, holder.ipv4, holder.ttl_s) for holder in holders if holder.ipv4]
    if kind in (wire.AAAA, wire.ANY):
        records += [wire.record(wire.AAAA, holder.ipv6, holder.ttl_s) for holder in holders if holder.ipv6]
    return records


def _shuffled(items: list[bytes], chance: Chance) -> list[bytes]:
    return sorted(items, key=lambda _: chance.getrandbits(32))


def _orders(records: list[bytes], chance: Chance) -> list[list[bytes]]:
    """The record lists to answer with: rotations of a random order, so that each address comes first as often."""
    if len(records) < 2:
        return [records]
    records = _shuffled(records, chance)
    step = max(1, len(records) // ROTATIONS_MAX)
    return [records[at:] + records[:at] for at in range(0, len(records), step)][:ROTATIONS_MAX]


def _draws(bodies: tuple[bytes, ...], chance: Chance) -> tuple[bytes, ...]:
    """``bodies`` again and again, each round in a new random order; a single one stays single."""
    if len(bodies) < 2:
        return bodies
    draws: list[bytes] = []
    while len(draws) < DRAWS:
        draws += _shuffled(list(bodies), chance)
    return tuple(draws)
