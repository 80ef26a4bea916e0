"""Handlers that carry files: ``docker cp`` both ways, and export."""

from __future__ import annotations

import base64
import stat
from collections.abc import AsyncIterator

from aiohttp import web

from fairlead.api.contract_containers import FileStat
from fairlead.api.router import Call, Route, empty, ended
from fairlead.api.schema import encode, stamp
from fairlead.model.errors import Invalid

#: Bytes handed on at a time.
_CHUNK_BYTES = 256 * 1024
_TAR = "application/x-tar"
_STAT_HEADER = "X-Docker-Container-Path-Stat"
#: Kinds and special bits of a file's mode in Go's numbers, which clients read (io/fs: FileMode).
_GO_KINDS = {
    stat.S_IFDIR: 1 << 31,
    stat.S_IFLNK: 1 << 27,
    stat.S_IFBLK: 1 << 26,
    stat.S_IFIFO: 1 << 25,
    stat.S_IFSOCK: 1 << 24,
    stat.S_IFCHR: (1 << 26) | (1 << 21),
}
_GO_BITS = ((stat.S_ISUID, 1 << 23), (stat.S_ISGID, 1 << 22), (stat.S_ISVTX, 1 << 20))


async def head(call: Call) -> web.StreamResponse:
    """``HEAD /containers/{ref}/archive``: what a path is, in a header."""
    found = await call.node.files.stat(call.path["ref"], _path(call))
    answer = empty(200)
    answer.headers[_STAT_HEADER] = _told(found)
    return answer


async def get(call: Call) -> web.StreamResponse:
    """``GET /containers/{ref}/archive``: a file or directory as a tar archive."""
    path = _path(call)
    found = await call.node.files.stat(call.path["ref"], path)
    call.headers = {**call.headers, _STAT_HEADER: _told(found)}
    return await _send(call, call.node.files.read(call.path["ref"], path))


async def put(call: Call) -> web.StreamResponse:
    """``PUT /containers/{ref}/archive``: unpack a tar archive into a directory."""
    no_overwrite, keep_owners = call.flag("noOverwriteDirNonDir"), call.flag("copyUIDGID")
    body = call.request.content.iter_chunked(_CHUNK_BYTES)
    await call.node.files.write(
        call.path["ref"], _path(call), _pieces(body), no_overwrite=no_overwrite, keep_owners=keep_owners
    )
    return empty(200)


async def export(call: Call) -> web.StreamResponse:
    """``GET /containers/{ref}/export``."""
    container = call.node.state.container(call.path["ref"])
    return await _send(call, call.node.files.export(container.id))


async def _send(call: Call, pieces: AsyncIterator[bytes]) -> web.StreamResponse:
    response: web.StreamResponse | None = None
    async with ended(pieces):
        async for piece in pieces:
            if response is None:
                response = await call.stream(_TAR)
            await response.write(piece)
    return response if response is not None else await call.stream(_TAR)


async def _pieces(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async for piece in body:
        yield piece


def _path(call: Call) -> str:
    path = call.text("path")
    if not path or "\0" in path:
        raise Invalid("bad parameter: path cannot be empty", hint="name a file of the container")
    return path


def _told(found: FileStat) -> str:
    """The header's text: JSON in base64."""
    mode = stat.S_IMODE(found.mode) & 0o777 | _GO_KINDS.get(stat.S_IFMT(found.mode), 0)
    mode |= sum(go for linux, go in _GO_BITS if found.mode & linux)
    body = {
        "name": found.name or "/",
        "size": found.size,
        "mode": mode,
        "mtime": stamp(found.modified),
        "linkTarget": found.link,
    }
    return base64.b64encode(encode(body).strip()).decode()


def routes() -> tuple[Route, ...]:
    """The routes of this module."""
    path: dict[str, type] = {"path": str}
    more: dict[str, type] = {"noOverwriteDirNonDir": bool, "copyUIDGID": bool}
    return (
        Route("HEAD", "/containers/{ref}/archive", head, query=path),
        Route("GET", "/containers/{ref}/archive", get, query=path, endless=True),
        Route("PUT", "/containers/{ref}/archive", put, query={**path, **more}, upload=True),
        Route("GET", "/containers/{ref}/export", export, endless=True),
    )
