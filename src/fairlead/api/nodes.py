"""Handlers of ``/nodes``: the members of a cluster, as its leader knows them."""

from __future__ import annotations

from aiohttp import web

from fairlead.api.filters import Filters
from fairlead.api.router import Call, Route, answer, empty
from fairlead.api.schema_swarm import NodeSpecBody, node_json
from fairlead.api.swarm import led, version_of
from fairlead.model.cluster import ClusterNode
from fairlead.model.cluster_commands import RemoveNode, UpdateNode

_LIST_FILTERS = ("id", "label", "membership", "name", "node.label", "role")
#: Every node in the list has been let in by a token (Docker: membership).
_ACCEPTED = "accepted"


async def list_nodes(call: Call) -> web.StreamResponse:
    """``GET /nodes``."""
    brain, filters = call.node.swarm.brain, call.filters()
    chosen = sorted((node for node in brain.nodes.values() if _chosen(node, filters)), key=lambda node: node.created)
    return answer([node_json(node, brain.root(node)) for node in chosen])


async def inspect_node(call: Call) -> web.StreamResponse:
    """``GET /nodes/{ref}``."""
    brain = call.node.swarm.brain
    node = brain.node(call.path["ref"])
    return answer(node_json(node, brain.root(node)))


async def update_node(call: Call) -> web.StreamResponse:
    """``POST /nodes/{ref}/update``."""
    brain = call.node.swarm.brain
    body = await call.body(NodeSpecBody)
    node = brain.node(call.path["ref"])
    command = UpdateNode(node.id, body.merged(node.spec), version_of(call, "node"))
    await call.finish(brain.ask(command))
    return empty(200)


async def remove_node(call: Call) -> web.StreamResponse:
    """``DELETE /nodes/{ref}``."""
    brain = call.node.swarm.brain
    node = brain.node(call.path["ref"])
    await call.finish(brain.ask(RemoveNode(node.id, call.flag("force"))))
    return empty(200)


def _chosen(node: ClusterNode, filters: Filters) -> bool:
    return (
        filters.matches("id", node.id)
        and filters.matches("name", node.spec.name or node.description.hostname)
        and filters.labels(node.description.labels)
        and filters.labels(node.spec.labels, "node.label")
        and filters.exact("role", node.spec.role)
        and filters.exact("membership", _ACCEPTED)
    )


def routes() -> tuple[Route, ...]:
    """The routes of this module."""
    return (
        Route("GET", "/nodes", led(list_nodes), filters=_LIST_FILTERS),
        Route("GET", "/nodes/{ref}", led(inspect_node)),
        Route("POST", "/nodes/{ref}/update", led(update_node), query={"version": int}, body=NodeSpecBody),
        Route("DELETE", "/nodes/{ref}", led(remove_node), query={"force": bool}),
    )
