"""Who has which route: two services that ask for the same one are named."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from fairlead.mesh.wish import OFF, PASSTHROUGH, REQUIRED, HttpRoute, HttpService
from fairlead.model import codes
from fairlead.model.errors import Conflict

#: Where requests come in: without TLS, over TLS that is opened here, and over TLS that is handed through.
PLAIN, SECURE, SNI = "plain", "secure", "sni"


@dataclass(frozen=True, slots=True)
class Clash:
    """Two services ask for the same route; ``kept`` is the name of the one that has it."""

    host: str
    path: str
    kept: str
    other: str

    def __str__(self) -> str:
        return f"services {self.kept} and {self.other} both ask for {self.host}{self.path}"


@dataclass(frozen=True, slots=True)
class Grant:
    """A route that a service has, and where requests for it come in."""

    service: HttpService
    route: HttpRoute
    faces: tuple[str, ...]


#: A place that one service has: face, host, path.
_Place = tuple[str, str, str]


class Table:
    """Routes with those who have them: who comes first keeps a route."""

    def __init__(self) -> None:
        self._owners: dict[_Place, HttpService] = {}
        self._secured: dict[str, dict[str, HttpService]] = {}

    def put(self, service: HttpService) -> Iterator[Grant | Clash]:
        """What becomes of a service's routes. Of two own ones for the same place the first holds."""
        for route in service.routes:
            other = self._other(service, route)
            if other is not None:
                yield Clash(route.host, route.path, other.name, service.name)
                continue
            free = [place for place in _places(route) if place not in self._owners]
            self._owners.update(dict.fromkeys(free, service))
            if route.tls == REQUIRED:
                self._secured.setdefault(route.host, {})[service.id] = service
            if free:
                yield Grant(service, route, tuple(face for face, _, _ in free))

    def _other(self, service: HttpService, route: HttpRoute) -> HttpService | None:
        """Another service that has what the route needs. Who wants a host's TLS as it comes does not go with one that wants
        it opened; one that is for both ports leaves it to the other."""
        rivals = [self._owners.get(place) for place in _places(route)]
        if route.tls == REQUIRED:
            rivals.append(self._owners.get((SNI, route.host, "/")))
        elif route.tls == PASSTHROUGH:
            rivals += self._secured.get(route.host, {}).values()
        return next((rival for rival in rivals if rival is not None and rival.id != service.id), None)


def arrange(services: Iterable[HttpService]) -> tuple[tuple[Grant, ...], tuple[Clash, ...]]:
    """Who has what, and what several ask for. The first by name has it, on every node alike."""
    table = Table()
    found = [item for service in sorted(services, key=lambda one: (one.name, one.id)) for item in table.put(service)]
    grants = tuple(item for item in found if isinstance(item, Grant))
    return grants, tuple(dict.fromkeys(item for item in found if isinstance(item, Clash)))


def check(service: HttpService, others: Iterable[HttpService]) -> None:
    """Raise ``Conflict`` if a route of ``service`` is one of the others' (one with its id is left out)."""
    table = Table()
    for other in others:
        if other.id != service.id:
            for _ in table.put(other):
                pass
    clash = next((item for item in table.put(service) if isinstance(item, Clash)), None)
    if clash is not None:
        raise Conflict(
            str(clash),
            hint=f"give {service.name} another host or path, or take the label off {clash.kept}",
            code=codes.HTTP_ROUTE_TAKEN,
        )


def _places(route: HttpRoute) -> tuple[_Place, ...]:
    if route.tls == PASSTHROUGH:
        return ((SNI, route.host, "/"),)
    faces = (PLAIN,) if route.tls == OFF else (PLAIN, SECURE)
    return tuple((face, route.host, route.path) for face in faces)
