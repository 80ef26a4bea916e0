"""The parts of a stack in the cluster: services and networks that carry its label."""

from __future__ import annotations

import json

from fairlead.api.client import Client
from fairlead.cli.console import record, records, text
from fairlead.cli.stack.services import NAMESPACE

Part = dict[str, object]


def services_of(client: Client, stack: str, *, status: bool = False) -> dict[str, Part]:
    """The services of a stack by name."""
    found = records(client.get("/services", {"filters": label(stack), "status": status or None}))
    return {text(record(one.get("Spec")).get("Name")): one for one in found}


def networks_of(client: Client, stack: str) -> dict[str, Part]:
    """The networks of a stack by name."""
    found = records(client.get("/networks", {"filters": label(stack)}))
    return {text(one.get("Name")): one for one in found}


def label(stack: str) -> str:
    """The filter that finds the parts of a stack."""
    return json.dumps({"label": [f"{NAMESPACE}={stack}"]})
