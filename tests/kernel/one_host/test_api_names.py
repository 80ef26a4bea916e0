"""SEC-22: no text of a request becomes a path, a device, a rule, an option or a line of a file by accident.

The fields are taken from the interface's own description, so that a new one is tried without anyone thinking of it: it
must refuse hostile text, or stand in the list of those that are free text, with the reason why that hurts nobody.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.kernel.one_host.host import Host

from fairlead.api.client import ApiError, quote
from fairlead.api.openapi import PATH
from fairlead.model import options

HOSTILE = (
    "../../../../tmp/fx",
    "/etc/passwd",
    "a/b",
    "..",
    "a\nb",
    "a\0b",
    "-x",
    "--privileged",
    "a b",
    'a"; flush ruleset; "',
    "a }; flush ruleset; {",
    "-j ACCEPT",
    "$(reboot)",
    "`reboot`",
    "a;reboot",
    "%s%n",
    "*",
    "\u202egnp.exe",
    "\U0001f600",
    "\x1b[31mred",
    "\x7f",
    "a" * 300,
)

#: Body fields that are free text, or that name what is looked up: ``Shape.Field`` -> why hostile text hurts nobody.
FREE = {
    "NetworkCreateBody.Labels": "kept and shown as they are, never used",
    "NetworkCreateBody.Options": "keys that we do not know are kept and shown; those that we know are tried below",
    "IpamBody.Options": "the default driver has none; kept and shown",
    "VolumeBody.Labels": "the same",
    "ContainerCreateBody.Labels": "kept and shown as they are, never used",
    "ContainerCreateBody.Cmd": "the words of the program in the container, never seen by a shell of ours",
    "ContainerCreateBody.Entrypoint": "the same",
    "ContainerCreateBody.Env": "the environment in the container, handed over as JSON",
    "ExecBody.Cmd": "the words of the program in the container",
    "ExecBody.DetachKeys": "keys of a keyboard, one or with ctrl-; compared with what is typed",
    "ExecBody.Env": "the environment in the container",
    "EndpointBody.DriverOpts": "keys that we do not know are kept and shown; those that we know are tried below",
}

#: Body fields that are paths as a container sees them, which never leave its root file system: an absolute one is right.
INSIDE = frozenset({"ContainerCreateBody.WorkingDir", "ExecBody.WorkingDir", "ContainerCreateBody.Volumes"})

#: What a refusal may be: malformed, forbidden, not there, in conflict, not here in this version, no swarm (Docker).
REFUSED = {400, 403, 404, 409, 501, 503}


@dataclass(frozen=True)
class Field:
    """One place for text in a request: a method and path, where in the body (``$`` is the text), and its name."""

    method: str
    path: str
    name: str
    body: Any


def resolve(schema: Any, schemas: dict[str, Any]) -> Any:
    """A schema without its reference."""
    return schemas[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema


def places(schema: Any, schemas: dict[str, Any], name: str) -> Iterator[tuple[str, Any]]:
    """Every place for text below a schema, as (name, JSON with ``$`` for the text)."""
    schema = resolve(schema, schemas)
    for choice in schema.get("anyOf", ()):
        yield from places(choice, schemas, name)
    kind = schema.get("type")
    if kind == "string":
        yield name, "$"
    elif kind == "array":
        for found, value in places(schema.get("items", {}), schemas, name):
            yield found, [value]
    elif kind == "object" and "properties" in schema:
        for key, inner in schema["properties"].items():
            for found, value in places(inner, schemas, f"{schema.get('title', name)}.{key}"):
                yield found, {key: value}
    elif kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        inner = schema["additionalProperties"]
        sample: Any = "x" if resolve(inner, schemas).get("type") == "string" else None
        yield name, {"$": sample}
        for found, value in places(inner, schemas, name):
            yield found, {"x": value}


def fields(document: dict[str, Any]) -> list[Field]:
    """Every place for text in every body."""
    schemas = document["components"]["schemas"]
    found = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            content = operation.get("requestBody", {}).get("content", {})
            schema = content.get("application/json", {}).get("schema")
            for name, body in places(schema, schemas, "") if schema else ():
                field = Field(method.upper(), path, name, body)
                found[json.dumps([field.path, field.name, field.body])] = field
    return list(found.values())


def filled(value: Any, text: str) -> Any:
    """A body with the text in its place."""
    if isinstance(value, dict):
        return {(text if key == "$" else key): filled(item, text) for key, item in value.items()}
    if isinstance(value, list):
        return [filled(item, text) for item in value]
    return text if value == "$" else value


def merged(base: Any, over: Any) -> Any:
    """A JSON object with what another one has to say."""
    if isinstance(base, dict) and isinstance(over, dict):
        return {**base, **{key: merged(base.get(key), item) for key, item in over.items()}}
    return over


def seen(host: Host) -> dict[str, Any]:
    """All that could have changed: records, kernel, and every file of the daemon."""
    return {
        **host.seen(),
        "files": files(host.folder),
        "images": host.get("/images/json"),
        "etc": Path("/tmp/fx").exists(),
    }


def files(folder: Path) -> set[str]:
    """Names of all files below a folder, but for those of containers' own root file systems and of the database."""
    found = set()
    for where, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not os.path.ismount(f"{where}/{name}")]
        found |= {f"{where}/{name}" for name in (*names, *folders) if not name.startswith("node.db")}
    return found - {f"{folder}/state/{kind}" for kind in ("images", "volumes")}  # made at the first of a kind


