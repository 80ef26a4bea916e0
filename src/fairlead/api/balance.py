"""Services as this node sends to them: in ``network inspect --verbose``, in the words of Docker's API, and as metrics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from fairlead.api.metric import Labels, Metric
from fairlead.api.router import Call
from fairlead.model.balance import Follower, ServiceSeen, TaskSeen

Row = dict[str, object]


async def verbose(call: Call, network_id: str) -> Row:
    """``Services`` and ``Peers`` of a network, if the request is verbose and this node takes part in it."""
    if not call.flag("verbose"):
        return {}
    services = await call.node.balance.services(network_id)
    peers = await call.node.balance.followers(network_id)
    told: Row = {"Services": services_json(services)} if services else {}
    return {**told, "Peers": peers_json(peers)} if peers else told


def services_json(services: Iterable[ServiceSeen]) -> Row:
    """By name (moby: api/types/network.ServiceInfo). ``VIP6``, ``Algorithm`` and ``PreferLocal`` are ours."""
    return {
        service.name: {
            "VIP": service.vip4 or service.vip6,
            "VIP6": service.vip6,
            "Ports": [*service.ports],
            "LocalLBIndex": 0,
            "Algorithm": service.algorithm,
            "PreferLocal": service.prefer_local,
            "Tasks": [_task_json(task) for task in service.tasks],
        }
        for service in services
    }


def peers_json(peers: Iterable[Follower]) -> list[Row]:
    """The other nodes (moby: api/types/network.PeerInfo). ``InStep`` is ours."""
    return [{"Name": peer.node_id, "IP": peer.address, "InStep": peer.in_step} for peer in peers]


def balance_metrics(services: Iterable[ServiceSeen]) -> Iterator[Metric]:
    """Of services and their tasks."""
    told = [(service, {"network": service.network, "service": service.name}) for service in services]
    ready = tuple((labels, float(len(service.tasks))) for service, labels in told)
    yield Metric("fairlead_service_ready_tasks", "Tasks that get connections to a service's address.", samples=ready)
    each = [(task, _labels(labels, task)) for service, labels in told for task in service.tasks]
    weights = tuple((labels, float(task.weight)) for task, labels in each)
    yield Metric("fairlead_service_task_weight", "A task's share of new connections.", samples=weights)
    counts = tuple((labels, float(task.connections)) for task, labels in each if task.connections is not None)
    text = "Connections that came to a task on this node from others."
    yield Metric("fairlead_service_task_connections_total", text, "counter", counts)


def _task_json(task: TaskSeen) -> Row:
    info = {"Host IP": task.host, "State": "ready", "Weight": str(task.weight)}
    if task.connections is not None:
        info["Connections"] = str(task.connections)
    addresses = {"EndpointIP": task.ipv4 or task.ipv6, "EndpointIPv6": task.ipv6}
    return {"Name": task.name, "EndpointID": task.endpoint_id, **addresses, "Info": info}


def _labels(service: Labels, task: TaskSeen) -> Labels:
    return {**service, "task": task.name}
