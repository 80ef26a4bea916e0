"""Host ports: which are taken, and which to give."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from itertools import chain

from fairlead.engine import ingress
from fairlead.engine.core import Turn
from fairlead.model import codes
from fairlead.model.addresses import is_v6, parse_address
from fairlead.model.endpoint import Endpoint, PortBinding, PortRequest
from fairlead.model.errors import Exhausted, Internal, Invalid, PortInUse

#: Every address of the host, by family.
ANY_V4, ANY_V6 = "0.0.0.0", "::"
#: What the node uses when the kernel's range of ephemeral ports is unknown (Docker's fallback).
_FALLBACK_RANGE = (49153, 65535)
#: Everybody, and nobody's address (RFC 919).
_BROADCAST = "255.255.255.255"


def assign(
    turn: Turn, requests: Sequence[PortRequest], default_host_ip: str, *, v4: bool, v6: bool, owner: str
) -> tuple[PortBinding, ...]:
    """Bindings for the requests of one endpoint that has addresses of the given families.

    Requests that differ in the host address only share one port, as Docker has it, whatever port that is; fixed ports
    are given before those that are chosen. Raises ``PortInUse`` when a fixed port, or every port of a range, is held by
    another endpoint, ``Exhausted`` when no port is left, ``Invalid`` for an address that no host has. ``owner`` is the
    endpoint that will hold them.
    """
    given: dict[PortRequest, list[PortBinding]] = {request: [] for request in requests}
    taken: set[tuple[str, int, str]] = set()
    for group in sorted(_groups(requests, default_host_ip, v4=v4, v6=v6), key=lambda group: group.chosen):
        port = _choose(turn, group.request, tuple(group.addresses), taken, owner)
        for address, request in group.addresses.items():
            taken.add((request.proto, port, address))
            given[request].append(PortBinding(request.proto, request.container_port, address, port))
    return tuple(binding for bindings in given.values() for binding in bindings)


def opened(requests: Iterable[PortRequest], default_host_ip: str, *, v4: bool, v6: bool) -> tuple[PortBinding, ...]:
    """Bindings, in the given families, that open ports of the endpoint itself and take none of the host: what was asked
    of the host's address says the family at most."""
    found = [
        PortBinding(request.proto, request.container_port, ANY_V6 if is_v6(address) else ANY_V4, 0)
        for request in requests
        for address in _host_addresses(request.host_ip, default_host_ip, v4=v4, v6=v6)
    ]
    return tuple(dict.fromkeys(found))


@dataclass(frozen=True, slots=True)
class _Group:
    """Requests that get one port: by host address, what asked for it first."""

    request: PortRequest
    addresses: dict[str, PortRequest]

    @property
    def chosen(self) -> bool:
        """Whether there is a choice of ports."""
        return not self.request.host_port or self.request.host_port_end > self.request.host_port


def _groups(requests: Sequence[PortRequest], default_host_ip: str, *, v4: bool, v6: bool) -> list[_Group]:
    found: list[_Group] = []
    latest: dict[PortRequest, _Group] = {}
    for request in requests:
        addresses = _host_addresses(request.host_ip, default_host_ip, v4=v4, v6=v6)
        kind = replace(request, host_ip="")
        group = latest.get(kind)
        if group is None or (group.chosen and any(address in group.addresses for address in addresses)):
            # the same asked for twice: two ports
            group = latest[kind] = _Group(request, {})
            found.append(group)
        for address in addresses:
            group.addresses.setdefault(address, request)
    return [group for group in found if group.addresses]


def _host_addresses(host_ip: str, default: str, *, v4: bool, v6: bool) -> tuple[str, ...]:
    """The host addresses one request stands for: both families when neither it nor the network names one (Docker)."""
    if not host_ip and default in ("", ANY_V4):
        return tuple(address for address, present in ((ANY_V4, v4), (ANY_V6, v6)) if present)
    address = str(parse_address(host_ip or default, "host address of a published port"))
    if ip_address(address).is_multicast or address == _BROADCAST:
        raise Invalid(
            f"invalid host address of a published port {address!r}: no host has it",
            hint="write an address of this host",
            code=codes.PORT_INVALID,
        )
    return (address,) if (v6 if is_v6(address) else v4) else ()


def _choose(
    turn: Turn, request: PortRequest, addresses: tuple[str, ...], taken: set[tuple[str, int, str]], owner: str
) -> int:
    holder: Endpoint | None = None
    services = ingress.published(turn.core)
    for port in _candidates(turn, request):
        mine = any((request.proto, port, address) in taken for address in addresses)
        if mine or (request.proto, port) in turn.busy_ports or (request.proto, port) in services:
            continue
        found = _holder(turn, request.proto, port, addresses, owner)
        holder = holder or found
        if found is None:
            if request.host_port == 0:
                turn.core.port_cursor[request.proto] = port
            return port
    if request.host_port == 0:
        raise Exhausted(
            "all ports are allocated", hint="stop a container that publishes ports", code=codes.PORTS_EXHAUSTED
        )
    if request.host_port_end > request.host_port and holder is None:
        raise Exhausted(
            "all ports are allocated",
            hint="every port of the range is taken by programs of this host",
            code=codes.PORTS_EXHAUSTED,
        )
    text = f"Bind for {_shown(addresses[0])}:{request.host_port} failed: port is already allocated"
    if holder is None and (request.proto, request.host_port) in services:
        raise PortInUse(text, hint="a service publishes it on every node (`fairlead service ls`); choose another port")
    if holder is None:
        raise Internal(text, hint="the same port is asked for twice", code=codes.PORT_TAKEN)
    raise PortInUse(text, hint=f"container {holder.name} publishes it; choose another port or stop that container")


def _candidates(turn: Turn, request: PortRequest) -> Iterator[int]:
    if request.host_port:
        yield from range(request.host_port, max(request.host_port, request.host_port_end) + 1)
        return
    host = turn.core.host
    first, last = host.ephemeral_ports if host.ephemeral_ports[0] else _FALLBACK_RANGE
    start = turn.core.port_cursor.get(request.proto, first - 1) + 1
    if not first <= start <= last:
        start = first
    for port in chain(range(start, last + 1), range(first, start)):
        if not any(low <= port <= high for low, high in host.reserved_ports):
            yield port


def _holder(turn: Turn, proto: str, port: int, addresses: tuple[str, ...], owner: str) -> Endpoint | None:
    """The endpoint that holds the port on one of the addresses; "any" overlaps every address of its family."""
    for endpoint in turn.state.endpoints_with_port(proto, port):
        if endpoint.id == owner:
            continue
        for binding in endpoint.bindings:
            if (binding.proto, binding.host_port) != (proto, port):
                continue
            if any(_overlap(binding.host_ip, address) for address in addresses):
                return endpoint
    return None


def _overlap(one: str, other: str) -> bool:
    if is_v6(one) != is_v6(other):
        return False
    return one == other or ANY_V4 in (one, other) or ANY_V6 in (one, other)


def _shown(address: str) -> str:
    return f"[{address}]" if is_v6(address) else address
