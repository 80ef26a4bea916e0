"""Published ports: which service has which port of the cluster. Frozen: each operation answers a new value.

A port in ingress mode is one service's on all nodes. A port in host mode is any number of services', since they may be on
different nodes (the scheduler keeps two apart), but never together with another's ingress port of the same number.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from fairlead.ipam.table import Table
from fairlead.manager import refusals
from fairlead.model import codes
from fairlead.model.bitmap import Bitmap
from fairlead.model.errors import Exhausted

INGRESS, HOST = "ingress", "host"
#: From where ports are chosen, and one more than the last (swarmkit: dynamic ports 30000-32767).
_DYNAMIC = (30000, 32768)
_PORTS_END = 1 << 16


@dataclass(frozen=True, slots=True)
class Publication:
    """One port that a service publishes. ``published`` 0: have one chosen. Its key is (name, protocol, target port): under
    the same key a service keeps the port that was chosen for it."""

    target: int
    published: int = 0
    protocol: str = "tcp"
    mode: str = INGRESS
    name: str = ""

    @property
    def key(self) -> tuple[str, str, int]:
        """What stays the same when the service changes."""
        return (self.name, self.protocol, self.target)


_NOBODY: Table[tuple[str, int], str] = Table()
_NO_HOSTS: Table[tuple[str, int], frozenset[str]] = Table()
_NO_BITMAPS: Table[str, Bitmap] = Table()
_UNUSED = Bitmap(_PORTS_END)


@dataclass(frozen=True, slots=True)
class PublishedPorts:
    """The published ports of a cluster."""

    #: (protocol, port) -> the service that has it in ingress mode.
    ingress: Table[tuple[str, int], str] = _NOBODY
    #: (protocol, port) -> the services that have it in host mode.
    hosts: Table[tuple[str, int], frozenset[str]] = _NO_HOSTS
    #: Protocol -> ports that automatic choice leaves alone.
    _taken: Table[str, Bitmap] = _NO_BITMAPS

    def publish(
        self, service: str, wanted: Iterable[Publication], present: Iterable[Publication] = ()
    ) -> tuple[PublishedPorts, tuple[Publication, ...]]:
        """Give a service the ports that it wants, instead of its ``present`` ones. Raises ``Invalid`` in swarm's words when
        another has one, ``Exhausted`` when none can be chosen; then nothing has changed."""
        present = tuple(present)
        ports, chosen = self.withdraw(service, present), []
        kept = {one.key: one for one in present}
        for wish in wanted:
            port = wish
            held = kept.get(wish.key)
            if not wish.published and wish.mode == INGRESS:
                is_free = held is not None and held.mode == INGRESS and ports._is_free(held)
                number = held.published if held is not None and is_free else ports._lowest(wish.protocol)
                port = replace(wish, published=number)
            ports = ports._with(service, port)
            chosen.append(port)
        return ports, tuple(chosen)

    def withdraw(self, service: str, present: Iterable[Publication]) -> PublishedPorts:
        """Take a service's ports back."""
        ports = self
        for one in present:
            place = (one.protocol, one.published)
            if one.mode == INGRESS and ports.ingress.get(place) == service:
                ports = replace(ports, ingress=ports.ingress.drop(place))
            elif one.mode == HOST:
                left = (ports.hosts.get(place) or frozenset()) - {service}
                ports = replace(ports, hosts=ports.hosts.put(place, left) if left else ports.hosts.drop(place))
            ports = ports._marked(place)
        return ports

    def _with(self, service: str, port: Publication) -> PublishedPorts:
        place = (port.protocol, port.published)
        if not port.published:
            return self  # host mode: the node chooses
        others = (self.hosts.get(place) or frozenset()) - {service}
        if (holder := self.ingress.get(place)) is not None:
            raise _in_use(port.published, holder, "an ingress port")
        if port.mode == INGRESS and others:
            raise _in_use(port.published, min(others), "a host-published port")
        if port.mode == INGRESS:
            return replace(self, ingress=self.ingress.put(place, service))._marked(place)
        return replace(self, hosts=self.hosts.put(place, others | {service}))._marked(place)

    def _is_free(self, port: Publication) -> bool:
        place = (port.protocol, port.published)
        return self.ingress.get(place) is None and self.hosts.get(place) is None

    def _lowest(self, protocol: str) -> int:
        found = (self._taken.get(protocol) or _UNUSED).lowest_clear(*_DYNAMIC)
        if found is None:
            raise Exhausted(
                "dynamic port space is exhausted",
                hint=f"all ports from {_DYNAMIC[0]} to {_DYNAMIC[1] - 1} are published: name one",
                code=codes.PORTS_EXHAUSTED,
            )
        return found

    def _marked(self, place: tuple[str, int]) -> PublishedPorts:
        """With the bit of a place as the tables say."""
        protocol, number = place
        bits = self._taken.get(protocol) or _UNUSED
        is_taken = self.ingress.get(place) is not None or self.hosts.get(place) is not None
        return replace(self, _taken=self._taken.put(protocol, bits.set(number) if is_taken else bits.clear(number)))


def _in_use(port: int, service: str, what: str) -> Exception:
    return refusals.bad_argument(
        f"port '{port}' is already in use by service '{service}' as {what}",
        hint="publish another port, or none to have one chosen",
        code=codes.PORT_TAKEN,
    )
