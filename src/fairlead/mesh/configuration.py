"""A layout in HAProxy's language: the text that it starts with, and the files beside it.

What changes often stands in maps and in servers, which are changed while it runs; the text itself changes only with the
ports, with the pools, and with whom to believe. Section numbers are of HAProxy's configuration manual 2.6.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from fairlead.mesh.layout import (
    BELOW,
    EXACTLY,
    HEALTH,
    HEALTH_HOSTS,
    HOSTS,
    MAPS,
    OVER_TLS,
    REDIRECT,
    SEPARATOR,
    Kind,
    Layout,
    Server,
)
from fairlead.mesh.routes import PLAIN, SECURE, SNI
from fairlead.mesh.values import REWRITTEN_SEGMENTS_MAX

#: Names are stripped of so many labels from the left in search of a wildcard. Reason: one rule each, and only requests for
#: hosts that no route names exactly pass by them. Our choice.
WILDCARD_STEPS = 4
#: Where a client can be given whole requests only in time: seconds for a request's head (slowloris), until which an idle
#: connection is kept, for a connection to a task. Our choice, the middle one as nginx's.
REQUEST_TIMEOUT_S, IDLE_TIMEOUT_S, CONNECT_TIMEOUT_S = 10, 75, 3
#: Seconds for which both sides of a request or stream may be silent. Reason: streams (gRPC, websockets, server-sent events)
#: are silent for long; a task that hangs is seen by its health check. Our choice.
SILENCE_TIMEOUT_S = 3600
#: Seconds in which a client must say which name it wants over TLS.
HELLO_TIMEOUT_S = 5
#: Characters of a client's name for itself in the log.
AGENT_CHARACTERS_MAX = 128
#: Headers by which a proxy says who asked, in all their spellings. Whoever sends them to us is no proxy of ours.
FORGED = (
    "^(forwarded|x-forwarded(-.*)?|x-real-ip|x-client-ip|x-cluster-client-ip|true-client-ip|cf-connecting-ip|"
    "x-original-(url|host|uri|method)|x-rewrite-url|x-host|x-http-method-override|proxy|http2-settings|"
    "proxy-connection)$"
)
#: What a host can look like once it is in lower case and without its port.
_HOST = r"^([a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9_])?\.?|\[[0-9a-f:.]{2,45}\])$"
#: Key of the hash of a task's address that is a cookie's value. The same on every node, so that a client stays at its task
#: whichever node it comes in by; it keeps nothing secret.
_COOKIE_KEY = "fairlead"
#: Maps of health checks, and what holds for back ends that are not in them.
_HEALTH_MAPS = ((HEALTH, "/"), (HEALTH_HOSTS, "localhost"))
#: Parts of what a map says of a route (``layout``): back end and service; how and whereto, or how much and what instead.
_BACK_END, _SERVICE, _HOW, _AIM = (f"var(txn.route),field({number},{SEPARATOR})" for number in (1, 2, 3, 4))

_LOG = {
    "time": "%Ts.%ms",
    "client": '"%ci"',
    "port": "%cp",
    "face": '"%ft"',
    "method": '"%[capture.req.method,json(utf8s)]"',
    "host": '"%[var(txn.host),json(utf8s)]"',
    "uri": '"%[capture.req.uri,json(utf8s)]"',
    "protocol": '"%[capture.req.ver]"',
    "agent": '"%[capture.req.hdr(0),json(utf8s)]"',
    "service": f'"%[{_SERVICE}]"',
    "task": '"%si:%sp"',
    "status": "%ST",
    "bytes": "%B",
    "duration_ms": "%Ta",
    "end": '"%ts"',
}


@dataclass(frozen=True, slots=True)
class Place:
    """The process that the text is for. ``binds`` are the addresses of listeners by face (``plain``, ``secure``) in HAProxy's
    words; ``user`` is who it becomes after it has started, empty: nobody else."""

    directory: str
    binds: dict[str, tuple[str, ...]] = field(default_factory=dict)
    user: str = ""
    connections_max: int = 10_000
    #: Counts the texts that were loaded; each has a control socket of its own.
    generation: int = 0

    def map(self, name: str) -> str:
        """Where a map is, which is also what it is called at run time."""
        return f"{self.directory}/{name}.map"

    @property
    def certificates(self) -> str:
        """The list of certificates, which is also what it is called at run time."""
        return f"{self.directory}/certificates.list"

    def certificate(self, name: str) -> str:
        """Where a certificate is, which is also what it is called at run time."""
        return f"{self.directory}/certificates/{name}"


def files(layout: Layout, place: Place) -> dict[str, str]:
    """Maps and the list of certificates, by path."""
    found = {
        place.map(name): "".join(f"{key} {value}\n" for key, value in sorted(layout.maps.get(name, {}).items()))
        for name in MAPS
    }
    found[place.certificates] = "".join(f"{place.certificate(name)}\n" for name in sorted(layout.certificates))
    return found


def text(layout: Layout, place: Place) -> str:
    """The whole configuration."""
    sections = [_process(layout, place)]
    if layout.frontends.http_port and place.binds.get(PLAIN):
        sections.append(_face(layout, place, PLAIN, _listening(place, PLAIN, "")))
    if layout.frontends.https_port and place.binds.get(SECURE):
        sections += _secure(layout, place)
    sections += [_metrics(place), _nowhere(place), _redirects(layout)]
    for pool in sorted(layout.pools.values(), key=lambda one: one.kind):
        sections += [_back_end(layout, place, pool.kind, name) for name in pool.slots]
    return "\n".join("\n".join(section) + "\n" for section in sections)


def server_line(server: Server) -> str:
    """A server as both the text and ``add server`` have it, without its weight."""
    address = f"[{server.address}]" if ":" in server.address else server.address
    return f"{address}:{server.port} {server.options}".rstrip()


def _process(layout: Layout, place: Place) -> list[str]:
    lines = [
        "global",
        f"    maxconn {place.connections_max}",
        f"    stats socket {place.directory}/admin-{place.generation}.sock mode 600 level admin expose-fd listeners",
        "    stats timeout 60s",
        "    tune.ssl.default-dh-param 2048",
        "    ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets",
    ]
    if place.user:
        lines.append(f"    user {place.user}")
    return [
        *lines,
        "defaults",
        "    mode http",
        "    option dontlognull",
        "    option redispatch 1",
        # A worker that is to end says so with its next answer, instead of closing what a client may just be writing to.
        "    option idle-close-on-response",
        "    retries 3",
        f"    timeout connect {CONNECT_TIMEOUT_S}s",
        f"    timeout client {SILENCE_TIMEOUT_S}s",
        f"    timeout server {SILENCE_TIMEOUT_S}s",
        f"    timeout tunnel {SILENCE_TIMEOUT_S}s",
        f"    timeout http-request {REQUEST_TIMEOUT_S}s",
        f"    timeout http-keep-alive {IDLE_TIMEOUT_S}s",
        "    timeout check 2s",
    ]


def _listening(place: Place, face: str, options: str) -> list[str]:
    return [f"    bind {address} {options}".rstrip() for address in place.binds[face]]


def _believing(layout: Layout) -> list[str]:
    """Who tells clients' addresses by the PROXY protocol (section 4.2, ``tcp-request connection expect-proxy``)."""
    trusted = layout.frontends.trusted_proxies
    return [f"    tcp-request connection expect-proxy layer4 if {{ src {' '.join(trusted)} }}"] if trusted else []


