"""Handlers of commands run inside running containers."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from aiohttp import web

from fairlead.api.containers import SIZE, size
from fairlead.api.contract import Stream
from fairlead.api.hijack import hijack
from fairlead.api.router import Call, Route, answer, empty
from fairlead.api.schema_create import ExecBody, ExecStartBody
from fairlead.model.detach import parse_detach_keys


class Execs:
    """Keeps hold of commands that run with nobody attached, so that their output is read and they can end."""

    def __init__(self) -> None:
        self._detached: set[asyncio.Task[None]] = set()
        self._keys: dict[str, bytes] = {}

    async def create(self, call: Call) -> web.StreamResponse:
        """``POST /containers/{ref}/exec``."""
        body = await call.body(ExecBody)
        container = call.node.state.container(call.path["ref"])
        spec = body.spec()
        keys = parse_detach_keys(spec.detach_keys)
        identifier = call.node.exec_create(container.id, spec)
        self._keys[identifier] = keys
        return answer({"Id": identifier}, 201)

    async def start(self, call: Call) -> web.StreamResponse:
        """``POST /exec/{id}/start``."""
        body = await call.body_or(ExecStartBody, ExecStartBody())
        keys = self._keys.pop(call.path["id"], b"")
        stream = await call.node.exec_start(call.path["id"])
        if body.detach:
            task = asyncio.create_task(_discard(stream))
            self._detached.add(task)
            task.add_done_callback(self._detached.discard)
            return empty(200)
        return await hijack(call, stream, stdin=True, outputs=frozenset({"stdout", "stderr"}), detach_keys=keys)

    async def inspect(self, call: Call) -> web.StreamResponse:
        """``GET /exec/{id}/json``."""
        return answer(call.node.exec_inspect(call.path["id"]))

    async def resize(self, call: Call) -> web.StreamResponse:
        """``POST /exec/{id}/resize``."""
        await call.node.exec_resize(call.path["id"], *size(call))
        return empty(200)


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
