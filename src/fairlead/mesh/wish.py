"""What a node's proxy is to do: the services with routes, their ready tasks, the ports, the certificates."""

from __future__ import annotations

from dataclasses import dataclass, field

#: A route's ``tls``: over both ports; over TLS only (who asks without is sent there); without only; handed to the task as
#: it comes, chosen by the server name in the client's first message (SNI, RFC 6066 section 3).
OPTIONAL, REQUIRED, OFF, PASSTHROUGH = "optional", "required", "off", "passthrough"
#: A route's ``protocol``, which its tasks speak: HTTP/1.1, or HTTP/2 without TLS by prior knowledge (RFC 9113 section 3.3).
HTTP1, HTTP2 = "http1", "h2"
#: A route's ``redirect`` to the same place over TLS.
TO_TLS = "https"
#: Port of a task that no label names and no published port tells.
TASK_PORT = 80


@dataclass(frozen=True, slots=True)
class HttpRoute:
    """Requests for ``host`` below ``path`` go to ``port`` of the service's tasks.

    ``host`` is in lower case, ``*.`` before it stands for any name below it, ``*`` alone for every host. ``path`` begins
    with a slash and is compared by whole segments. ``cookie`` keeps a client at its task; with ``app_cookie`` the
    application sets it, else we do. ``redirect`` sends clients elsewhere: ``TO_TLS`` or a URL, to which the path is added
    unless it has one. With ``retry`` what may be asked twice is asked of another task if one ends without an answer. ``health`` is a path that must answer 2xx or 3xx, empty for none. ``proxy`` (``v1``, ``v2``) begins
    connections to tasks with the PROXY protocol. ``rewrite`` takes the place of ``path`` before the task sees it, None
    leaves it. ``network`` is where tasks are reached, as the user wrote it; empty: not said.
    """

    host: str
    path: str = "/"
    port: int = TASK_PORT
    tls: str = OPTIONAL
    cookie: str = ""
    app_cookie: bool = False
    redirect: str = ""
    health: str = ""
    protocol: str = HTTP1
    proxy: str = ""
    rewrite: str | None = None
    retry: bool = False
    network: str = ""


@dataclass(frozen=True, slots=True)
class HttpTask:
    """A ready task: its bare address, and its share of the requests (0: none but those of clients bound to it)."""

    address: str
    weight: int = 1


@dataclass(frozen=True, slots=True)
class HttpService:
    """A service with routes. One without ready tasks belongs here as well: who asks for it is told so."""

    id: str
    name: str
    routes: tuple[HttpRoute, ...]
    tasks: tuple[HttpTask, ...] = ()


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate chain with its key, as PEM. ``name`` is a file name; which hosts it is for, it says itself."""

    name: str
    pem: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Frontends:
    """Where requests come in. Port 0 is switched off. Peers within ``trusted_proxies`` (CIDR) tell the client's address
    by the PROXY protocol; nobody else is believed. ``access_log``: one line of JSON for each request."""

    http_port: int = 80
    https_port: int = 443
    trusted_proxies: tuple[str, ...] = ()
    access_log: bool = True


@dataclass(frozen=True, slots=True)
class Wish:
    """All that one proxy is to do; the order of its parts means nothing."""

    frontends: Frontends = Frontends()
    services: tuple[HttpService, ...] = ()
    certificates: tuple[Certificate, ...] = ()
