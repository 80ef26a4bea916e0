"""Asking Docker for a process: whatever answers at its socket."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from fairlead.model.errors import Conflict, Internal, Invalid, NetError, NotFound, Unavailable
from fairlead.runtime.foreign import ForeignEngines


def ask(folder: Path, answer: bytes) -> int:
    """The process that Docker tells, if it answers so."""
    asked: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer)
        writer.close()

    async def exchange() -> int:
        path = folder / "s"
        server = await asyncio.start_unix_server(talk, path)
        async with server:
            return await ForeignEngines(docker_host=f"unix://{path}").pid("docker", "web")

    pid = asyncio.run(exchange())
    assert asked[0].startswith(b"GET /containers/web/json HTTP/1.0\r\n")
    return pid


def test_a_running_container(tmp_path: Path) -> None:
    assert ask(tmp_path, b'HTTP/1.0 200 OK\r\nX: y\r\n\r\n{"State": {"Pid": 42}}') == 42


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b'HTTP/1.0 200 OK\r\n\r\n{"State": {"Pid": 0}}', Conflict),
        (b'HTTP/1.0 200 OK\r\n\r\n{"State": {"Pid": "42"}}', Conflict),
        (b'HTTP/1.0 200 OK\r\n\r\n{"State": []}', Conflict),
        (b"HTTP/1.0 200 OK\r\n\r\n[]", Conflict),
        (b"HTTP/1.0 404 Not Found\r\n\r\n{}", NotFound),
        (b"HTTP/1.0 500 Oh\r\n\r\n{}", Internal),
        (b"HTTP/1.0 200 OK\r\n\r\n{half", Unavailable),
        (b"", Unavailable),
        (b"SSH-2.0-x\r\n", Unavailable),
        (b"HTTP/1.0 abc\r\n\r\n", Unavailable),
        (b"HTTP/1.0 200 OK\r\n\r\n" + b" " * 9_000_000, Unavailable),
    ],
)
def test_other_answers_are_errors(tmp_path: Path, answer: bytes, kind: type[NetError]) -> None:
    with pytest.raises(kind) as caught:
        ask(tmp_path, answer)
    assert type(caught.value) is kind


def test_nobody_answers(tmp_path: Path) -> None:
    with pytest.raises(Unavailable) as caught:
        asyncio.run(ForeignEngines(docker_host=f"unix://{tmp_path}/none").pid("docker", "web"))
    assert "--docker-host" in caught.value.hint


def test_a_docker_of_another_machine_is_not_asked() -> None:
    with pytest.raises(Invalid, match="on another machine"):
        asyncio.run(ForeignEngines(docker_host="tcp://192.0.2.1:2375").pid("docker", "web"))
