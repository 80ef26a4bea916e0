"""Labels of UCP's HTTP routing mesh (UCP 2.0 to 2.2): ``com.docker.ucp.mesh.http`` and the same with ``.NAME``.

Two syntaxes: ``external_route=http://HOST,internal_port=8080,sticky_sessions=COOKIE,redirect=URL`` (2.1), where ``sni://HOST``
hands TLS through; and ``8080=http://HOST,http://OTHER`` (2.0). (docker/docs: datacenter/ucp/2.1/guides/user/services/
hrm-labels.md and 2.0/guides/configuration/route-hostnames.md)
"""

from __future__ import annotations

from collections.abc import Mapping

from fairlead.mesh.values import Fault, cookie, fitting, path, port, redirect
from fairlead.mesh.values import host as host_of
from fairlead.mesh.wish import OPTIONAL, PASSTHROUGH, HttpRoute

MARK = "com.docker.ucp.mesh.http"
_ROUTE, _PORT, _STICKY, _REDIRECT = "external_route", "internal_port", "sticky_sessions", "redirect"


def parse(labels: Mapping[str, str], default: int) -> list[HttpRoute]:
    """The routes of a service's labels; ``default`` is the port where none is named. Raises ``Fault``."""
    routes: list[HttpRoute] = []
    for label in sorted(labels):
        if label == MARK or label.startswith(f"{MARK}."):
            items = [item.strip() for item in labels[label].split(",")]
            newer = any(item.partition("=")[0] == _ROUTE for item in items)
            routes += [_newer(label, items, default)] if newer else [_older(label, item, default) for item in items]
        elif label.startswith(MARK):
            raise Fault(label, f"write {MARK} or {MARK}.NAME")
    return routes


def _newer(label: str, items: list[str], default: int) -> HttpRoute:
    pairs: dict[str, str] = {}
    for item in items:
        key, separator, value = item.partition("=")
        if not separator or key not in {_ROUTE, _PORT, _STICKY, _REDIRECT}:
            raise Fault(label, f"{item!r}: known are {_ROUTE}=, {_PORT}=, {_STICKY}=, {_REDIRECT}=")
        if key in pairs:
            raise Fault(label, f"{key} is there twice; use a label of its own for each route ({MARK}.1, {MARK}.2)")
        pairs[key] = value
    number = port(label, pairs[_PORT]) if _PORT in pairs else default
    sticky = cookie(label, pairs[_STICKY]) if _STICKY in pairs else ""
    aim = redirect(label, pairs[_REDIRECT]) if _REDIRECT in pairs else ""
    return _route(label, pairs[_ROUTE], number, sticky, aim)


def _older(label: str, item: str, default: int) -> HttpRoute:
    number, separator, route = item.partition("=")
    if separator:
        return _route(label, route, port(label, number))
    return _route(label, item, default)


def _route(label: str, text: str, number: int, sticky: str = "", aim: str = "") -> HttpRoute:
    scheme, separator, rest = text.partition("://")
    if not separator or scheme not in {"http", "sni"}:
        raise Fault(label, f"{text!r}: a route is http://HOST or sni://HOST")
    name, slash, below = rest.partition("/")
    route = HttpRoute(
        host_of(label, name),
        path(label, slash + below or "/"),
        number,
        OPTIONAL if scheme == "http" else PASSTHROUGH,
        cookie=sticky,
        app_cookie=bool(sticky),
        redirect=aim,
    )
    return fitting(label, route)
