"""Record tables: who answers to which name in which network.

One zone per network. A change and a look-up cost the same whatever the number of names (dictionaries keyed by name,
reverse name and endpoint). Every change draws a new ``epoch``; a zone's ``generation`` is the epoch of its last
change, so an answer that was made under the same generations is still right. Not thread-safe: ``aio`` locks.
"""

from __future__ import annotations

from dataclasses import dataclass

from fairlead.discovery.wire import TTL_S
from fairlead.model.addresses import bare, parse_address

#: Address of the resolver inside every sandbox (Docker's choice; loopback, so that it needs no device or route).
DNS_ADDRESS = "127.0.0.11"
#: Port that programs ask (RFC 1035 section 4.2).
DNS_PORT = 53
#: Port that our sockets are bound to; port 53 is rewritten to it, so a container may bind its own server to port 53
#: (Docker leaves it free as well). Outside Linux's ephemeral range 32768-60999, so nothing takes it by chance.
DNS_LISTEN_PORT = 65053
#: Mark of the packets that our resolver itself sends from a sandbox's namespace, so that rules there which lead queries
#: to it leave its own alone. An arbitrary number that no known program uses.
DNS_FORWARD_MARK = 0x0FA17EAD
#: How names begin that mean the tasks of a service (Docker's).
TASKS = "tasks."
#: Names of services' tasks that are remembered after the last task answered to them, over all networks, a choice.
_REMEMBERED_MAX = 4096


@dataclass(frozen=True, slots=True)
class Registration:
    """What one endpoint answers to. Addresses are packed (4 and 16 octets) or empty; ``names`` are as given, the
    first being the one for reverse look-ups; ``ttl_s`` is for how many seconds clients may keep an answer; ``ports`` are
    those it offers (``80/tcp``)."""

    names: tuple[str, ...]
    ipv4: bytes
    ipv6: bytes
    ttl_s: int = TTL_S
    ports: tuple[str, ...] = ()


class Zone:
    """The names of one network. ``generation`` changes with its content and never repeats."""

    __slots__ = ("endpoints", "generation", "label", "names", "network_name", "reverse")

    def __init__(self, network_name: str) -> None:
        self.rename(network_name)
        self.generation = 0
        self.endpoints: dict[str, tuple[Registration, tuple[str, ...]]] = {}
        self.names: dict[str, dict[str, Registration]] = {}
        self.reverse: dict[str, dict[str, Registration]] = {}

    def rename(self, network_name: str) -> None:
        """Take a network's name; ``label`` is how it is asked for, in lower case."""
        self.network_name = network_name
        self.label = network_name.lower()

    def find(self, name: str) -> tuple[Registration, ...]:
        """The endpoints that answer to a lower-case name, in order of registration."""
        holders = self.names.get(name)
        return tuple(holders.values()) if holders else ()

    def holder(self, pointer: str) -> Registration | None:
        """The endpoint whose address has this reverse name (``2.0.0.10.in-addr.arpa``, lower case)."""
        holders = self.reverse.get(pointer)
        return next(iter(holders.values())) if holders else None


class Tables:
    """The zones of all networks of a node. ``epoch`` grows with every change anywhere."""

    def __init__(self) -> None:
        self.epoch = 1
        self._zones: dict[str, Zone] = {}
        #: (Network, name of a service's tasks) -> None, the oldest first.
        self._services: dict[tuple[str, str], None] = {}

    def zone(self, network_id: str) -> Zone | None:
        """The zone of a network, None while no endpoint of it is registered."""
        return self._zones.get(network_id)

    def generation(self, network_id: str) -> int:
        """A number that changes whenever an answer from this network may change; 0 for a network without names."""
        zone = self._zones.get(network_id)
        return zone.generation if zone else 0

    def knew(self, network_id: str, name: str) -> bool:
        """Whether a lower-case name means the tasks of a service of a network, of which none need be there now: it is
        nobody else's name as long as the network is there."""
        return (network_id, name) in self._services

    def register(
        self,
        network_id: str,
        network_name: str,
        endpoint_id: str,
        names: tuple[str, ...],
        ipv4: str,
        ipv6: str,
        ttl_s: int = TTL_S,
        ports: tuple[str, ...] = (),
    ) -> None:
        """Let an endpoint answer to ``names`` (replacing what it answered to before). Addresses are canonical text,
        with or without ``/length``, or empty. Same values again change nothing. Raises ``Invalid`` for text that is
        no address, before any change."""
        four = parse_address(bare(ipv4)) if ipv4 else None
        six = parse_address(bare(ipv6)) if ipv6 else None
        entry = Registration(names, four.packed if four else b"", six.packed if six else b"", ttl_s, ports)
        zone = self._zones.get(network_id)
        if zone and zone.network_name == network_name and zone.endpoints.get(endpoint_id, (None,))[0] == entry:
            return
        if zone is None:
            zone = self._zones[network_id] = Zone(network_name)
        zone.rename(network_name)
        self._drop(zone, endpoint_id)
        pointers = tuple(address.reverse_pointer for address in (four, six) if address)
        zone.endpoints[endpoint_id] = (entry, pointers)
        for name in names:
            zone.names.setdefault(name.lower(), {})[endpoint_id] = entry
            if name.startswith(TASKS):
                self._remember(network_id, name.lower())
        for pointer in pointers:
            zone.reverse.setdefault(pointer, {})[endpoint_id] = entry
        self._changed(zone)

    def unregister(self, network_id: str, endpoint_id: str) -> None:
        """Forget an endpoint; nothing happens if it is unknown."""
        zone = self._zones.get(network_id)
        if zone is None or endpoint_id not in zone.endpoints:
            return
        self._drop(zone, endpoint_id)
        if not zone.endpoints:
            del self._zones[network_id]
        self._changed(zone)

    def _remember(self, network_id: str, name: str) -> None:
        self._services[network_id, name] = None
        if len(self._services) > _REMEMBERED_MAX:
            del self._services[next(iter(self._services))]

    def _changed(self, zone: Zone) -> None:
        self.epoch += 1
        zone.generation = self.epoch

    @staticmethod
    def _drop(zone: Zone, endpoint_id: str) -> None:
        entry, pointers = zone.endpoints.pop(endpoint_id, (None, ()))
        if entry is None:
            return
        for table, keys in ((zone.names, [name.lower() for name in entry.names]), (zone.reverse, pointers)):
            for key in keys:
                holders = table.get(key, {})
                holders.pop(endpoint_id, None)
                if not holders:
                    table.pop(key, None)
