"""The container of a task: its service's, with names, labels, addresses and ports of this one task."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from fairlead.discovery.names import TASKS
from fairlead.model import backend, codes
from fairlead.model.addresses import bare
from fairlead.model.backend import Backend, PublishedPort
from fairlead.model.container import ContainerConfig
from fairlead.model.endpoint import EndpointSettings, PortBinding, PortRequest
from fairlead.model.errors import Invalid
from fairlead.model.health import RestartPolicy
from fairlead.model.mount import Mount
from fairlead.model.service import HOST, INGRESS, ServiceNetwork, ServicePort, Task

#: First part of the labels that say whose a container is (Docker's).
LABELS = "com.docker.swarm."
#: A place that is filled in for each task, in host name, environment and mounts (Docker: service create, templates).
_PLACE = re.compile(r"\{\{\s*([^{}]*?)\s*\}\}")


def container_of(task: Task, node_id: str, node_name: str) -> ContainerConfig:
    """What is to be made for a task on a node; raises ``Invalid`` for a template that means nothing."""
    wanted = task.spec.container
    values = {
        ".Service.ID": task.service_id,
        ".Service.Name": task.service_name,
        ".Task.ID": task.id,
        ".Task.Name": task.name,
        ".Task.Slot": str(task.slot or node_id),
        ".Node.ID": node_id,
        ".Node.Hostname": node_name,
    }
    endpoints = {one.network: _place_of(task, one) for one in task.spec.networks}
    # where its addresses are beyond that, its published ports need a place
    more = [one.network_id for one in task.addresses if one.network_id not in endpoints]
    endpoints |= {network_id: _door_of(task, network_id) for network_id in more}
    return replace(
        wanted,
        hostname=_filled(wanted.hostname, values),
        env=tuple(_filled(entry, values) for entry in wanted.env),
        mounts=tuple(_mounted(mount, values) for mount in wanted.mounts),
        labels={**wanted.labels, **_labels(task, node_id)},
        network_mode=next(iter(endpoints), wanted.network_mode),
        endpoints=endpoints,
        ports=tuple(_request(port) for port in task.ports if port.mode == HOST),
        exposed=tuple(dict.fromkeys((*wanted.exposed, *(f"{port.target}/{port.protocol}" for port in task.ports)))),
        restart=RestartPolicy(),
        auto_remove=False,
    )


def given_ports(bindings: Iterable[PortBinding]) -> tuple[ServicePort, ...]:
    """Ports of the host that a container has, each once though it is open on addresses of both families."""
    found = {
        (one.proto, one.container_port, one.host_port): ServicePort(one.container_port, one.host_port, one.proto, HOST)
        for one in bindings
    }
    return tuple(found[key] for key in sorted(found))


def _labels(task: Task, node_id: str) -> dict[str, str]:
    return {
        f"{LABELS}node.id": node_id,
        f"{LABELS}service.id": task.service_id,
        f"{LABELS}service.name": task.service_name,
        f"{LABELS}task": "",
        f"{LABELS}task.id": task.id,
        f"{LABELS}task.name": task.name,
    }


def _place_of(task: Task, network: ServiceNetwork) -> EndpointSettings:
    """Its place in a network: the addresses leased for it, and the names of its service, which all tasks share."""
    leased = next((one for one in task.addresses if one.network_id == network.network), None)
    shared = (task.service_name, *network.aliases)
    return EndpointSettings(
        ipv4=bare(leased.ipv4) if leased else "",
        ipv6=bare(leased.ipv6) if leased else "",
        aliases=(*shared, *(f"{TASKS}{name}" for name in shared)),
        driver_opts=network.driver_opts,
        backend=_backend(task, network, shared),
    )


def _door_of(task: Task, network_id: str) -> EndpointSettings:
    """Its place in the network of published ports, where nobody has a name."""
    place = _place_of(task, ServiceNetwork(network_id))
    ports = (port for port in task.ports if port.mode == INGRESS)
    published = tuple(PublishedPort(one.protocol, one.published, one.target, one.host_ip) for one in ports)
    snat = task.balancing.get(backend.SNAT) == "true"
    told = replace(_backend(task, ServiceNetwork(network_id), ()), published=published, snat=snat)
    return replace(place, aliases=(), backend=told)


def _backend(task: Task, network: ServiceNetwork, shared: tuple[str, ...]) -> Backend:
    """How it serves behind its service's virtual addresses there; without one, the service's names mean its tasks."""
    vip = next((one for one in task.vips if one.network_id == network.network), None)
    chosen = {**task.balancing, **network.driver_opts}
    weight = chosen.get(backend.WEIGHT, "")
    return Backend(
        task.service_id,
        shared if vip is not None else (),
        bare(vip.address) if vip is not None else "",
        bare(vip.ipv6) if vip is not None else "",
        weight=int(weight) if weight else 1,
        algorithm=backend.algorithm_of(chosen),
        prefer_local=chosen.get(backend.PREFER) == "local",
    )


def _request(port: ServicePort) -> PortRequest:
    return PortRequest(port.protocol, port.target, port.host_ip, port.published)


def _mounted(mount: Mount, values: dict[str, str]) -> Mount:
    return replace(mount, source=_filled(mount.source, values), target=_filled(mount.target, values))


def _filled(text: str, values: dict[str, str]) -> str:
    def value(found: re.Match[str]) -> str:
        name = found.group(1)
        if name not in values:
            raise Invalid(
                f"invalid template {found.group(0)!r}",
                hint="known are " + ", ".join(f"{{{{{one}}}}}" for one in values),
                code=codes.SERVICE_INVALID,
            )
        return values[name]

    return _PLACE.sub(value, text)
