"""The description of the interface says what the server reads, all of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiohttp import web
from tests.unit.api.living import living_api

from fairlead.api.client import ApiError
from fairlead.api.openapi import PATH, document
from fairlead.api.router import Call, Route, answer
from fairlead.api.schema_network import NetworkCreateBody
from fairlead.api.server import own_routes


def test_every_route_is_described() -> None:
    paths = document(own_routes())["paths"]
    assert isinstance(paths, dict)
    described = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    assert described == {(route.method, route.pattern.replace("*}", "}")) for route in own_routes()}


def test_bodies_filters_and_queries_are_described() -> None:
    found = document(own_routes())
    operation = found["paths"]["/networks/create"]["post"]  # type: ignore[index]
    assert operation["requestBody"]["content"]["application/json"]["schema"] == {
        "$ref": "#/components/schemas/NetworkCreateBody"
    }
    schema = found["components"]["schemas"]["NetworkCreateBody"]  # type: ignore[index]
    assert set(schema["properties"]) == set(NetworkCreateBody.__struct_encode_fields__)
    listing = found["paths"]["/networks"]["get"]["parameters"]  # type: ignore[index]
    assert "dangling" in listing[0]["content"]["application/json"]["schema"]["properties"]
    names = {parameter["name"] for parameter in found["paths"]["/networks/{ref}"]["get"]["parameters"]}  # type: ignore[index]
    assert names == {"ref", "verbose", "scope"}


def test_it_is_served_and_describes_itself(tmp_path: Path) -> None:
    with living_api(tmp_path) as api:
        found = api.client.get(PATH)
    assert isinstance(found, dict)
    assert found["openapi"] == "3.1.0"
    assert PATH in found["paths"]


def test_a_handler_cannot_read_what_its_route_does_not_declare(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def reads(call: Call) -> web.StreamResponse:
        return answer(call.text("undeclared"))

    with living_api(tmp_path, [Route("GET", "/odd", reads)]) as api, pytest.raises(ApiError) as caught:
        api.client.get("/odd?undeclared=1")
    assert caught.value.status == 500
    assert "declare it in its Route" in caplog.text
