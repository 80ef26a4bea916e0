"""Handlers of images: imported root file systems and ``host``; there is no registry."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import AsyncIterator

from aiohttp import web

from fairlead.api.absent import IMPORT_HINT
from fairlead.api.contract_containers import ImageInfo
from fairlead.api.filters import Filters
from fairlead.api.pruning import PRUNE_FILTERS, Age, Pruned, Pruner
from fairlead.api.router import Call, Route, answer, empty
from fairlead.api.schema import encode, stamp
from fairlead.model import codes
from fairlead.model.errors import Conflict, Invalid, NotFound
from fairlead.model.image import DEFAULT_TAG, full_name, parse_changes

#: The name that means the host's own root file system.
HOST_IMAGE = "host"
#: Bytes handed on at a time while an archive is imported: large enough to keep system calls rare, small enough to
#: keep several imports out of the way of everything else.
_CHUNK_BYTES = 256 * 1024
_LIST_FILTERS = ("before", "dangling", "label", "reference", "since", "until")
_PRUNE_FILTERS = (*PRUNE_FILTERS, "dangling")


async def list_images(call: Call) -> web.StreamResponse:
    """``GET /images/json``."""
    filters = call.filters()
    return answer(
        [image_row(image, _named(filters, image)) for image in call.node.images.all() if _fits(call, image, filters)]
    )


async def inspect_image(call: Call) -> web.StreamResponse:
    """``GET /images/{name}/json``."""
    image = call.node.images.get(call.path["name"])
    facts, config = call.node.facts, image.config
    body = {
        "Id": f"sha256:{image.id}",
        "RepoTags": list(image.names),
        "RepoDigests": [],
        "Parent": "",
        "Comment": "",
        "Created": stamp(image.created),
        "Author": "",
        "Config": {
            "Cmd": list(config.command) or None,
            "Entrypoint": list(config.entrypoint) or None,
            "Env": list(config.env) or None,
            "ExposedPorts": {port: {} for port in config.exposed} or None,
            "Labels": config.labels or None,
            "StopSignal": config.stop_signal,
            "User": config.user,
            "Volumes": {target: {} for target in config.volumes} or None,
            "WorkingDir": config.working_dir,
        },
        "Architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(facts.architecture, facts.architecture),
        "Os": "linux",
        "Size": image.size_bytes,
        "VirtualSize": image.size_bytes,
        "GraphDriver": {"Name": "overlay", "Data": None},
        "RootFS": {"Type": "layers", "Layers": [f"sha256:{image.id}"]},
        "Metadata": {"LastTagTime": stamp(image.created)},
    }
    return answer(body)


async def history(call: Call) -> web.StreamResponse:
    """``GET /images/{name}/history``: an imported image has one layer."""
    image = call.node.images.get(call.path["name"])
    row = {
        "Id": f"sha256:{image.id}",
        "Created": int(image.created),
        "CreatedBy": "",
        "Tags": list(image.names),
        "Size": image.size_bytes,
        "Comment": "Imported from -",
    }
    return answer([row])


async def create(call: Call) -> web.StreamResponse:
    """``POST /images/create``: Docker's import out of the body; its pull is refused, since there is no registry."""
    source = call.text("fromSrc")
    if source != "-":
        wanted = (call.text("fromImage") or source).removeprefix("docker.io/library/")
        raise NotFound(f"No such image: {wanted}", hint=IMPORT_HINT, code=codes.IMAGE_NOT_FOUND)
    repo, tag = call.text("repo"), call.text("tag")
    name = f"{repo}:{tag}" if repo and tag else repo
    image = await _import(call, name)
    response = await call.stream("application/json")
    await response.write(encode({"status": f"sha256:{image.id}"}))
    return response


async def import_image(call: Call) -> web.StreamResponse:
    """``POST /fairlead/images/import?name=``: the body is a tar archive, plain or compressed."""
    name = call.text("name")
    if not name:
        raise Invalid("invalid image name: it is empty")
    image = await _import(call, name)
    return answer({"Name": name, "Id": f"sha256:{image.id}"}, 201)


async def _import(call: Call, name: str) -> ImageInfo:
    changes = call.request.query.getall("changes", [])
    if full_name(name) == full_name(HOST_IMAGE):
        raise Invalid(
            f"{HOST_IMAGE!r} is the host's own root file system", hint="choose another name", code=codes.IMAGE_NOT_FOUND
        )
    image = await call.node.images.add(name, _chunks(call), parse_changes(_lines(changes)))
    call.node.notices.tell("image", "import", f"sha256:{image.id}", {"name": f"sha256:{image.id}"})
    return image


