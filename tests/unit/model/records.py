"""Small records for tests of the model: only what a test says differs from the ordinary."""

from __future__ import annotations

from fairlead.model.container import Container, ContainerConfig
from fairlead.model.endpoint import Endpoint
from fairlead.model.network import Network
from fairlead.model.sandbox import Sandbox


def full_id(number: int) -> str:
    """An identifier that begins with the number in hexadecimal."""
    return f"{number:x}".ljust(64, "e")


def network(number: int, name: str = "", **changes: object) -> Network:
    return Network(full_id(number), name or f"net{number}", "bridge", 1.0, **changes)


def container(number: int, name: str = "", **changes: object) -> Container:
    return Container(full_id(number), name or f"box{number}", 1.0, ContainerConfig(image="host"), **changes)


def sandbox(number: int, owner: int, **changes: object) -> Sandbox:
    return Sandbox(full_id(number), full_id(owner), "", **changes)


def endpoint(number: int, in_network: int, of_container: int, **changes: object) -> Endpoint:
    return Endpoint(full_id(number), f"ep{number}", full_id(in_network), full_id(99), full_id(of_container), **changes)
