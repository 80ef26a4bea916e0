"""What lasts: websockets and streams of HTTP/2, as gRPC has them, go on whatever else is changed or loaded."""

from __future__ import annotations

import contextlib
import socket
import socketserver
from collections.abc import Iterator

import pytest
from tests.kernel.http_mesh.bed import Stage, service, staged
from tests.kernel.http_mesh.http2 import DATA, END_HEADERS, END_STREAM, HEADERS, Frame, StreamingTask, Talk, fields

from fairlead.mesh.wish import HttpService


class _Websocket(socketserver.StreamRequestHandler):
    """Agrees to the upgrade and echoes from then on."""

    def handle(self) -> None:
        head = []
        while line := self.rfile.readline().strip():
            head.append(line.lower())
        assert b"upgrade: websocket" in head
        assert b"connection: upgrade" in head
        agreed = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        # For the key of RFC 6455 section 1.3.
        self.wfile.write(agreed + b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while data := self.request.recv(65536):
                self.request.sendall(data)


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with staged() as made:
        made.task(1)
        made.task(2, 80, _Websocket)
        made.task(3, 80, StreamingTask)
        yield made


def kept() -> tuple[HttpService, ...]:
    return (
        service("ws", "127.0.1.2", host="ws.example"),
        service("grpc", "127.0.1.3", host="grpc.example", protocol="grpc"),
    )


def changes(stage: Stage) -> Iterator[None]:
    """Other services come, go, and move; three times everything is loaded anew."""
    for number in range(30):
        others = [service(f"o{one}", "127.0.1.1", host=f"o{one}.example") for one in range(number % 5)]
        more = {"sticky": f"s{number}"} if number % 10 == 9 else {}
        stage.apply(*kept(), *others, service("moving", "127.0.1.1", host=f"m{number}.example", **more))
        yield


def websocket(stage: Stage) -> socket.socket:
    """An open one."""
    client = stage.connect()
    client.sendall(
        b"GET /chat HTTP/1.1\r\nHost: ws.example\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    head = b""
    while b"\r\n\r\n" not in head:
        head += client.recv(1)
    assert head.startswith(b"HTTP/1.1 101"), head
    return client


def test_websockets_and_streams_go_on_through_changes_and_reloads(stage: Stage) -> None:
    stage.apply(*kept())
    reloads = stage.proxy.status().reloads
    with websocket(stage) as chat, stage.connect() as other:
        talk = Talk(other)
        head = (
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":authority", b"grpc.example"),
            (b":path", b"/echo.Echo/Stream"),
        )
        talk.send(
            Frame(HEADERS, END_HEADERS, 1, fields(*head, (b"content-type", b"application/grpc"), (b"te", b"trailers")))
        )
        first = talk.read()
        assert (first.kind, b"application/grpc" in first.body) == (HEADERS, True)
        for number, _ in enumerate(changes(stage)):
            chat.sendall(b"%04d" % number)
            assert chat.recv(4, socket.MSG_WAITALL) == b"%04d" % number
            message = b"\0\0\0\0\4%04d" % number
            talk.send(Frame(DATA, 0, 1, message))
            answer = b""
            while len(answer) < len(message):
                frame = talk.read()
                if frame.stream:  # a worker that is to end says so for the connection
                    assert frame.kind == DATA, frame
                    answer += frame.body
            assert answer == message
        talk.send(Frame(DATA, END_STREAM, 1))
        last = talk.read()
        while not last.stream or last.kind == DATA:
            last = talk.read()
        assert (last.kind, last.flags & END_STREAM, b"grpc-status" in last.body) == (HEADERS, END_STREAM, True)
    assert stage.proxy.status().reloads == reloads + 3


def test_http_2_without_tls_reaches_tasks_that_speak_http_1(stage: Stage) -> None:
    stage.apply(service("shop", "127.0.1.1", host="shop.example"))
    with stage.connect() as client:
        talk = Talk(client)
        head = ((b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"shop.example"), (b":path", b"/over/h2"))
        for stream in (1, 3):
            talk.send(Frame(HEADERS, END_HEADERS | END_STREAM, stream, fields(*head)))
            answer = talk.read()
            assert answer.kind == HEADERS
            assert answer.body[:1] == b"\x88"  # ":status: 200" (RFC 7541 appendix A)
            while not answer.flags & END_STREAM:
                answer = talk.read()
                assert answer.kind == DATA


def test_tasks_that_speak_http_2_are_asked_over_http_1(stage: Stage) -> None:
    stage.apply(*kept())
    answer = stage.ask("grpc.example", "/echo.Echo/Once", "POST", {"Content-Type": "application/grpc"}, b"hello")
    assert (answer.status, answer.body) == (200, b"hello")


def test_a_task_that_goes_keeps_its_streams_and_gets_no_new_ones(stage: Stage) -> None:
    stage.apply(*kept())
    with websocket(stage) as chat:
        stage.apply(service("ws", host="ws.example"))
        assert stage.ask("ws.example").status == 503
        chat.sendall(b"still")
        assert chat.recv(5, socket.MSG_WAITALL) == b"still"
        stage.apply(service("ws", "127.0.1.2", host="ws.example"))
        with websocket(stage) as another:
            another.sendall(b"again")
            assert another.recv(5, socket.MSG_WAITALL) == b"again"