def _lines(changes: list[str]) -> list[str]:
    """Changes one by one; some clients send a JSON list of them."""
    result = []
    for change in changes:
        try:
            found = json.loads(change)
        except ValueError:
            found = None
        result += [str(line) for line in found] if isinstance(found, list) else [change]
    return result


async def tag_image(call: Call) -> web.StreamResponse:
    """``POST /images/{name}/tag``."""
    repo = call.text("repo")
    if not repo:
        raise Invalid("invalid reference format: the name is empty", hint="name the image to be")
    call.node.images.tag(call.path["name"], f"{repo}:{call.text('tag') or DEFAULT_TAG}")
    image = call.node.images.get(call.path["name"])
    call.node.notices.tell("image", "tag", f"sha256:{image.id}", {"name": repo})
    return empty(201)


async def remove_image(call: Call) -> web.StreamResponse:
    """``DELETE /images/{name}``."""
    done = await call.node.images.remove(call.path["name"], force=call.flag("force"))
    for verb, what in done:
        action = "untag" if verb == "Untagged" else "delete"
        call.node.notices.tell("image", action, what, {"name": what})
    return answer([{verb: what} for verb, what in done])


async def _prune(call: Call) -> Pruned:
    """Images without a name that nobody uses; with ``dangling=false`` all that nobody uses (Docker)."""
    filters = call.filters()
    age, every = Age.asked(filters), filters.boolean("dangling") is False
    deleted: list[dict[str, str]] = []
    freed = 0
    for image in call.node.images.all():
        dangling = not image.names
        if HOST_IMAGE in {name.partition(":")[0] for name in image.names} or image.users or not (every or dangling):
            continue
        if age.spares(image.created) or not filters.labels(image.config.labels):
            continue
        try:
            done = await call.node.images.remove(image.id, force=True)
        except Conflict:  # taken meanwhile
            continue
        deleted += [{verb: what} for verb, what in done]
        freed += image.size_bytes
    return Pruned({"ImagesDeleted": deleted}, freed)


async def _chunks(call: Call) -> AsyncIterator[bytes]:
    async for chunk in call.request.content.iter_chunked(_CHUNK_BYTES):
        yield chunk


def image_row(image: ImageInfo, names: tuple[str, ...] = ()) -> dict[str, object]:
    """A line of ``docker image ls``, with these of its names or with all."""
    return {
        "Id": f"sha256:{image.id}",
        "ParentId": "",
        "RepoTags": list(names or image.names) or ["<none>:<none>"],
        "RepoDigests": [] if image.names else ["<none>@<none>"],
        "Created": int(image.created),
        "Size": image.size_bytes,
        "VirtualSize": image.size_bytes,
        "SharedSize": -1,
        "Labels": image.config.labels or None,
        "Containers": -1,
    }


def _fits(call: Call, image: ImageInfo, filters: Filters) -> bool:
    dangling = filters.boolean("dangling")
    return (
        (dangling is None or dangling == (not image.names))
        and filters.labels(image.config.labels)
        and ("reference" not in filters or bool(_named(filters, image)))
        and all(image.created < call.node.images.get(ref).created for ref in filters.get("before"))
        and all(image.created > call.node.images.get(ref).created for ref in filters.get("since"))
        and not Age.asked(filters).spares(image.created)
    )


def _named(filters: Filters, image: ImageInfo) -> tuple[str, ...]:
    """The names of an image that the filter ``reference`` means, with or without the tag."""
    patterns = filters.get("reference")
    return tuple(
        name
        for name in image.names
        if any(_like(name, pattern) or _like(name.rpartition(":")[0], pattern) for pattern in patterns)
    )


def _like(name: str, pattern: str) -> bool:
    """Whether a name is like a pattern part by part: a star means no slash (Go's path.Match, as Docker)."""
    parts, patterns = name.split("/"), pattern.split("/")
    return len(parts) == len(patterns) and all(map(fnmatch.fnmatchcase, parts, patterns))


def routes() -> tuple[Route, ...]:
    """The routes of this module."""
    source: dict[str, type] = dict.fromkeys(
        ("fromImage", "fromSrc", "repo", "tag", "platform", "changes", "message"), str
    )
    return (
        Route("GET", "/images/json", list_images, query={"all": bool}, filters=_LIST_FILTERS),
        Route("GET", "/images/{name*}/json", inspect_image),
        Route("GET", "/images/{name*}/history", history),
        Route("POST", "/images/create", create, query=source, upload=True),
        Route("POST", "/images/prune", Pruner("image", _prune), filters=_PRUNE_FILTERS),
        Route("POST", "/images/{name*}/tag", tag_image, query={"repo": str, "tag": str}),
        Route("DELETE", "/images/{name*}", remove_image, query={"force": bool, "noprune": bool}),
        Route("POST", "/fairlead/images/import", import_image, query={"name": str, "changes": str}, upload=True),
    )
