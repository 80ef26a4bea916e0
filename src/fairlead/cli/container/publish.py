"""The grammar of ``--publish`` and ``--expose``: ``[IP:][HOST[-HOST]:]CONTAINER[-CONTAINER][/PROTO]``."""

from __future__ import annotations

from collections.abc import Iterable

from fairlead.model import codes
from fairlead.model.addresses import parse_address
from fairlead.model.errors import Invalid

#: Largest port number (a 16-bit field).
PORT_MAX = 65535
_PROTOCOLS = ("tcp", "udp", "sctp")

Bindings = dict[str, list[dict[str, str]]]


def bindings(specs: Iterable[str]) -> Bindings:
    """``HostConfig.PortBindings`` for all ``--publish`` options; raises ``Invalid`` naming the faulty part."""
    result: Bindings = {}
    for spec in specs:
        for key, host_ip, host_port in _parse(spec):
            result.setdefault(key, []).append({"HostIp": host_ip, "HostPort": host_port})
    return result


def exposed(specs: Iterable[str]) -> dict[str, object]:
    """``Config.ExposedPorts`` for all ``--expose`` options; raises ``Invalid``."""
    result: dict[str, object] = {}
    for spec in specs:
        ports, proto = _protocol(spec)
        first, last = _range(ports, "containerPort")
        result.update({f"{port}/{proto}": {} for port in range(first, last + 1)})
    return result


def _parse(spec: str) -> Iterable[tuple[str, str, str]]:
    body, proto = _protocol(spec)
    host_ip, host, container = _split(body)
    if not container:
        raise Invalid(
            f"No port specified: {spec}<empty>", hint="write [IP:][HOST:]CONTAINER[/PROTO]", code=codes.PORT_INVALID
        )
    first, last = _range(container, "containerPort")
    if not host:
        return [(f"{port}/{proto}", host_ip, "") for port in range(first, last + 1)]
    low, high = _range(host, "hostPort", least=0)
    if high - low != last - first:
        if first != last:
            raise Invalid(
                f"invalid ranges specified for container and host Ports: {container} and {host}",
                hint="make both ranges as long as each other, or publish one container port",
                code=codes.PORT_INVALID,
            )
        return [(f"{first}/{proto}", host_ip, f"{low}-{high}")]
    return [(f"{port}/{proto}", host_ip, str(low + port - first)) for port in range(first, last + 1)]


def _protocol(spec: str) -> tuple[str, str]:
    body, slash, proto = spec.partition("/")
    proto = proto.lower() if slash else "tcp"
    if proto not in _PROTOCOLS:
        raise Invalid(f"invalid proto: {proto}", hint="publish tcp, udp or sctp ports", code=codes.PORT_INVALID)
    return body, proto


def _split(body: str) -> tuple[str, str, str]:
    """Host address, host ports, container ports; the address may be IPv6 in brackets (or bare, as in Docker)."""
    rest, _, container = body.rpartition(":")
    address, _, host = rest.rpartition(":")
    if not address:
        return "", host, container
    if address.startswith("["):
        if not address.endswith("]"):
            raise Invalid(
                f"invalid IP address: {address}", hint="write an IPv6 address in brackets", code=codes.PORT_INVALID
            )
        address = address[1:-1]
    return str(parse_address(address, "IP address")), host, container


def _range(text: str, what: str, *, least: int = 1) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    numbers = [first, last] if dash else [first, first]
    if not all(part.isascii() and part.isdigit() and len(part) <= 5 for part in numbers):
        raise Invalid(
            f"invalid {what}: {text}",
            hint=f"ports are numbers from 1 to {PORT_MAX}, ranges low-high",
            code=codes.PORT_INVALID,
        )
    low, high = map(int, numbers)
    if not least <= low <= high <= PORT_MAX:
        raise Invalid(
            f"invalid {what}: {text}",
            hint=f"ports are numbers from 1 to {PORT_MAX}, ranges low-high",
            code=codes.PORT_INVALID,
        )
    return low, high
