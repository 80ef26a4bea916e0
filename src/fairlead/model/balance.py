"""What a node knows of the services that it can send to, as it is shown to people and counted by machines."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TaskSeen:
    """A ready task of a service. Addresses are bare, or empty; ``host`` is where its node's tunnels end, ``weight`` its share
    of new connections. ``connections`` came to it from others since its tables were made: known on its own node only,
    None elsewhere."""

    name: str
    endpoint_id: str
    ipv4: str
    ipv6: str
    host: str
    weight: int
    local: bool
    connections: int | None = None


@dataclass(frozen=True, slots=True)
class ServiceSeen:
    """A service in one network. ``name`` is the first of those that lead to its virtual addresses (bare, or empty);
    ``ports`` are what its tasks offer (``80/tcp``)."""

    network_id: str
    network: str
    service_id: str
    name: str
    vip4: str
    vip6: str
    algorithm: str
    prefer_local: bool
    ports: tuple[str, ...]
    tasks: tuple[TaskSeen, ...]


@dataclass(frozen=True, slots=True)
class Follower:
    """Another node in a network. ``in_step``: its tables do what this node has said there until now."""

    node_id: str
    address: str
    in_step: bool
