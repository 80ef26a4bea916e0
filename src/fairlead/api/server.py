"""Front door: the API of one node on a Unix socket.

server = await serve(node, "/run/fairlead/fairlead.sock")
...
await server.close()
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from aiohttp import web

import fairlead
from fairlead.api import (
    absent,
    archives,
    containers,
    events,
    execs,
    exposure,
    gossip,
    http_mesh,
    images,
    metrics,
    networks,
    nodes,
    output,
    sandboxes,
    services,
    steering,
    swarm,
    system,
    tasks,
    versions,
    volumes,
)
from fairlead.api.client import DRY_RUN, Planned
from fairlead.api.connections import Connections
from fairlead.api.contract import Node
from fairlead.api.openapi import description
from fairlead.api.router import Call, Route, Router, answer
from fairlead.api.schema import error_body
from fairlead.api.tls import TcpDoor, TcpListener, listen
from fairlead.model import codes
from fairlead.model.errors import Conflict, Internal, Invalid, NetError, NotFound

log = logging.getLogger(__name__)

#: Who may speak to the daemon: root and the socket's group, as with Docker's socket.
SOCKET_MODE = 0o660
#: Ending of the socket's name until it is ready.
_UNREADY = ".new"
#: Longest path of a Unix socket in bytes (sun_path of 108 with its final zero, unix(7)), less that ending.
SOCKET_PATH_MAX = 107 - len(_UNREADY)
#: Seconds that open requests get to end when the server closes; byte streams and event streams never end by
#: themselves, so that this is what a shutdown costs when there are any.
_CLOSE_GRACE_S = 0.5
#: Connections that wait to be accepted (Linux caps it at net.core.somaxconn).
_BACKLOG = 512


async def _nowhere(call: Call) -> web.StreamResponse:
    raise NotFound("page not found", code=codes.CALL_UNKNOWN)


#: The route of a request until its own is found.
_NOWHERE = Route("", "", _nowhere)


class ApiServer:
    """A running server."""

    def __init__(self, runner: web.ServerRunner, path: Path, listener: socket.socket) -> None:
        self._runner = runner
        self._inode = path.stat().st_ino
        self._doors: list[TcpListener] = []
        self.path = path
        self.listener = listener
        #: Whether the listening socket lives on elsewhere, so that its file must stay.
        self.kept = False

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._runner.server.connections) if self._runner.server else 0

    def open_door(self, door: TcpDoor) -> None:
        """Answer on a TCP port with mutual TLS too; raises ``Invalid`` or ``Internal``."""
        if self._runner.server is None:
            raise Internal("the server is closed")
        self._doors.append(listen(door, self._runner.server))

    async def close(self) -> None:
        """Stop listening, give open requests a moment, cut the rest, remove the socket file if it is still ours and the
        socket is not ``kept``."""
        with suppress(FileNotFoundError):
            if self.path.stat().st_ino == self._inode and not self.kept:
                self.path.unlink()
        for door in self._doors:
            await door.close()
        await self._runner.cleanup()


async def serve(
    node: Node,
    socket_path: str | os.PathLike[str],
    extra: Iterable[Route] = (),
    inherited: socket.socket | None = None,
) -> ApiServer:
    """Answer the Engine API for ``node`` until the result is closed. ``extra`` are further routes, asked first;
    ``inherited`` is the socket that listens at the path already.

    A socket file left by a daemon that is gone is replaced in one step; raises ``Conflict`` when a daemon still
    answers there, ``Invalid`` or ``Internal`` when the socket cannot be made.
    """
    path = Path(socket_path)
    routes = [*extra, *own_routes()]
    routes.append(description(routes))
    runner = web.ServerRunner(Connections(_Door(node, Router(routes))), shutdown_timeout=_CLOSE_GRACE_S)
    listener = inherited or _listen(path)
    await runner.setup()
    await web.SockSite(runner, listener, backlog=_BACKLOG).start()
    return ApiServer(runner, path, listener)


class _Door:
    """What every request passes: find the handler, turn errors into answers, add the headers of the house."""

    def __init__(self, node: Node, router: Router) -> None:
        self._node = node
        self._router = router
        self._headers = {
            "Api-Version": versions.text(versions.API_MAX),
            "Ostype": "linux",
            "Server": f"Fairlead/{fairlead.__version__} (linux)",
        }

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        call = Call(self._node, request, _NOWHERE, versions.API_MAX, {}, self._headers)
        try:
            call.route, call.version, call.path = self._router.find(request.method, request.path)
            response = await call.route.handler(call)
        except Planned as planned:
            response = answer(planned.lines)
            response.headers[DRY_RUN] = "plan"
        except NetError as error:
            response = _failed(call, error)
        except ConnectionError:  # the client is gone; there is nobody to tell
            response = call.opened or answer(None)
        except asyncio.CancelledError:
            raise
        except Exception:  # the edge of every request: a fault in one must not be an HTML page, nor end the daemon
            log.exception("a request failed: %s %s", request.method, request.path)
            response = _failed(
                call, Internal("an error inside Fairlead", hint="the daemon's log has the details", code=codes.FAULT)
            )
        if not response.prepared:
            response.headers.update(self._headers)
        return response


def _failed(call: Call, error: NetError) -> web.StreamResponse:
    """The answer that tells an error, or the answer under way, which can only end."""
    if call.opened is not None:
        log.warning("the answer to %s %s ends early: %s", call.request.method, call.request.path, error)
        return call.opened
    return answer(error_body(error), error.status)


def own_routes() -> list[Route]:
    """Every call that this room answers."""
    rooms = (
        system,
        exposure,
        networks,
        containers,
        archives,
        steering,
        output,
        sandboxes,
        execs,
        events,
        images,
        volumes,
        swarm,
        nodes,
        services,
        tasks,
        gossip,
        http_mesh,
        metrics,
        absent,
    )
    return [route for room in rooms for route in room.routes()]


def _listen(path: Path) -> socket.socket:
    """A listening socket at ``path``, with its mode set before anyone can see it."""
    if len(os.fsencode(path)) > SOCKET_PATH_MAX:
        raise Invalid(
            f"socket path '{path}' is longer than {SOCKET_PATH_MAX} bytes",
            hint="use a shorter --run-dir",
            code=codes.SOCKET_FAILED,
        )
    _refuse_living(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    fresh = path.with_name(path.name + _UNREADY)
    try:
        fresh.unlink(missing_ok=True)
        listener.bind(str(fresh))
        fresh.chmod(SOCKET_MODE)
        listener.listen(_BACKLOG)
        fresh.rename(path)
    except OSError as error:
        listener.close()
        raise Internal(
            f"cannot listen at {path}: {error.strerror}",
            hint="check the directory and its mode",
            code=codes.SOCKET_FAILED,
        ) from error
    return listener


def _refuse_living(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return
    raise Conflict(
        f"a daemon already answers at {path}",
        hint="stop it first, or choose another --run-dir",
        code=codes.DAEMON_RUNS_ALREADY,
    )