def _secure(layout: Layout, place: Place) -> list[list[str]]:
    """TLS is opened here; where some is handed through, another frontend looks first which name is asked for, and gives the
    rest on together with the client's address."""
    tls = f"ssl crt-list {place.certificates} strict-sni alpn h2,http/1.1"
    if not layout.passing:
        return [_face(layout, place, SECURE, [*_listening(place, SECURE, tls)])]
    inner = f"{place.directory}/opened.sock"
    owner = f" user {place.user}" if place.user else ""
    outer = [
        "frontend sni",
        "    mode tcp",
        *_listening(place, SECURE, ""),
        *_believing(layout),
        f"    tcp-request inspect-delay {HELLO_TIMEOUT_S}s",
        "    tcp-request content set-var(sess.name) req.ssl_sni,lower",
        *_search("tcp-request content", "sess", place.map(SNI), "map_str", "name", ""),
        "    tcp-request content accept if { req.ssl_hello_type 1 }",
        f"    use_backend %[var(sess.route),field(1,{SEPARATOR})] if {{ var(sess.route) -m found }}",
        "    default_backend opened",
        "backend opened",
        "    mode tcp",
        f"    server here unix@{inner} send-proxy-v2",
    ]
    return [
        outer,
        _face(layout, place, SECURE, [f"    bind unix@{inner} mode 600{owner} accept-proxy {tls}"], inner=True),
    ]


