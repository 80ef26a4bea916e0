"""Handlers of sandboxes without a container: namespaces of others, and empty ones. Docker has no noun for them."""

from __future__ import annotations

from aiohttp import web

from fairlead.api.filters import Filters
from fairlead.api.ports import bindings_json, published_json
from fairlead.api.router import Call, Route, answer, empty
from fairlead.api.schema_network import endpoint_json
from fairlead.model.commands import RemoveSandbox
from fairlead.model.sandbox import Sandbox
from fairlead.model.state import State, bare_sandbox


async def list_sandboxes(call: Call) -> web.StreamResponse:
    """``GET /fairlead/sandboxes``: all, oldest first."""
    filters, state = call.filters(), call.node.state
    chosen = [sandbox for sandbox in state.bare_sandboxes.values() if _chosen(state, sandbox, filters)]
    return answer([sandbox_json(state, sandbox) for sandbox in chosen])


async def inspect(call: Call) -> web.StreamResponse:
    """``GET /fairlead/sandboxes/{ref}``."""
    state = call.node.state
    return answer(sandbox_json(state, bare_sandbox(state, call.path["ref"])))


async def remove(call: Call) -> web.StreamResponse:
    """``DELETE /fairlead/sandboxes/{ref}``: out of all its networks, and forgotten."""
    await call.submit(RemoveSandbox(call.path["ref"]))
    return empty(204)


def sandbox_json(state: State, sandbox: Sandbox) -> dict[str, object]:
    """A sandbox, its networks as in a container's ``NetworkSettings``."""
    endpoints = [state.endpoints[identifier] for identifier in sandbox.endpoints]
    networks = {state.networks[endpoint.network_id].name: endpoint for endpoint in endpoints}
    bindings = [binding for endpoint in endpoints for binding in endpoint.bindings]
    foreign = sandbox.foreign
    return {
        "Id": sandbox.id,
        "Name": sandbox.name,
        "Target": foreign.target if foreign else "",
        "Pid": foreign.pid if foreign else 0,
        "Inode": foreign.inode if foreign else 0,
        "DnsMode": sandbox.settings.dns_mode,
        "Dns": list(sandbox.settings.dns),
        "PortBindings": bindings_json(sandbox.settings.ports),
        "NetworkSettings": {
            "SandboxID": sandbox.id,
            "Ports": published_json((), bindings),
            "Networks": {
                name: endpoint_json(endpoint.settings, state.networks[endpoint.network_id], endpoint)
                | {"Interface": endpoint.ifname}
                for name, endpoint in networks.items()
            },
        },
    }


def _chosen(state: State, sandbox: Sandbox, filters: Filters) -> bool:
    joined = [state.networks[state.endpoints[identifier].network_id] for identifier in sandbox.endpoints]
    wanted = filters.get("network")
    return (
        filters.matches("id", sandbox.id)
        and filters.matches("name", sandbox.name)
        and (not wanted or any(ref in (network.name, network.id) for network in joined for ref in wanted))
    )


def routes() -> tuple[Route, ...]:
    """The routes of this module."""
    return (
        Route("GET", "/fairlead/sandboxes", list_sandboxes, filters=("id", "name", "network")),
        Route("GET", "/fairlead/sandboxes/{ref}", inspect),
        Route("DELETE", "/fairlead/sandboxes/{ref}", remove),
    )
