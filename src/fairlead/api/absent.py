"""What Docker's clients may ask and this node has not: each says so in words, with a way out, instead of "page not
found"."""

from __future__ import annotations

from aiohttp import web

from fairlead.api.router import Call, Handler, Route, answer
from fairlead.model.errors import NotFound, NotImplementedHere

#: How a root file system comes here.
IMPORT_HINT = "there is no registry: `fairlead image import NAME TARBALL` adds a root file system, `host` needs none"
_EXPORT_HINT = "export the container and import the archive"
#: What a swarm has and this one has not yet: first segments of paths, and what one of them is called.
_OF_A_SWARM = {"configs": "config", "secrets": "secret"}
#: What is not implemented: methods and paths, what it is, the way out.
_MISSING = (
    (("GET",), "/containers/{ref}/changes", "the list of changes to a container's files", _EXPORT_HINT),
    (("GET", "POST"), "/containers/{ref}/checkpoints", "checkpoints", "stop the container and start it anew"),
    (("POST",), "/commit", "making images from containers", _EXPORT_HINT),
    (("POST",), "/build", "building images", "build elsewhere, `docker export` there, and import the archive"),
    (("POST",), "/session", "building images", "build elsewhere, `docker export` there, and import the archive"),
    (
        ("POST",),
        "/images/load",
        "loading saved images with layers",
        "`docker export` a container of it and import that",
    ),
    (("GET",), "/images/get", "saving images with layers", "`docker export` a container of it"),
    (("GET",), "/images/{name*}/get", "saving images with layers", "`docker export` a container of it"),
    (("GET",), "/images/search", "search", IMPORT_HINT),
    (("POST",), "/images/{name*}/push", "push", IMPORT_HINT),
    (("POST",), "/auth", "login", IMPORT_HINT),
    (("GET",), "/distribution/{name*}/json", "asking a registry", IMPORT_HINT),
    (("GET", "POST", "DELETE"), "/plugins/{path*}", "plugins", "drivers of this node: `docker info` lists them"),
)


def _missing(what: str, hint: str) -> Handler:
    async def refuse(call: Call) -> web.StreamResponse:
        del call
        raise NotImplementedHere(f"{what}: not implemented here", hint=hint)

    return refuse


def _of_a_swarm(noun: str, what: str) -> tuple[Route, ...]:
    """Docker's words on a node that is no manager; on a manager there is none of them, and none can be made."""

    async def none(call: Call) -> web.StreamResponse:
        call.node.swarm.leader()
        return answer([])

    async def absent(call: Call) -> web.StreamResponse:
        call.node.swarm.leader()
        raise NotFound(f"{what} {call.path['path']} not found", hint=f"this version has no {noun}")

    async def refuse(call: Call) -> web.StreamResponse:
        call.node.swarm.leader()
        raise NotImplementedHere(f"{noun}: not implemented here", hint="mount a directory of the nodes")

    return (
        Route("GET", f"/{noun}", none),
        Route("GET", f"/{noun}/{{path*}}", absent),
        Route("DELETE", f"/{noun}/{{path*}}", absent),
        Route("POST", f"/{noun}/{{path*}}", refuse),
    )


async def _no_plugin(call: Call) -> web.StreamResponse:
    """``GET /plugins/{name}/json``: `docker inspect` asks here too, and goes on after a 404."""
    raise NotFound(f"plugin {call.path['name']!r} not found", hint="`docker info` lists the drivers of this node")


async def _plugins(call: Call) -> web.StreamResponse:
    """``GET /plugins``: none."""
    del call
    return answer([])


def routes() -> tuple[Route, ...]:
    """The routes of this module; those that are asked first stand first."""
    missing = [
        Route(method, path, _missing(what, hint)) for methods, path, what, hint in _MISSING for method in methods
    ]
    swarm = [route for noun, what in _OF_A_SWARM.items() for route in _of_a_swarm(noun, what)]
    plugins = (Route("GET", "/plugins", _plugins), Route("GET", "/plugins/{name}/json", _no_plugin))
    return (*plugins, *missing, *swarm)
