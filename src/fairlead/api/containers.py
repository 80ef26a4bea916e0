"""Handlers of ``/containers`` but for its byte streams (see ``output.py``)."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

from aiohttp import web

from fairlead.api.events import tell_container
from fairlead.api.filters import Filters
from fairlead.api.ports import parse_key
from fairlead.api.pruning import PRUNE_FILTERS, Age, Pruned, Pruner
from fairlead.api.router import Call, Route, answer, empty
from fairlead.api.schema import encode
from fairlead.api.schema_container import (
    bindings_of,
    container_inspect,
    container_row,
    exposed_ports,
    network_mode,
    networks_of,
    shown_status,
)
from fairlead.api.schema_create import FOR_EVER_S, ContainerCreateBody
from fairlead.api.schema_host_config import all_mounts
from fairlead.model import codes
from fairlead.model.commands import (
    AlreadyThere,
    CreateContainer,
    KillContainer,
    RemoveContainer,
    RenameContainer,
    StartContainer,
    StopContainer,
)
from fairlead.model.container import Container
from fairlead.model.errors import Conflict, Internal, Invalid, NetError, NotFound
from fairlead.model.image import full_name
from fairlead.model.state import State

_LIST_FILTERS = (
    "ancestor",
    "before",
    "exited",
    "expose",
    "health",
    "id",
    "is-task",
    "label",
    "name",
    "network",
    "publish",
    "since",
    "status",
    "volume",
)
_STATUSES = ("created", "restarting", "running", "removing", "paused", "exited", "dead")
_LIST_QUERY = {"all": bool, "limit": int, "size": bool}
#: The query of a terminal's size, as ``size`` reads it.
SIZE = {"h": int, "w": int}
_CONDITIONS = ("not-running", "next-exit", "removed")


async def list_containers(call: Call) -> web.StreamResponse:
    """``GET /containers/json``: newest first; those that do not run only with ``all`` or a filter for their status."""
    filters = call.filters()
    unknown = [status for status in filters.get("status") if status not in _STATUSES]
    if unknown:
        raise Invalid(
            f"invalid filter 'status={unknown[0]}'", hint="allowed: " + ", ".join(_STATUSES), code=codes.FILTER_INVALID
        )
    limit = call.whole("limit") or 0
    every = call.flag("all") or limit > 0 or "status" in filters or "exited" in filters
    state, now = call.node.state, time.time()
    newest = sorted(state.containers.values(), key=lambda container: -container.created)
    chosen = [container for container in newest if (every or _alive(container)) and _chosen(state, container, filters)]
    rows = [container_row(state, container, now) for container in (chosen[:limit] if limit > 0 else chosen)]
    if call.flag("size"):
        rows = [{**row, **await sizes(call, str(row["Id"]))} for row in rows]
    return answer(rows)


def _alive(container: Container) -> bool:
    """Whether a list shows it without being asked for all."""
    return container.running or container.state.status == "restarting"


async def sizes(call: Call, container_id: str) -> dict[str, object]:
    """What a container has written, and that with the image below it (bytes)."""
    written = call.node.usage.container_bytes(container_id)
    below = sum(image.size_bytes for image in call.node.images.all() if container_id in image.users)
    return {"SizeRw": written, "SizeRootFs": written + below}


async def create(call: Call) -> web.StreamResponse:
    """``POST /containers/create``."""
    body = await call.body(ContainerCreateBody)
    config = body.config()
    if not config.powers.cgroupns_mode:
        mode = "private" if call.node.facts.cgroup_version == "2" else "host"
        config = replace(config, powers=replace(config.powers, cgroupns_mode=mode))
    container = await call.submit(CreateContainer(call.text("name").removeprefix("/"), config))
    if not isinstance(container, Container):
        raise Internal(f"{CreateContainer.__name__} was answered with {type(container).__name__}", code=codes.FAULT)
    return answer({"Id": container.id, "Warnings": call.node.meters.possible(config.limits)}, 201)


async def inspect(call: Call) -> web.StreamResponse:
    """``GET /containers/{ref}/json``."""
    container = call.node.state.container(call.path["ref"])
    more = await sizes(call, container.id) if call.flag("size") else {}
    return answer({**container_inspect(call.node.state, container), **more})


async def start(call: Call) -> web.StreamResponse:
    """``POST /containers/{ref}/start``: 304 when it runs."""
    return _done(await call.submit(StartContainer(call.path["ref"])))


async def stop(call: Call) -> web.StreamResponse:
    """``POST /containers/{ref}/stop``: 304 when it does not run."""
    return _done(await call.submit(StopContainer(call.path["ref"], _timeout(call), call.text("signal"))))


async def restart(call: Call) -> web.StreamResponse:
    """``POST /containers/{ref}/restart``: stop, then start; the container stays even when it was to be removed."""
    container = call.node.state.container(call.path["ref"])
    if container.config.auto_remove and container.running:
        raise Invalid(
            "a container that is removed at its end cannot be restarted",
            hint="create it without --rm",
            code=codes.OPTIONS_CONFLICT,
        )
    await call.submit(StopContainer(container.id, _timeout(call), call.text("signal")))
    await call.submit(StartContainer(container.id))
    tell_container(call, "restart", container)
    return empty(204)


async def kill(call: Call) -> web.StreamResponse:
    """``POST /containers/{ref}/kill``."""
    await call.submit(KillContainer(call.path["ref"], call.text("signal") or "SIGKILL"))
    return empty(204)


async def rename(call: Call) -> web.StreamResponse:
    """``POST /containers/{ref}/rename``."""
    name = call.text("name").removeprefix("/")
    if not name:
        raise Invalid("Neither old nor new names may be empty")
    await call.submit(RenameContainer(call.path["ref"], name))
    return empty(204)


async def remove(call: Call) -> web.StreamResponse:
    """``DELETE /containers/{ref}``."""
    if call.flag("link"):
        raise Invalid("legacy links do not exist here", hint="leave --link out")
    await call.submit(RemoveContainer(call.path["ref"], call.flag("force"), call.flag("v")))
    return empty(204)


async def _prune(call: Call) -> Pruned:
    """Remove every container that does not run."""
    filters = call.filters()
    age, deleted, freed = Age.asked(filters), [], 0
    for container in list(call.node.state.containers.values()):
        spared = age.spares(container.created) or not filters.labels(container.config.labels)
        if spared or shown_status(container) not in ("created", "exited", "dead"):
            continue
        size_bytes = call.node.usage.container_bytes(container.id)
        try:
            await call.submit(RemoveContainer(container.id))
        except (NotFound, Conflict):  # removed or started meanwhile
            continue
        freed += size_bytes
        deleted.append(container.id)
    return Pruned({"ContainersDeleted": deleted}, freed)


async def wait(call: Call) -> web.StreamResponse:
    """``POST /containers/{ref}/wait``: the head goes out once we wait, the exit code when the condition holds."""
    condition = call.text("condition") or "not-running"
    if condition not in _CONDITIONS:
        raise Invalid(f'invalid condition: "{condition}"', hint="allowed: " + ", ".join(_CONDITIONS))
    container = call.node.state.container(call.path["ref"])
    waiting = asyncio.ensure_future(call.node.wait(container.id, condition))
    try:
        await asyncio.sleep(0)
        if waiting.done():
            return answer({"StatusCode": waiting.result()})
        response = await call.stream("application/json")
        try:
            body: dict[str, object] = {"StatusCode": await waiting}
        except NetError as error:
            body = {"StatusCode": -1, "Error": {"Message": error.message}}
        await response.write(encode(body))
        return response
    finally:
        waiting.cancel()


async def resize(call: Call) -> web.StreamResponse:
    """``POST /containers/{ref}/resize``."""
    container = call.node.state.container(call.path["ref"])
    await call.node.resize(container.id, *size(call))
    return empty(200)


def size(call: Call) -> tuple[int, int]:
    """Height and width out of a query; raises ``Invalid``."""
    height, width = call.whole("h"), call.whole("w")
    if height is None or width is None or not 0 <= height <= 65535 or not 0 <= width <= 65535:
        raise Invalid("invalid terminal size", hint="give h and w in character cells")
    return height, width


def _done(result: object) -> web.Response:
    return empty(304 if isinstance(result, AlreadyThere) else 204)


def _timeout(call: Call) -> int | None:
    seconds = call.whole("t")
    return FOR_EVER_S if seconds is not None and seconds < 0 else seconds


def _chosen(state: State, container: Container, filters: Filters) -> bool:
    return (
        filters.matches("id", container.id)
        and filters.matches("name", container.name, f"/{container.name}")
        and filters.labels(container.config.labels)
        and filters.boolean("is-task") in (None, bool(container.task_id))
        and filters.exact("status", shown_status(container))
        and filters.exact("ancestor", container.config.image, full_name(container.config.image))
        and filters.exact("health", container.state.health.status if container.state.health else "none")
        and filters.exact("volume", *(word for mount in all_mounts(container) for word in (mount.source, mount.target)))
        and (shown_status(container) == "exited" or "exited" not in filters)
        and filters.exact("exited", str(container.state.exit_code))
        and _in_networks(state, container, filters)
        and _aged(state, container, filters)
        and filters.exact("expose", *_port_words(exposed_ports(container)))
        and filters.exact("publish", *_published_words(state, container))
    )


def _in_networks(state: State, container: Container, filters: Filters) -> bool:
    if "network" not in filters:
        return True
    names = {*networks_of(state, container), network_mode(container)}
    ids = {network.id for network in state.networks.values() if network.name in names}
    return any(
        value in names or any(identifier.startswith(value) for identifier in ids) for value in filters.get("network")
    )


def _aged(state: State, container: Container, filters: Filters) -> bool:
    before = all(container.created < state.container(ref).created for ref in filters.get("before"))
    return before and all(container.created > state.container(ref).created for ref in filters.get("since"))


def _port_words(ports: list[str]) -> list[str]:
    return [word for key in ports for word in (key, str(parse_key(key)[0]))]


def _published_words(state: State, container: Container) -> list[str]:
    return _port_words([f"{binding.host_port}/{binding.proto}" for binding in bindings_of(state, container)])


def routes() -> tuple[Route, ...]:
    """The routes of this module."""
    return (
        Route("GET", "/containers/json", list_containers, query=_LIST_QUERY, filters=_LIST_FILTERS),
        Route("POST", "/containers/create", create, query={"name": str, "platform": str}, body=ContainerCreateBody),
        Route("POST", "/containers/prune", Pruner("container", _prune), filters=PRUNE_FILTERS),
        Route("GET", "/containers/{ref}/json", inspect, query={"size": bool}),
        Route("POST", "/containers/{ref}/start", start),
        Route("POST", "/containers/{ref}/stop", stop, query={"t": int, "signal": str}),
        Route("POST", "/containers/{ref}/restart", restart, query={"t": int, "signal": str}),
        Route("POST", "/containers/{ref}/kill", kill, query={"signal": str}),
        Route("POST", "/containers/{ref}/rename", rename, query={"name": str}),
        Route("POST", "/containers/{ref}/wait", wait, query={"condition": str}, endless=True),
        Route("POST", "/containers/{ref}/resize", resize, query=SIZE),
        Route("DELETE", "/containers/{ref}", remove, query={"force": bool, "link": bool, "v": bool}),
    )
