"""Handlers of volumes: there are none but directories of the host, which are bound by path; so lists are empty."""

from __future__ import annotations

from aiohttp import web

from fairlead.api.pruning import Pruned, Pruner
from fairlead.api.router import Call, Route, answer
from fairlead.model.errors import NotFound, NotImplementedHere

_LIST_FILTERS = ("dangling", "driver", "label", "name")
_PRUNE_FILTERS = ("all", "label", "label!")
_HINT = "bind a directory of the host: --volume /path:/target"


async def list_volumes(call: Call) -> web.StreamResponse:
    """``GET /volumes``."""
    call.filters()
    return answer({"Volumes": [], "Warnings": None})


async def inspect_volume(call: Call) -> web.StreamResponse:
    """``GET`` and ``DELETE /volumes/{name}``."""
    raise NotFound(f"get {call.path['name']}: no such volume", hint=_HINT)


async def create_volume(call: Call) -> web.StreamResponse:
    """``POST /volumes/create``."""
    del call
    raise NotImplementedHere("named volumes are not implemented", hint=_HINT)


async def _prune(call: Call) -> Pruned:
    call.filters()
    return Pruned({"VolumesDeleted": []})


def routes() -> tuple[Route, ...]:
    """The routes of this module."""
    return (
        Route("GET", "/volumes", list_volumes, filters=_LIST_FILTERS),
        Route("POST", "/volumes/create", create_volume),
        Route("POST", "/volumes/prune", Pruner("volume", _prune), filters=_PRUNE_FILTERS),
        Route("GET", "/volumes/{name}", inspect_volume),
        Route("DELETE", "/volumes/{name}", inspect_volume, query={"force": bool}),
    )
