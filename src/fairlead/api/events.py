"""The handler of ``/events``: notices as JSON lines, from the past, from now on, or both."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

from aiohttp import web

from fairlead.api.filters import Filters
from fairlead.api.moments import optional_moment
from fairlead.api.router import Call, Route, ended
from fairlead.api.schema import encode, nanoseconds
from fairlead.model.container import Container
from fairlead.model.errors import Invalid
from fairlead.model.events import Notice

#: Types of objects that a filter of their name chooses.
_KINDS = ("container", "network", "image", "daemon", "node", "service", "task")
_FILTERS = ("action", "event", "label", "type", "scope", *_KINDS)
#: Turns of the event loop in which a notice that waits already is handed over, whatever the load: one to begin, one to
#: end.
_TURNS = 2


async def events(call: Call) -> web.StreamResponse:
    """``GET /events``."""
    filters = call.filters()
    now = time.time()
    since, until = optional_moment(call.text("since"), now), optional_moment(call.text("until"), now)
    if since is not None and until is not None and until < since:
        raise Invalid(f"`since` time ({since:f}) cannot be after `until` time ({until:f})")
    notices = call.node.notices.subscribe(since)
    async with ended(notices):
        response = await call.stream("application/json")
        while (notice := await _next(notices, until)) is not None:
            if wanted(filters, notice):
                await response.write(encode(notice_json(notice)))
    return response


def wanted(filters: Filters, notice: Notice) -> bool:
    """Whether a notice passes. ``container`` and ``network`` filters look at an object of that type by id or name."""
    return (
        filters.exact("type", notice.type)
        and filters.exact("event", notice.action, notice.action.partition(":")[0])
        and filters.exact("action", notice.action)
        and filters.exact("scope", notice.scope)
        and filters.labels(notice.attributes)
        and all(_about(filters, kind, notice) for kind in _KINDS)
    )


def notice_json(notice: Notice) -> dict[str, object]:
    """A notice as Docker's event message, with the three old fields that a container's carries."""
    body: dict[str, object] = {}
    if notice.type == "container":
        body = {"status": notice.action, "id": notice.id, "from": notice.attributes.get("image", "")}
    return {
        **body,
        "Type": notice.type,
        "Action": notice.action,
        "Actor": {"ID": notice.id, "Attributes": notice.attributes},
        "scope": notice.scope,
        "time": int(notice.at),
        "timeNano": nanoseconds(notice.at),
    }


def _about(filters: Filters, kind: str, notice: Notice) -> bool:
    if kind not in filters:
        return True
    if notice.type != kind:
        return False
    name = notice.attributes.get("name", "")
    return any(value and (value == name or notice.id.startswith(value)) for value in filters.get(kind))


def tell_container(call: Call, action: str, container: Container, **more: str) -> None:
    """Tell what was done to a container by a call that no command stands for, with Docker's attributes."""
    attributes = {**container.config.labels, "image": container.config.image, "name": container.name, **more}
    call.node.notices.tell("container", action, container.id, attributes)


async def _next(notices: AsyncIterator[Notice], until: float | None) -> Notice | None:
    """The next notice before a moment; with a moment in the past, the next of those that wait already."""
    coming = asyncio.ensure_future(anext(notices))
    try:
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        patience = None if until is None else max(0.0, until - time.time())
        if not coming.done() and patience != 0.0:
            await asyncio.wait({coming}, timeout=patience)
        if not coming.done():
            return None
        notice = coming.result()
    except StopAsyncIteration:
        return None
    finally:
        if not coming.done():
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)
    return notice if until is None or notice.at <= until else None


def routes() -> tuple[Route, ...]:
    """The routes of this module."""
    return (Route("GET", "/events", events, query={"since": str, "until": str}, filters=_FILTERS, endless=True),)