def unchanged(host: Host, before: dict[str, Any], what: object) -> None:
    """Fail with what is different."""
    now = seen(host)
    assert now.keys() == before.keys()
    for key, value in before.items():
        assert now[key] == value, (what, key)


def minimal(path: str) -> dict[str, Any]:
    """A body that would do, but for the field that is tried."""
    return {
        "/networks/create": {"Name": "fresh"},
        "/containers/create": {"Image": "host", "Cmd": ["true"], "HostConfig": {"NetworkMode": "plain"}},
        "/networks/{ref}/connect": {"Container": "still"},
        "/networks/{ref}/disconnect": {"Container": "still"},
        "/containers/{ref}/exec": {"Cmd": ["true"]},
    }.get(path, {})


def address(path: str) -> str:
    """A path with names of what is there."""
    noun = path.split("/")[1]
    return path.replace("{ref}", {"networks": "plain"}.get(noun, "runs")).replace("{id}", "0" * 64)


@pytest.fixture(scope="module")
def stage(host: Host) -> Host:
    """A network, a container that runs and one that does not."""
    host.network("plain", subnet="10.91.0.0/24")
    host.run("runs", network="plain")
    host.create("still", network="bridge")
    return host


def undo(host: Host, answer: Any) -> None:
    """Take back what a request was right to make."""
    identifier = answer.get("Id") if isinstance(answer, dict) else None
    volume = answer.get("Name") if isinstance(answer, dict) and "Mountpoint" in answer else None
    for path in (f"/containers/{identifier}?force=1&v=1", f"/networks/{identifier}", f"/volumes/{volume}"):
        if identifier or (volume and path.startswith("/volumes")):
            try:
                host.api.delete(path)
            except ApiError as error:
                assert error.status == 404, error  # the other kind of object


def test_sec_22_every_text_of_every_body(stage: Host) -> None:
    tried, taken = 0, []
    document = stage.get(PATH)
    for field in fields(document):
        before = seen(stage)
        for text in HOSTILE:
            tried += 1
            body = merged(minimal(field.path), filled(field.body, text))
            try:
                answer = stage.api.call(field.method, address(field.path), body=body)
            except ApiError as error:
                assert error.status in REFUSED, (field, text, error.status, error.message)
                continue
            inside = field.name in INSIDE and text.startswith("/")
            if not inside and not any(field.name == free or field.name.startswith(f"{free}.") for free in FREE):
                taken.append((field.path, field.name, text, answer))
            undo(stage, answer)
            if field.path.endswith("/connect"):
                stage.disconnect("plain", "still")
        unchanged(stage, before, field)
    assert not taken, "\n".join(map(str, taken))
    assert tried > 500


