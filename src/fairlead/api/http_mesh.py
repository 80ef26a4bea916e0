"""Handlers of ``/fairlead/http-mesh``: switched on and off by managers, looked at on any node."""

from __future__ import annotations

from aiohttp import web
from msgspec import Struct, field

from fairlead.api.router import Call, Route, answer, empty
from fairlead.api.swarm import led
from fairlead.model.cluster_commands import DisableHttpMesh, EnableHttpMesh
from fairlead.model.http_mesh import HTTP_PORT, HTTPS_PORT, HttpMesh, HttpMeshSeen
from fairlead.model.state import State


class HttpMeshBody(Struct):
    """The mesh as it is to be; port 0 is switched off."""

    port: int = field(name="Port", default=HTTP_PORT)
    tls_port: int = field(name="TLSPort", default=HTTPS_PORT)
    certificates: str = field(name="Certificates", default="")
    trusted_proxies: list[str] | None = field(name="TrustedProxies", default=None)

    def wish(self) -> HttpMesh:
        """As a manager is asked for it."""
        return HttpMesh(self.port, self.tls_port, self.certificates, tuple(self.trusted_proxies or ()))


async def enable(call: Call) -> web.StreamResponse:
    """``POST /fairlead/http-mesh``: have it on every node, like this."""
    body = await call.body_or(HttpMeshBody, HttpMeshBody())
    await call.finish(call.node.swarm.brain.ask(EnableHttpMesh(body.wish())))
    return empty(200)


async def disable(call: Call) -> web.StreamResponse:
    """``DELETE /fairlead/http-mesh``: have it nowhere."""
    await call.finish(call.node.swarm.brain.ask(DisableHttpMesh()))
    return empty(204)


async def status(call: Call) -> web.StreamResponse:
    """``GET /fairlead/http-mesh``: the mesh as this node has it."""
    return answer(seen_json(call.node.http_mesh.seen(), call.node.state))


def seen_json(seen: HttpMeshSeen, state: State) -> dict[str, object]:
    """The mesh on a node."""
    mesh = seen.mesh or HttpMesh(0, 0)
    return {
        "Enabled": seen.mesh is not None,
        "Port": mesh.port,
        "TLSPort": mesh.tls_port,
        "Certificates": mesh.certificates,
        "TrustedProxies": list(mesh.trusted_proxies),
        "Proxy": {
            "Running": seen.running,
            "Pid": seen.pid,
            "Changes": seen.changes,
            "Reloads": seen.reloads,
            "Restarts": seen.restarts,
        },
        "Networks": [{"ID": one, "Name": state.networks[one].name} for one in seen.networks if one in state.networks],
        "Routes": [
            {
                "Host": route.host,
                "Path": route.path,
                "Service": route.service,
                "Port": route.port,
                "TLS": route.tls,
                "Tasks": route.tasks,
            }
            for route in seen.routes
        ],
        "Warnings": list(seen.faults),
    }


def shared_routes() -> tuple[Route, ...]:
    """What managers answer for each other."""
    return (
        Route("POST", "/fairlead/http-mesh", led(enable), body=HttpMeshBody),
        Route("DELETE", "/fairlead/http-mesh", led(disable)),
    )


def routes() -> tuple[Route, ...]:
    """The routes of this module."""
    return (*shared_routes(), Route("GET", "/fairlead/http-mesh", status))
