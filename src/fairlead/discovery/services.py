"""Ports by name (SRV, RFC 2782): ``_80._tcp.web`` is where ``web`` offers port 80, ``_tcp.web`` all its TCP ports.

Docker has no names for ports, so the label is the number. What an endpoint offers is what its container exposes or
publishes; a published port of the host is none of it, since names are asked inside. The target of a record is the name that
a reverse look-up gives; its addresses come with the answer. All equal: priority and weight are 0.
"""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct
from typing import NamedTuple

from fairlead.discovery import wire
from fairlead.discovery.names import Registration, Zone

#: Labels of protocols, as RFC 2782 writes them.
_PROTOCOLS = {"_tcp": "tcp", "_udp": "udp", "_sctp": "sctp"}
#: Priority, weight, port.
_SRV = Struct("!HHH")
#: Targets whose addresses are sent along: more would not fit into most answers over UDP (``EDNS_SIZE_MAX``).
_TARGETS_MAX = 32


class Wanted(NamedTuple):
    """What is asked for: a port's label without its underscore (empty: every port), a protocol, and of whom; ``depth``
    labels stand before that name."""

    port: str
    proto: str
    name: str
    depth: int


def wanted(name: str) -> Wanted | None:
    """The parts of a lower-case name that asks for ports, None for any other name."""
    first, _, rest = name.partition(".")
    if first in _PROTOCOLS and rest:
        return Wanted("", _PROTOCOLS[first], rest, 1)
    second, _, rest = rest.partition(".")
    if len(first) > 1 and first[0] == "_" and second in _PROTOCOLS and rest:
        return Wanted(first[1:], _PROTOCOLS[second], rest, 2)
    return None


def offers(zone: Zone, holders: Iterable[Registration], want: Wanted) -> tuple[list[bytes], list[bytes]]:
    """The records of what is asked for, and those of their targets' addresses."""
    records: list[bytes] = []
    additional: list[bytes] = []
    for holder in holders:
        numbers = [number for port in holder.ports if (number := _number(port, want))]
        target = wire.name_data(f"{holder.names[0]}.{zone.network_name}.") if numbers else None
        if target is None:
            continue
        records += [wire.record(wire.SRV, _SRV.pack(0, 0, number) + target, holder.ttl_s) for number in numbers]
        if len(additional) < _TARGETS_MAX:
            for kind, address in ((wire.A, holder.ipv4), (wire.AAAA, holder.ipv6)):
                additional += [wire.record(kind, address, holder.ttl_s, target)] if address else []
    return records, additional


def _number(port: str, want: Wanted) -> int:
    """The number of a port (``80/tcp``) if it is asked for, else 0."""
    number, _, proto = port.partition("/")
    return int(number) if proto == want.proto and want.port in ("", number) else 0
