"""The lists of services and of tasks: columns, and how a row is made of the API's JSON."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from datetime import datetime

from fairlead.api.client import human_duration
from fairlead.cli.console import record, records, text
from fairlead.cli.rows import SHORT_ID
from fairlead.cli.table import Kind, Row, natural

SERVICE = Kind(
    headers={
        "ID": "ID",
        "Name": "NAME",
        "Mode": "MODE",
        "Replicas": "REPLICAS",
        "Image": "IMAGE",
        "Ports": "PORTS",
        "Labels": "LABELS",
    },
    shown=("ID", "Name", "Mode", "Replicas", "Image", "Ports"),
    key="ID",
    order=lambda row: natural(row["Name"]),
)

TASK = Kind(
    headers={
        "ID": "ID",
        "Name": "NAME",
        "Image": "IMAGE",
        "Node": "NODE",
        "DesiredState": "DESIRED STATE",
        "CurrentState": "CURRENT STATE",
        "Error": "ERROR",
        "Ports": "PORTS",
    },
    shown=("ID", "Name", "Image", "Node", "DesiredState", "CurrentState", "Error", "Ports"),
    key="ID",
)

#: Longest error in a table (Docker).
_ERROR_LENGTH = 30
#: States in which a task waits for its managers, whose reason is shown as an error is.
_WAITING = frozenset({"new", "pending"})
#: What a task's message says while nothing holds it up (swarmkit).
_PLAIN_MESSAGES = frozenset({"", "created", "pending task scheduling"})


def service_row(service: dict[str, object], *, full: bool) -> Row:
    """A service's row out of its JSON; ``full`` shortens nothing."""
    spec, identifier = record(service.get("Spec")), text(service.get("ID"))
    mode = "global" if "Global" in record(spec.get("Mode")) else "replicated"
    task, status = record(spec.get("TaskTemplate")), record(service.get("ServiceStatus"))
    replicas = f"{status.get('RunningTasks', 0)}/{status.get('DesiredTasks', 0)}"
    bound = record(task.get("Placement")).get("MaxReplicas")
    return {
        "ID": identifier if full else identifier[:SHORT_ID],
        "Name": text(spec.get("Name")),
        "Mode": mode,
        "Replicas": f"{replicas} (max {bound} per node)" if bound else replicas,
        "Image": text(record(task.get("ContainerSpec")).get("Image")),
        "Ports": port_words(records(record(service.get("Endpoint")).get("Ports")), "ingress"),
        "Labels": ",".join(f"{key}={value}" for key, value in sorted(record(spec.get("Labels")).items())),
    }


def task_rows(
    tasks: Iterable[dict[str, object]], services: Mapping[str, str], nodes: Mapping[str, str], *, full: bool
) -> list[Row]:
    """Tasks as Docker orders them: by service and slot, in each the newest first and older ones below it, marked.
    ``services`` and ``nodes`` are names by id."""
    rows: list[Row] = []
    before = ""
    named = [(_name(task, services, nodes), task) for task in tasks]
    # Two stable sorts: newest first in each slot, slots by their names.
    named.sort(key=lambda item: text(item[1].get("CreatedAt")), reverse=True)
    named.sort(key=lambda item: natural(item[0]))
    for name, task in named:
        shown = f" \\_ {name}" if name == before else name
        rows.append(_task_row(task, shown, nodes, full=full))
        before = name
    return rows


def _name(task: Mapping[str, object], services: Mapping[str, str], nodes: Mapping[str, str]) -> str:
    node, service = text(task.get("NodeID")), text(task.get("ServiceID"))
    return f"{services.get(service, service)}.{task.get('Slot') or nodes.get(node, node) or 'unassigned'}"


def _task_row(task: Mapping[str, object], name: str, nodes: Mapping[str, str], *, full: bool) -> Row:
    status, identifier = record(task.get("Status")), text(task.get("ID"))
    node = text(task.get("NodeID"))
    error = reason(task)
    if error and not full and len(error) > _ERROR_LENGTH:
        error = error[: _ERROR_LENGTH - 1] + "…"
    ports = record(status.get("PortStatus")).get("Ports")
    return {
        "ID": identifier if full else identifier[:SHORT_ID],
        "Name": name,
        "Image": text(record(record(task.get("Spec")).get("ContainerSpec")).get("Image")),
        "Node": nodes.get(node, node),
        "DesiredState": text(task.get("DesiredState")).capitalize(),
        "CurrentState": f"{text(status.get('State')).capitalize()} {_ago(text(status.get('Timestamp')))}",
        "Error": f'"{error}"' if error else "",
        "Ports": port_words(records(ports), "host"),
    }


def reason(task: Mapping[str, object]) -> str:
    """Why a task ended, or what it waits for; empty when nothing is wrong."""
    status = record(task.get("Status"))
    error, message = text(status.get("Err")), text(status.get("Message"))
    if not error and text(status.get("State")) in _WAITING and message not in _PLAIN_MESSAGES:
        return message
    return error


def port_words(ports: Iterable[Mapping[str, object]], mode: str) -> str:
    """Published ports of a mode in Docker's short form: ``*:8080->80/tcp``."""
    return ",".join(
        f"{port.get('HostIP') or '*'}:{port.get('PublishedPort')}->{port.get('TargetPort')}/{port.get('Protocol')}"
        for port in ports
        if port.get("PublishedPort") and (port.get("PublishMode") or "ingress") == mode
    )


def _ago(stamp: str) -> str:
    if not stamp:
        return ""
    passed_s = time.time() - datetime.fromisoformat(stamp).timestamp()
    return f"{human_duration(max(0.0, passed_s)).lower()} ago"
