"""TLS by name with certificates that change while it runs, TLS that is handed through, and the PROXY protocol both ways."""

from __future__ import annotations

import contextlib
import json
import socket
import socketserver
import ssl
from collections.abc import Iterator
from http.client import HTTPResponse
from pathlib import Path

import pytest
from tests.kernel.http_mesh.bed import PORT, TLS_PORT, Answer, Stage, answer_of, service, staged
from tests.kernel.http_mesh.certificates import pem, serial

from fairlead.mesh.wish import Certificate


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with staged() as made:
        made.task(1)
        yield made


@contextlib.contextmanager
def over_tls(stage: Stage, name: str, *protocols: str, address: str = "127.0.0.1") -> Iterator[ssl.SSLSocket]:
    """A connection that asks for a name and believes whatever it is shown."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if protocols:
        context.set_alpn_protocols([*protocols])
    with stage.connect(address, TLS_PORT) as plain, context.wrap_socket(plain, server_hostname=name) as secured:
        yield secured


def shown(stage: Stage, name: str) -> int:
    """The serial number of the certificate that is shown for a name."""
    with over_tls(stage, name) as secured:
        return serial(secured.getpeercert(binary_form=True) or b"")


def asked(connection: socket.socket, host: str, path: str = "/") -> Answer:
    """One request over an open connection."""
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    with HTTPResponse(connection) as response:
        response.begin()
        return answer_of(response)


def test_certificates_are_chosen_by_name_and_come_change_and_go_while_it_runs(stage: Stage) -> None:
    shop = service("shop", "127.0.1.1", host="a.example,b.example,x.w.example")
    first, wild = Certificate("a.pem", pem("a.example")), Certificate("w.pem", pem("b.example", "*.w.example"))
    stage.apply(shop, certificates=(first,))
    before = stage.proxy.status()
    pid, reloads = before.pid, before.reloads
    assert shown(stage, "a.example") == serial(first.pem)
    with pytest.raises(ssl.SSLError):
        shown(stage, "b.example")
    stage.apply(shop, certificates=(first, wild))
    assert shown(stage, "b.example") == shown(stage, "x.w.example") == serial(wild.pem)
    with over_tls(stage, "a.example") as kept:
        assert asked(kept, "a.example").status == 200
        renewed = Certificate("a.pem", pem("a.example"))
        stage.apply(shop, certificates=(renewed, wild))
        assert shown(stage, "a.example") == serial(renewed.pem) != serial(first.pem)
        stage.apply(shop, certificates=(renewed,))
        assert asked(kept, "a.example").status == 200
    with pytest.raises(ssl.SSLError):
        shown(stage, "b.example")
    after = stage.proxy.status()
    assert (after.pid, after.reloads) == (pid, reloads)


def test_certificates_outlive_daemon_and_proxy(stage: Stage) -> None:
    shop, mine = service("shop", "127.0.1.1", host="a.example"), Certificate("a.pem", pem("a.example"))
    stage.apply(shop, certificates=(mine,))
    stage.successor()
    stage.loop.run(stage.proxy.start(None))
    stage.apply(shop, service("new", "127.0.1.1", host="b.example", sticky="anew"), certificates=(mine,))
    assert stage.proxy.status().reloads == 1
    assert shown(stage, "a.example") == serial(mine.pem)


def test_keys_are_nobody_else_s_to_read(stage: Stage) -> None:
    stage.apply(service("shop", "127.0.1.1", host="a.example"), certificates=(Certificate("a.pem", pem("a.example")),))
    stage.apply(service("shop", "127.0.1.1", host="a.example", sticky="other"))
    stage.apply(
        service("shop", "127.0.1.1", host="a.example", sticky="again"), certificates=(Certificate("a.pem", pem("a")),)
    )
    kept = [*(stage.folder / "certificates").iterdir()]
    assert [path.name for path in kept] == ["a.pem"]
    assert kept[0].stat().st_mode & 0o077 == 0
    assert (stage.folder / "certificates").stat().st_mode & 0o077 == 0
    assert "PRIVATE KEY" not in (stage.folder / "layout.json").read_text()


def test_what_is_told_of_a_request_over_tls(stage: Stage) -> None:
    stage.apply(service("shop", "127.0.1.1", host="a.example"), certificates=(Certificate("a.pem", pem("a.example")),))
    with over_tls(stage, "a.example", "h2", "http/1.1") as secured:
        assert secured.selected_alpn_protocol() == "h2"
    with over_tls(stage, "a.example", address="::1") as secured:
        answer = asked(secured, "a.example")
    assert answer.header("x-forwarded-proto") == ["https"]
    assert answer.header("x-forwarded-for") == ["::1"]


def test_a_route_that_requires_tls_or_does_without(stage: Stage) -> None:
    mine = Certificate("a.pem", pem("a.example", "b.example"))
    stage.apply(
        service("safe", "127.0.1.1", host="a.example", tls="required", path="/safe"),
        service("bare", "127.0.1.1", host="b.example", tls="off"),
        certificates=(mine,),
    )
    assert stage.ask("a.example", "/safe/x").headers["location"] == "https://a.example/safe/x"
    with over_tls(stage, "a.example") as secured:
        assert asked(secured, "a.example", "/safe/x").status == 200
        assert asked(secured, "a.example", "/other").status == 404
    with over_tls(stage, "b.example") as secured:
        assert asked(secured, "b.example").status == 404


class _Opens(socketserver.BaseRequestHandler):
    """A task that opens TLS itself; says so, and who asked."""

    context: ssl.SSLContext

    def handle(self) -> None:
        with contextlib.suppress(OSError), self.context.wrap_socket(self.request, server_side=True) as secured:
            secured.recv(65536)
            body = json.dumps({"task": "own", "headers": []}).encode()
            secured.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


def test_tls_is_handed_through_by_name_beside_tls_that_is_opened(stage: Stage, tmp_path: Path) -> None:
    own = pem("pass.example", "*.pass.example")
    (tmp_path / "own.pem").write_text(own)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "own.pem")
    stage.task(4, 8443, type("Opens", (_Opens,), {"context": context}))
    mine = Certificate("a.pem", pem("a.example"))
    shop = service("shop", "127.0.1.1", host="a.example")
    passed = service("pass", "127.0.1.4", host="pass.example,*.pass.example", port="8443", tls="passthrough")
    stage.apply(shop, passed, certificates=(mine,))
    assert shown(stage, "pass.example") == shown(stage, "x.pass.example") == serial(own)
    with over_tls(stage, "pass.example") as secured:
        assert asked(secured, "pass.example").seen["task"] == "own"
    assert shown(stage, "a.example") == serial(mine.pem)
    with over_tls(stage, "a.example", address="::1") as secured:
        assert asked(secured, "a.example").header("x-forwarded-for") == ["::1"]
    reloads = stage.proxy.status().reloads
    label = {"com.docker.ucp.mesh.http": "external_route=sni://other.example,internal_port=8443"}
    stage.apply(shop, passed, service("ucp", "127.0.1.4", labelled=label), certificates=(mine,))
    assert shown(stage, "other.example") == serial(own)
    stage.apply(shop, certificates=(mine,))
    with pytest.raises(ssl.SSLError):
        shown(stage, "pass.example")
    assert stage.proxy.status().reloads == reloads
    assert stage.ask("pass.example").status == 404


class _Prefixed(socketserver.StreamRequestHandler):
    """A task that wants the PROXY protocol; says what it was told (haproxy: doc/proxy-protocol.txt)."""

    def handle(self) -> None:
        first = self.rfile.read(12)
        if first == b"\r\n\r\n\0\r\nQUIT\n":
            _, family, length = self.rfile.read(1), self.rfile.read(1), int.from_bytes(self.rfile.read(2), "big")
            told = self.rfile.read(length)
            size, kind = (4, socket.AF_INET) if family == b"\x11" else (16, socket.AF_INET6)
            said = f"v2 {socket.inet_ntop(kind, told[:size])}"
        else:
            said = f"v1 {(first + self.rfile.readline()).decode().split()[2]}"
        while self.rfile.readline().strip():
            pass
        body = json.dumps({"task": said, "headers": []}).encode()
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(body), body))


def test_tasks_that_want_it_are_told_the_client_by_the_proxy_protocol(stage: Stage) -> None:
    stage.task(5, 80, _Prefixed)
    for version in ("v1", "v2"):
        stage.apply(service("shop", "127.0.1.5", host="a.example", proxy=version))
        assert stage.ask("a.example").seen["task"] == f"{version} 127.0.0.1"
        assert stage.ask("a.example", address="::1").seen["task"] == f"{version} ::1"


def test_sec_30_only_trusted_balancers_tell_the_client_by_the_proxy_protocol(stage: Stage) -> None:
    stage.apply(service("shop", "127.0.1.1", host="a.example"), trusted_proxies=("127.0.0.9/32", "fd00::/8"))

    def told(source: str) -> Answer:
        def ask() -> Answer:
            with socket.create_connection(("127.0.0.1", PORT), 60.0, (source, 0)) as client:
                client.sendall(b"PROXY TCP4 6.6.6.6 127.0.0.1 1000 80\r\n")
                return asked(client, "a.example")

        return stage.home.call(ask)

    assert told("127.0.0.9").header("x-forwarded-for") == ["6.6.6.6"]
    assert told("127.0.0.8").status == 400
    assert stage.ask("a.example").header("x-forwarded-for") == ["127.0.0.1"]
    stage.apply(service("shop", "127.0.1.1", host="a.example"))
    assert told("127.0.0.9").status == 400
