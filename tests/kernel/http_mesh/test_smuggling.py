"""SEC-30: nobody is believed who is no proxy of ours, and no request is hidden in another."""

from __future__ import annotations

import contextlib
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from tests.kernel.http_mesh.bed import PATIENCE_S, Server, Stage, service, staged
from tests.kernel.http_mesh.corpus import REQUESTS
from tests.kernel.http_mesh.http2 import DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, RST_STREAM, Frame, Talk, fields
from tests.kernel.one_host.waiting import until

STRICT, LAX = "127.0.2.1", "127.0.2.2"
NGINX = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ }}
http {{
    log_format seen escape=json '$request_method $uri'; access_log {folder}/seen.log seen;
    client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
    uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    server {{ listen {address}:80; location / {{ add_header X-Seen "$uri" always; return 200 "ok"; }} }}
}}
"""


class _Remembering(BaseHTTPRequestHandler):
    """Python's own parser, which takes much for granted: no chunks, the first length, any line end."""

    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        server: Any = self.server
        server.asked.append(self.path)
        with contextlib.suppress(ValueError):
            self.rfile.read(max(0, int(self.headers.get("content-length") or 0)))
        self.send_response(200)
        self.send_header("X-Seen", self.path)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST = do_HEAD = _answer  # noqa: N815  (names that http.server looks for)

    def log_message(self, *args: object) -> None:
        """Nothing."""


class Lax(Server):
    """Remembers what it was asked."""

    def __init__(self, stage: Stage) -> None:
        self.asked: list[str] = []
        super().__init__(stage.tasks, LAX, 80, _Remembering)
        stage.servers.append(self)


class Strict:
    """nginx, which remembers what it was asked in its log."""

    def __init__(self, stage: Stage, folder: Path) -> None:
        self._log = folder / "seen.log"
        (folder / "nginx.conf").write_text(NGINX.format(folder=folder, address=STRICT))
        self.process = subprocess.Popen(
            stage.tasks.command("nginx", "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf")),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    @property
    def asked(self) -> list[str]:
        """Paths of requests."""
        lines = self._log.read_text("utf-8", "replace").splitlines() if self._log.exists() else []
        return [line.split(" ", 1)[1] for line in lines if " " in line]


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with staged() as made:
        made.task(1)
        yield made


@pytest.fixture(scope="module")
def strict(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Strict]:
    made = Strict(stage, tmp_path_factory.mktemp("nginx"))
    try:
        until(lambda: _listens(stage), "nginx listens")
        yield made
    finally:
        made.process.terminate()
        made.process.wait(PATIENCE_S)


@pytest.fixture(scope="module")
def lax(stage: Stage) -> Lax:
    return Lax(stage)


def _listens(stage: Stage) -> bool:
    try:
        with stage.tasks.connected(STRICT, 80):
            return True
    except OSError:
        return False


def numbered(text: bytes, number: int) -> bytes:
    """The request with names of its own of the same length, so that it is known again wherever it turns up."""
    return text.replace(b"/hidden", b"/h%05d" % number).replace(b"/open", b"/o%03d" % number)


def told(stage: Stage, text: bytes) -> list[str]:
    """Send octets and no more; what tasks said that they had been asked."""
    answer = b""
    with stage.connect() as client, contextlib.suppress(ConnectionError):
        client.sendall(text)
        client.shutdown(1)
        while piece := client.recv(65536):
            answer += piece
    return [found.decode() for found in re.findall(rb"(?im)^x-seen: (\S*)\r$", answer)]


def compare(stage: Stage, address: str, back_end: Strict | Lax) -> None:
    """Every hidden request that a task saw was answered to the client that sent it, so the mesh saw it as well. An open one
    is seen once at most; it may be answered by an error, if its body does not come."""
    stage.apply(service("shop", address, host="shop.example"))
    answered: Counter[str] = Counter()
    before = Counter(back_end.asked)
    for number, (name, text) in enumerate(REQUESTS.items()):
        answered.update(told(stage, numbered(text, number)))
        after = told(stage, b"GET /after%03d HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n" % number)
        assert after == [f"/after{number:03}"], f"after {name!r} another client got the answer for {after}"
    until(lambda: f"/after{len(REQUESTS) - 1:03}" in back_end.asked, "the last request is in the log")
    seen = Counter(back_end.asked) - before
    for number, name in enumerate(REQUESTS):
        hidden, opened = f"/h{number:05}", f"/o{number:03}"
        assert seen[hidden] == answered[hidden], f"{name}: a hidden request"
        assert answered[opened] <= seen[opened] <= 1, f"{name}: a request that was asked twice"
        del seen[hidden], seen[opened], seen[f"/after{number:03}"]
    assert not +seen, "requests that nobody made"
    assert sum(answered.values()) > len(REQUESTS) / 4


