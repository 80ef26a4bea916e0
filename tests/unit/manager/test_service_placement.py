"""Where tasks go, which addresses and ports they get, and what is said of those that wait."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from tests.sim.service_world import BROKEN, ServiceWorld, quick, rule, spec

from fairlead.manager import constraints
from fairlead.model.cluster import DRAIN, ClusterNode, NodeDescription, NodeSpec
from fairlead.model.cluster_commands import CreateClusterNetwork, GrowNetwork, UpdateNode
from fairlead.model.commands import CreateNetwork
from fairlead.model.network import PoolRequest
from fairlead.model.service import (
    DNSRR,
    GLOBAL,
    HOST,
    START_FIRST,
    Placement,
    Resources,
    Restart,
    ServiceNetwork,
    ServicePort,
    Task,
    TaskState,
    TaskStatus,
)
from fairlead.model.session import LeaseUse, NetworkWish, StatusReport, TaskReport


@pytest.fixture
def world() -> ServiceWorld:
    return ServiceWorld.of(3)


def _reasons(world: ServiceWorld) -> set[str]:
    return {task.status.error for task in world.live() if task.status.state == TaskState.PENDING}


def _labels(world: ServiceWorld, name: str, **labels: str) -> None:
    node = world.manager.state.node(name)
    world.must(UpdateNode(name, replace(node.spec, labels=labels)))


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("node.id==abc", True),
        ("node.id != abc", False),
        ("node.hostname==ONE", True),
        ("node.ip==192.0.2.7", True),
        ("node.ip==192.0.2.0/24", True),
        ("node.ip!=192.0.2.0/24", False),
        ("node.ip==2001:db8::/32", False),
        ("node.role==worker", True),
        ("node.platform.os==linux", True),
        ("node.platform.arch!=x86_64", False),
        ("node.labels.disk==ssd", True),
        ("node.labels.rack==", None),
        ("node.labels.rack!=3", True),
        ("engine.labels.gpu==yes", True),
        ("node.mood==good", None),
        ("node.id=abc", None),
        ("n==1", None),
        ("node.id==a!b", None),
    ],
)
def test_constraints(text: str, fits: bool | None) -> None:
    node = ClusterNode(
        "abc",
        0.0,
        0.0,
        NodeSpec(labels={"disk": "SSD"}),
        NodeDescription("one", labels={"gpu": "yes"}),
        address="192.0.2.7",
    )
    if fits is None:
        with pytest.raises(Exception, match=r"InvalidArgument desc = (key|value|constraint)"):
            constraints.parse(text)
    else:
        assert constraints.parse(text).admits(node) is fits


def test_who_waits_says_why_in_swarms_words_and_when_it_can_go_it_goes(world: ServiceWorld) -> None:
    world.create(spec(replicas=2, reservations=Resources(memory_bytes=3 << 30)))
    world.create(spec("more", 3, reservations=Resources(nano_cpus=4_000_000_000)))
    world.availability("n3", DRAIN)
    world.go(1)
    world.update("web", spec(replicas=3, reservations=Resources(memory_bytes=3 << 30)))
    world.go(1)
    said = "no suitable node (2 nodes not available for new tasks; insufficient resources on 2 nodes)"
    assert _reasons(world) == {said}
    assert "task pending" in world.notices
    world.remove_service("more")
    world.availability("n3", "active")
    world.go(1)
    assert _reasons(world) == set()
    assert len(world.running()) == 3


def test_sec_01_tasks_of_encrypted_networks_run_where_the_kernel_can_encrypt(world: ServiceWorld) -> None:
    def able(name: str) -> None:
        node = world.worker(name)
        node.description = replace(node.description, no_encryption="")
        node.say(StatusReport(node.description))

    able("m")
    world.must(CreateClusterNetwork(CreateNetwork("vault", "overlay", options={"encrypted": ""})))
    world.create(spec(replicas=2, network="vault"))
    said = "no suitable node (1 node not available for new tasks; encrypted networks not supported on 3 nodes)"
    assert _reasons(world) == {said}
    able("n2")
    world.go()
    assert {world.manager.state.nodes[task.node_id].description.hostname for task in world.running()} == {"n2"}
    assert len(world.running()) == 2
    world.create(spec("clear", 3))
    world.go()
    assert len(world.running("clear")) == 3


def test_constraints_and_the_most_replicas_of_a_node(world: ServiceWorld) -> None:
    world.create(spec(replicas=2, placement=Placement(("node.hostname==n2",), max_replicas=1)))
    world.go()
    assert [world.manager.state.nodes[task.node_id].description.hostname for task in world.running()] == ["n2"]
    (reason,) = _reasons(world)
    assert reason == (
        "no suitable node (1 node not available for new tasks; scheduling constraints not satisfied on 2 nodes; "
        "max replicas per node limit exceed)"
    )
    world.update("web", spec(replicas=2, placement=Placement(("node.hostname==n2",), max_replicas=2)))
    world.go(5)
    assert len(world.worker("n2").running) == 2


def test_tasks_spread_over_the_values_of_labels_first() -> None:
    world = ServiceWorld.of(4)
    for name, rack in (("n1", "a"), ("n2", "b"), ("n3", "b"), ("n4", "b")):
        _labels(world, name, rack=rack)
    world.create(spec(replicas=6, placement=Placement(spread=("node.labels.rack",))))
    world.go()
    count = {name: len(world.worker(name).running) for name in ("n1", "n2", "n3", "n4")}
    assert count == {"n1": 3, "n2": 1, "n3": 1, "n4": 1}


def test_a_node_where_a_service_fails_often_is_left_alone() -> None:
    world = ServiceWorld.of(2)
    world.create(spec(restart=quick()))
    world.availability("n2", DRAIN)
    world.go()
    for _ in range(5):
        (task,) = world.running()
        world.worker("n1").kill(task.id)
        world.go()
    world.availability("n2", "active")
    world.create(spec("other"))
    (task,) = world.running()
    world.worker("n1").kill(task.id)
    world.go()
    assert len(world.worker("n2").running) == 2


def test_host_ports_keep_tasks_apart_by_the_address_they_are_bound_to(world: ServiceWorld) -> None:
    world.create(spec(replicas=4, ports=(ServicePort(80, 8080, mode=HOST),)))
    world.go()
    assert len(world.running()) == 3
    assert _reasons(world) == {
        "no suitable node (1 node not available for new tasks; host-mode port already in use on 3 nodes)"
    }
    world.remove_service("web")
    world.go(5)
    world.create(spec("a", 3, ports=(ServicePort(80, 8080, mode=HOST, host_ip="192.0.2.1"),)))
    world.create(spec("b", 3, ports=(ServicePort(80, 8080, mode=HOST, host_ip="192.0.2.2"),)))
    world.go()
    assert (len(world.running("a")), len(world.running("b"))) == (3, 3)


def test_published_ports_are_chosen_kept_and_refused(world: ServiceWorld) -> None:
    first = world.create(spec(ports=(ServicePort(80),)))
    assert first.ports == (ServicePort(80, 30000),)
    more = world.update("web", spec(ports=(ServicePort(80), ServicePort(443, 8443))))
    assert [port.published for port in more.ports] == [30000, 8443]
    with pytest.raises(Exception, match=f"port '8443' is already in use by service '{first.id}' as an ingress port"):
        world.create(spec("other", ports=(ServicePort(1, 8443),)))
    with pytest.raises(Exception, match="can't be used with dnsrr mode"):
        world.create(spec("other", ports=(ServicePort(1),), endpoint_mode=DNSRR))
    with pytest.raises(Exception, match="duplicate published ports"):
        world.create(spec("other", ports=(ServicePort(1, 90), ServicePort(2, 90))))
    world.restart()
    assert world.create(spec("other", ports=(ServicePort(80),))).ports[0].published == 30001
    world.remove_service("web")
    assert world.create(spec("third", ports=(ServicePort(1, 8443),))).ports[0].published == 8443


def test_a_virtual_address_is_kept_for_life_and_goes_with_its_network(world: ServiceWorld) -> None:
    sea, lake = world.network("sea"), world.network("lake")
    made = world.create(spec(network="sea"))
    (vip,) = made.vips
    assert vip.network_id == sea.id
    assert world.manager.state.leases[f"{sea.id}/{vip.address.partition('/')[0]}"].holder == f"service:{made.id}"
    both = (ServiceNetwork("sea"), ServiceNetwork("lake"))
    changed = world.update("web", replace(made.spec, task=replace(made.spec.task, networks=both)))
    assert changed.vips[0] == vip
    assert changed.vips[1].network_id == lake.id
    world.restart()
    assert world.service().vips == changed.vips
    only = world.update("web", replace(made.spec, endpoint_mode=DNSRR))
    assert only.vips == ()
    for node in world.workers():
        node.connect()
    world.go(30)
    assert not [one for one in world.manager.state.leases.values() if one.holder.startswith("service:")]


def test_each_task_has_a_lease_on_its_node_which_is_free_after_it(world: ServiceWorld) -> None:
    sea = world.network("sea", "10.9.0.0/24")
    world.create(spec(replicas=3, network="sea"))
    world.go()
    for task in world.running():
        (place,) = task.addresses
        lease = world.manager.state.leases[f"{sea.id}/{place.ipv4.removesuffix('/24')}"]
        assert (lease.node_id, lease.holder, lease.generation) == (task.node_id, task.id, place.generation)
        node = world.nodes[task.node_id]
        node.say(LeaseUse(((lease.id, lease.generation, "an endpoint"),)))
        assert world.manager.state.leases[lease.id].holder == task.id
    left = world.free_addresses(sea.id)
    world.update("web", spec(replicas=0, network="sea"))
    world.go(2)
    assert world.free_addresses(sea.id) == left + 3
    world.check_end()


def test_addresses_named_for_slots_stay_with_them(world: ServiceWorld) -> None:
    world.network("sea", "10.9.0.0/24")
    named = ("10.9.0.100", "10.9.0.101")
    world.create(spec(replicas=2, network="sea", addresses=named, restart=quick()))
    world.go(1)
    before = [task.addresses[0].ipv4 for task in world.running()]
    assert before == ["10.9.0.100/24", "10.9.0.101/24"]
    world.update("web", spec("web", 3, "two", network="sea", addresses=named, restart=quick()))
    world.go(30)
    assert [task.addresses[0].ipv4 for task in world.running()] == before
    (reason,) = _reasons(world)
    assert reason.startswith("no address is left for slot 3: 2 addresses were named")
    lost = world.nodes[world.running()[0].node_id]
    lost.disconnect()
    world.go(20)
    (reason,) = [one for one in _reasons(world) if "slot 3" not in one]
    assert reason.startswith("Address already in use")
    lost.connect()
    world.go(10)
    assert [task.addresses[0].ipv4 for task in world.running()] == before


@pytest.mark.parametrize(
    ("addresses", "more", "text"),
    [
        (("10.8.0.1",), {}, "no configured subnet contains IP address 10.8.0.1"),
        (("10.9.0.1",), {}, "Address already in use"),
        (("10.9.0.9", "10.9.0.9"), {}, "an address is named twice"),
        (("10.9.0.9",), {"mode": GLOBAL}, "cannot be named for a global service"),
        (("10.9.0.9",), {"update": rule(order=START_FIRST)}, "together with the order start-first"),
        (("10.9.0.x",), {}, "10.9.0.x"),
    ],
)
def test_addresses_that_cannot_be(
    world: ServiceWorld, addresses: tuple[str, ...], more: dict[str, object], text: str
) -> None:
    world.network("sea", "10.9.0.0/24")
    with pytest.raises(Exception, match=text):
        world.create(spec(network="sea", addresses=addresses, **more))


def test_a_network_that_is_used_up_is_waited_for_and_its_growth_ends_that(world: ServiceWorld) -> None:
    world.network("pond", "10.9.0.0/29")
    world.create(spec(replicas=6, network="pond"))
    world.go(1)
    (reason,) = _reasons(world)
    assert reason.startswith("no available addresses on this pool: network pond has used up 10.9.0.0/29")
    assert len(world.running()) == 4
    world.must(GrowNetwork("pond", (PoolRequest("10.9.1.0/29"),)))
    world.go(1)
    assert len(world.running()) == 6


def test_a_service_without_a_virtual_address_waits_for_one(world: ServiceWorld) -> None:
    pond = world.network("pond", "10.9.0.0/30")
    node = world.worker("n1")
    node.say(NetworkWish("pond"))
    world.settle()
    made = world.create(spec(network="pond"))
    assert made.pending.startswith("no available addresses on this pool")
    assert _reasons(world) == {made.pending}
    world.must(GrowNetwork(pond.id, (PoolRequest("10.9.1.0/29"),)))
    world.go(1)
    assert world.service().vips
    assert len(world.running()) == 1


def test_the_states_of_a_task_only_grow_and_only_its_node_says_them(world: ServiceWorld) -> None:
    world.create(spec(restart=Restart(delay_s=100)))
    world.go()
    (task,) = world.running()

    other = next(node for node in world.workers() if node.id != task.node_id)
    other.say(TaskReport(((task.id, TaskStatus(TaskState.FAILED)),)))
    owner = world.nodes[task.node_id]
    owner.say(TaskReport(((task.id, TaskStatus(TaskState.PREPARING)),)))
    owner.say(TaskReport(((task.id, TaskStatus(TaskState.ORPHANED)),)))
    assert world.manager.state.tasks[task.id].status.state == TaskState.RUNNING
    world.go()
    assert task.id not in other.tasks


def test_a_command_that_fails_is_told_with_its_reason(world: ServiceWorld) -> None:
    world.create(spec("web", 1, *BROKEN, restart=Restart(delay_s=100)))
    world.go()
    ended: list[Task] = [task for task in world.tasks() if task.over]
    assert [(one.status.state, one.status.error) for one in ended] == [(TaskState.FAILED, "it ends badly")]
    assert Counter(one.desired for one in world.tasks()) == {TaskState.SHUTDOWN: 1, TaskState.READY: 1}
