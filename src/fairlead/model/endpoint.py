"""Endpoint: one interface of a sandbox in one network (CNM), and what a user asks of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from fairlead.model.backend import Backend


@dataclass(frozen=True, slots=True)
class EndpointSettings:
    """What the user asked of a container's place in a network (Docker: EndpointSettings). ``backend`` is what a task's
    service is there: then what ``aliases`` share with its names is the service's."""

    ipv4: str = ""
    ipv6: str = ""
    link_local: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    mac: str = ""
    gw_priority: int = 0
    driver_opts: dict[str, str] = field(default_factory=dict)
    backend: Backend | None = None


@dataclass(frozen=True, slots=True)
class PortRequest:
    """A port to publish as asked: ``host_port`` 0 means any free one, ``host_port_end`` the end of a range."""

    proto: str
    container_port: int
    host_ip: str = ""
    host_port: int = 0
    host_port_end: int = 0


@dataclass(frozen=True, slots=True)
class PortBinding:
    """A published port as given: connections to ``host_ip:host_port`` reach ``container_port`` of the endpoint."""

    proto: str
    container_port: int
    host_ip: str
    host_port: int


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint as stored. ``ipv4``/``ipv6`` are ``address/length`` or empty; ``dns_names`` the names it answers
    to inside its network, the first being the one for reverse look-ups."""

    id: str
    name: str
    network_id: str
    sandbox_id: str
    container_id: str
    mac: str = ""
    ipv4: str = ""
    ipv6: str = ""
    pool_v4: str = ""
    pool_v6: str = ""
    ifname: str = ""
    host_ifname: str = ""
    dns_names: tuple[str, ...] = ()
    settings: EndpointSettings = EndpointSettings()
    bindings: tuple[PortBinding, ...] = ()
    #: Made in the gateway bridge for its sandbox to lead out, and by nobody's wish; clients do not see it.
    leads_out: bool = False
