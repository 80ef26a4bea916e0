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
from fairlead.model.errors import Exhausted, Invalid
from fairlead.model.service import HOST, INGRESS, ServicePort

#: From where ports are chosen, and one more than the last (swarmkit: dynamic ports 30000-32767).
_DYNAMIC = (30000, 32768)
_PORTS_END = 1 << 16


def key(port: ServicePort) -> tuple[str, str, int]:
    """What of a port stays the same when the service changes: under it a service keeps the number chosen for it."""
    return (port.name, port.protocol, port.target)


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
    taken: Table[str, Bitmap] = _NO_BITMAPS

    def publish(
        self, service: str, wanted: Iterable[ServicePort], present: Iterable[ServicePort] = ()
    ) -> tuple[PublishedPorts, tuple[ServicePort, ...]]:
        """Give a service the ports that it wants, instead of its ``present`` ones. Raises ``Invalid`` in swarm's words when
        another has one, ``Exhausted`` when none can be chosen; then nothing has changed."""
        present, wishes = tuple(present), list(wanted)
        kept = {key(one): one.published for one in present if one.mode == INGRESS}
        ports = self.withdraw(service, present)
        chosen: dict[int, ServicePort] = {}
        for index, wish in enumerate(wishes):  # first what is named or was had before, so that none else is given it
            number = wish.published or (kept.get(key(wish), 0) if wish.mode == INGRESS else 0)
            if wish.published or wish.mode == HOST or (number and _is_free(ports, wish.protocol, number)):
                chosen[index] = replace(wish, published=number)
                ports = _with(ports, service, chosen[index])
        for index, wish in enumerate(wishes):
            if index not in chosen:
                chosen[index] = replace(wish, published=_lowest(ports, wish.protocol))
                ports = _with(ports, service, chosen[index])
        return ports, tuple(chosen[index] for index in range(len(wishes)))

    def withdraw(self, service: str, present: Iterable[ServicePort]) -> PublishedPorts:
        """Take a service's ports back."""
        ports = self
        for one in present:
            place = (one.protocol, one.published)
            if one.mode == INGRESS and ports.ingress.get(place) == service:
                ports = replace(ports, ingress=ports.ingress.drop(place))
            elif one.mode == HOST:
                left = (ports.hosts.get(place) or frozenset()) - {service}
                ports = replace(ports, hosts=ports.hosts.put(place, left) if left else ports.hosts.drop(place))
            ports = _marked(ports, place)
        return ports


def _with(ports: PublishedPorts, service: str, port: ServicePort) -> PublishedPorts:
    place = (port.protocol, port.published)
    if not port.published:
        return ports  # host mode: the node chooses
    others = (ports.hosts.get(place) or frozenset()) - {service}
    if (holder := ports.ingress.get(place)) is not None:
        raise _in_use(port.published, holder, "an ingress port")
    if port.mode == INGRESS and others:
        raise _in_use(port.published, min(others), "a host-published port")
    if port.mode == INGRESS:
        return _marked(replace(ports, ingress=ports.ingress.put(place, service)), place)
    return _marked(replace(ports, hosts=ports.hosts.put(place, others | {service})), place)


def _is_free(ports: PublishedPorts, protocol: str, number: int) -> bool:
    place = (protocol, number)
    return ports.ingress.get(place) is None and ports.hosts.get(place) is None


def _lowest(ports: PublishedPorts, protocol: str) -> int:
    found = (ports.taken.get(protocol) or _UNUSED).lowest_clear(*_DYNAMIC)
    if found is None:
        raise Exhausted(
            "dynamic port space is exhausted",
            hint=f"all ports from {_DYNAMIC[0]} to {_DYNAMIC[1] - 1} are published: name one",
            code=codes.PORTS_EXHAUSTED,
        )
    return found


def _marked(ports: PublishedPorts, place: tuple[str, int]) -> PublishedPorts:
    """With the bit of a place as the tables say."""
    protocol, number = place
    bits = ports.taken.get(protocol) or _UNUSED
    is_taken = ports.ingress.get(place) is not None or ports.hosts.get(place) is not None
    return replace(ports, taken=ports.taken.put(protocol, bits.set(number) if is_taken else bits.clear(number)))


def _in_use(port: int, service: str, what: str) -> Invalid:
    return refusals.bad_argument(
        f"port '{port}' is already in use by service '{service}' as {what}",
        hint="publish another port, or none to have one chosen",
        code=codes.PORT_TAKEN,
    )
