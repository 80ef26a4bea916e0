"""The interface as an OpenAPI 3.1 document, derived from the routes and the shapes of their bodies: what the server
reads is what it says, and a new field is described without a further thought."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import msgspec
from aiohttp import web

import fairlead
from fairlead.api import versions
from fairlead.api.router import Call, Route, answer

PATH = "/fairlead/openapi.json"

_REF_TEMPLATE = "#/components/schemas/{name}"
_PARAMETER = re.compile(r"\{(\w+)\*?\}")
_TYPES: dict[type, dict[str, object]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    bool: {"type": "boolean"},
}
#: Values of one filter: a list, or Docker's map of values to true.
_FILTER_VALUES = {
    "anyOf": [
        {"type": "array", "items": {"type": "string"}},
        {"type": "object", "additionalProperties": {"type": "boolean"}},
    ]
}
_ERROR = {
    "type": "object",
    "required": ["message", "kind"],
    "properties": {name: {"type": "string"} for name in ("message", "hint", "kind")},
}
_ERROR_REF = {"$ref": _REF_TEMPLATE.format(name="Error")}


def document(routes: Iterable[Route]) -> dict[str, object]:
    """The description of these routes."""
    served = list(routes)
    bodies = [route.body for route in served if route.body is not None]
    refs, schemas = msgspec.json.schema_components(bodies, schema_hook=_anything, ref_template=_REF_TEMPLATE)
    shape_of = dict(zip(bodies, refs, strict=True))
    paths: dict[str, dict[str, object]] = {}
    for route in served:
        shape = shape_of[route.body] if route.body is not None else None
        path = _PARAMETER.sub(r"{\1}", route.pattern)
        paths.setdefault(path, {})[route.method.lower()] = _operation(route, shape)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Fairlead: the Docker Engine API of a node",
            "version": versions.text(versions.API_MAX),
            "description": f"Fairlead {fairlead.__version__}. Every path is also there below /v1.NN.",
        },
        "paths": paths,
        "components": {"schemas": {**schemas, "Error": _ERROR}},
    }


def description(routes: Sequence[Route]) -> Route:
    """The route that tells what all routes are, itself included."""

    async def describe(call: Call) -> web.StreamResponse:
        del call
        return answer(document([*routes]))

    return Route("GET", PATH, describe)


def _anything(kind: type) -> dict[str, object]:
    """The schema of a field that may hold any JSON (``object``)."""
    if kind is not object:
        raise TypeError(f"no schema for {kind}")
    return {"description": "any JSON"}


def _operation(route: Route, shape: object) -> dict[str, object]:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in _PARAMETER.findall(route.pattern)
    ]
    parameters += [{"name": name, "in": "query", "schema": _TYPES[kind]} for name, kind in route.query.items()]
    if route.filters:
        keys = dict.fromkeys(route.filters, _FILTER_VALUES)
        schema = {"type": "object", "properties": keys, "additionalProperties": False}
        parameters.append({"name": "filters", "in": "query", "content": {"application/json": {"schema": schema}}})
    operation: dict[str, object] = {
        "operationId": _identifier(route),
        "parameters": parameters,
        "responses": {
            "default": {"description": "done, or an error", "content": {"application/json": {"schema": {}}}},
            **{code: _refusal(code) for code in ("4XX", "5XX")},
        },
    }
    if shape is not None:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": shape}}}
    if route.upload:
        archive = {"schema": {"type": "string", "format": "binary"}}
        operation["requestBody"] = {"required": True, "content": {"application/x-tar": archive}}
    if route.hijack or route.endless:
        operation["x-endless"] = True
    return operation


def _refusal(code: str) -> dict[str, object]:
    whose = "the request is refused" if code == "4XX" else "something that Fairlead relies on failed"
    return {"description": whose, "content": {"application/json": {"schema": _ERROR_REF}}}


def _identifier(route: Route) -> str:
    words = [word for word in re.split(r"\W+", route.pattern) if word]
    return "_".join([route.method.lower(), *words])
