"""The HTTP mesh in a cluster: switched on and off, told to every node; wrong and ambiguous labels refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from tests.sim.service_world import ServiceWorld, Worker, spec

from fairlead.model import codes
from fairlead.model.cluster import ClusterNetwork
from fairlead.model.cluster_commands import CreateClusterNetwork, DisableHttpMesh, EnableHttpMesh, RemoveClusterNetwork
from fairlead.model.commands import CreateNetwork
from fairlead.model.errors import Conflict, Forbidden, Invalid, NetError
from fairlead.model.http_mesh import HTTP_NETWORK, HttpMesh, RoutedService
from fairlead.model.service import HOST, ServiceNetwork, ServicePort, ServiceSpec
from fairlead.model.session import OWN, Assignments, LeaseUse, NetworkGrant, NetworkWish


class Listener(Worker):
    """A node that keeps what it is told of the mesh."""

    def __init__(self, *what: object) -> None:
        super().__init__(*what)
        self.mesh: HttpMesh | None = None
        self.routes: dict[str, RoutedService] = {}

    def _assigned(self, said: Assignments) -> None:
        super()._assigned(said)
        if said.full:
            self.routes = {}
        if said.settings is not None:
            self.mesh = said.settings.http_mesh
        self.routes |= {one.id: one for one in said.routes}
        for gone in said.routes_gone:
            del self.routes[gone]


class HttpWorld(ServiceWorld):
    """A cluster whose nodes listen."""

    kind = Listener

    def listener(self, name: str) -> Listener:
        node = self.worker(name)
        assert isinstance(node, Listener)
        node.read()
        return node

    def enable(self, **more: object) -> None:
        self.must(EnableHttpMesh(HttpMesh(**more)))  # type: ignore[arg-type]

    def refused(self, wanted: ServiceSpec, kind: type[NetError] = Invalid) -> str:
        with pytest.raises(kind) as caught:
            self.create(wanted)
        return caught.value.message


@pytest.fixture
def world() -> HttpWorld:
    found = HttpWorld.of(2)
    assert isinstance(found, HttpWorld)
    found.network("sea")
    return found


def routed(name: str, network: str = "sea", labels: Mapping[str, str] | None = None, **more: object) -> ServiceSpec:
    """A service with a route, or with these labels."""
    chosen = {"fairlead.http.host": f"{name}.test"} if labels is None else dict(labels)
    return spec(name, network=network, labels=chosen, **more)


def test_every_node_is_told_how_the_mesh_is_and_that_it_is_off(world: HttpWorld) -> None:
    world.enable(port=8080, tls_port=0, certificates="/etc/certs", trusted_proxies=("192.0.2.0/24",))
    network = world.manager.state.network(HTTP_NETWORK)
    wanted = HttpMesh(8080, 0, "/etc/certs", ("192.0.2.0/24",), network.id)
    assert network.network.attachable
    assert {world.listener(name).mesh for name in ("n1", "n2")} == {wanted}
    world.restart()
    world.come_back()
    world.join("n3")
    assert world.listener("n3").mesh == wanted
    world.must(DisableHttpMesh())
    assert {world.listener(name).mesh for name in ("n1", "n2", "n3")} == {None}
    with pytest.raises(Conflict) as caught:
        world.must(DisableHttpMesh())
    assert caught.value.code == codes.HTTP_MESH_OFF
    world.enable()
    assert world.manager.state.network(HTTP_NETWORK).id == network.id


@pytest.mark.parametrize(
    "wrong",
    [
        {"port": 70000},
        {"port": 443},
        {"port": 0, "tls_port": 0},
        {"certificates": "certs"},
        {"trusted_proxies": ("everybody",)},
    ],
)
def test_a_mesh_that_cannot_be_is_refused_and_nothing_changes(world: HttpWorld, wrong: dict[str, object]) -> None:
    with pytest.raises(Invalid):
        world.enable(**wrong)
    assert world.manager.state.cluster.http_mesh is None
    assert world.manager.state.network_named(HTTP_NETWORK) is None


def test_a_port_is_the_mesh_s_or_a_service_s(world: HttpWorld) -> None:
    taken = spec("taken", network="sea", ports=(ServicePort(80, 8080, mode=HOST),))
    world.create(taken)
    with pytest.raises(Invalid) as caught:
        world.enable(port=8080)
    assert "taken" in caught.value.message and caught.value.code == codes.PORT_TAKEN
    world.enable(port=8081)
    said = world.refused(spec("late", network="sea", ports=(ServicePort(80, 443, mode=HOST),)))
    assert "443" in said and "HTTP mesh" in said
    world.create(spec("other", network="sea", ports=(ServicePort(80, 443, "udp", mode=HOST),)))


def test_routes_of_every_service_are_told_to_every_node_and_follow_it(world: HttpWorld) -> None:
    sea = world.manager.state.network("sea").id
    other = world.create(spec("plain", network="sea"))
    web = world.create(routed("web", ports=(ServicePort(8000),)))
    told = RoutedService(web.id, "web", {"fairlead.http.host": "web.test"}, sea, (8000,))
    assert world.listener("n1").routes == world.listener("n2").routes == {web.id: told}
    world.update("web", replace(web.spec, labels=web.spec.labels | {"fairlead.http.path": "/shop", "mine": "x"}))
    assert world.listener("n1").routes[web.id].labels == {
        "fairlead.http.host": "web.test",
        "fairlead.http.path": "/shop",
    }
    world.update("web", rollback=True)
    assert world.listener("n1").routes[web.id] == told
    world.update("plain", replace(other.spec, labels={"com.docker.lb.hosts": "plain.test", "com.docker.lb.port": "80"}))
    assert set(world.listener("n2").routes) == {web.id, other.id}
    world.listener("n2").disconnect()
    world.remove_service("web")
    assert set(world.listener("n1").routes) == {other.id}
    world.listener("n2").connect()
    assert set(world.listener("n2").routes) == {other.id}, "told everything anew, without what has gone"


def test_a_service_is_reached_where_its_labels_say_else_in_the_mesh_s_network_else_in_its_first(
    world: HttpWorld,
) -> None:
    world.enable()
    world.network("shop_lake")
    ids = {name: world.manager.state.network(name).id for name in ("sea", "shop_lake", HTTP_NETWORK)}

    def network_of(*networks: str, **labels: str) -> str:
        wanted = routed(
            "web", "", {"fairlead.http.host": "web.test"} | {k.replace("_", "."): v for k, v in labels.items()}
        )
        task = replace(wanted.task, networks=tuple(map(ServiceNetwork, networks)))
        made = world.create(replace(wanted, task=task))
        found = world.listener("n1").routes[made.id].network_id
        world.remove_service("web")
        world.go(30.0)
        return next(name for name, one in ids.items() if one == found)

    assert network_of("sea", "shop_lake") == "sea"
    assert network_of("sea", HTTP_NETWORK) == HTTP_NETWORK
    assert network_of("sea", HTTP_NETWORK, fairlead_http_network="sea") == "sea"
    in_stack = {"fairlead_http_network": "lake", "com_docker_stack_namespace": "shop"}
    assert network_of("sea", "shop_lake", **in_stack) == "shop_lake"


def test_wrong_labels_are_errors_at_create_and_at_update(world: HttpWorld) -> None:
    assert "fairlead.http.port" in world.refused(
        routed("web", labels={"fairlead.http.host": "a.test", "fairlead.http.port": "x"})
    )
    assert "no network" in world.refused(routed("web", ""))
    assert "lake" in world.refused(
        routed("web", labels={"fairlead.http.host": "a.test", "fairlead.http.network": "lake"})
    )
    assert not world.manager.state.services
    web = world.create(routed("web"))
    with pytest.raises(Invalid):
        world.update("web", replace(web.spec, labels={"fairlead.http.pot": "80"}))
    assert world.service().spec == web.spec


def test_an_ambiguous_route_names_both_services(world: HttpWorld) -> None:
    web = world.create(routed("web"))
    taken = routed("blog", labels={"com.docker.lb.hosts": "web.test", "com.docker.lb.port": "80"})
    said = world.refused(taken, Conflict)
    assert "web" in said and "blog" in said and "web.test" in said
    world.update("web", replace(web.spec, labels={"fairlead.http.host": "www.test"}))
    blog = world.create(taken)
    with pytest.raises(Conflict):
        world.update("web", rollback=True)
    world.remove_service("blog")
    world.update("web", rollback=True)
    assert world.service().spec.labels == {"fairlead.http.host": "web.test"} and blog.spec.name == "blog"


def test_nodes_join_networks_for_services_with_routes_also_such_that_containers_may_not(world: HttpWorld) -> None:
    lake = world.must(CreateClusterNetwork(CreateNetwork("lake", "overlay")))
    assert isinstance(lake, ClusterNetwork)
    world.enable()
    node = world.listener("n1")
    assert isinstance(node.say(NetworkWish("lake", own=True)), Forbidden)
    web = world.create(routed("web", "lake"))
    assert isinstance(node.say(NetworkWish("lake")), Forbidden)
    assert node.say(NetworkWish("lake", own=True)) == NetworkGrant(lake.id)
    node.read()
    (lease,) = (one for one in node.leases.values() if one.network_id == lake.id and not one.holder)
    node.use(lease, OWN)
    world.remove_service(web.spec.name)
    world.go(30.0)
    world.ask(RemoveClusterNetwork("lake"))
    node.read()
    assert lake.id in node.removing, "the node's own place keeps no network from being removed"
    node.say(LeaseUse(((lease.id, lease.generation, ""),)))
    node.give_back(lease)
    world.go(1.0)
    assert world.manager.state.network_named("lake") is None
