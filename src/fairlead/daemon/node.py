"""The node as the API sees it: commands go to the carrier, questions to the engine's records and the runtime."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from fairlead.api.contract import Firewall, NodeFacts, Notices, Preview, Stream, Usage
from fairlead.api.contract_balance import BalanceView
from fairlead.api.contract_containers import Files, Images, Meters, Volumes
from fairlead.api.contract_encryption import EncryptionView
from fairlead.api.contract_gossip import GossipView
from fairlead.api.contract_http_mesh import HttpMeshView
from fairlead.api.contract_swarm import Swarm
from fairlead.daemon.carrier import Carrier
from fairlead.daemon.coexistence import Coexistence
from fairlead.daemon.foreign import ForeignTargets
from fairlead.daemon.goods import NodeFiles, NodeImages, NodeMeters, NodeVolumes
from fairlead.engine import preview
from fairlead.engine.engine import Engine
from fairlead.model.commands import Command, CreateContainer, UpdateContainer
from fairlead.model.container import Container
from fairlead.model.errors import Conflict, Invalid
from fairlead.model.image import with_defaults
from fairlead.model.limits import check_limits, merge
from fairlead.model.network import SWARM
from fairlead.model.runspec import ExecSpec, LogLine
from fairlead.model.settings import Paths
from fairlead.runtime import cgroups, images
from fairlead.runtime.containers import Runtime
from fairlead.runtime.usage import DiskUsage


class DaemonNode:
    """Implements ``api.contract.Node``."""

    def __init__(
        self,
        facts: NodeFacts,
        engine: Engine,
        carrier: Carrier,
        runtime: Runtime,
        paths: Paths,
        targets: ForeignTargets,
        coexistence: Coexistence,
        swarm: Swarm,
        gossip: GossipView,
        balance: BalanceView,
        encryption: EncryptionView,
        http_mesh: HttpMeshView,
    ) -> None:
        self._facts = facts
        self.swarm: Swarm = swarm
        self.gossip: GossipView = gossip
        self.balance: BalanceView = balance
        self.encryption: EncryptionView = encryption
        self.http_mesh: HttpMeshView = http_mesh
        self.state = engine.state
        self.notices: Notices = carrier.notices
        self.firewall: Firewall = coexistence
        self.usage: Usage = DiskUsage(paths)
        self.preview: Preview = partial(_preview, engine, targets)
        self.files: Files = NodeFiles(engine.state, paths)
        self._volumes = NodeVolumes(engine.state, paths)
        self.volumes: Volumes = self._volumes
        self.images: Images = NodeImages(engine.state, paths, facts.started)
        self._meters = NodeMeters(engine.state, runtime)
        self.meters: Meters = self._meters
        self._engine = engine
        self._carrier = carrier
        self._runtime = runtime
        self._paths = paths
        self._targets = targets

    @property
    def facts(self) -> NodeFacts:
        """What ``info`` tells of this machine and of what is stored on it."""
        return replace(self._facts, warnings=(*self._facts.warnings, *self._engine.unusable()))

    async def submit(self, command: Command) -> object:
        """Carry a command out; returns its answer or raises ``NetError``."""
        if isinstance(command, CreateContainer):
            images.find(self._paths, command.config.image)
            config = with_defaults(command.config, images.defaults(self._paths, command.config.image))
            command = replace(command, config=config)
            check_limits(config.limits, os.cpu_count() or 1)
        elif isinstance(command, UpdateContainer):
            await self._limit(command)
        reply = await self._carrier.submit(await self._targets.complete(command))
        if isinstance(command, CreateContainer) and isinstance(reply, Container):
            self._volumes.prepare(reply)
        return reply

    async def _limit(self, command: UpdateContainer) -> None:
        """New limits are put on a running container before they are recorded: what the kernel refuses changes
        nothing."""
        container = self.state.container(command.container)
        if command.limits is None:
            return
        limits = check_limits(merge(container.config.limits, command.limits), os.cpu_count() or 1)
        if container.running:
            await self._meters.limit(container.id, limits)

    def pool_usage(self, network_id: str) -> dict[str, tuple[int, int]]:
        """Subnet -> (addresses in use, addresses that automatic choice can still take). Of the cluster's networks managers
        know that."""
        network, core = self.state.network(network_id), self._engine.core
        if network.scope == SWARM:
            return {}
        if network.id in core.unusable:
            return {pool.subnet: (0, 0) for pool in network.pools}
        return {pool.subnet: core.ipam.usage(pool.id) for pool in network.pools}

    async def wait(self, container: str, condition: str) -> int:
        """Exit code once ``condition`` (``not-running``, ``next-exit``, ``removed``) holds; raises ``Invalid``."""
        found = self.state.container(container)
        match condition:
            case "not-running" | "":
                running = found.running or found.state.status in ("starting", "restarting")
                return await self._carrier.exit_of(found.id) if running else found.state.exit_code
            case "next-exit":
                return await self._carrier.exit_of(found.id)
            case "removed":
                return await self._removed(found.id, found.state.exit_code, running=not found.state.finished)
            case _:
                raise Invalid(f"invalid condition: {condition!r}", hint="not-running, next-exit or removed")

    def logs(self, container: str, *, follow: bool, tail: int | None, since: float | None) -> AsyncIterator[LogLine]:
        """Output of a container; with ``follow`` until it ends."""
        identifier = self.state.container(container).id
        return self._runtime.logs(identifier, follow=follow, tail=tail, since=since)

    async def attach(self, container: str) -> Stream:
        """Join the standard streams of a container that runs or is about to."""
        return await self._runtime.attach(self.state.container(container).id)

    def exec_create(self, container: str, spec: ExecSpec) -> str:
        """Note a command to run in a running container; returns its id."""
        found = self.state.container(container)
        if found.state.status == "paused":
            raise Conflict(
                f"Container {found.name} is paused, unpause the container before exec",
                hint=f"`fairlead unpause {found.name}` lets it go on",
            )
        return self._runtime.exec_create(found.id, spec)

    async def exec_start(self, exec_id: str) -> Stream:
        """Start it."""
        return await self._runtime.exec_start(exec_id)

    def exec_inspect(self, exec_id: str) -> dict[str, object]:
        """``ID``, ``ContainerID``, ``Running``, ``ExitCode``, ``Pid`` of an exec."""
        return self._runtime.exec_inspect(exec_id)

    async def exec_resize(self, exec_id: str, height: int, width: int) -> None:
        """Tell a terminal's size."""
        await self._runtime.exec_resize(exec_id, height, width)

    async def resize(self, container: str, height: int, width: int) -> None:
        """Tell the size of a container's terminal."""
        await self._runtime.resize(self.state.container(container).id, height, width)

    async def _removed(self, container_id: str, code: int, *, running: bool) -> int:
        exited = self._carrier.exit_of(container_id)
        removed = self._carrier.removal_of(container_id)
        await removed
        if running and exited.done():
            return exited.result()
        exited.cancel()
        return code


