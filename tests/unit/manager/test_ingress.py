"""The network of published ports: services that publish are in it, every node is as long as one does, and then nobody."""

from __future__ import annotations

import pytest
from tests.sim.service_world import ServiceWorld, spec

from fairlead.model.cluster import ENTRY, ClusterNetwork
from fairlead.model.cluster_commands import CreateClusterNetwork, GrowNetwork, RemoveClusterNetwork
from fairlead.model.commands import CreateNetwork
from fairlead.model.errors import Forbidden, Invalid, NetError
from fairlead.model.network import PoolRequest
from fairlead.model.service import DNSRR, HOST, ServicePort

WEB = ServicePort(80, 8080)


@pytest.fixture
def world() -> ServiceWorld:
    return ServiceWorld.of(3)


def ingress(world: ServiceWorld) -> ClusterNetwork:
    """The network."""
    return world.manager.state.networks[world.manager.state.ingress_id]


def entries(world: ServiceWorld) -> list[str]:
    """Nodes that have an entry."""
    return sorted(lease.node_id for lease in world.manager.state.leases.values() if lease.holder == ENTRY)


def test_every_node_has_an_entry_as_long_as_a_service_publishes_a_port(world: ServiceWorld) -> None:
    world.create(spec("quiet"))
    world.create(spec("local", ports=(ServicePort(80, 9000, mode=HOST),)))
    world.go()
    assert entries(world) == []
    world.create(spec(ports=(WEB,)))
    world.go()
    assert entries(world) == sorted(world.manager.state.nodes)
    world.join("late")
    world.go()
    assert entries(world) == sorted(world.manager.state.nodes)
    assert len({lease.address for lease in world.manager.state.places.within(ingress(world).id)}) == 7
    world.update("web", spec())
    world.go()
    assert entries(world) == []
    world.update("web", spec(ports=(WEB,)))
    world.go()
    assert len(entries(world)) == 5
    world.remove_service("web")
    world.go(2)
    assert entries(world) == []


def test_tasks_and_services_have_an_address_there(world: ServiceWorld) -> None:
    network = ingress(world)
    assert network.network.ipv6
    world.network("sea")
    world.create(spec(replicas=2, network="sea", ports=(WEB,)))
    world.go()
    for task in world.running():
        assert [place.network_id for place in task.addresses][1:] == [network.id]
        assert all(place.ipv4 for place in task.addresses) and task.addresses[1].ipv6
        assert task.ports == (WEB,)
    assert [vip.network_id for vip in world.service().vips][1:] == [network.id]
    world.check_end()
    world.update("web", spec(replicas=2, network="sea"))
    world.go()
    assert all(len(task.addresses) == 1 for task in world.running()) and len(world.service().vips) == 1


def test_nodes_are_told_which_network_it_is(world: ServiceWorld) -> None:
    world.create(spec(ports=(WEB,)))
    world.go()
    node = world.worker("n1")
    assert [lease.holder for lease in node.leases.values() if lease.network_id == ingress(world).id][:1] == [ENTRY]


def test_what_a_restarted_manager_finds_is_the_same(world: ServiceWorld) -> None:
    world.create(spec(ports=(WEB,)))
    world.go()
    before = {lease.id for lease in world.manager.state.leases.values() if lease.holder == ENTRY}
    world.restart()
    world.go()
    assert {lease.id for lease in world.manager.state.leases.values() if lease.holder == ENTRY} == before


def test_the_network_cannot_go_or_grow_under_published_ports_and_none_are_without_it(world: ServiceWorld) -> None:
    network = ingress(world)
    world.create(spec(ports=(WEB,)))
    world.go()
    said = "ingress network cannot be removed because service .* depends on it"
    with pytest.raises(NetError, match=said):
        world.must(RemoveClusterNetwork(network.id))
    with pytest.raises(Invalid, match="one subnet"):
        world.must(GrowNetwork(network.id, (PoolRequest("10.99.0.0/24"),)))
    world.remove_service("web")
    world.go(2)
    world.must(RemoveClusterNetwork(network.id))
    world.go(2)
    with pytest.raises(NetError, match="service needs ingress network, but no ingress network is present"):
        world.create(spec(ports=(WEB,)))
    pools = (PoolRequest("10.99.0.0/29"), PoolRequest("10.98.0.0/24"))
    with pytest.raises(Invalid, match="one subnet"):
        world.must(CreateClusterNetwork(CreateNetwork("mesh", "overlay", pools=pools), ingress=True))
    world.must(CreateClusterNetwork(CreateNetwork("mesh", "overlay", pools=pools[:1]), ingress=True))
    world.create(spec(ports=(WEB,)))
    world.go()
    assert len(entries(world)) == 4, "of five addresses one is the service's, four are left for the nodes"
    assert "no available addresses" in world.tasks()[0].status.error


def test_ports_that_cannot_be_are_refused(world: ServiceWorld) -> None:
    with pytest.raises(NetError, match="can't be used with dnsrr mode"):
        world.create(spec(ports=(WEB,), endpoint_mode=DNSRR))
    with pytest.raises(NetError, match="cannot be used with host networking"):
        world.create(spec(network="host", ports=(WEB,)))
    with pytest.raises((Forbidden, Invalid), match="cannot be explicitly attached"):
        world.create(spec(network="ingress"))
    wanted = spec(labels={"fairlead.ingress.snat": "maybe"})
    with pytest.raises(Invalid, match="known are true, false"):
        world.create(wanted)
