"""What labels of a service say about HTTP: ours, and both of Docker's paid editions (UCP's routing mesh, Interlock).

Ours are ``fairlead.http.KEY``, or ``fairlead.http.NAME.KEY`` for a service with several routes; NAME only keeps them apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from fairlead.mesh import interlock, ucp
from fairlead.mesh.values import (
    Fault,
    boolean,
    cookie,
    fitting,
    hosts,
    one_of,
    path,
    port,
    redirect,
)
from fairlead.mesh.wish import (
    HTTP1,
    HTTP2,
    OFF,
    OPTIONAL,
    PASSTHROUGH,
    REQUIRED,
    TASK_PORT,
    TO_TLS,
    HttpRoute,
)
from fairlead.model import codes
from fairlead.model.errors import Invalid

#: Beginning of our labels.
MARK = "fairlead.http."
_MARKS = (MARK, ucp.MARK, interlock.MARK)
#: Name of the cookie that keeps clients at their tasks where no other is asked for.
COOKIE = "fairlead-task"
#: Routes that one service can have. Reason: hosts times paths; more is a mistake or an attack. Our choice.
ROUTES_MAX = 200

_TLS = {"true": REQUIRED, "false": OFF} | {word: word for word in (OPTIONAL, REQUIRED, OFF, PASSTHROUGH)}
_PROTOCOL = {"http1": HTTP1, "http/1.1": HTTP1, "h2": HTTP2, "h2c": HTTP2, "grpc": HTTP2}
_PROXY = {"v1": "v1", "v2": "v2", "true": "v2", "false": ""}


def is_label(key: str) -> bool:
    """Whether a label is one of those that are read here."""
    return key.startswith(_MARKS)


def parse(labels: Mapping[str, str], where: str, ports: Sequence[int] = ()) -> tuple[HttpRoute, ...]:
    """The routes that labels ask for; none if there is no such label. ``where`` begins messages (``service web``). ``ports``
    are those that its tasks are known to listen on: if it is one, routes that name none mean that. Raises ``Invalid``."""
    default = ports[0] if len(ports) == 1 else TASK_PORT
    try:
        routes = (*_ours(labels, default), *ucp.parse(labels, default), *interlock.parse(labels, default))
        if len(routes) > ROUTES_MAX:
            raise Fault(
                next(filter(is_label, labels)),
                f"{len(routes)} routes; at most {ROUTES_MAX}",
            )
    except Fault as fault:
        raise Invalid(
            f"{where}: label {fault}", hint="docs/http-mesh.md lists the labels", code=codes.HTTP_LABEL_INVALID
        ) from None
    return tuple(dict.fromkeys(routes))


def _ours(labels: Mapping[str, str], default: int) -> list[HttpRoute]:
    groups: dict[str, dict[str, str]] = {}
    for label in sorted(labels):
        if label.startswith(MARK):
            name, _, key = label.removeprefix(MARK).rpartition(".")
            if key not in _KEYS and key not in {"host", "path"}:
                raise Fault(label, f"known are {', '.join(sorted([*_KEYS, 'host', 'path']))}")
            groups.setdefault(name, {})[key] = labels[label]
    return [
        route for name, group in sorted(groups.items()) for route in _group(f"{MARK}{name}".rstrip("."), group, default)
    ]


def _group(mark: str, group: dict[str, str], default: int) -> list[HttpRoute]:
    if "host" not in group:
        raise Fault(f"{mark}.{min(group)}", f"there is no {mark}.host")
    route = HttpRoute("", port=default)
    for key, value in group.items():
        if key in _KEYS:
            route = _KEYS[key](route, f"{mark}.{key}", value)
    paths = [path(f"{mark}.path", item) for item in group.get("path", "/").split(",")]
    routes = [replace(route, host=host, path=item) for host in hosts(f"{mark}.host", group["host"]) for item in paths]
    return [fitting(f"{mark}.host", item) for item in routes]


def _sticky(route: HttpRoute, label: str, value: str) -> HttpRoute:
    if value.lower() in {"true", "false"}:
        return replace(route, cookie=COOKIE if boolean(label, value) else "")
    return replace(route, cookie=cookie(label, value))


def _redirect(route: HttpRoute, label: str, value: str) -> HttpRoute:
    if value.lower() in {"true", "false", TO_TLS}:
        return replace(route, redirect="" if value.lower() == "false" else TO_TLS)
    return replace(route, redirect=redirect(label, value))


def _network(route: HttpRoute, label: str, value: str) -> HttpRoute:
    if not value:
        raise Fault(label, "name a network")
    return replace(route, network=value)


#: What each of our labels does to a route.
_KEYS: dict[str, Callable[[HttpRoute, str, str], HttpRoute]] = {
    "port": lambda route, label, value: replace(route, port=port(label, value)),
    "tls": lambda route, label, value: replace(route, tls=one_of(label, value, _TLS)),
    "sticky": _sticky,
    "redirect": _redirect,
    "health": lambda route, label, value: replace(route, health=path(label, value)),
    "protocol": lambda route, label, value: replace(route, protocol=one_of(label, value, _PROTOCOL)),
    "proxy": lambda route, label, value: replace(route, proxy=one_of(label, value, _PROXY)),
    "retry": lambda route, label, value: replace(route, retry=boolean(label, value)),
    "rewrite": lambda route, label, value: replace(route, rewrite=path(label, value)),
    "network": _network,
}
