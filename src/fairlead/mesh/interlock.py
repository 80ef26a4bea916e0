"""Labels of Interlock (UCP 3, Docker's and Mirantis' layer 7 routing): ``com.docker.lb.*``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from fairlead.mesh.values import Fault, boolean, cookie, fitting, host, hosts, one_of, path, port, redirect, url
from fairlead.mesh.wish import PASSTHROUGH, REQUIRED, HttpRoute

MARK = "com.docker.lb."
_READ = (
    "hosts port network context_root context_root_rewrite ssl_cert ssl_key ssl_passthrough sticky_session_cookie redirects "
    "websocket_endpoints service_cluster backend_mode"
).split()


def parse(labels: Mapping[str, str], default: int) -> list[HttpRoute]:
    """The routes of a service's labels; ``default`` is the port where none is named. Raises ``Fault``.

    Certificates are those of the mesh's directory: ``ssl_cert`` and ``ssl_key`` only say that TLS is wanted.
    ``websocket_endpoints`` says nothing that is needed, nor does ``service_cluster``: one proxy serves all.
    """
    said = {label.removeprefix(MARK): value for label, value in labels.items() if label.startswith(MARK)}
    if not said:
        return []
    for key in sorted(said):
        if key not in _READ:
            raise Fault(MARK + key, f"known are {', '.join(_READ)}")
    if "hosts" not in said:
        raise Fault(MARK + min(said), f"there is no {MARK}hosts")
    one_of(f"{MARK}backend_mode", said.get("backend_mode", "task"), {"task": "task", "vip": "vip"})
    route = _common(said, default)
    routes = {name: replace(route, host=name) for name in hosts(f"{MARK}hosts", said["hosts"])}
    for name, aim in _redirects(said.get("redirects", "")):
        routes[name] = replace(route, host=name, redirect=aim)
    return [fitting(f"{MARK}hosts", item) for item in routes.values()]


def _common(said: dict[str, str], default: int) -> HttpRoute:
    root = path(f"{MARK}context_root", said.get("context_root", "/"))
    rewritten = boolean(f"{MARK}context_root_rewrite", said.get("context_root_rewrite", "false"))
    passed = boolean(f"{MARK}ssl_passthrough", said.get("ssl_passthrough", "false"))
    name = said.get("sticky_session_cookie", "")
    route = HttpRoute(
        "",
        root,
        port(f"{MARK}port", said["port"]) if "port" in said else default,
        cookie=cookie(f"{MARK}sticky_session_cookie", name) if name else "",
        app_cookie=bool(name),
        rewrite="/" if rewritten else None,
        network=said.get("network", ""),
    )
    if passed:
        return replace(route, tls=PASSTHROUGH)
    return replace(route, tls=REQUIRED) if "ssl_cert" in said else route


def _redirects(text: str) -> list[tuple[str, str]]:
    """``http://old,http://new;http://older,http://new``."""
    label, found = f"{MARK}redirects", []
    for item in filter(None, (item.strip() for item in text.split(";"))):
        source, separator, aim = item.partition(",")
        if not separator:
            raise Fault(label, f"{item!r}: write FROM,TO; several are separated by semicolons")
        name = url(label, source.strip())[1] if "://" in source else host(label, source.strip())
        found.append((name, redirect(label, aim.strip())))
    return found
