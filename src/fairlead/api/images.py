"""Handlers of images: imported root file systems and ``host``; there is no registry."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

from aiohttp import web

from fairlead.api.router import Call, Route, answer
from fairlead.api.schema import stamp
from fairlead.model.errors import Invalid, NotFound
from fairlead.model.ids import check_name

#: The name that means the host's own root file system.
HOST_IMAGE = "host"
#: Bytes handed on at a time while an archive is imported: large enough to keep system calls rare, small enough to
#: keep several imports out of the way of everything else.
_CHUNK_BYTES = 256 * 1024
_IMPORT_HINT = "there is no registry: `fairlead image import NAME TARBALL` adds a root file system, `host` needs none"


async def list_images(call: Call) -> web.StreamResponse:
    """``GET /images/json``."""
    return answer([image_row(image) for image in await images_of(call)])


async def inspect_image(call: Call) -> web.StreamResponse:
    """``GET /images/{name}/json``."""
    wanted = call.path["name"]
    for image in await images_of(call):
        name = str(image.get("name", ""))
        if wanted in (name, f"{name}:latest"):
            row = image_row(image)
            created = image.get("created", 0)
            facts = call.node.facts
            row["Created"] = stamp(float(created) if isinstance(created, int | float) else 0.0)
            return answer({**row, "Config": {}, "Os": "linux", "Architecture": facts.architecture})
    raise NotFound(f"No such image: {wanted}", hint=_IMPORT_HINT)


async def pull(call: Call) -> web.StreamResponse:
    """``POST /images/create``: Docker's pull, refused."""
    wanted = (call.text("fromImage") or call.text("fromSrc")).removeprefix("docker.io/library/")
    raise NotFound(f"No such image: {wanted}", hint=_IMPORT_HINT)


async def import_image(call: Call) -> web.StreamResponse:
    """``POST /fairlead/images/import?name=``: the body is a tar archive, plain or compressed."""
    name = check_name("image", call.text("name"))
    if name == HOST_IMAGE:
        raise Invalid(f"{HOST_IMAGE!r} is the host's own root file system", hint="choose another name")
    await call.node.image_import(name, _chunks(call))
    return answer({"Name": name}, 201)


async def _chunks(call: Call) -> AsyncIterator[bytes]:
    async for chunk in call.request.content.iter_chunked(_CHUNK_BYTES):
        yield chunk


async def images_of(call: Call) -> list[Mapping[str, object]]:
    """Every image: the host's own root file system, then what was imported."""
    return [{"name": HOST_IMAGE, "size_bytes": 0, "created": call.node.facts.started}, *await call.node.images()]


def image_row(image: Mapping[str, object]) -> dict[str, object]:
    """A line of ``docker image ls``."""
    name, created, size = str(image.get("name", "")), image.get("created", 0), image.get("size_bytes", 0)
    return {
        "Id": name,
        "ParentId": "",
        "RepoTags": [f"{name}:latest"],
        "RepoDigests": [],
        "Created": int(created) if isinstance(created, int | float) else 0,
        "Size": size,
        "VirtualSize": size,
        "SharedSize": -1,
        "Labels": None,
        "Containers": -1,
    }


def routes() -> tuple[Route, ...]:
    """The routes of this module."""
    return (
        Route("GET", "/images/json", list_images),
        Route("GET", "/images/{name*}/json", inspect_image),
        Route("POST", "/images/create", pull, query={"fromImage": str, "fromSrc": str, "tag": str, "platform": str}),
        Route("POST", "/fairlead/images/import", import_image, query={"name": str}, upload=True),
    )
