"""The door between nodes: mutual TLS on 2377/tcp, HTTP/1.1 inside.

| call | who | what |
|---|---|---|
| `GET /root` | anyone | the root certificate, which a joiner holds against its token |
| `POST /join` | anyone | a token and a signing request for a place in the cluster |
| `POST /renew` | members | a certificate in place of the caller's |
| `POST /session` | members | JSON lines both ways for as long as both live |
| `/api/...` | managers | those calls of the Docker API that only the leader can answer |

Who calls is read from the certificate at every call, not once for a connection: a node that was removed is refused by
its next call, on a connection that it has had for days.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import suppress

from aiohttp import web

from fairlead.api import http_mesh, networks_swarm, nodes, services, swarm, tasks
from fairlead.api.contract import Node
from fairlead.api.contract_control import AdmitBody, Caller, Control, Line, RenewBody
from fairlead.api.control_limits import ControlListener, Guests
from fairlead.api.router import Call, Router, answer, ended
from fairlead.api.schema import decode, error_body
from fairlead.model import codes
from fairlead.model.cluster import MANAGER, WORKER
from fairlead.model.errors import Internal, Invalid, NetError, NotFound, Unavailable

log = logging.getLogger(__name__)

#: Port of managers (IANA has none; swarm's).
CONTROL_PORT = 2377
#: Largest body of a stranger: a token, a signing request and a description take 2 KiB.
STRANGER_BODY_BYTES_MAX = 32 * 1024
#: Seconds that the next piece of a body may take.
_STALL_S = 5.0
#: Longest line of a session in bytes. The longest is a node's first word, with all its leases: 64 MiB are 300,000.
LINE_BYTES_MAX = 64 * 1024 * 1024
#: Largest body of a member's single call.
_BODY_BYTES_MAX = 1024 * 1024
LINES_TYPE = "application/x-ndjson"
_PASSED_ON = "/api"


class ControlServer:
    """The door while it is open."""

    def __init__(self, guests: Guests, runner: web.ServerRunner, listener: ControlListener, port: int) -> None:
        self._guests = guests
        self._runner = runner
        self._listener = listener
        self.port = port

    @property
    def strangers(self) -> int:
        """How many connections nobody has vouched for."""
        return self._listener.strangers

    async def close(self) -> None:
        """Let nobody in any more, and everyone go."""
        await self._listener.close()
        await self._runner.cleanup()


async def open_control(node: Node, control: Control, listener: socket.socket) -> ControlServer:
    """Open the door at a socket that listens; ``node`` answers what managers pass on."""
    guests = Guests(_ControlDoor(node, control))
    runner = web.ServerRunner(guests, shutdown_timeout=0.1)
    await runner.setup()
    port = int(listener.getsockname()[1])
    return ControlServer(guests, runner, ControlListener(listener, lambda: control.context, guests), port)


class _ControlDoor:
    """Every request's way: who calls, may they, what do they want."""

    def __init__(self, node: Node, control: Control) -> None:
        self._node = node
        self._control = control
        shared = (
            *swarm.shared_routes(),
            *nodes.routes(),
            *networks_swarm.shared_routes(),
            *http_mesh.shared_routes(),
            *services.routes(),
            *tasks.routes(),
        )
        self._router = Router(shared)

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        opened: list[web.StreamResponse] = []
        try:
            return await self._answer(request, opened)
        except NetError as error:
            log.info("refused %s %s of %s: %s", request.method, request.path, _caller(request).address, error)
            return opened[0] if opened else answer(error_body(error), error.status)
        except ConnectionError:
            return opened[0] if opened else web.Response()
        except asyncio.CancelledError:
            raise
        except Exception:  # the edge of every request: a fault in one must not end the daemon
            log.exception("a node's request failed: %s %s", request.method, request.path)
            fault = Internal("an error inside Fairlead", hint="the manager's log has the details", code=codes.FAULT)
            return opened[0] if opened else answer(error_body(fault), fault.status)

    async def _answer(self, request: web.BaseRequest, opened: list[web.StreamResponse]) -> web.StreamResponse:
        caller, control = _caller(request), self._control
        match (request.method, request.path):
            case ("GET", "/root"):
                return web.Response(text=control.root(), content_type="application/x-pem-file")
            case ("POST", "/join"):
                wish = decode(await _body(request, STRANGER_BODY_BYTES_MAX), AdmitBody)
                return answer(await control.join(caller, wish))
            case ("POST", "/renew"):
                control.check(caller, WORKER, MANAGER)
                renewal = decode(await _body(request, STRANGER_BODY_BYTES_MAX), RenewBody)
                return answer(await control.renew(caller, renewal))
            case ("POST", "/session"):
                control.check(caller, WORKER, MANAGER)
                return await _session(request, control.session(caller), opened)
            case (_, path) if path.startswith(f"{_PASSED_ON}/"):
                control.check(caller, MANAGER)
                return await self._passed_on(request)
        raise NotFound("page not found", code=codes.CALL_UNKNOWN)

    async def _passed_on(self, request: web.BaseRequest) -> web.StreamResponse:
        """One of the API's calls, out of those few that managers answer for each other."""
        if self._node.swarm.leader() is not None:
            raise Unavailable(
                "this manager does not lead", hint="the next one is asked", code=codes.MANAGER_UNREACHABLE
            )
        plain = request.clone(rel_url=request.rel_url.with_path(request.path.removeprefix(_PASSED_ON), keep_query=True))
        route, version, path = self._router.find(plain.method, plain.path)
        return await route.handler(Call(self._node, plain, route, version, path, {}))


