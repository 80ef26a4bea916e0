"""Handlers of what a node tells about itself: ping, version, info."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from aiohttp import web

import fairlead
from fairlead.api import versions
from fairlead.api.containers import sizes
from fairlead.api.contract import NodeFacts
from fairlead.api.contract_swarm import IN_SWARM
from fairlead.api.images import image_row
from fairlead.api.router import Call, Route, answer
from fairlead.api.schema import stamp
from fairlead.api.schema_container import container_row
from fairlead.api.swarm import swarm_section
from fairlead.api.volumes import volume_json

#: What a ping tells beside "OK"; 20.10 reads the builder's version and the swarm state from here.
_PING_HEADERS = {
    "Builder-Version": "",
    "Cache-Control": "no-cache, no-store, must-revalidate",
    "Docker-Experimental": "false",
    "Pragma": "no-cache",
}


async def ping(call: Call) -> web.StreamResponse:
    """``GET`` and ``HEAD /_ping``."""
    body = None if call.request.method == "HEAD" else "OK"
    status = call.node.swarm.status
    role = ("/manager" if status.manager else "/worker") if status.state == IN_SWARM else ""
    return web.Response(text=body, headers={**_PING_HEADERS, "Swarm": status.state + role})


async def version(call: Call) -> web.StreamResponse:
    """``GET /version``."""
    facts = call.node.facts
    engine = {
        "ApiVersion": versions.text(versions.API_MAX),
        "Arch": _arch(facts),
        "BuildTime": "",
        "GitCommit": "",
        "GoVersion": "",
        "KernelVersion": facts.kernel,
        "MinAPIVersion": versions.text(versions.API_MIN),
        "Os": "linux",
    }
    body: dict[str, object] = {
        "Platform": {"Name": "Fairlead"},
        "Components": [{"Name": "Engine", "Version": fairlead.__version__, "Details": engine}],
        "Version": fairlead.__version__,
    }
    return answer({**body, **engine})


async def info(call: Call) -> web.StreamResponse:
    """``GET /info``."""
    facts, state, firewall = call.node.facts, call.node.state, call.node.firewall
    running = sum(container.running for container in state.containers.values())
    return answer(
        {
            "ID": facts.id,
            "Name": facts.hostname,
            "Containers": len(state.containers),
            "ContainersRunning": running,
            "ContainersPaused": sum(box.state.status == "paused" for box in state.containers.values()),
            "ContainersStopped": len(state.containers) - running,
            "Images": len(call.node.images.all()),
            "Networks": len(state.networks),
            "Endpoints": len(state.endpoints),
            "Driver": "overlay",
            "DriverStatus": [],
            "Plugins": {"Volume": [], "Network": sorted(facts.drivers), "Authorization": None, "Log": ["json-file"]},
            "SystemTime": stamp(datetime.now(UTC).timestamp()),
            "StartedAt": stamp(facts.started),
            "Pid": facts.pid,
            "LoggingDriver": "json-file",
            "CgroupDriver": "cgroupfs",
            "CgroupVersion": facts.cgroup_version,
            "KernelVersion": facts.kernel,
            "OperatingSystem": facts.operating_system,
            "OSType": "linux",
            "Architecture": facts.architecture,
            "NCPU": facts.cpus,
            "MemTotal": facts.memory_bytes,
            "IndexServerAddress": "",
            "RegistryConfig": None,
            "ServerVersion": fairlead.__version__,
            "Runtimes": {"runc": {"path": "runc"}},
            "DefaultRuntime": "runc",
            "Swarm": await swarm_section(call),
            "LiveRestoreEnabled": True,
            "Isolation": "",
            "InitBinary": "",
            "SecurityOptions": [],
            "IPv4Forwarding": True,
            "FirewallBackend": {"Driver": firewall.driver, "Info": [list(row) for row in firewall.rows()]},
            **_limits(facts),
            "DefaultAddressPools": [{"Base": base, "Size": bits} for base, bits in facts.default_pools],
            "Warnings": [*facts.warnings, *firewall.warnings()] or None,
        }
    )


async def build_prune(call: Call) -> web.StreamResponse:
    """``POST /build/prune``: nothing is built here, so that a prune of everything finds nothing of it."""
    del call
    return answer({"CachesDeleted": None, "SpaceReclaimed": 0})


async def disk_usage(call: Call) -> web.StreamResponse:
    """``GET /system/df``."""
    now, state = time.time(), call.node.state
    rows = []
    for container in state.containers.values():
        rows.append({**container_row(state, container, now), **await sizes(call, container.id)})
    found = call.node.images.all()
    kept = [{**image_row(image), "Containers": len(image.users), "SharedSize": 0} for image in found]
    volumes = [
        {**volume_json(item), "UsageData": {"Size": -1, "RefCount": len(item.users)}}
        for item in call.node.volumes.all()
    ]
    return answer(
        {
            "LayersSize": sum(image.size_bytes for image in found),
            "Images": kept,
            "Containers": rows,
            "Volumes": volumes,
            "BuildCache": [],
            "BuilderSize": 0,
        }
    )


def _limits(facts: NodeFacts) -> dict[str, object]:
    """What containers can be limited in; the client warns of each that is missing. Frames on our bridges never pass
    the host's iptables, so that nothing depends on its switches."""
    memory, cpu = "memory" in facts.controllers, "cpu" in facts.controllers
    return {
        "MemoryLimit": memory,
        "SwapLimit": memory,
        "OomKillDisable": memory,
        "CpuCfsPeriod": cpu,
        "CpuCfsQuota": cpu,
        "CPUShares": cpu,
        "CPUSet": "cpuset" in facts.controllers,
        "PidsLimit": "pids" in facts.controllers,
        "BridgeNfIptables": True,
        "BridgeNfIp6tables": True,
    }


def _arch(facts: NodeFacts) -> str:
    """Go's name of an architecture, as clients expect it here."""
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(facts.architecture, facts.architecture)


def routes() -> tuple[Route, ...]:
    """The routes of this module."""
    return (
        Route("GET", "/_ping", ping),
        Route("HEAD", "/_ping", ping),
        Route("GET", "/version", version),
        Route("GET", "/info", info),
        Route("POST", "/build/prune", build_prune, query={"all": bool}),
        Route("GET", "/system/df", disk_usage, query={"type": str}),
    )
