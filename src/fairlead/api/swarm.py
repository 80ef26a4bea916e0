"""Handlers of ``/swarm``: a node's place in a cluster, and the cluster itself.

What only the leader knows is asked of it: on another manager a request for it is passed on as it is (``led``).
"""

from __future__ import annotations

import functools

import msgspec
from aiohttp import web
from msgspec import Struct, field

from fairlead.api.contract_swarm import Brain
from fairlead.api.router import Call, Handler, Route, answer, empty
from fairlead.api.schema_swarm import ClusterSpecBody, InitBody, JoinBody, UnlockBody, cluster_json, swarm_info
from fairlead.model.cluster import MANAGER
from fairlead.model.cluster_commands import ReplaceAuthority, RotateKeys, UpdateCluster
from fairlead.model.errors import Invalid, NetError


class _Role(Struct):
    role: str = field(name="Role", default="")


class _Listed(Struct):
    spec: _Role = field(name="Spec", default_factory=_Role)


def led(handler: Handler) -> Handler:
    """A handler of calls that only the leader can answer: a manager that does not lead passes them on; raises
    ``Unavailable`` on every other node."""

    @functools.wraps(handler)
    async def handle(call: Call) -> web.StreamResponse:
        leader = call.node.swarm.leader()
        if leader is None:
            return await handler(call)
        status, body = await leader.pass_on(call.request.method, call.request.path_qs, await call.whole_body())
        return web.Response(status=status, body=body, content_type="application/json" if body else None)

    return handle


def version_of(call: Call, what: str) -> int:
    """The version that a change is made on; raises ``Invalid``."""
    version = call.whole("version")
    if version is None or version < 0:
        text = call.text("version")
        raise Invalid(
            f"invalid {what} version '{text}': strconv.ParseUint: parsing \"{text}\": invalid syntax",
            hint=f"?version= takes Version.Index of the {what} as it was read",
        )
    return version


async def inspect(call: Call) -> web.StreamResponse:
    """``GET /swarm``."""
    brain = call.node.swarm.brain
    return answer(cluster_json(brain.cluster, brain.root(), secrets=True))


async def init(call: Call) -> web.StreamResponse:
    """``POST /swarm/init``: the node's id in the new cluster."""
    body = await call.body(InitBody)
    return answer(await call.finish(call.node.swarm.init(body.wish())))


async def join(call: Call) -> web.StreamResponse:
    """``POST /swarm/join``."""
    body = await call.body(JoinBody)
    await call.finish(call.node.swarm.join(body.wish()))
    return empty(200)


async def leave(call: Call) -> web.StreamResponse:
    """``POST /swarm/leave``."""
    await call.finish(call.node.swarm.leave(force=call.flag("force")))
    return empty(200)


async def unlock(call: Call) -> web.StreamResponse:
    """``POST /swarm/unlock``."""
    body = await call.body(UnlockBody)
    await call.finish(call.node.swarm.unlock(body.key))
    return empty(200)


async def unlock_key(call: Call) -> web.StreamResponse:
    """``GET /swarm/unlockkey``: empty while managers start without one."""
    cluster = call.node.swarm.brain.cluster
    return answer({"UnlockKey": cluster.unlock_key if cluster.spec.autolock else ""})


async def update(call: Call) -> web.StreamResponse:
    """``POST /swarm/update``: the spec, and which secrets are made anew. A higher ``ForceRotate`` or another signing
    certificate has a new root take over."""
    brain = call.node.swarm.brain
    body = await call.body(ClusterSpecBody)
    version = version_of(call, "swarm")
    known, authority = brain.cluster, body.authority
    spec = body.merged(known.spec)
    given = (authority.certificate or "", authority.key or "") if authority else ("", "")
    if spec.force_rotate < known.spec.force_rotate:
        raise Invalid("ForceRotate can only rise", hint="send the number as it was read, or a greater one")
    command = UpdateCluster(
        spec,
        version,
        rotate_worker_token=call.flag("rotateWorkerToken"),
        rotate_manager_token=call.flag("rotateManagerToken"),
        rotate_unlock_key=call.flag("rotateManagerUnlockKey"),
    )
    replaces = any(given) or spec.force_rotate > known.spec.force_rotate
    await call.finish(_change(brain, command, ReplaceAuthority(*given) if replaces else None))
    return empty(200)


async def keys(call: Call) -> web.StreamResponse:
    """``GET /fairlead/swarm/keys``: which shared keys there are, and whom a rotation of them waits for."""
    brain = call.node.swarm.brain
    rings = {"Gossip": brain.cluster.gossip_keys, "DataPath": brain.cluster.data_keys}
    told: dict[str, object] = {
        name: {"Tags": [key.tag for key in ring.keys], "Primary": ring.primary} for name, ring in rings.items()
    }
    rotating = any(len(ring.keys) > 1 for ring in rings.values())
    return answer({**told, "Rotating": rotating, "WaitsFor": list(brain.key_laggards())})


async def rotate_keys(call: Call) -> web.StreamResponse:
    """``POST /fairlead/swarm/keys``: bring in new shared keys now."""
    await call.finish(call.node.swarm.brain.ask(RotateKeys()))
    return empty(200)


async def swarm_section(call: Call) -> dict[str, object]:
    """The section ``Swarm`` of ``/info``; a leader that does not answer is told of in ``Error``."""
    section = swarm_info(call.node.swarm.status)
    if not call.node.swarm.status.manager:
        return section
    try:
        leader = call.node.swarm.leader()
        if leader is None:
            return {**section, **_counted(call.node.swarm.brain)}
        _, nodes = await leader.pass_on("GET", "/nodes", b"")
        _, cluster = await leader.pass_on("GET", "/swarm", b"")
        told = msgspec.json.decode(cluster, type=dict[str, object])
        roles = [node.spec.role for node in msgspec.json.decode(nodes, type=list[_Listed])]
    except (NetError, msgspec.DecodeError) as error:
        return {**section, "Error": str(error)}
    told.pop("JoinTokens", None)
    return {**section, "Nodes": len(roles), "Managers": roles.count(MANAGER), "Cluster": told}


def _counted(brain: Brain) -> dict[str, object]:
    managers = sum(node.role == MANAGER for node in brain.nodes.values())
    cluster = cluster_json(brain.cluster, brain.root(), secrets=False)
    return {"Nodes": len(brain.nodes), "Managers": managers, "Cluster": cluster}


async def _change(brain: Brain, command: UpdateCluster, authority: ReplaceAuthority | None) -> None:
    await brain.ask(command)
    if authority is not None:
        await brain.ask(authority)


def shared_routes() -> tuple[Route, ...]:
    """What managers answer for each other."""
    rotations = {"rotateWorkerToken": bool, "rotateManagerToken": bool, "rotateManagerUnlockKey": bool}
    return (
        Route("GET", "/swarm", led(inspect)),
        Route("POST", "/swarm/update", led(update), query={"version": int, **rotations}, body=ClusterSpecBody),
        Route("GET", "/swarm/unlockkey", led(unlock_key)),
        Route("GET", "/fairlead/swarm/keys", led(keys)),
        Route("POST", "/fairlead/swarm/keys", led(rotate_keys)),
    )


def routes() -> tuple[Route, ...]:
    """The routes of this module."""
    return (
        *shared_routes(),
        Route("POST", "/swarm/init", init, body=InitBody),
        Route("POST", "/swarm/join", join, body=JoinBody),
        Route("POST", "/swarm/leave", leave, query={"force": bool}),
        Route("POST", "/swarm/unlock", unlock, body=UnlockBody),
    )
