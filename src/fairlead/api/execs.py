"""Handlers of commands run inside running containers."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass

from aiohttp import web

from fairlead.api.containers import SIZE, size
from fairlead.api.contract import Stream
from fairlead.api.events import tell_container
from fairlead.api.hijack import hijack
from fairlead.api.router import Call, Route, answer, empty
from fairlead.api.schema_create import ExecBody, ExecStartBody
from fairlead.model.detach import parse_detach_keys
from fairlead.model.errors import NetError

#: Commands that are kept between their creation and their start; who creates and never starts must not fill the memory.
_WAITING_MAX = 1000


@dataclass(frozen=True, slots=True)
class _Waiting:
    """What is needed of a command when it starts, and to tell of it."""

    container_id: str = ""
    keys: bytes = b""
    words: str = ""


#: Commands that were made and not started whose keys we remember: more forget the oldest's. Our choice.
_UNSTARTED_MAX = 1024


class Execs:
    """Keeps hold of commands that run with nobody attached, so that their output is read and they can end."""

    def __init__(self) -> None:
        self._detached: set[asyncio.Task[None]] = set()
        self._waiting: dict[str, _Waiting] = {}

    async def create(self, call: Call) -> web.StreamResponse:
        """``POST /containers/{ref}/exec``."""
        body = await call.body(ExecBody)
        container = call.node.state.container(call.path["ref"])
        spec = body.spec()
        keys = parse_detach_keys(spec.detach_keys)
        identifier = call.node.exec_create(container.id, spec)
        waiting = _Waiting(container.id, keys, " ".join(spec.args))
        self._waiting[identifier] = waiting
        if len(self._waiting) > _WAITING_MAX:
            del self._waiting[next(iter(self._waiting))]
        _tell(call, "exec_create", identifier, waiting)
        return answer({"Id": identifier}, 201)

    async def start(self, call: Call) -> web.StreamResponse:
        """``POST /exec/{id}/start``."""
        body = await call.body_or(ExecStartBody, ExecStartBody())
        identifier = call.path["id"]
        waiting = self._waiting.pop(identifier, _Waiting())
        stream = await call.node.exec_start(identifier)
        _tell(call, "exec_start", identifier, waiting)
        goes_on = False

        def go_on() -> None:
            nonlocal goes_on
            goes_on = True
            task = asyncio.create_task(_discard(stream))
            self._detached.add(task)
            task.add_done_callback(self._detached.discard)
            task.add_done_callback(lambda _: _tell_end(call, identifier, waiting))

        if body.detach:
            go_on()
            return empty(200)
        outputs = frozenset({"stdout", "stderr"})
        try:
            return await hijack(call, stream, stdin=True, outputs=outputs, detach_keys=waiting.keys, left_alone=go_on)
        finally:
            if not goes_on:
                _tell_end(call, identifier, waiting)

    async def inspect(self, call: Call) -> web.StreamResponse:
        """``GET /exec/{id}/json``."""
        return answer(call.node.exec_inspect(call.path["id"]))

    async def resize(self, call: Call) -> web.StreamResponse:
        """``POST /exec/{id}/resize``."""
        await call.node.exec_resize(call.path["id"], *size(call))
        return empty(200)


def _tell(call: Call, action: str, identifier: str, waiting: _Waiting) -> None:
    """An event of a command, if its container is still there."""
    container = call.node.state.containers.get(waiting.container_id)
    if container is not None:
        tell_container(call, f"{action}: {waiting.words}", container, execID=identifier)


def _tell_end(call: Call, identifier: str, waiting: _Waiting) -> None:
    """The event of a command's end; nothing when nobody knows it any more."""
    container = call.node.state.containers.get(waiting.container_id)
    with suppress(NetError):
        code = call.node.exec_inspect(identifier)["ExitCode"]
        if container is not None and code is not None:
            tell_container(call, "exec_die", container, execID=identifier, exitCode=str(code))


async def _discard(stream: Stream) -> None:
    """Read a command's output to its end."""
    with suppress(OSError):
        await stream.close_stdin()
        while await stream.read() is not None:
            pass
        await stream.close()


def routes() -> tuple[Route, ...]:
    """The routes of this module."""
    execs = Execs()
    return (
        Route("POST", "/containers/{ref}/exec", execs.create, body=ExecBody),
        Route("POST", "/exec/{id}/start", execs.start, body=ExecStartBody, hijack=True),
        Route("GET", "/exec/{id}/json", execs.inspect),
        Route("POST", "/exec/{id}/resize", execs.resize, query=SIZE),
    )