def test_sec_30_nothing_is_hidden_from_nginx(stage: Stage, strict: Strict) -> None:
    compare(stage, STRICT, strict)


def test_sec_30_nothing_is_hidden_from_a_server_that_takes_much_for_granted(stage: Stage, lax: Lax) -> None:
    compare(stage, LAX, lax)


def test_sec_30_the_corpus_is_understood_differently_without_the_mesh(stage: Stage, lax: Lax, strict: Strict) -> None:
    """The test of the test: asked straight, the two servers see different requests."""
    hidden: dict[str, set[int]] = {LAX: set(), STRICT: set()}
    for address, found in hidden.items():
        for number, text in enumerate(REQUESTS.values()):
            answer = b""
            with stage.tasks.connected(address, 80) as client, contextlib.suppress(ConnectionError, TimeoutError):
                client.sendall(text.replace(b"/hidden", b"/HIDDEN"))
                client.shutdown(1)
                while piece := client.recv(65536):
                    answer += piece
            if b"/HIDDEN" in answer:
                found.add(number)
    assert len(hidden[LAX] ^ hidden[STRICT]) >= 5, hidden


@pytest.mark.parametrize(
    "name", ["cl.cl", "cl minus", "cl list", "two hosts", "host and target", "no host", "host with path", "host with user",
             "connect", "te null", "te list", "cl blank before colon", "chunk no end", "blank in target"]
)  # fmt: skip
def test_sec_30_what_can_be_understood_differently_is_refused(stage: Stage, name: str) -> None:
    stage.apply(service("shop", "127.0.1.1", host="shop.example"))
    with stage.connect() as client:
        client.sendall(REQUESTS[name])
        client.shutdown(1)
        assert client.makefile("rb").readline().split(b" ")[1] in {b"400", b"405", b"501"}


FORGED = {
    "X-Forwarded-For": "6.6.6.6",
    "x-forwarded-for": "6.6.6.7",
    "X-FORWARDED-PROTO": "https",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Port": "6666",
    "X-Forwarded-Prefix": "/evil",
    "X-Forwarded-Ssl": "on",
    "X-Forwarded": "for=6.6.6.6",
    "Forwarded": "for=6.6.6.6;host=evil.example",
    "X-Real-IP": "6.6.6.6",
    "X-Client-IP": "6.6.6.6",
    "True-Client-IP": "6.6.6.6",
    "X-Cluster-Client-IP": "6.6.6.6",
    "CF-Connecting-IP": "6.6.6.6",
    "X-Original-URL": "/evil",
    "X-Rewrite-URL": "/evil",
    "X-Host": "evil.example",
    "X_Forwarded_For": "6.6.6.6",
    "X-Forwarded_For": "6.6.6.6",
    "X_Real_IP": "6.6.6.6",
    "Proxy": "http://evil.example",
}


def test_sec_30_forged_headers_never_survive(stage: Stage) -> None:
    stage.apply(service("shop", "127.0.1.1", host="shop.example"))
    answer = stage.ask("shop.example", headers=FORGED)
    assert not [value for _, value in answer.seen["headers"] if "evil" in value or "6.6.6" in value]
    assert answer.header("x-forwarded-for") == ["127.0.0.1"]
    assert answer.header("x-forwarded-proto") == ["http"]
    assert answer.header("host") == ["shop.example"]
    ours = {"x-forwarded-for", "x-forwarded-proto"}
    left = {name for name, _ in answer.seen["headers"]} & {name.lower() for name in FORGED}
    assert left == ours & left


@pytest.mark.parametrize(
    "named", ["X-Forwarded-For", "close, X-Forwarded-For, X-Real-IP", "keep-alive, Host", "upgrade, x-forwarded-for"]
)
def test_sec_30_connection_takes_no_header_of_ours_off(stage: Stage, named: str) -> None:
    stage.apply(service("shop", "127.0.1.1", host="shop.example"))
    answer = stage.ask("shop.example", headers={"Connection": named})
    assert answer.header("x-forwarded-for") == ["127.0.0.1"]
    assert answer.header("x-forwarded-proto") == ["http"]
    assert not [value for value in answer.header("connection") if "x-" in value.lower() or "host" in value.lower()]


