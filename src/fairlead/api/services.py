"""Handlers of ``/services``: desired state, kept true by the leader."""

from __future__ import annotations

from aiohttp import web

from fairlead.api.filters import Filters
from fairlead.api.router import Call, Route, answer, empty
from fairlead.api.schema_service import ServiceSpecBody, service_json
from fairlead.api.swarm import led, version_of
from fairlead.api.tasks import LOGS, led_logs, stream_logs
from fairlead.model import codes
from fairlead.model.cluster_commands import CreateService, RemoveService, UpdateService
from fairlead.model.errors import Internal, Invalid
from fairlead.model.service import Service

_LIST_FILTERS = ("id", "label", "mode", "name", "runtime")
#: What an update takes its registry's credentials from (Docker); there is none here.
_CREDENTIALS = ("", "spec", "previous-spec")
_PREVIOUS = "previous"


async def list_services(call: Call) -> web.StreamResponse:
    """``GET /services``."""
    work, filters = call.node.swarm.brain.work, call.filters()
    counted = call.flag("status")
    chosen = [one for one in work.services.values() if not one.removing and _chosen(one, filters)]
    rows = sorted(chosen, key=lambda one: (one.created, one.id))
    return answer([service_json(one, work.tasks_of(one.id) if counted else None) for one in rows])


async def create_service(call: Call) -> web.StreamResponse:
    """``POST /services/create``: the id."""
    brain = call.node.swarm.brain
    body = await call.body(ServiceSpecBody)
    made = await call.finish(brain.ask(CreateService(body.spec())))
    if not isinstance(made, Service):
        raise Internal(f"{CreateService.__name__} was answered with {type(made).__name__}", code=codes.FAULT)
    warnings = [made.pending] if made.pending else []
    return answer({"ID": made.id, **({"Warnings": warnings} if warnings else {})}, 201)


async def inspect_service(call: Call) -> web.StreamResponse:
    """``GET /services/{ref}``. Defaults are always there, so that ``insertDefaults`` changes nothing."""
    call.flag("insertDefaults")
    work = call.node.swarm.brain.work
    return answer(service_json(work.service(call.path["ref"])))


async def update_service(call: Call) -> web.StreamResponse:
    """``POST /services/{ref}/update``."""
    brain = call.node.swarm.brain
    body = await call.body(ServiceSpecBody)
    service = brain.work.service(call.path["ref"])
    version = version_of(call, "service")
    rollback = call.text("rollback")
    if rollback not in ("", _PREVIOUS):
        raise Invalid(f'unrecognized rollback option "{rollback}"', hint=f"rollback={_PREVIOUS}")
    if call.text("registryAuthFrom") not in _CREDENTIALS:
        raise Invalid("unsupported registryAuthFrom value", hint="leave it out: there is no registry")
    if rollback:
        await call.finish(brain.ask(UpdateService(service.id, None, version, rollback=True)))
    else:
        names = {item.id: item.network.name for item in brain.networks.values()}
        spec = body.spec(service.spec, names)
        await call.finish(brain.ask(UpdateService(service.id, spec, version)))
    return answer({"Warnings": None})


async def remove_service(call: Call) -> web.StreamResponse:
    """``DELETE /services/{ref}``."""
    brain = call.node.swarm.brain
    await call.finish(brain.ask(RemoveService(brain.work.service(call.path["ref"]).id)))
    return empty(200)


async def service_logs(call: Call) -> web.StreamResponse:
    """``GET /services/{ref}/logs``: of all its tasks, each line when it comes."""
    work = call.node.swarm.brain.work
    return await stream_logs(call, work, work.tasks_of(work.service(call.path["ref"]).id))


def _chosen(service: Service, filters: Filters) -> bool:
    return (
        ("id" not in filters or any(service.id.startswith(value) for value in filters.get("id")))
        and ("name" not in filters or any(service.spec.name.startswith(value) for value in filters.get("name")))
        and filters.labels(service.spec.labels)
        and filters.exact("mode", service.spec.mode)
        and filters.exact("runtime", "container")
    )


def routes() -> tuple[Route, ...]:
    """The routes of this module."""
    updating = {"version": int, "rollback": str, "registryAuthFrom": str}
    return (
        Route("GET", "/services", led(list_services), query={"status": bool}, filters=_LIST_FILTERS),
        Route("POST", "/services/create", led(create_service), body=ServiceSpecBody),
        Route("GET", "/services/{ref}", led(inspect_service), query={"insertDefaults": bool}),
        Route("POST", "/services/{ref}/update", led(update_service), query=updating, body=ServiceSpecBody),
        Route("DELETE", "/services/{ref}", led(remove_service)),
        Route("GET", "/services/{ref}/logs", led_logs(service_logs), query=LOGS, endless=True),
    )
