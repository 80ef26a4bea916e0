"""Backend: what makes an endpoint one of those behind the virtual address of a service."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address

#: Options of a service, as labels of it or of its containers, or of its place in a network (``driver-opt``).
MARK = "fairlead.lb."
AFFINITY, ALGORITHM, WEIGHT, PREFER = f"{MARK}affinity", f"{MARK}algorithm", f"{MARK}weight", f"{MARK}prefer"
#: Whether tasks see the address of the node that a connection came in by (Docker), and not the client's.
SNAT = "fairlead.ingress.snat"
#: How all of these begin.
MARKS = (MARK, "fairlead.ingress.")
RANDOM, ROUND_ROBIN, CLIENT_IP = "random", "round-robin", "client-ip"
ALGORITHMS = (RANDOM, ROUND_ROBIN, CLIENT_IP)
#: Protocols whose ports can be published, and the last port.
PROTOCOLS, _PORT_MAX = ("tcp", "udp", "sctp"), 65535
#: Ports of one service that are believed: a record with so many stays below some 10 KB.
PUBLISHED_MAX = 1024
#: Characters of a service's id at most.
_ID_CHARACTERS = 64
#: Largest weight: a task then gets a hundred connections for each one of a task of weight 1.
WEIGHT_MAX = 100


@dataclass(frozen=True, slots=True)
class PublishedPort:
    """A port that every node answers, and the task's behind it. ``host_ip``: only at this (bare) address; empty: at all."""

    protocol: str
    published: int
    target: int
    host_ip: str = ""


@dataclass(frozen=True, slots=True)
class Backend:
    """A place behind a service's virtual addresses (bare; IPv4, IPv6, or empty). ``names`` are those that lead there. A
    service without virtual addresses (``dnsrr``) has tasks all the same, which the HTTP mesh leads to.
    ``algorithm`` is one of ``ALGORITHMS``; ``weight`` 0 means no new connections, ``prefer_local`` that senders on a node
    with a task of the service use those. ``published`` are the ports at which it is reached by all nodes, in the network of
    published ports only, ``snat`` as ``SNAT``."""

    service_id: str
    names: tuple[str, ...]
    vip4: str = ""
    vip6: str = ""
    weight: int = 1
    algorithm: str = RANDOM
    prefer_local: bool = False
    published: tuple[PublishedPort, ...] = ()
    snat: bool = False


def is_sound(backend: Backend) -> bool:
    """Whether it says something that can be done: chains are named after services. Addresses and names are not looked at."""
    known = backend.algorithm in ALGORITHMS and 0 <= backend.weight <= WEIGHT_MAX
    identifier = backend.service_id
    named = 0 < len(identifier) <= _ID_CHARACTERS and identifier.isascii() and identifier.isalnum()
    return known and named and len(backend.published) <= PUBLISHED_MAX and all(map(_is_port, backend.published))


def _is_port(port: PublishedPort) -> bool:
    numbers = 0 < port.published <= _PORT_MAX and 0 < port.target <= _PORT_MAX
    return numbers and port.protocol in PROTOCOLS and (not port.host_ip or _is_address(port.host_ip))


def _is_address(text: str) -> bool:
    try:
        return str(ip_address(text)) == text
    except ValueError:
        return False


def fault(options: Mapping[str, str]) -> str:
    """Why these options of a service make no sense, in words; empty text when they do."""
    for key, value in options.items():
        allowed = _VALUES.get(key)
        if key == WEIGHT:
            if not value.isascii() or not value.isdigit() or int(value) > WEIGHT_MAX:
                return f"{key}={value}: a weight is a number from 0 to {WEIGHT_MAX}"
        elif allowed is not None and value not in allowed:
            return f"{key}={value}: known are {', '.join(allowed)}"
        elif allowed is None and key.startswith(MARKS):
            return f"{key}: known are {', '.join((*_VALUES, WEIGHT))}"
    return ""


def algorithm_of(options: Mapping[str, str]) -> str:
    """The algorithm that options ask for; affinity wins."""
    return CLIENT_IP if options.get(AFFINITY) == CLIENT_IP else options.get(ALGORITHM, RANDOM)


_VALUES: dict[str, tuple[str, ...]] = {
    AFFINITY: ("none", CLIENT_IP),
    ALGORITHM: ALGORITHMS,
    PREFER: ("none", "local"),
    SNAT: ("true", "false"),
}
