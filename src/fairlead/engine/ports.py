"""Host ports: which are taken, and which to give."""

from __future__ import annotations

from collections.abc import Iterator

from fairlead.engine.core import Turn
from fairlead.model.addresses import is_v6
from fairlead.model.endpoint import Endpoint, PortBinding, PortRequest
from fairlead.model.errors import Exhausted, Internal, PortInUse

#: Every address of the host, by family.
ANY_V4, ANY_V6 = "0.0.0.0", "::"
#: What the node uses when the kernel's range of ephemeral ports is unknown (Docker's fallback).
_FALLBACK_RANGE = (49153, 65535)


def assign(
    turn: Turn, requests: tuple[PortRequest, ...], default_host_ip: str, *, v4: bool, v6: bool, owner: str
) -> tuple[PortBinding, ...]:
    """Bindings for the requests of one endpoint that has addresses of the given families.

    One host port serves all addresses of one request. Raises ``PortInUse`` when a fixed port, or every port of a range,
    is held by another endpoint. ``owner`` is the endpoint that will hold them.
    """
    given: list[PortBinding] = []
    taken: set[tuple[str, int, str]] = set()
    for request in requests:
        addresses = _host_addresses(request.host_ip or default_host_ip, v4=v4, v6=v6)
        if not addresses:
            continue
        port = _choose(turn, request, addresses, taken, owner)
        for address in addresses:
            taken.add((request.proto, port, address))
            given.append(PortBinding(request.proto, request.container_port, address, port))
    return tuple(given)


def _host_addresses(host_ip: str, *, v4: bool, v6: bool) -> tuple[str, ...]:
    """The host addresses one request stands for: both families when none is named, as Docker does."""
    if host_ip in ("", ANY_V4):
        both = ((ANY_V4, v4), (ANY_V6, v6 and host_ip == ""))
        return tuple(address for address, present in both if present)
    return (host_ip,) if (v6 if is_v6(host_ip) else v4) else ()


def _choose(
    turn: Turn, request: PortRequest, addresses: tuple[str, ...], taken: set[tuple[str, int, str]], owner: str
) -> int:
    holder: Endpoint | None = None
    for port in _candidates(turn, request):
        holder = _holder(turn, request.proto, port, addresses, owner)
        mine = any((request.proto, port, address) in taken for address in addresses)
        if holder is None and not mine and (request.proto, port) not in turn.busy_ports:
            if request.host_port == 0:
                turn.core.port_cursor[request.proto] = port
            return port
    if request.host_port == 0:
        raise Exhausted("all ports are allocated", hint="stop a container that publishes ports")
    text = f"Bind for {_shown(addresses[0])}:{request.host_port} failed: port is already allocated"
    if holder is None:
        raise Internal(text, hint="the same port is asked for twice")
    raise PortInUse(text, hint=f"container {holder.name} publishes it; choose another port or stop that container")


def _candidates(turn: Turn, request: PortRequest) -> Iterator[int]:
    if request.host_port:
        yield from range(request.host_port, max(request.host_port, request.host_port_end) + 1)
        return
    first, last = turn.core.host.ephemeral_ports if turn.core.host.ephemeral_ports[0] else _FALLBACK_RANGE
    start = turn.core.port_cursor.get(request.proto, first - 1) + 1
    yield from range(start, last + 1)
    yield from range(first, min(start, last + 1))


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
