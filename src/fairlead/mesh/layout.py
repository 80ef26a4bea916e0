"""Where in the proxy everything is: which back end serves which service, what its maps say.

HAProxy makes no back ends while it runs. So there are more than are used, in a pool for each kind; a service takes one that
is free, and the maps of routes point at it. Only when a pool is used up must a configuration with a larger one be loaded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import ip_address

from fairlead.mesh.labels import COOKIE
from fairlead.mesh.routes import PLAIN, SECURE, SNI, Clash, Grant, arrange
from fairlead.mesh.wish import HTTP2, PASSTHROUGH, REQUIRED, TO_TLS, Frontends, HttpRoute, HttpService, Wish

#: Separates the parts of a route's value in a map; no host, path, URL or service's name has it.
SEPARATOR = "|"
#: The maps: routes of each face; known hosts, for the page that says what is missing; path and host of health checks.
HOSTS, HEALTH, HEALTH_HOSTS = "hosts", "health", "health-hosts"
MAPS = (PLAIN, SECURE, SNI, HOSTS, HEALTH, HEALTH_HOSTS)
#: Weight of a task in HAProxy at most (configuration manual, "weight").
WEIGHT_MAX = 256
#: The back end that redirects; it has no tasks.
REDIRECT = "redirect"
#: How redirects are told in a map: to the same place over TLS, to a URL, to a URL with the request's path added.
OVER_TLS, EXACTLY, BELOW = "tls", "to", "below"


@dataclass(frozen=True, slots=True, order=True)
class Kind:
    """What all back ends of a pool have in common: requests or mere connections, a cookie that binds clients to tasks, and
    what only some want and all would pay for: rewritten paths, and a copy of each request in case it is asked again."""

    http: bool = True
    cookie: str = ""
    app_cookie: bool = False
    rewriting: bool = False
    retrying: bool = False

    @property
    def pool(self) -> str:
        """The name of the pool, with which those of its back ends begin."""
        if not self.http:
            return "tls"
        words = ["rewriting"] * self.rewriting + ["retrying"] * self.retrying
        if self.cookie:
            words += ["app" if self.app_cookie else "sticky", self.cookie]
        return "-".join(words) or "web"


@dataclass(frozen=True, slots=True)
class Pool:
    """Back ends of one kind: ``NAME-1`` to ``NAME-size``."""

    kind: Kind
    size: int

    @property
    def slots(self) -> list[str]:
        """Names of all, used and free."""
        return [f"{self.kind.pool}-{number}" for number in range(1, self.size + 1)]


#: Pools to begin with; those of other kinds begin with ``_FEW``. They are doubled. Reason: 64 idle back ends are some hundred
#: kilobytes, and most clusters never need more. Our choice.
SPARE = (
    Pool(Kind(), 64),
    Pool(Kind(cookie=COOKIE), 16),
    Pool(Kind(http=False), 16),
    Pool(Kind(rewriting=True), 16),
    Pool(Kind(retrying=True), 16),
)
_FEW = 4
#: Addresses of which is remembered that they are some. Reason: all are looked at with each change. Our choice.
_ADDRESSES_KEPT = 20_000


@dataclass(frozen=True, slots=True)
class Upstream:
    """Tasks of a service that are reached in one way."""

    service_id: str
    port: int
    kind: Kind
    protocol: str = ""
    proxy: str = ""
    health: str = ""


@dataclass(frozen=True, slots=True)
class Server:
    """A task in a back end. The name says all that it is but its weight, so one of the same name is the same."""

    name: str
    address: str
    port: int
    options: str
    weight: int
    checked: bool = False


@dataclass(frozen=True, slots=True)
class Slot:
    """A back end that is in use."""

    upstream: Upstream
    service: str
    servers: tuple[Server, ...] = ()


@dataclass(frozen=True, slots=True)
class Layout:
    """A proxy as it is or will be. ``certificates`` are name and digest."""

    frontends: Frontends
    pools: dict[str, Pool] = field(default_factory=dict)
    slots: dict[str, Slot] = field(default_factory=dict)
    maps: dict[str, dict[str, str]] = field(default_factory=dict)
    certificates: dict[str, str] = field(default_factory=dict)
    #: Whether some TLS is handed through: connections are looked at before they are opened, which costs a step.
    passing: bool = False
    clashes: tuple[Clash, ...] = ()


def lay(wish: Wish, digests: Mapping[str, str], before: Layout | None = None) -> Layout:
    """Where everything is to be. Services stay in the back ends they have; what was in use ``before`` is given to nobody
    else in the same step, so that no request meets a strange task. ``digests`` are of the certificates, by name."""
    grants, clashes = arrange(wish.services)
    upstreams = {upstream_of(grant.service, grant.route): grant.service for grant in grants}
    pools, names = _place(upstreams, before)
    slots = {
        names[upstream]: Slot(upstream, service.name, _servers(upstream, service))
        for upstream, service in upstreams.items()
    }
    passing = any(not upstream.kind.http for upstream in upstreams) or (before is not None and before.passing)
    return Layout(wish.frontends, pools, slots, _maps(grants, names), dict(digests), passing, clashes)


def upstream_of(service: HttpService, route: HttpRoute) -> Upstream:
    """How the tasks behind a route are reached."""
    kind = Kind(http=False)
    if route.tls != PASSTHROUGH:
        rewriting = route.rewrite not in {None, route.path}
        kind = Kind(True, route.cookie, route.app_cookie, rewriting, route.retry)
    return Upstream(service.id, route.port, kind, route.protocol, route.proxy, route.health)


def _place(upstreams: Iterable[Upstream], before: Layout | None) -> tuple[dict[str, Pool], dict[Upstream, str]]:
    """The pools, and the back end of each."""
    pools = before.pools.copy() if before else {pool.kind.pool: pool for pool in SPARE}
    held = {slot.upstream: name for name, slot in before.slots.items()} if before else {}
    names = {upstream: held[upstream] for upstream in upstreams if upstream in held}
    taken, last = set(held.values()), dict[str, int]()
    for upstream in upstreams:
        if upstream in names:
            continue
        kind = upstream.kind
        number = last.get(kind.pool, 0) + 1
        while f"{kind.pool}-{number}" in taken:
            number += 1
        last[kind.pool] = number
        names[upstream] = f"{kind.pool}-{number}"
        pool = pools.setdefault(kind.pool, Pool(kind, _FEW))
        if number > pool.size:
            pools[kind.pool] = Pool(kind, 2 * max(pool.size, number))
    if before is not None and pools != before.pools:
        # All is loaded anew, so what only services that are gone have asked for can go as well.
        needed = {upstream.kind for upstream in names} | {pool.kind for pool in SPARE}
        pools = {name: pool for name, pool in pools.items() if pool.kind in needed}
    return pools, names


def _servers(upstream: Upstream, service: HttpService) -> tuple[Server, ...]:
    found = {task.address: task.weight for task in service.tasks if _is_address(task.address)}
    return tuple(_server(upstream, address, min(weight, WEIGHT_MAX)) for address, weight in sorted(found.items()))


@lru_cache(maxsize=_ADDRESSES_KEPT)
def _is_address(text: str) -> bool:
    """Other nodes tell addresses; what is none becomes no part of a command."""
    try:
        return ip_address(text).compressed == text and "%" not in text
    except ValueError:
        return False


def _server(upstream: Upstream, address: str, weight: int) -> Server:
    """One of the tasks; checks of dynamic servers inherit nothing (configuration manual, "check")."""
    options, marks = [], []
    if upstream.protocol == HTTP2:
        options.append("proto h2")
        marks.append("h2")
    sent = {"v1": "send-proxy", "v2": "send-proxy-v2"}.get(upstream.proxy)
    if sent:
        options.append(sent)
        marks.append(upstream.proxy)
    if upstream.health:
        options.append("check inter 2s fall 2 rise 1")
        options += ["check-proto h2"] if upstream.protocol == HTTP2 else []
        options += ["check-send-proxy"] if sent else []
        marks.append("checked")
    name = "-".join([f"{address}:{upstream.port}", *marks])
    return Server(name, address, upstream.port, " ".join(options), weight, bool(upstream.health))


def _maps(grants: Iterable[Grant], names: Mapping[Upstream, str]) -> dict[str, dict[str, str]]:
    maps: dict[str, dict[str, str]] = {name: {} for name in MAPS}
    for grant in grants:
        route, upstream = grant.route, upstream_of(grant.service, grant.route)
        slot = names[upstream]
        for face in grant.faces:
            key = route.host if face == SNI else f"{route.host}{route.path.rstrip('/')}/"
            maps[face][key] = SEPARATOR.join(_leading(route, face, slot, grant.service.name))
        if route.tls != PASSTHROUGH:
            maps[HOSTS][route.host] = "1"
        if route.health:
            maps[HEALTH][slot] = route.health
            maps[HEALTH_HOSTS].setdefault(slot, "localhost" if route.host.startswith("*") else route.host)
    return maps


def _leading(route: HttpRoute, face: str, slot: str, service: str) -> list[str]:
    """Where a request goes: back end, service; with a redirect how and whereto; with a rewrite how many parts of the path are
    taken off, and what is put there."""
    if face == PLAIN and (route.tls == REQUIRED or route.redirect == TO_TLS):
        return [REDIRECT, service, OVER_TLS, ""]
    if route.redirect and route.redirect != TO_TLS:
        return [REDIRECT, service, EXACTLY if "/" in route.redirect.partition("://")[2] else BELOW, route.redirect]
    if route.rewrite is None or route.rewrite == route.path or face == SNI:
        return [slot, service]
    depth = 0 if route.path == "/" else route.path.count("/")
    return [slot, service, str(depth), f"{route.rewrite.rstrip('/')}/"]
