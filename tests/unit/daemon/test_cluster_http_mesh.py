"""A node's part in the HTTP mesh: which networks it joins, and what the proxy is told and when."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

from tests.unit.engine.test_balancing import WEB, elsewhere
from tests.unit.engine.test_cluster import ID, Cluster

from fairlead.daemon.cluster.contract import MeshOrders
from fairlead.daemon.cluster.http_mesh import NodeMesh
from fairlead.daemon.contract import Crews, Leases, NoCluster
from fairlead.engine.engine import Engine
from fairlead.engine.outcome import Crew
from fairlead.mesh.wish import HttpTask, Wish
from fairlead.model.commands import Command
from fairlead.model.errors import NetError, Unavailable
from fairlead.model.events import Event, NamesSeen, PeersComplete
from fairlead.model.http_mesh import HTTP_NETWORK, HttpMesh, RoutedService
from fairlead.model.settings import Paths

#: Seconds that anything may take.
PATIENCE_S = 30.0
SHOP = RoutedService("svc1", "shop", {"fairlead.http.host": "shop.test"}, ID)
ON = MeshOrders(HttpMesh(), {SHOP.id: SHOP})


@dataclass
class Status:
    running: bool = False
    pid: int = 0
    changes: int = 0
    reloads: int = 0
    restarts: int = 0
    warnings: tuple[str, ...] = ()


class Proxies:
    """Proxies by word of mouth: what they were told, whether one runs, and why one cannot."""

    def __init__(self) -> None:
        self.running = False
        self.told: list[Wish] = []
        self.places: list[str] = []
        self.fault: NetError | None = None

    def make(self, folder: Path, netns: str) -> Proxies:
        self.places.append(netns)
        return self

    async def start(self, wish: Wish | None) -> None:
        if wish is not None:
            await self.apply(wish)

    async def apply(self, wish: Wish) -> None:
        if self.fault is not None:
            raise self.fault
        self.running = True
        if not self.told or self.told[-1] != wish:
            self.told.append(wish)

    async def stop(self) -> None:
        self.running = False

    async def release(self) -> None:
        pass

    def status(self) -> Status:
        return Status(self.running, 77 if self.running else 0)

    async def metrics(self) -> str:
        return "up 1\n"

    def tasks(self) -> set[HttpTask]:
        """Those of the only service, as told last."""
        services = self.told[-1].services if self.told else ()
        return {task for service in services for task in service.tasks}


class Node:
    """A node in a cluster whose engine is the real one."""

    def __init__(self, proxies: Proxies) -> None:
        self.world = Cluster()
        self.world.grant(10, 11, 12)
        self.engine: Engine = self.world.engine
        self.leases: Leases = NoCluster()
        self.crews: Crews = NoCluster()
        self.proxies = proxies
        self.mesh = NodeMesh(self, Paths(), proxies.make)

    async def submit(self, command: Command) -> object:
        reply = self.world.tell(command).reply
        await self.act()
        return reply

    async def hear(self, event: Event) -> None:
        self.world.tell(event)
        await self.act()

    async def act(self) -> None:
        """Do what the last outcome wants done, as far as it is for the mesh."""
        for message in self.world.outcomes[-1].messages:
            if isinstance(message, Crew):
                await self.crews.crew(message.network_id, message.service_id)

    def networks(self) -> set[str]:
        """Where the mesh's sandbox is."""
        return set(self.mesh.seen().networks)

    def sandboxes(self) -> list[str]:
        return [sandbox.name for sandbox in self.engine.state.bare_sandboxes.values()]


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - what happens at the node's own pace tells nobody
            await asyncio.sleep(0.01)


def play(scene: Callable[[Node], Awaitable[None]]) -> None:
    async def run() -> None:
        node = Node(Proxies())
        try:
            await scene(node)
        finally:
            await node.mesh.close()

    asyncio.run(run())


