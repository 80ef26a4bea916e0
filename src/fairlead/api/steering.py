"""Handlers of what is done with a running container: its clock, its limits, what it uses."""

from __future__ import annotations

import asyncio
import time

from aiohttp import web

from fairlead.api.router import Call, Route, answer, empty
from fairlead.api.schema import ZERO_TIME, encode, stamp
from fairlead.api.schema_host import UpdateBody
from fairlead.model.commands import PauseContainer, UpdateContainer
from fairlead.model.errors import Invalid, NotFound
from fairlead.model.limits import Limits

#: Seconds between two looks at what a container uses (Docker).
_STATS_INTERVAL_S = 1.0
#: Options of ``ps`` when none are given (Docker).
_PS = "-ef"


async def pause(call: Call) -> web.StreamResponse:
    """``POST /containers/{ref}/pause``."""
    await call.submit(PauseContainer(call.path["ref"]))
    return empty(204)


async def unpause(call: Call) -> web.StreamResponse:
    """``POST /containers/{ref}/unpause``."""
    await call.submit(PauseContainer(call.path["ref"], resume=True))
    return empty(204)


async def update(call: Call) -> web.StreamResponse:
    """``POST /containers/{ref}/update``: other limits, another restart policy."""
    body = await call.body(UpdateBody)
    limits = body.limits()
    policy = body.restart.policy() if body.restart and body.restart.name else None
    wanted = limits if limits != Limits() else None
    await call.submit(UpdateContainer(call.path["ref"], wanted, policy))
    return answer({"Warnings": call.node.meters.possible(limits) or None})


async def stats(call: Call) -> web.StreamResponse:
    """``GET /containers/{ref}/stats``: every second, or once; one that is asked once with a look before it."""
    container = call.node.state.container(call.path["ref"])
    before: dict[str, object] = {}
    if not call.flag("stream", default=True):
        if not call.flag("one-shot") and container.running:
            before = _look(call, container.id, {})
            await asyncio.sleep(_STATS_INTERVAL_S)
        return answer(_look(call, container.id, before))
    response = await call.stream("application/json")
    while True:
        try:
            before = _look(call, container.id, before)
        except NotFound:
            return response
        await response.write(encode(before))
        await asyncio.sleep(_STATS_INTERVAL_S)


async def top(call: Call) -> web.StreamResponse:
    """``GET /containers/{ref}/top``."""
    words = tuple(call.text("ps_args", _PS).split())
    if any("\0" in word for word in words):
        raise Invalid("invalid ps_args: a NUL byte")
    titles, rows = await call.node.meters.top(call.path["ref"], words)
    return answer({"Titles": titles, "Processes": rows})


def _look(call: Call, container_id: str, before: dict[str, object]) -> dict[str, object]:
    now = call.node.meters.stats(container_id)
    return {
        **now,
        "read": stamp(time.time()),
        "preread": before.get("read", ZERO_TIME),
        "precpu_stats": before.get("cpu_stats", {"cpu_usage": {"total_usage": 0}, "throttling_data": {}}),
    }


def routes() -> tuple[Route, ...]:
    """The routes of this module."""
    return (
        Route("POST", "/containers/{ref}/pause", pause),
        Route("POST", "/containers/{ref}/unpause", unpause),
        Route("POST", "/containers/{ref}/update", update, body=UpdateBody),
        Route("GET", "/containers/{ref}/stats", stats, query={"stream": bool, "one-shot": bool}, endless=True),
        Route("GET", "/containers/{ref}/top", top, query={"ps_args": str}),
    )