def _caller(request: web.BaseRequest) -> Caller:
    transport = request.transport
    tls = transport.get_extra_info("ssl_object") if transport is not None else None
    place = transport.get_extra_info("peername") if transport is not None else None
    address = str(place[0]).removeprefix("::ffff:") if place else ""
    return Caller(address, (tls.getpeercert(binary_form=True) or b"") if tls is not None else b"")


async def _body(request: web.BaseRequest, most: int) -> bytes:
    """The whole body; raises ``Invalid`` when it is too large, stalls or breaks off."""
    pieces, size = [], 0
    async for piece in _pieces(request):
        size += len(piece)
        if size > most:
            raise Invalid("the request's body is too large", hint=f"at most {most} bytes", code=codes.BODY_INVALID)
        pieces.append(piece)
    return b"".join(pieces)


async def _pieces(request: web.BaseRequest) -> AsyncIterator[bytes]:
    while True:
        try:
            async with asyncio.timeout(_STALL_S):
                piece = await request.content.readany()
        except TimeoutError as error:
            raise Invalid(f"the request's body stalled for {_STALL_S:g} s", code=codes.BODY_INVALID) from error
        except (web.RequestPayloadError, ValueError) as error:
            raise Invalid(f"the request's body cannot be read: {error}", code=codes.BODY_INVALID) from error
        if not piece:
            return
        yield piece


async def _session(request: web.BaseRequest, line: Line, opened: list[web.StreamResponse]) -> web.StreamResponse:
    """Both directions until one of them ends."""
    response = web.StreamResponse(headers={"Content-Type": LINES_TYPE})
    opened.append(response)
    hearing: asyncio.Future[None] | None = None
    try:
        await response.prepare(request)
        hearing = asyncio.ensure_future(_hear(request, line))
        saying = asyncio.ensure_future(_say(response, line))
        try:
            await asyncio.wait({hearing, saying}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in (hearing, saying):
                way.cancel()
            await asyncio.gather(hearing, saying, return_exceptions=True)
    finally:
        line.ended()
        response.force_close()
    return response


async def _hear(request: web.BaseRequest, line: Line) -> None:
    """Node to manager; empty lines are nothing. What cannot be read ends the session: the node opens another one."""
    rest = b""
    try:
        while piece := await request.content.readany():
            *whole, rest = (rest + piece).split(b"\n")
            if len(rest) > LINE_BYTES_MAX:
                raise Invalid("a line is too long")
            for text in filter(None, whole):
                line.heard(text)
    except NetError as error:
        log.warning("a node's session ends: %s", error)
    except (web.RequestPayloadError, ConnectionError, ValueError):
        return


async def _say(response: web.StreamResponse, line: Line) -> None:
    """Manager to node."""
    lines = line.lines()
    async with ended(lines):
        with suppress(ConnectionError):
            async for text in lines:
                await response.write(text + b"\n")
            await response.write_eof()
