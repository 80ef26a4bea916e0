"""Networks and endpoints in the Engine API's JSON, both ways."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import msgspec
from msgspec import Struct, field

from fairlead.api.ports import HostPortBody, parse_bindings
from fairlead.api.schema import stamp
from fairlead.model.addresses import bare, prefix_length
from fairlead.model.commands import CreateNetwork
from fairlead.model.endpoint import Endpoint, EndpointSettings
from fairlead.model.network import Network, Pool, PoolRequest
from fairlead.model.sandbox import SandboxSettings
from fairlead.model.state import State

#: Bounds of a gateway priority: Go's int on a 64-bit engine.
Priority = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class IpamConfigBody(Struct):
    """One subnet as asked for."""

    subnet: str | None = field(name="Subnet", default=None)
    ip_range: str | None = field(name="IPRange", default=None)
    gateway: str | None = field(name="Gateway", default=None)
    aux: dict[str, str] | None = field(name="AuxiliaryAddresses", default=None)


class IpamBody(Struct):
    """How a new network is to get its addresses."""

    driver: str | None = field(name="Driver", default=None)
    options: dict[str, str] | None = field(name="Options", default=None)
    config: list[IpamConfigBody] | None = field(name="Config", default=None)


class NetworkRef(Struct):
    """A network named by a field ``Network``."""

    network: str | None = field(name="Network", default=None)


class NetworkCreateBody(Struct):
    """``POST /networks/create``."""

    name: str = field(name="Name", default="")
    driver: str | None = field(name="Driver", default=None)
    scope: str | None = field(name="Scope", default=None)
    ipv4: bool | None = field(name="EnableIPv4", default=None)
    ipv6: bool | None = field(name="EnableIPv6", default=None)
    ipam: IpamBody | None = field(name="IPAM", default=None)
    internal: bool | None = field(name="Internal", default=None)
    attachable: bool | None = field(name="Attachable", default=None)
    ingress: bool | None = field(name="Ingress", default=None)
    config_only: bool | None = field(name="ConfigOnly", default=None)
    config_from: NetworkRef | None = field(name="ConfigFrom", default=None)
    options: dict[str, str] | None = field(name="Options", default=None)
    labels: dict[str, str] | None = field(name="Labels", default=None)

    def command(self) -> CreateNetwork:
        """The command that this body asks for."""
        ipam = self.ipam or IpamBody()
        return CreateNetwork(
            name=self.name,
            driver=self.driver or "",
            ipv4=self.ipv4,
            ipv6=self.ipv6,
            internal=bool(self.internal),
            attachable=bool(self.attachable),
            scope=self.scope or "",
            ipam_driver=ipam.driver or "default",
            ipam_options=ipam.options or {},
            pools=tuple(
                PoolRequest(pool.subnet or "", pool.ip_range or "", pool.gateway or "", pool.aux or {})
                for pool in ipam.config or ()
            ),
            options=self.options or {},
            labels=self.labels or {},
            config_only=bool(self.config_only),
            config_from=(self.config_from.network if self.config_from else None) or "",
        )


class EndpointIpamBody(Struct):
    """Addresses asked for an endpoint."""

    ipv4: str | None = field(name="IPv4Address", default=None)
    ipv6: str | None = field(name="IPv6Address", default=None)
    link_local: list[str] | None = field(name="LinkLocalIPs", default=None)


class EndpointBody(Struct):
    """What is asked of a container's place in a network."""

    ipam: EndpointIpamBody | None = field(name="IPAMConfig", default=None)
    links: list[str] | None = field(name="Links", default=None)
    aliases: list[str] | None = field(name="Aliases", default=None)
    mac: str | None = field(name="MacAddress", default=None)
    gw_priority: Priority | None = field(name="GwPriority", default=None)
    driver_opts: dict[str, str] | None = field(name="DriverOpts", default=None)

    def settings(self) -> EndpointSettings:
        """The same as a value of the model."""
        ipam = self.ipam or EndpointIpamBody()
        return EndpointSettings(
            ipv4=ipam.ipv4 or "",
            ipv6=ipam.ipv6 or "",
            link_local=tuple(ipam.link_local or ()),
            aliases=tuple(self.aliases or ()),
            links=tuple(self.links or ()),
            mac=self.mac or "",
            gw_priority=self.gw_priority or 0,
            driver_opts=self.driver_opts or {},
        )


