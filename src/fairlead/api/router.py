"""From a request line to a handler: patterns, the version prefix, query parameters, and the answer's shape.

A route declares everything that it reads of a request, and ``Call`` refuses a handler that reads anything else: so the
table of routes is the whole truth about the interface, and its description (``openapi.py``) and the tests that are
derived from it cannot miss a field.

Not aiohttp's own router: every path exists with and without ``/v1.NN``, which its table would hold twice and search
in order. Here the prefix is cut off first, and one lookup by method and first segment leaves a handful of patterns.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from aiohttp import web

from fairlead.api import versions
from fairlead.api.client import DRY_RUN, Planned
from fairlead.api.contract import Node
from fairlead.api.filters import Filters
from fairlead.api.schema import decode, encode
from fairlead.model import codes
from fairlead.model.commands import Command
from fairlead.model.errors import Invalid, NetError, NotFound, NotImplementedHere

_T = TypeVar("_T")

_VERSION = re.compile(r"/v(\d{1,4}\.\d{1,4})(?=/)")
_PARAMETER = re.compile(r"\{(\w+)(\*?)\}")
#: What Docker takes for "no" in a query.
_FALSE = frozenset({"", "0", "no", "false", "none"})
#: Largest JSON body in bytes: thousands of options and labels fit, and a few dozen of such bodies do no harm.
BODY_BYTES_MAX = 1024 * 1024
#: Seconds that the next piece of a body may take to come: a client that stalls must not hold its connection for ever.
BODY_STALL_S = 30.0


@dataclass(frozen=True, slots=True)
class Route:
    """A method and a path pattern (``{x}`` is one segment, ``{x*}`` one or more), and what the handler reads: ``query``
    maps a parameter to the type of its value, ``filters`` are the keys of the parameter of that name, ``body`` is the
    shape of the JSON, ``upload`` says that the body is an archive instead, ``hijack`` that the connection turns into a
    byte stream, ``endless`` that the answer may last for as long as the client listens."""

    method: str
    pattern: str
    handler: Handler
    query: Mapping[str, type] = field(default_factory=dict)
    filters: tuple[str, ...] = ()
    body: type | None = None
    upload: bool = False
    hijack: bool = False
    endless: bool = False


@dataclass(slots=True)
class Call:
    """One request on its way to a handler. ``headers`` go with every answer; ``opened`` is the stream that the
    handler has begun to answer with."""

    node: Node
    request: web.BaseRequest
    route: Route
    version: versions.ApiVersion
    path: dict[str, str]
    headers: dict[str, str]
    opened: web.StreamResponse | None = None

    async def stream(self, content_type: str) -> web.StreamResponse:
        """Send the head of an answer whose body comes bit by bit."""
        response = web.StreamResponse(headers={**self.headers, "Content-Type": content_type})
        self.opened = response
        await response.prepare(self.request)
        return response

    def text(self, name: str, default: str = "") -> str:
        """A query parameter."""
        text = self._parameter(name)
        return default if text is None else text

    def flag(self, name: str, default: bool = False) -> bool:
        """A query parameter as a truth value, in Docker's loose reading."""
        text = self._parameter(name)
        return default if text is None else text.strip().lower() not in _FALSE

    def whole(self, name: str) -> int | None:
        """A query parameter as a whole number; None when absent; raises ``Invalid``."""
        text = self.text(name)
        if not text:
            return None
        if not re.fullmatch(r"-?\d{1,9}", text, re.ASCII):
            raise Invalid(f"invalid value for {name}: {text!r}", hint="write a whole number")
        return int(text)

    def filters(self) -> Filters:
        """The parameter ``filters`` with the keys that the route allows; raises ``Invalid``."""
        return Filters.parse(self.request.query.get("filters", ""), self.route.filters)

    async def body(self, shape: type[_T]) -> _T:
        """The request's body as ``shape``; raises ``Invalid``."""
        return decode(await self._read(shape), shape)

    async def body_or(self, shape: type[_T], default: _T) -> _T:
        """The same, with a default for an empty body."""
        data = await self._read(shape)
        return decode(data, shape) if data.strip() else default

    async def submit(self, command: Command) -> object:
        """Have the node carry a command out; it is finished even when the client goes away. Raises ``Planned`` when the
        client only wants to know what it would do."""
        wanted = self.request.headers.get(DRY_RUN, "")
        if wanted:
            raise Planned(await self.node.preview(command, start=wanted == "start"))
        return await _to_its_end(self.node.submit(command))

    async def finish(self, change: Coroutine[object, object, _T]) -> _T:
        """Carry out a change that no command of the node stands for; it is finished even when the client goes away."""
        if self.request.headers.get(DRY_RUN):
            change.close()
            raise NotImplementedHere(
                "a change of the cluster is not shown before it is made", hint="leave --dry-run out"
            )
        return await _to_its_end(change)

    async def archive(self) -> AsyncIterator[bytes]:
        """The request's body piece by piece; raises ``Invalid`` when it stalls or breaks off."""
        while piece := await self._piece():
            yield piece

    def _parameter(self, name: str) -> str | None:
        if name not in self.route.query:
            raise LookupError(f"{self.route.method} {self.route.pattern} reads {name!r}; declare it in its Route")
        return self.request.query.get(name)

    async def whole_body(self) -> bytes:
        """The request's body as it came, to be handed on; raises ``Invalid``."""
        pieces, size = [], 0
        while piece := await self._piece():
            size += len(piece)
            if size > BODY_BYTES_MAX:
                raise Invalid(
                    "the request's body is too large", hint=f"at most {BODY_BYTES_MAX} bytes", code=codes.BODY_INVALID
                )
            pieces.append(piece)
        return b"".join(pieces)

    async def _read(self, shape: type) -> bytes:
        if shape is not self.route.body:
            raise LookupError(f"{self.route.method} {self.route.pattern} reads {shape}; declare it in its Route")
        return await self.whole_body()

    async def _piece(self) -> bytes:
        """The next part of the body, empty at its end."""
        try:
            async with asyncio.timeout(BODY_STALL_S):
                return await self.request.content.readany()
        except TimeoutError as error:
            raise Invalid(f"the request's body stalled for {BODY_STALL_S:g} s", code=codes.BODY_INVALID) from error
        except (web.RequestPayloadError, ValueError) as error:
            raise Invalid(f"the request's body cannot be read: {error}", code=codes.BODY_INVALID) from error