def test_sec_30_no_tunnel_to_a_task_but_a_websocket(stage: Stage) -> None:
    stage.apply(service("shop", "127.0.1.1", host="shop.example"))
    for protocol in ("h2c", "foo", "h2c, websocket", "TLS/1.3"):
        more = {"Connection": "Upgrade", "Upgrade": protocol, "HTTP2-Settings": "AAMAAABk", "Sec-WebSocket-Key": "x"}
        answer = stage.ask("shop.example", headers=more)
        if answer.status == 400:  # HAProxy looks at what calls itself a websocket
            assert "websocket" in protocol
            continue
        assert answer.header("upgrade") == answer.header("connection") == answer.header("http2-settings") == []


PLAIN = ((b":method", b"POST"), (b":scheme", b"http"), (b":authority", b"shop.example"), (b":path", b"/open"))
LYING: dict[str, tuple[tuple[tuple[bytes, bytes], ...], bytes]] = {
    "length too short": (((*PLAIN, (b"content-length", b"0"))), b"GET /hidden HTTP/1.1\r\nHost: shop.example\r\n\r\n"),
    "length too long": ((*PLAIN, (b"content-length", b"100")), b"x"),
    "two lengths": ((*PLAIN, (b"content-length", b"0"), (b"content-length", b"1")), b"x"),
    "chunked": ((*PLAIN, (b"transfer-encoding", b"chunked")), b"0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: shop.example\r\n\r\n"),
    "connection": ((*PLAIN, (b"connection", b"x-forwarded-for")), b""),
    "line end in a value": ((*PLAIN, (b"foo", b"x\r\nTransfer-Encoding: chunked")), b"0\r\n\r\n"),
    "line end in a name": ((*PLAIN, (b"foo: x\r\nbar", b"y")), b""),
    "colon in a name": ((*PLAIN, (b"foo:bar", b"y")), b""),
    "null in a value": ((*PLAIN, (b"foo", b"x\x00y")), b""),
    "upper case": ((*PLAIN, (b"Foo", b"x")), b""),
    "line end in the path": ((*PLAIN[:3], (b":path", b"/open HTTP/1.1\r\nHost: x\r\n\r\nGET /hidden")), b""),
    "blank in the path": ((*PLAIN[:3], (b":path", b"/open x")), b""),
    "line end in the method": (((b":method", b"GET /hidden HTTP/1.1\r\nX: y"), *PLAIN[1:]), b""),
    "line end in the authority": ((*PLAIN[:2], (b":authority", b"shop.example\r\nX: y"), PLAIN[3]), b""),
    "another host": ((*PLAIN, (b"host", b"other.example")), b""),
    "no path": (PLAIN[:3], b""),
    "two paths": ((*PLAIN, (b":path", b"/hidden")), b""),
    "pseudo after": ((*PLAIN[:3], (b"foo", b"x"), PLAIN[3]), b""),
}  # fmt: skip


def test_sec_30_http_2_that_lies_reaches_no_task_as_two_requests(stage: Stage, lax: Lax) -> None:
    stage.apply(service("shop", LAX, host="shop.example"))
    for number, (name, (head, body)) in enumerate(LYING.items()):
        before = len(lax.asked)
        with stage.connect() as client:
            talk = Talk(client)
            block = fields(*((key, numbered(value, number)) for key, value in head))
            talk.send(Frame(HEADERS, END_HEADERS | (0 if body else END_STREAM), 1, block))
            if body:
                talk.send(Frame(DATA, END_STREAM, 1, numbered(body, number)))
            end = talk.read()
            assert end.kind in {HEADERS, RST_STREAM, GOAWAY}, name
        told(stage, b"GET /after HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n")
        asked = lax.asked[before:]
        assert asked[-1] == "/after", name
        assert len(asked) <= 2, (name, asked)
        assert not any(f"/h{number:05}" in path and f"/o{number:03}" not in path for path in asked), (name, asked)
    forwarded = told(stage, b"GET /fine HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n")
    assert forwarded == ["/fine"]
