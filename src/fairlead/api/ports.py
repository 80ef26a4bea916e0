"""Ports as the Engine API writes them: ``80/tcp`` as a key, ``8080`` or ``8000-8010`` as a host port."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct, field

from fairlead.model import codes
from fairlead.model.endpoint import PortBinding, PortRequest
from fairlead.model.errors import Invalid

#: Largest port number (16-bit field of TCP, UDP and SCTP headers).
PORT_MAX = 65535
#: Protocols whose ports can be published.
PROTOCOLS = ("tcp", "udp", "sctp")


class HostPortBody(Struct):
    """One host address and port for a container's port; empty text means any."""

    host_ip: str | None = field(name="HostIp", default=None)
    host_port: str | None = field(name="HostPort", default=None)


def parse_key(key: str) -> tuple[int, str]:
    """``80/tcp`` (or ``80``) as number and protocol; raises ``Invalid``."""
    number, _, proto = key.partition("/")
    proto = proto.lower() or "tcp"
    if proto not in PROTOCOLS:
        raise Invalid(f"invalid proto: {proto}", hint="publish tcp, udp or sctp ports", code=codes.PORT_INVALID)
    return _port(number, key), proto


def expand_key(key: str) -> list[str]:
    """``7000-7003/udp`` or ``80`` as single ports in canonical form; raises ``Invalid``."""
    numbers, _, proto = key.partition("/")
    first, dash, last = numbers.partition("-")
    low, proto = parse_key(f"{first}/{proto}")
    high = _port(last, key) if dash else low
    if high < low:
        raise Invalid(f"invalid range format for --expose: {numbers}", hint="write the smaller port first")
    return [f"{port}/{proto}" for port in range(low, high + 1)]


def parse_bindings(bindings: Mapping[str, Sequence[HostPortBody] | None]) -> tuple[PortRequest, ...]:
    """The requests in a ``PortBindings`` map; raises ``Invalid`` naming the faulty part."""
    requests = []
    for key, hosts in bindings.items():
        port, proto = parse_key(key)
        for host in hosts or (HostPortBody(),):
            low, high = _host_range(host.host_port or "")
            requests.append(PortRequest(proto, port, host.host_ip or "", low, high))
    return tuple(requests)


def bindings_json(requests: Sequence[PortRequest]) -> dict[str, object]:
    """Requests as a ``PortBindings`` map."""
    result: dict[str, list[dict[str, str]]] = {}
    for request in requests:
        wanted = str(request.host_port) if request.host_port else ""
        if request.host_port_end > request.host_port:
            wanted = f"{request.host_port}-{request.host_port_end}"
        entry = {"HostIp": request.host_ip, "HostPort": wanted}
        result.setdefault(f"{request.container_port}/{request.proto}", []).append(entry)
    return dict(result)


def published_json(exposed: Sequence[str], bindings: Sequence[PortBinding]) -> dict[str, object]:
    """``NetworkSettings.Ports``: each exposed port with the host ports that reach it, or null."""
    result: dict[str, list[dict[str, str]] | None] = dict.fromkeys(exposed)
    for binding in bindings:
        key = f"{binding.container_port}/{binding.proto}"
        entry = {"HostIp": binding.host_ip or "0.0.0.0", "HostPort": str(binding.host_port)}
        result[key] = [*(result.get(key) or ()), entry]
    return dict(result)


def rows_json(exposed: Sequence[str], bindings: Sequence[PortBinding]) -> list[dict[str, object]]:
    """The ``Ports`` of a line of ``ps``."""
    rows: list[dict[str, object]] = []
    reached = {f"{binding.container_port}/{binding.proto}" for binding in bindings}
    for key in exposed:
        if key not in reached:
            port, proto = parse_key(key)
            rows.append({"PrivatePort": port, "Type": proto})
    for binding in bindings:
        rows.append(
            {
                "IP": binding.host_ip or "0.0.0.0",
                "PrivatePort": binding.container_port,
                "PublicPort": binding.host_port,
                "Type": binding.proto,
            }
        )
    return rows


def _host_range(text: str) -> tuple[int, int]:
    """``""`` -> (0, 0); ``80`` -> (80, 0); ``80-90`` -> (80, 90)."""
    if not text:
        return 0, 0
    first, dash, last = text.partition("-")
    low = _port(first, text, least=0)
    high = _port(last, text) if dash else 0
    if dash and high < low:
        raise Invalid(f"invalid port range {text!r}", hint="write the smaller port first", code=codes.PORT_INVALID)
    return low, (high if high > low else 0)


def _port(text: str, whole: str, *, least: int = 1) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 5 or not least <= int(text) <= PORT_MAX:
        raise Invalid(
            f"invalid port specification: {whole!r}",
            hint=f"ports are numbers from 1 to {PORT_MAX}",
            code=codes.PORT_INVALID,
        )
    return int(text)