Handler = Callable[[Call], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class _Compiled:
    regex: re.Pattern[str]
    route: Route


class Router:
    """All routes of a server."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._table: dict[tuple[str, str], list[_Compiled]] = {}
        for route in routes:
            key = (route.method, _first_segment(route.pattern))
            self._table.setdefault(key, []).append(_Compiled(_compile(route.pattern), route))

    def find(self, method: str, path: str) -> tuple[Route, versions.ApiVersion, dict[str, str]]:
        """Route, API version and path parameters; raises ``Invalid`` (version) or ``NotFound`` (path)."""
        version = versions.API_MAX
        prefix = _VERSION.match(path)
        if prefix:
            version = versions.check(prefix[1])
            path = path[prefix.end() :]
        for compiled in self._table.get((method, _first_segment(path)), ()):
            found = compiled.regex.fullmatch(path)
            if found:
                return compiled.route, version, found.groupdict()
        raise NotFound("page not found", code=codes.CALL_UNKNOWN)


def answer(body: object, status: int = 200) -> web.Response:
    """A JSON answer."""
    return web.Response(body=encode(body), status=status, content_type="application/json")


def empty(status: int) -> web.Response:
    """An answer without a body."""
    return web.Response(status=status)


@asynccontextmanager
async def ended(source: AsyncIterator[object]) -> AsyncIterator[None]:
    """End what is read bit by bit when its reader is through or gives up, not when memory is next tidied."""
    try:
        yield
    finally:
        if isinstance(source, AsyncGenerator):
            await source.aclose()


def _first_segment(path: str) -> str:
    return path[1:].partition("/")[0]


def _compile(pattern: str) -> re.Pattern[str]:
    parts, last = [], 0
    for parameter in _PARAMETER.finditer(pattern):
        parts.append(re.escape(pattern[last : parameter.start()]))
        parts.append(f"(?P<{parameter[1]}>{'.+' if parameter[2] else '[^/]+'})")
        last = parameter.end()
    return re.compile("".join(parts) + re.escape(pattern[last:]))


async def _to_its_end(work: Coroutine[object, object, _T]) -> _T:
    """Its answer. Who waits for it may go; the work goes on."""
    task = asyncio.ensure_future(work)
    task.add_done_callback(_heard)
    return await asyncio.shield(task)


def _heard(task: asyncio.Future[_T]) -> None:
    """Take the outcome of a command whose client may have gone, so that it is not reported as forgotten."""
    if not task.cancelled() and isinstance(task.exception(), NetError):
        return