class SandboxBody(Struct):
    """What is asked of a sandbox without a container, of which Docker knows nothing."""

    name: str | None = field(name="Name", default=None)
    ports: dict[str, list[HostPortBody] | None] | None = field(name="PortBindings", default=None)
    dns: list[str] | None = field(name="Dns", default=None)
    dns_mode: str | None = field(name="DnsMode", default=None)

    def settings(self) -> SandboxSettings:
        """The same as a value of the model; raises ``Invalid``."""
        return SandboxSettings(
            name=self.name or "",
            ports=parse_bindings(self.ports or {}),
            dns=tuple(self.dns or ()),
            dns_mode=self.dns_mode or "",
        )


class ConnectBody(Struct):
    """``POST /networks/{id}/connect``; ``Container`` may also be a target like ``pid:1234``, then with ``Sandbox``."""

    container: str = field(name="Container", default="")
    endpoint: EndpointBody | None = field(name="EndpointConfig", default=None)
    sandbox: SandboxBody | None = field(name="Sandbox", default=None)


class DisconnectBody(Struct):
    """``POST /networks/{id}/disconnect``."""

    container: str = field(name="Container", default="")
    force: bool | None = field(name="Force", default=None)


def network_summary(network: Network) -> dict[str, object]:
    """A network in a list: everything but who is in it."""
    return {
        "Name": network.name,
        "Id": network.id,
        "Created": stamp(network.created),
        "Scope": network.scope,
        "Driver": network.driver,
        "EnableIPv4": network.ipv4,
        "EnableIPv6": network.ipv6,
        "IPAM": {
            "Driver": network.ipam_driver,
            "Options": network.ipam_options,
            "Config": [_pool(pool) for pool in network.wanted_pools or network.pools],
        },
        "Internal": network.internal,
        "Attachable": network.attachable,
        "Ingress": network.ingress,
        "ConfigFrom": {"Network": network.config_from},
        "ConfigOnly": network.config_only,
        "Options": network.options,
        "Labels": network.labels,
    }


def network_inspect(state: State, network: Network, usage: Mapping[str, tuple[int, int]]) -> dict[str, object]:
    """A network with its members and how full its subnets are (``usage``: subnet -> in use, still to give)."""
    subnets = {
        subnet: {"IPsInUse": used, "DynamicIPsAvailable": free} for subnet, (used, free) in sorted(usage.items())
    }
    members = members_json(state, network.id)
    return {**network_summary(network), "Containers": members, "Status": {"IPAM": {"Subnets": subnets}}}


def members_json(state: State, network_id: str) -> dict[str, object]:
    """Who is in a network on this node."""
    return {
        endpoint.container_id or f"ep-{endpoint.id}": {
            "Name": _member_name(state, endpoint),
            "EndpointID": endpoint.id,
            "MacAddress": endpoint.mac,
            "IPv4Address": endpoint.ipv4,
            "IPv6Address": endpoint.ipv6,
        }
        for endpoint in state.endpoints_of_network(network_id)
    }


def endpoint_json(settings: EndpointSettings, network: Network | None, endpoint: Endpoint | None) -> dict[str, object]:
    """A container's place in a network: what was asked, and, once it is joined, what was given."""
    asked: dict[str, object] = {}
    if settings.ipv4:
        asked["IPv4Address"] = settings.ipv4
    if settings.ipv6:
        asked["IPv6Address"] = settings.ipv6
    if settings.link_local:
        asked["LinkLocalIPs"] = list(settings.link_local)
    v4 = endpoint.ipv4 if endpoint else ""
    v6 = endpoint.ipv6 if endpoint else ""
    return {
        "IPAMConfig": asked or None,
        "Links": list(settings.links) or None,
        "Aliases": list(settings.aliases) or None,
        "MacAddress": endpoint.mac if endpoint else settings.mac,
        "DriverOpts": settings.driver_opts or None,
        "GwPriority": settings.gw_priority,
        "NetworkID": network.id if network else "",
        "EndpointID": endpoint.id if endpoint else "",
        "Gateway": network.gateway(v6=False) if network and v4 else "",
        "IPAddress": bare(v4),
        "IPPrefixLen": prefix_length(v4) if v4 else 0,
        "IPv6Gateway": network.gateway(v6=True) if network and v6 else "",
        "GlobalIPv6Address": bare(v6),
        "GlobalIPv6PrefixLen": prefix_length(v6) if v6 else 0,
        "DNSNames": list(endpoint.dns_names) or None if endpoint else None,
    }


def _pool(pool: Pool | PoolRequest) -> dict[str, object]:
    config: dict[str, object] = {"Subnet": pool.subnet}
    if pool.ip_range:
        config["IPRange"] = pool.ip_range
    if pool.gateway:
        config["Gateway"] = bare(pool.gateway)
    if pool.aux:
        config["AuxiliaryAddresses"] = pool.aux
    return config


def _member_name(state: State, endpoint: Endpoint) -> str:
    container = state.containers.get(endpoint.container_id)
    return container.name if container else endpoint.name
