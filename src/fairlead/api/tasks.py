"""Handlers of ``/tasks``: what the managers gave to nodes, and how it goes there."""

from __future__ import annotations

import functools
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from urllib.parse import quote

from aiohttp import web

from fairlead.api.contract_services import Work
from fairlead.api.filters import Filters
from fairlead.api.hijack import content_type, frame
from fairlead.api.merging import merged
from fairlead.api.moments import optional_moment, parse_moment
from fairlead.api.router import Call, Handler, Route, answer, ended
from fairlead.api.schema_service_task import task_json
from fairlead.api.swarm import led
from fairlead.model.cluster import ClusterNode
from fairlead.model.errors import Invalid, Unavailable
from fairlead.model.runspec import LogLine
from fairlead.model.service import Task, TaskState

_LIST_FILTERS = ("_up-to-date", "desired-state", "id", "label", "name", "node", "runtime", "service")
#: What a client may ask of logs.
LOGS = {
    "details": bool,
    "follow": bool,
    "stdout": bool,
    "stderr": bool,
    "since": str,
    "until": str,
    "timestamps": bool,
    "tail": str,
}
#: Words of the filter ``desired-state`` (Docker).
_DESIRED = ("running", "shutdown", "accepted")


async def list_tasks(call: Call) -> web.StreamResponse:
    """``GET /tasks``."""
    brain, filters = call.node.swarm.brain, call.filters()
    for word in filters.get("desired-state"):
        if word not in _DESIRED:
            raise Invalid(f"Invalid filter 'desired-state={word}'", hint="one of " + ", ".join(_DESIRED))
    work, nodes = brain.work, {_node_id(brain.nodes, ref) for ref in filters.get("node")}
    pool = _of_services(work, filters)
    chosen = [task for task in pool if _chosen(work, task, filters) and (not nodes or task.node_id in nodes)]
    chosen.sort(key=lambda task: (task.created, task.id))
    return answer([task_json(task, brain.networks) for task in chosen])


async def inspect_task(call: Call) -> web.StreamResponse:
    """``GET /tasks/{ref}``."""
    brain = call.node.swarm.brain
    return answer(task_json(brain.work.task(call.path["ref"]), brain.networks))


async def task_logs(call: Call) -> web.StreamResponse:
    """``GET /tasks/{ref}/logs``."""
    work = call.node.swarm.brain.work
    return await stream_logs(call, work, [work.task(call.path["ref"])])


def led_logs(handler: Handler) -> Handler:
    """As ``led``, for output: what another manager answers is handed on whole, so it cannot be followed there."""

    @functools.wraps(handler)
    async def handle(call: Call) -> web.StreamResponse:
        leader = call.node.swarm.leader()
        if leader is None:
            return await handler(call)
        if call.flag("follow"):
            raise Unavailable(
                "output is followed at the manager that leads",
                hint="`fairlead node ls` shows it; or leave --follow out",
            )
        status, body = await leader.pass_on("GET", call.request.path_qs, b"")
        return web.Response(status=status, body=body, content_type=content_type(call.version, tty=False))

    return handle


async def stream_logs(call: Call, work: Work, tasks: Iterable[Task]) -> web.StreamResponse:
    """The output of tasks as Docker sends it; with ``details`` each line says of which task it is."""
    wanted = {name for name in ("stdout", "stderr") if call.flag(name)}
    if not wanted:
        raise Invalid("Bad parameters: you must choose at least one stream", hint="add stdout=1 or stderr=1")
    now = time.time()
    since, until = optional_moment(call.text("since"), now), optional_moment(call.text("until"), now)
    text = call.text("tail", "all")
    tail = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
    ran = [task for task in tasks if task.node_id and task.status.state >= TaskState.STARTING]
    tty = bool(ran) and all(task.spec.container.tty for task in ran)
    sources: dict[str, AsyncIterator[LogLine]] = {
        task.id: work.logs(task, follow=call.flag("follow"), tail=tail, since=since) for task in ran
    }
    known = {task.id: _details(task) for task in ran}
    stamps, details = call.flag("timestamps"), call.flag("details")
    lines = merged(sources)
    response = await call.stream(content_type(call.version, tty=tty))
    async with ended(lines):
        async for task_id, line in lines:
            if until is not None and parse_moment(line.stamp, now) > until:
                continue
            if line.stream in wanted or tty:
                head = (line.stamp.encode() + b" " if stamps else b"") + (known[task_id] if details else b"")
                await response.write(head + line.data if tty else frame(line.stream, head + line.data))
    return response


def _details(task: Task) -> bytes:
    """Which task a line is of, as Docker's clients read it: pairs of a query, and a blank."""
    pairs = {"node.id": task.node_id, "service.id": task.service_id, "task.id": task.id}
    return ",".join(f"com.docker.swarm.{key}={quote(value)}" for key, value in pairs.items()).encode() + b" "


def _of_services(work: Work, filters: Filters) -> Iterable[Task]:
    """The tasks of the services that a filter means, by id, name or beginning of an id; all without one."""
    if "service" not in filters:
        return work.tasks.values()
    chosen = [
        service.id
        for service in work.services.values()
        if any(service.spec.name == value or service.id.startswith(value) for value in filters.get("service"))
    ]
    return [task for identifier in chosen for task in work.tasks_of(identifier)]


def _node_id(nodes: Mapping[str, ClusterNode], ref: str) -> str:
    """The full id of the node that a filter means, which may be its name; what is no node's stays, and matches none."""
    if ref in nodes:
        return ref
    found = [
        node.id
        for node in nodes.values()
        if ref in (node.spec.name, node.description.hostname) or node.id.startswith(ref)
    ]
    return found[0] if len(found) == 1 else ref


def _chosen(work: Work, task: Task, filters: Filters) -> bool:
    service = work.services.get(task.service_id)
    newest = service is not None and (service.spec_version == task.spec_version or service.spec.task == task.spec)
    return (
        ("id" not in filters or any(task.id.startswith(value) for value in filters.get("id")))
        and filters.matches("name", task.name)
        and filters.labels(service.spec.labels if service is not None else {})
        and filters.exact("desired-state", *_desired_words(task))
        and filters.exact("runtime", "container")
        and filters.boolean("_up-to-date") in (None, newest)
    )


def _desired_words(task: Task) -> tuple[str, ...]:
    """What the filter ``desired-state`` calls a task's: one that waits to be started is to run too."""
    if task.desired > TaskState.RUNNING:
        return ("shutdown",)
    return ("running",) if task.desired == TaskState.RUNNING else ("accepted", "running")


def routes() -> tuple[Route, ...]:
    """The routes of this module."""
    return (
        Route("GET", "/tasks", led(list_tasks), filters=_LIST_FILTERS),
        Route("GET", "/tasks/{ref}", led(inspect_task)),
        Route("GET", "/tasks/{ref}/logs", led_logs(task_logs), query=LOGS, endless=True),
    )
