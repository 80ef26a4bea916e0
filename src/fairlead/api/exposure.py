"""Handler of ``/fairlead/exposure``: who can reach which published port of this node."""

from __future__ import annotations

import ipaddress

from aiohttp import web

from fairlead.api.router import Call, Route, answer
from fairlead.model.endpoint import PortBinding

#: Who reaches a port: everyone who reaches the host, the host alone, everyone who reaches that address of the host, or
#: those whom the host's own firewall lets through.
ANY, HOST, ADDRESS, FIREWALL = "any", "host", "address", "host-firewall"
#: As ``FIREWALL``, at one address of the host.
FIREWALL_ADDRESS = "host-firewall-address"


async def exposure(call: Call) -> web.StreamResponse:
    """``GET /fairlead/exposure``: a row for each published port, in the order of host ports."""
    asks = call.node.firewall.asks
    rows = [
        {
            "Container": endpoint.name,
            "Network": call.node.state.networks[endpoint.network_id].name,
            "HostIp": binding.host_ip,
            "HostPort": binding.host_port,
            "ContainerPort": binding.container_port,
            "Type": binding.proto,
            "Reach": reach(binding, asks=asks),
        }
        for endpoint in call.node.state.endpoints.values()
        for binding in endpoint.bindings
        if binding.host_port
    ]
    return answer(sorted(rows, key=lambda row: (row["HostPort"], row["Type"], row["HostIp"])))


def reach(binding: PortBinding, *, asks: bool) -> str:
    """Who reaches a published port; ``asks`` says that the host's firewall decides."""
    address = ipaddress.ip_address(binding.host_ip)
    if address.is_loopback:
        return HOST
    if address.is_unspecified:
        return FIREWALL if asks else ANY
    return FIREWALL_ADDRESS if asks else ADDRESS


def routes() -> tuple[Route, ...]:
    """The routes of this module."""
    return (Route("GET", "/fairlead/exposure", exposure),)