def test_the_proxy_follows_services_and_their_tasks() -> None:
    async def scene(node: Node) -> None:
        await node.mesh.start(ON)
        await until(lambda: node.networks() == {ID} and node.proxies.told)
        assert node.sandboxes() == [HTTP_NETWORK] and node.proxies.tasks() == set()
        elsewhere(node.world, 20)
        await node.act()
        elsewhere(node.world, 21, replace(WEB, weight=3))
        await node.act()
        assert node.proxies.tasks() == {HttpTask("10.0.1.20"), HttpTask("10.0.1.21", 3)}, "before it is done"
        await node.hear(NamesSeen(ID, (("e20", None),)))
        assert node.proxies.tasks() == {HttpTask("10.0.1.21", 3)}
        node.mesh.assign(replace(ON, services={SHOP.id: replace(SHOP, labels={"fairlead.http.host": "a.test"})}))
        await until(lambda: node.proxies.told[-1].services[0].routes[0].host == "a.test")
        node.mesh.assign(replace(ON, services={}))
        await until(lambda: not node.networks())
        assert node.proxies.told[-1].services == () and node.proxies.running

    play(scene)


def test_a_network_that_is_to_go_is_left_and_one_without_address_is_tried_again() -> None:
    async def scene(node: Node) -> None:
        other = replace(SHOP, id="svc2", name="other", network_id="ee" * 32)
        both = replace(ON, services={SHOP.id: SHOP, other.id: other})
        await node.mesh.start(both)
        await until(lambda: node.networks() == {ID})
        await until(lambda: any("ee" * 32 in fault for fault in node.mesh.seen().faults))
        assert [len(service.routes) for service in node.proxies.told[-1].services] == [1, 1]
        node.mesh.assign(replace(both, removing=(ID,)))
        await until(lambda: not node.networks())

    play(scene)


def test_a_proxy_that_runs_is_left_alone_until_gossip_has_told_all() -> None:
    """Else who is not known yet after a restart would be taken out."""

    async def scene(node: Node) -> None:
        await node.mesh.start(ON)
        await until(lambda: node.networks() == {ID} and node.proxies.told)
        await node.mesh.close()
        node.proxies.told.clear()
        node.mesh = NodeMesh(node, Paths(), node.proxies.make)
        await node.mesh.start(ON)
        await until(lambda: node.mesh.seen().running)
        elsewhere(node.world, 20)
        await node.act()
        assert node.proxies.told == []
        await node.hear(PeersComplete(ID))
        assert node.proxies.tasks() == {HttpTask("10.0.1.20")}

    play(scene)


def test_what_keeps_the_proxy_from_running_is_told_and_tried_again() -> None:
    async def scene(node: Node) -> None:
        node.proxies.fault = Unavailable("port 80 of this node is held by another program")
        await node.mesh.start(ON)
        await until(lambda: "port 80" in str(node.mesh.seen().faults))
        assert not node.mesh.seen().running
        node.proxies.fault = None
        await until(lambda: node.mesh.seen().running and not node.mesh.seen().faults)
        assert await node.mesh.metrics() == "up 1\n"

    play(scene)


def test_switched_off_nothing_of_it_stays_also_what_a_former_daemon_left() -> None:
    async def scene(node: Node) -> None:
        await node.mesh.start(ON)
        await until(lambda: node.networks() == {ID})
        await node.mesh.close()
        assert node.proxies.running and node.sandboxes() == [HTTP_NETWORK], "over a restart it goes on"
        again = NodeMesh(node, Paths(), node.proxies.make)
        await again.start(MeshOrders())
        await until(lambda: not node.sandboxes())
        await again.close()
        assert not node.proxies.running and not again.seen().running and len(set(node.proxies.places)) == 1

    play(scene)


def test_a_node_that_leaves_takes_it_along() -> None:
    async def scene(node: Node) -> None:
        await node.mesh.start(ON)
        await until(lambda: node.networks() == {ID})
        await node.mesh.leave()
        assert not node.sandboxes() and not node.proxies.running

    play(scene)