def test_sec_22_every_path_and_query_parameter(stage: Host) -> None:
    document, before = stage.get(PATH), seen(stage)
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            for parameter in operation["parameters"]:
                if parameter["schema" if "schema" in parameter else "content"].get("type") != "string":
                    continue
                for text in HOSTILE:
                    target = path
                    if parameter["in"] == "path":
                        target = path.replace("{" + parameter["name"] + "}", quote(text))
                    target = address(target)
                    query = {parameter["name"]: text} if parameter["in"] == "query" else {}
                    check_parameter(stage, method.upper(), target, query, minimal(path))
    unchanged(stage, before, "all")


def check_parameter(host: Host, method: str, target: str, query: dict[str, str], body: dict[str, Any]) -> None:
    try:
        with host.api.open(method, target, query, body or None) as reply:
            if reply.headers.get("content-length") and method == "POST":
                answer = json.loads(reply.read() or b"null")
                if query.get("name") is not None:
                    raise AssertionError(f"{method} {target} {query} was done: {answer}")
                undo(host, answer)
    except ApiError as error:
        assert error.status in REFUSED, (method, target, query, error.status, error.message)


def test_sec_22_every_filter(stage: Host) -> None:
    before = seen(stage)
    for path, methods in stage.get(PATH)["paths"].items():
        for method, operation in methods.items():
            for parameter in operation["parameters"]:
                if parameter["name"] != "filters":
                    continue
                keys = parameter["content"]["application/json"]["schema"]["properties"]
                for text in HOSTILE:
                    for filters in [{text: ["x"]}, *({key: [text]} for key in keys)]:
                        query = {"filters": json.dumps(filters), "until": "1", "since": "1"}
                        if method == "post":
                            query["filters"] = json.dumps({**filters, "label": ["nothing has this"]})
                        try:
                            stage.api.call(method.upper(), address(path), query)
                        except ApiError as error:
                            odd_type = "type" in filters and error.status == 500  # Docker's own answer
                            assert error.status in REFUSED or odd_type, (path, filters, error.status, error.message)
    unchanged(stage, before, "all")


def known() -> list[str]:
    """Every option that a network or an endpoint can have."""
    found = [value for name, value in vars(options).items() if name.isupper() and not name.startswith("_")]
    words = [word for value in found for word in (value.values() if isinstance(value, dict) else [value])]
    return sorted({word for word in words if isinstance(word, str) and "." in word})


KNOWN = known()


def test_sec_22_every_known_option(stage: Host) -> None:
    assert len(KNOWN) >= 5
    taken = []
    for key in KNOWN:
        before = seen(stage)
        for text in HOSTILE:
            for method, path, body in (
                ("POST", "/networks/create", {"Name": "fresh", "Options": {key: text}}),
                (
                    "POST",
                    "/networks/plain/connect",
                    {"Container": "still", "EndpointConfig": {"DriverOpts": {key: text}}},
                ),
            ):
                if path.endswith("connect") and "endpoint" not in key:
                    continue
                try:
                    answer = stage.api.call(method, path, body=body)
                except ApiError as error:
                    assert error.status in REFUSED, (key, text, error.status, error.message)
                else:
                    undo(stage, answer)
                    if path.endswith("connect"):
                        stage.disconnect("plain", "still")
                    elif "endpoint" not in key:
                        taken.append((path, key, text))
        unchanged(stage, before, key)
    assert not taken, "\n".join(map(str, taken))


@pytest.mark.parametrize("name", [b"\xff\xfe", b"\xc3(", b"\xed\xa0\x80", b"a\\u0000b", b"\\ud800"])
def test_sec_22_bytes_that_are_no_text(stage: Host, name: bytes) -> None:
    before = seen(stage)
    body = b'{"Name":"' + name + b'"}'
    for path, data in ((b"/networks/create", body), (b"/networks/%FF%FE", b""), (b"/networks/" + name, b"")):
        with socket.socket(socket.AF_UNIX) as wire:
            wire.connect(stage.url.removeprefix("unix://"))
            head = b"POST" if data else b"GET"
            wire.sendall(
                head
                + b" "
                + path
                + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: "
                + str(len(data)).encode()
                + b"\r\n\r\n"
                + data
            )
            answer = b"".join(iter(lambda: wire.recv(65536), b""))
        assert answer.split(b" ")[1] in (b"400", b"404"), answer
    unchanged(stage, before, "all")