def _search(rule: str, scope: str, file: str, lookup: str, name: str, tail: str) -> list[str]:
    """Rules that find the route of a name: the whole name first, then what wildcards cover it, the narrowest first, at last
    ``*``. ``tail`` joins what follows a name in the map's keys."""
    found, wild = f"{scope}.route", f"{scope}.wild"
    unless = f"unless {{ var({found}) -m found }}"
    lines = [f"    {rule} set-var({found}) var({scope}.{name}){tail},{lookup}({file})"]
    for step in range(WILDCARD_STEPS):
        source, taken = (f"{scope}.{name}", "^[^.]*") if step == 0 else (wild, "^[*][.][^.]*")
        lines.append(f"    {rule} set-var({wild}) var({source}),regsub({taken},*) {unless}")
        lines.append(f"    {rule} set-var({found}) var({wild}){tail},{lookup}({file}) {unless}")
    if tail:
        lines.append(f"    {rule} set-var({found}) str(*){tail},{lookup}({file}) {unless}")
    return lines


def _face(layout: Layout, place: Place, face: str, binds: list[str], *, inner: bool = False) -> list[str]:
    """A frontend of requests. Order matters: first what is refused, then who asks for what, then what may not be believed.
    Every rule here costs each request some 50 ns; what few requests need is in back ends of its own."""
    return [
        f"frontend {face}",
        *binds,
        *([] if inner else _believing(layout)),
        "    option http-restrict-req-hdr-names delete",
        *_logging(layout),
        *_pages(),
        *_refusals(),
        *_search("http-request", "txn", place.map(face), "map_beg", "host", ",concat(,txn.path,/)"),
        *_headers(face),
        f"    use_backend %[{_BACK_END}] if {{ var(txn.route) -m found }}",
        "    default_backend nowhere",
    ]


def _logging(layout: Layout) -> list[str]:
    if not layout.frontends.access_log:
        return []
    line = ",".join(f'"{key}":{value}' for key, value in _LOG.items())
    return [
        # Only requests have this level, so what HAProxy says of itself (a frontend has stopped) is not among them.
        "    log stdout len 8192 format raw local0 emerg",
        "    log-format '{" + line + "}'",
        "    http-request set-log-level emerg",
        f"    capture request header user-agent len {AGENT_CHARACTERS_MAX}",
    ]


def _refusals() -> list[str]:
    """Hosts that are none, and what opens a tunnel to a task. HAProxy itself refuses what two parsers could understand
    differently, or passes it on so that there is one way only (RFC 9112 sections 5.2, 6.1, 6.3 and 11.2): of a length and
    chunks the length is dropped, folded lines are joined, every line ends as it should."""
    return [
        "    http-request set-var(txn.host) req.hdr(host),host_only",
        "    http-request set-var(txn.path) path",
        f"    http-request deny status 400 unless {{ var(txn.host) -m reg {_HOST} }}",
        "    http-request deny status 405 if METH_CONNECT or METH_TRACE",
    ]


def _nowhere(place: Place) -> list[str]:
    """Who asks for what nobody has is told so."""
    known = f"if {{ var(txn.host),map_str({place.map(HOSTS)}) -m found }}"
    label = "fairlead.http.host=%[var(txn.host)]"
    below = _content(404, "no service of this cluster answers for it below this path",
                     f"a service with the labels {label} and a fairlead.http.path that fits")  # fmt: skip
    nobody = _content(404, "no service of this cluster answers for it", f"a service with the label {label}")
    return [
        "backend nowhere",
        f"    http-request return status 404 {below} {known}",
        f"    http-request return status 404 {nobody}",
    ]


def _redirects(layout: Layout) -> list[str]:
    port = layout.frontends.https_port
    over_tls = f"redirect code 308 location https://%[var(txn.host)]{'' if port == 443 else f':{port}'}%[pathq]"
    if not port:
        over_tls = f"return status 503 {_content(503, 'it is for TLS only', 'TLS, which is switched off here')}"
    return [
        f"backend {REDIRECT}",
        f"    http-request {over_tls} if {{ {_HOW} -m str {OVER_TLS} }}",
        f"    http-request redirect code 302 location %[{_AIM}] if {{ {_HOW} -m str {EXACTLY} }}",
        f"    http-request redirect code 302 location %[{_AIM}]%[pathq] if {{ {_HOW} -m str {BELOW} }}",
    ]


