"""Handlers of a container's byte streams: logs and attach."""

from __future__ import annotations

import time

from aiohttp import web

from fairlead.api.events import tell_container
from fairlead.api.hijack import content_type, frame, hijack
from fairlead.api.moments import optional_moment, parse_moment
from fairlead.api.router import Call, Route, ended
from fairlead.model.detach import parse_detach_keys
from fairlead.model.errors import Conflict, Invalid

_LOGS = {
    "stdout": bool,
    "stderr": bool,
    "follow": bool,
    "timestamps": bool,
    "since": str,
    "until": str,
    "tail": str,
}


async def logs(call: Call) -> web.StreamResponse:
    """``GET /containers/{ref}/logs``."""
    container = call.node.state.container(call.path["ref"])
    wanted = {name for name in ("stdout", "stderr") if call.flag(name)}
    if not wanted:
        raise Invalid("Bad parameters: you must choose at least one stream", hint="add stdout=1 or stderr=1")
    now = time.time()
    since, until = optional_moment(call.text("since"), now), optional_moment(call.text("until"), now)
    lines = call.node.logs(container.id, follow=call.flag("follow"), tail=_tail(call), since=since)
    tty, stamps = container.config.tty, call.flag("timestamps")
    response = await call.stream(content_type(call.version, tty=tty))
    async with ended(lines):
        async for line in lines:
            if until is not None and parse_moment(line.stamp, now) > until:
                break
            if tty or line.stream in wanted:
                data = line.stamp.encode() + b" " + line.data if stamps else line.data
                await response.write(data if tty else frame(line.stream, data))
    return response


async def attach(call: Call) -> web.StreamResponse:
    """``POST /containers/{ref}/attach``: past output with ``logs``, and from now on with ``stream``."""
    container = call.node.state.container(call.path["ref"])
    outputs = frozenset(name for name in ("stdout", "stderr") if call.flag(name))
    if not call.flag("stream"):
        return await logs(call)
    keys = parse_detach_keys(call.text("detachKeys"))
    if container.state.status == "paused":
        raise Conflict(f"container {container.id} is paused, unpause the container before attach")
    stream = await call.node.attach(container.id)
    tell_container(call, "attach", container)
    return await hijack(call, stream, stdin=call.flag("stdin"), outputs=outputs, detach_keys=keys)


def _tail(call: Call) -> int | None:
    """How many lines from the end; None for all. As Docker, text that is no number means all."""
    text = call.text("tail", "all")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def routes() -> tuple[Route, ...]:
    """The routes of this module."""
    return (
        Route("GET", "/containers/{ref}/logs", logs, query=_LOGS, endless=True),
        Route(
            "POST",
            "/containers/{ref}/attach",
            attach,
            query={**_LOGS, "stream": bool, "stdin": bool, "logs": bool, "detachKeys": str},
            hijack=True,
        ),
    )
