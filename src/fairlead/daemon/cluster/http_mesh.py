"""This node's part in the HTTP mesh: a sandbox with a place in each network of services that have routes, and the proxy
that leads requests from the node's ports through it to their tasks.

Managers say whether there is a mesh and which services have routes (``MeshOrders``); who is ready is known to the engine, by
gossip, so the proxy follows it without managers too. Joining networks may take its time, and does not keep the proxy from
being told of other changes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from fairlead.daemon.cluster.certificates import CertificateFolder
from fairlead.daemon.cluster.contract import MeshOrders
from fairlead.daemon.contract import Crews, Leases, NoCluster
from fairlead.engine.engine import Engine
from fairlead.mesh import labels, routes
from fairlead.mesh.wish import Frontends, HttpRoute, HttpService, HttpTask, Wish
from fairlead.model.commands import Command, ConnectNetwork, CreateSandbox, DisconnectNetwork, RemoveSandbox
from fairlead.model.errors import Internal, NetError, Unavailable
from fairlead.model.http_mesh import HTTP_NETWORK, HttpMesh, HttpMeshSeen, RoutedService, RouteSeen
from fairlead.model.network import SWARM
from fairlead.model.sandbox import Sandbox, SandboxSettings
from fairlead.model.settings import Paths

log = logging.getLogger(__name__)

#: What the proxy has, in the node's run-time directory.
FOLDER = "http-mesh"
#: Seconds until what could not be done is tried again: a port that is taken, a network that no manager lets us into.
AGAIN_S = 2.0
#: Seconds for which a proxy that a former daemon left goes on with what that one knew, if gossip does not come round.
KNOW_S = 10.0
#: Seconds that who stops a task waits for the proxy to hear of it; it takes a millisecond.
CREW_S = 1.0


class Carries(Protocol):
    """What carries commands out on this node (``daemon.carrier``)."""

    engine: Engine
    leases: Leases
    crews: Crews

    async def submit(self, command: Command) -> object:
        """Carry a command out and return its answer; raises ``NetError``."""


class ProxyStatus(Protocol):
    """How a proxy is."""

    running: bool
    pid: int
    changes: int
    reloads: int
    restarts: int
    warnings: tuple[str, ...]


class Proxy(Protocol):
    """A node's proxy (``daemon.http_proxy``)."""

    async def start(self, wish: Wish | None) -> None:
        """Run, or take over the one that runs; with None that only. Raises ``NetError``."""

    async def apply(self, wish: Wish) -> None:
        """Have it do this from now on; raises ``NetError``."""

    async def stop(self) -> None:
        """End it."""

    async def release(self) -> None:
        """Let it run on without us."""

    def status(self) -> ProxyStatus:
        """How it is."""

    async def metrics(self) -> str:
        """Its numbers, for Prometheus."""


#: Makes the proxy that has its files in a folder and reaches tasks out of a network namespace (a path; empty: our own).
ProxyFactory = Callable[[Path, str], Proxy]