def _pages() -> list[str]:
    """What is said when a task breaks off, does not answer in time or cannot be reached."""
    said = {502: "did not answer as it should", 503: "cannot be reached", 504: "did not answer in time"}
    return [
        f"    http-error status {status} "
        + _content(status, f"a task of service %[{_SERVICE}] {what}", f"an answer of %[{_SERVICE}]")
        for status, what in said.items()
    ]


def _content(status: int, what: str, missing: str) -> str:
    """A short text; the host is one that has been looked at, so nothing of it means anything to a browser."""
    title = {404: "404 Not Found", 502: "502 Bad Gateway", 503: "503 Service Unavailable", 504: "504 Gateway Timeout"}
    body = f"{title[status]}\\n\\nHost asked for: %[var(txn.host)]\\nProblem: {what}.\\nMissing: {missing}.\\n"
    headers = "hdr X-Content-Type-Options nosniff hdr Cache-Control no-store"
    return f'content-type "text/plain; charset=utf-8" lf-string "{body}" {headers}'


def _headers(face: str) -> list[str]:
    """Who asked, in headers that nobody else can have written: every spelling of them goes, then ours are set. What
    ``Connection`` names is taken off by whoever comes next, so it names nothing but a websocket's upgrade."""
    scheme = "http" if face == PLAIN else "https"
    return [
        f"    http-request del-header {FORGED} -m reg",
        "    acl websocket req.fhdr(upgrade) -i websocket",
        "    http-request del-header upgrade unless websocket",
        "    http-request del-header connection",
        "    http-request set-header connection upgrade if websocket",
        # Added, not set: there is none by now, and to look for one costs as much as to write it. ``Host`` is passed on as it
        # was asked for, and needs no header beside it.
        "    option forwardfor",
        f"    http-request add-header x-forwarded-proto {scheme}",
    ]


def _rewrites() -> list[str]:
    return [
        f"    http-request set-path %[{_AIM}]%[path,field({number + 2},/,0)] if {{ {_HOW} -m str {number} }}"
        for number in range(REWRITTEN_SEGMENTS_MAX + 1)
    ]


def _metrics(place: Place) -> list[str]:
    return [
        "frontend metrics",
        f"    bind unix@{place.directory}/metrics.sock mode 600",
        "    http-request use-service prometheus-exporter if { path /metrics }",
        "    http-request deny status 404",
    ]


_IDLE = _content(
    503,
    f"no task of service %[{_SERVICE}] is ready",
    f"a task of %[{_SERVICE}] that runs and is healthy: fairlead service ps %[{_SERVICE}]",
)


def _back_end(layout: Layout, place: Place, kind: Kind, name: str) -> list[str]:
    """One of a pool. What a service wants beyond its kind comes by its servers and by the maps of health checks."""
    lines = [f"backend {name}", "    balance roundrobin"]
    if kind.http:
        path, host = (f"%[be_name,map_str({place.map(name)},{other})]" for name, other in _HEALTH_MAPS)
        lines += ["    option httpchk", f"    http-check send meth GET uri-lf {path} ver HTTP/1.1 hdr host {host}"]
        lines.append("    http-check expect status 200-399")
        # A worker that is to end counts no servers any more, but has them.
        lines.append(f"    http-request return status 503 {_IDLE} if {{ nbsrv eq 0 }} !{{ stopping }}")
    else:
        lines.append("    mode tcp")
    if kind.rewriting:
        lines += _rewrites()
    if kind.retrying:
        # Only what may be asked twice (RFC 9110 section 9.2.2). It costs a fifth of a request: each is copied.
        lines.append("    retry-on conn-failure empty-response")
        lines.append("    http-request disable-l7-retry unless METH_GET or { method OPTIONS }")
    if kind.cookie:
        manner = "prefix" if kind.app_cookie else "insert indirect httponly attr SameSite=Lax"
        lines += [f"    cookie {kind.cookie} {manner} nocache dynamic", f"    dynamic-cookie-key {_COOKIE_KEY}"]
    if name in layout.slots:
        lines += [
            f"    server {server.name} {server_line(server)} weight {server.weight}"
            for server in layout.slots[name].servers
        ]
    return lines
