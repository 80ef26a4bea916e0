"""Handlers of volumes: directories of the node that outlive containers."""

from __future__ import annotations

import msgspec
from aiohttp import web

from fairlead.api.contract_containers import VolumeInfo
from fairlead.api.filters import Filters
from fairlead.api.pruning import Pruned, Pruner
from fairlead.api.router import Call, Route, answer, empty
from fairlead.api.schema import stamp
from fairlead.model.errors import Conflict

_LIST_FILTERS = ("dangling", "driver", "label", "name")
_PRUNE_FILTERS = ("all", "label", "label!")
_DRIVER = "local"


class VolumeBody(msgspec.Struct):
    """``POST /volumes/create``."""

    name: str | None = msgspec.field(name="Name", default=None)
    driver: str | None = msgspec.field(name="Driver", default=None)
    labels: dict[str, str] | None = msgspec.field(name="Labels", default=None)
    options: dict[str, str] | None = msgspec.field(name="DriverOpts", default=None)


async def list_volumes(call: Call) -> web.StreamResponse:
    """``GET /volumes``."""
    filters = call.filters()
    return answer(
        {"Volumes": [volume_json(item) for item in call.node.volumes.all() if _fits(item, filters)], "Warnings": None}
    )


async def create_volume(call: Call) -> web.StreamResponse:
    """``POST /volumes/create``: one that is there already is the answer, too."""
    body = await call.body_or(VolumeBody, VolumeBody())
    known = {item.name for item in call.node.volumes.all()}
    made = call.node.volumes.create(body.name or "", body.labels or {}, body.driver or _DRIVER, body.options or {})
    if made.name not in known:
        call.node.notices.tell("volume", "create", made.name, {"driver": _DRIVER})
    return answer(volume_json(made), 201)


async def inspect_volume(call: Call) -> web.StreamResponse:
    """``GET /volumes/{name}``."""
    return answer(volume_json(call.node.volumes.get(call.path["name"])))


async def remove_volume(call: Call) -> web.StreamResponse:
    """``DELETE /volumes/{name}``."""
    await call.node.volumes.remove(call.path["name"], force=call.flag("force"))
    call.node.notices.tell("volume", "destroy", call.path["name"], {"driver": _DRIVER})
    return empty(204)


async def _prune(call: Call) -> Pruned:
    """Volumes without a name of their own that nobody uses; with the filter ``all`` also those with one (Docker since
    API 1.42; older clients mean all)."""
    filters = call.filters()
    every = filters.boolean("all") or call.version < (1, 42)
    deleted = []
    for item in call.node.volumes.all():
        if not item.users and (every or item.anonymous) and filters.labels(item.labels):
            try:
                await call.node.volumes.remove(item.name, force=True)
            except Conflict:  # taken meanwhile
                continue
            deleted.append(item.name)
    return Pruned({"VolumesDeleted": deleted})


def volume_json(item: VolumeInfo) -> dict[str, object]:
    """A volume in the Engine API's JSON."""
    return {
        "Name": item.name,
        "Driver": _DRIVER,
        "Mountpoint": item.path,
        "CreatedAt": stamp(item.created),
        "Labels": item.labels or None,
        "Scope": "local",
        "Options": None,
    }


def _fits(item: VolumeInfo, filters: Filters) -> bool:
    dangling = filters.boolean("dangling")
    return (
        filters.matches("name", item.name)
        and filters.exact("driver", _DRIVER)
        and filters.labels(item.labels)
        and (dangling is None or dangling == (not item.users))
    )


def routes() -> tuple[Route, ...]:
    """The routes of this module."""
    return (
        Route("GET", "/volumes", list_volumes, filters=_LIST_FILTERS),
        Route("POST", "/volumes/create", create_volume, body=VolumeBody),
        Route("POST", "/volumes/prune", Pruner("volume", _prune), filters=_PRUNE_FILTERS),
        Route("GET", "/volumes/{name}", inspect_volume),
        Route("DELETE", "/volumes/{name}", remove_volume, query={"force": bool}),
    )