class NodeMesh:
    """There is one in a daemon; it does nothing before ``start``. Implements ``daemon.contract.Crews``."""

    def __init__(self, carrier: Carries, paths: Paths, make_proxy: ProxyFactory) -> None:
        self._carrier = carrier
        self._paths = paths
        self._make_proxy = make_proxy
        self._orders = MeshOrders()
        self._routes: dict[str, tuple[RoutedService, tuple[HttpRoute, ...]]] = {}
        self._proxy: Proxy | None = None
        self._netns = ""
        self._wanted = asyncio.Event()
        self._work: asyncio.Task[None] | None = None
        self._again: asyncio.TimerHandle | None = None
        self._folder: CertificateFolder | None = None
        #: Whether what is known of tasks is all that is known; before that a proxy that runs is left alone.
        self._knows = False
        self._know_at = 0.0
        self._due = False
        self._telling = asyncio.Lock()
        self._tellings: set[asyncio.Task[None]] = set()
        #: What is not as it should be, by what it is about.
        self._faults: dict[str, str] = {}

    async def start(self, orders: MeshOrders) -> None:
        """Begin, with what was wanted last."""
        self._orders = orders
        self._carrier.crews = self
        self._know_at = asyncio.get_running_loop().time() + KNOW_S
        self._work = asyncio.get_running_loop().create_task(self._live())
        self._wanted.set()

    def assign(self, orders: MeshOrders) -> None:
        """This is wanted now."""
        self._orders = orders
        self._wanted.set()

    async def crew(self, network_id: str, service_id: str) -> None:
        """As ``daemon.contract.Crews``."""
        if self._proxy is None or not (service_id == "" or service_id in self._orders.services):
            return
        telling = asyncio.get_running_loop().create_task(self._try("proxy", self._tell()))
        self._tellings.add(telling)
        telling.add_done_callback(self._tellings.discard)
        await asyncio.wait({telling}, timeout=CREW_S)

    async def close(self) -> None:
        """End; the proxy runs on."""
        await self._call_off()
        if self._proxy is not None:
            await self._proxy.release()
            self._proxy = None

    async def leave(self) -> None:
        """The node leaves its cluster: nothing of the mesh stays; what cannot be taken away is told."""
        await self._call_off()
        self._orders = MeshOrders()
        await self._try("mesh", self._withdraw())
        await self._call_off()

    def seen(self) -> HttpMeshSeen:
        """The mesh as this node has it."""
        mesh = self._orders.mesh
        if mesh is None:
            return HttpMeshSeen()
        status = self._proxy.status() if self._proxy is not None else None
        found = self._services()
        _, clashes = routes.arrange(found)
        told = [*self._faults.values(), *map(str, clashes), *(status.warnings if status is not None else ())]
        if self._folder is not None and self._folder.fault:
            told.append(self._folder.fault)
        return HttpMeshSeen(
            mesh,
            running=status is not None and status.running,
            pid=status.pid if status is not None else 0,
            changes=status.changes if status is not None else 0,
            reloads=status.reloads if status is not None else 0,
            restarts=status.restarts if status is not None else 0,
            routes=tuple(
                RouteSeen(route.host, route.path, service.name, route.port, route.tls, len(service.tasks))
                for service in found
                for route in service.routes
            ),
            networks=tuple(sorted(self._joined(self._sandbox()))),
            faults=tuple(dict.fromkeys(told)),
        )

    async def metrics(self) -> str:
        """The proxy's numbers, for Prometheus; empty without one."""
        with suppress(Unavailable):
            return await self._proxy.metrics() if self._proxy is not None else ""
        return ""

    async def _live(self) -> None:
        """Make it what is wanted, whenever that or something of the node has changed."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            self._faults = {}
            await self._try("mesh", self._settle())
            if self._faults:
                self._look_again(AGAIN_S)

    async def _settle(self) -> None:
        mesh = self._orders.mesh
        if mesh is None:
            await self._withdraw()
            return
        sandbox = self._sandbox() or await self._make_sandbox()
        await self._watch(mesh.certificates)
        await self._try("proxy", self._open(sandbox))
        await self._try("proxy", self._tell())  # before a network is left nothing is sent there
        await self._join(sandbox)
        await self._try("proxy", self._tell())

    async def _open(self, sandbox: Sandbox) -> None:
        """Have a proxy that reaches tasks out of this sandbox; one that runs already is left as it is for now."""
        netns = f"{self._paths.netns}/{sandbox.netns}"
        if self._proxy is not None and self._netns != netns:
            proxy, self._proxy = self._proxy, None
            await proxy.stop()
        if self._proxy is None:
            proxy = self._make_proxy(Path(self._paths.run) / FOLDER, netns)
            await proxy.start(None)
            self._proxy, self._netns = proxy, netns
            self._knows = not proxy.status().running
        if not self._proxy.status().running:
            await self._proxy.start(self._wish())

    async def _join(self, sandbox: Sandbox) -> None:
        """Be in the networks of the services, and in no others."""
        wanted = {one.network_id for one in self._orders.services.values() if one.network_id}
        wanted -= {*self._orders.removing}
        joined = self._joined(sandbox)
        for network_id in sorted(joined - wanted):
            leaving = DisconnectNetwork(network_id, sandbox.id, own=True)
            await self._try(f"network {network_id}", self._submit(leaving))
        for network_id in sorted(wanted - joined):
            await self._try(f"network {network_id}", self._enter(network_id, sandbox))

    async def _enter(self, network_id: str, sandbox: Sandbox) -> None:
        if network_id not in self._carrier.engine.state.networks:
            await self._carrier.leases.admit(network_id, own=True)
        await self._submit(ConnectNetwork(network_id, sandbox.id, own=True))
        await self._try("proxy", self._tell())

    async def _submit(self, command: ConnectNetwork | DisconnectNetwork | RemoveSandbox) -> None:
        await self._carrier.submit(command)

    async def _tell(self) -> None:
        """Tell the proxy what it is to do by what is known now; who waits while another tells is told for by him."""
        self._due = True
        async with self._telling:
            if not self._due or self._proxy is None or not self._knows_all():
                return
            self._due = False
            await self._proxy.apply(self._wish())

    def _knows_all(self) -> bool:
        """Whether gossip has told of all networks; not waited for for ever."""
        if not self._knows:
            hearsay, sandbox = self._carrier.engine.core.hearsay, self._sandbox()
            told = all(one in hearsay and hearsay[one].complete for one in self._joined(sandbox))
            remains_s = self._know_at - asyncio.get_running_loop().time()
            self._knows = told or remains_s <= 0
            if not self._knows:
                self._look_again(remains_s)
        return self._knows

    def _wish(self) -> Wish:
        mesh = self._orders.mesh or HttpMesh()
        frontends = Frontends(mesh.port, mesh.tls_port, mesh.trusted_proxies)
        return Wish(frontends, self._services(), self._folder.found if self._folder is not None else ())

    def _services(self) -> tuple[HttpService, ...]:
        """Services with routes and their ready tasks, as far as this node reaches them."""
        joined = self._joined(self._sandbox())
        known, self._routes = self._routes, {}
        found = []
        for service in self._orders.services.values():
            read = known.get(service.id)
            if read is None or read[0] != service:
                read = service, self._read(service)
            self._routes[service.id] = read
            if read[1]:
                tasks = self._tasks(service) if service.network_id in joined else ()
                found.append(HttpService(service.id, service.name, read[1], tasks))
        return tuple(found)

    def _read(self, service: RoutedService) -> tuple[HttpRoute, ...]:
        try:
            return labels.parse(service.labels, f"service {service.name}", service.ports)
        except NetError as error:  # what a manager of another version let pass
            log.warning("routes are left out: %s", error)
            return ()

    def _tasks(self, service: RoutedService) -> tuple[HttpTask, ...]:
        board = self._carrier.engine.core.boards.get(service.network_id)
        ready = board.tasks(service.id) if board is not None else ()
        return tuple(
            {one.ipv4 or one.ipv6: HttpTask(one.ipv4 or one.ipv6, one.backend.weight) for one in ready}.values()
        )

    def _sandbox(self) -> Sandbox | None:
        """The mesh's sandbox, if it is there."""
        bare = self._carrier.engine.state.bare_sandboxes.values()
        return next((one for one in bare if one.own and one.name == HTTP_NETWORK), None)

    async def _make_sandbox(self) -> Sandbox:
        command = CreateSandbox(SandboxSettings(HTTP_NETWORK, dns_mode="off"), own=True)
        made = await self._carrier.submit(command)
        if not isinstance(made, Sandbox):
            raise Internal(f"{CreateSandbox.__name__} was answered with {type(made).__name__}")
        return made

    def _joined(self, sandbox: Sandbox | None) -> set[str]:
        """Networks of the cluster (ids) that a sandbox is in."""
        state = self._carrier.engine.state
        present = state.sandboxes.get(sandbox.id) if sandbox is not None else None
        ids = (state.endpoints[one].network_id for one in (present.endpoints if present is not None else ()))
        return {one for one in ids if state.networks[one].scope == SWARM}

    async def _withdraw(self) -> None:
        """Have nothing of the mesh here."""
        await self._watch("")
        proxy, self._proxy = self._proxy, None
        sandbox = self._sandbox()
        if proxy is None and sandbox is not None:  # one that a former daemon left
            proxy = self._make_proxy(Path(self._paths.run) / FOLDER, f"{self._paths.netns}/{sandbox.netns}")
            await proxy.start(None)
        if proxy is not None:
            await proxy.stop()
        if sandbox is not None:
            await self._submit(RemoveSandbox(sandbox.id, own=True))

    async def _watch(self, folder: str) -> None:
        """Follow the certificates of a folder, of no other, and (empty) of none."""
        if self._folder is not None and self._folder.path == folder:
            return
        if self._folder is not None:
            await self._folder.close()
            self._folder = None
        if folder:
            self._folder = CertificateFolder(folder, self._follow_certificates)
            await self._folder.start()

    async def _follow_certificates(self) -> None:
        await self._try("proxy", self._tell())

    async def _try(self, what: str, work: Coroutine[object, object, None]) -> None:
        """Do it; what fails is told, and keeps nothing else from being done."""
        try:
            await work
        except NetError as error:
            if self._faults.get(what) != str(error):
                log.error("HTTP mesh, %s: %s", what, error)
            self._faults[what] = str(error)
            self._look_again(AGAIN_S)
        except Exception:  # a supervisor: the node goes on without a mesh, and tries again
            log.exception("the HTTP mesh met a fault")
            self._faults[what] = "an error inside Fairlead; the daemon's log has the details"
            self._look_again(AGAIN_S)

    def _look_again(self, after_s: float) -> None:
        loop = asyncio.get_running_loop()
        if self._again is not None:
            if loop.time() < self._again.when() <= loop.time() + after_s:
                return
            self._again.cancel()
        self._again = loop.call_later(after_s, self._wanted.set)

    async def _call_off(self) -> None:
        self._carrier.crews = NoCluster()
        if self._again is not None:
            self._again.cancel()
        work, self._work = self._work, None
        if work is not None:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
        await asyncio.gather(*self._tellings)
        await self._watch("")
