"""Clients that are slow, many, rude or half gone do not hurt the others (SEC-26 for the Unix socket)."""

from __future__ import annotations

import json
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from tests.unit.api.living import PATIENCE_S, Living, living_api

from fairlead.api import router
from fairlead.api.connections import IDLE_MAX


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Living]:
    with living_api(tmp_path) as living:
        yield living


def dial(api: Living) -> socket.socket:
    wire = socket.socket(socket.AF_UNIX)
    wire.connect(api.socket)  # blocking: with a time limit, a full backlog would be an error at once
    wire.settimeout(PATIENCE_S)
    return wire


def everything(wire: socket.socket) -> bytes:
    """All that comes until the other end closes; one that closes without having read all resets."""
    pieces = []
    with suppress(ConnectionResetError):
        while piece := wire.recv(65536):
            pieces.append(piece)
    return b"".join(pieces)


def request(method: str, path: str, *fields: str, body: bytes = b"") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: x", *fields, *([f"Content-Length: {len(body)}"] if body else [])]
    return "\r\n".join([*lines, "", ""]).encode() + body


@pytest.mark.parametrize("begun", [b"", b"GET /_ping HT", b"GET /_ping HTTP/1.1\r\nHost: x\r\nA:"])
def test_sec_26_idle_connections_do_not_starve_others(api: Living, begun: bytes) -> None:
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    many = min(5000, files - 300)
    with ExitStack() as stack:
        held = []
        for _ in range(many):
            wire = stack.enter_context(dial(api))
            wire.sendall(begun)
            held.append(wire)
        assert api.client.get("/networks")
        kept = api.do(lambda: _count(api))
        assert kept <= IDLE_MAX + 1
        assert everything(held[0]) == b"", "the oldest was closed"


async def _count(api: Living) -> int:
    return api.server.connections


def test_sec_26_busy_connections_are_not_closed_for_idle_ones(api: Living) -> None:
    with api.client.open("GET", "/events", {"since": "1"}) as stream, ExitStack() as stack:
        for _ in range(IDLE_MAX + 20):
            stack.enter_context(dial(api))
        api.client.post("/networks/create", {"Name": "late"})
        assert json.loads(next(stream.lines()))["Actor"]["Attributes"]["name"] == "late"


def test_sec_26_a_body_that_stalls_is_given_up(api: Living, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(router, "BODY_STALL_S", 0.05)
    with dial(api) as wire:
        wire.sendall(b"POST /networks/create HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 100\r\n\r\n{")
        answer = wire.recv(65536)
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"stalled" in answer


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (request("GET", "/_ping", "X: " + "a" * 70_000, "Connection: close"), b"400"),
        (request("GET", "/" + "a" * 70_000, "Connection: close"), b"400"),
        (request("GET", "/_ping", *[f"X{n}: 1" for n in range(200)], "Connection: close"), b"400"),
        (request("GET", "/_ping", "X: " + "a" * 50_000, "Connection: close"), b"200"),
        (request("POST", "/networks/create", "Connection: close", body=b"[" * (router.BODY_BYTES_MAX + 1)), b"400"),
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET /_ping HTTP/9.9\r\n\r\n", b"400"),
        (request("POST", "/networks/create", "Transfer-Encoding: chunked") + b"zz\r\n", b"400"),
        (request("POST", "/networks/create", "Content-Encoding: gzip", "Connection: close", body=b"no"), b"400"),
    ],
    ids=["field", "line", "fields", "large-field", "body", "nonsense", "version", "chunk", "gzip"],
)
def test_sec_26_heads_and_bodies_have_limits(api: Living, sent: bytes, status: bytes) -> None:
    with dial(api) as wire:
        wire.sendall(sent)
        answer = wire.recv(65536)
    assert answer.split(b" ", 2)[1] == status, answer[:200]
    assert api.client.get("/networks")


def test_requests_in_one_go_are_answered_in_order(api: Living) -> None:
    with dial(api) as wire:
        wire.sendall(b"".join(request("GET", path) for path in ("/networks/host", "/nope", "/networks/none")))
        wire.sendall(request("GET", "/_ping", "Connection: close"))
        answer = everything(wire)
    marks = [answer.index(mark) for mark in (b'"host"', b"page not found", b'"none"', b"\r\n\r\nOK")]
    assert marks == sorted(marks)
    assert answer.count(b"HTTP/1.1 ") == 4


def test_a_client_that_closed_its_half_is_answered(api: Living) -> None:
    with dial(api) as wire:
        wire.sendall(request("GET", "/networks/host") + request("GET", "/networks/none"))
        wire.shutdown(socket.SHUT_WR)
        answer = everything(wire)
    assert answer.count(b"HTTP/1.1 200") == 2
    body = b'{"Image":"host"}'
    with dial(api) as wire:
        wire.sendall(request("POST", "/containers/create?name=half", body=body))
        wire.shutdown(socket.SHUT_WR)
        assert everything(wire).startswith(b"HTTP/1.1 201")
    with dial(api) as wire:
        wire.sendall(request("POST", "/containers/create", body=body)[:-3])
        wire.shutdown(socket.SHUT_WR)
        assert b"201" not in everything(wire)


def test_what_a_client_waited_for_ends_when_it_goes(api: Living) -> None:
    made = api.client.post("/containers/create", {"Image": "host"}, {"name": "c1"})
    assert made
    api.client.post("/containers/c1/start")
    with dial(api) as wire:
        wire.sendall(request("POST", "/containers/c1/wait"))
        assert wire.recv(100).startswith(b"HTTP/1.1 200")
    deadline = time.monotonic() + PATIENCE_S
    while api.do(lambda: _count(api)) > 0 and time.monotonic() < deadline:
        pass
    assert api.do(lambda: _count(api)) == 0