async def _preview(engine: Engine, targets: ForeignTargets, command: Command, /, *, start: bool) -> list[str]:
    whole = await targets.complete(command)
    return preview.lines(engine.preview(whole, time.monotonic(), time.time(), start=start))


def collect_facts(
    node_id: str,
    hostname: str,
    started: float,
    pools: tuple[tuple[str, int], ...],
    drivers: tuple[str, ...],
    warnings: tuple[str, ...],
) -> NodeFacts:
    """What ``info`` tells of this machine."""
    release = platform.freedesktop_os_release() if Path("/etc/os-release").exists() else {}
    return NodeFacts(
        id=node_id,
        hostname=hostname,
        kernel=platform.release(),
        operating_system=release.get("PRETTY_NAME", "Linux"),
        architecture=platform.machine(),
        cpus=os.cpu_count() or 1,
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        started=started,
        pid=os.getpid(),
        default_pools=pools,
        drivers=drivers,
        warnings=warnings,
        controllers=_controllers(),
        cgroup_version="2" if cgroups.is_unified() else "1",
    )


def _controllers() -> frozenset[str]:
    """Controllers of control groups that this kernel has switched on (cgroups(7))."""
    try:
        rows = [line.split() for line in Path("/proc/cgroups").read_text().splitlines() if not line.startswith("#")]
    except FileNotFoundError:
        return frozenset()
    return frozenset(row[0] for row in rows if len(row) == 4 and row[3] == "1")
