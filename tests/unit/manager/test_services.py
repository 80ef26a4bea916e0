"""Services as people meet them: made, scaled, healed, removed; what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.sim.service_world import BRIEF, BROKEN, ServiceWorld, quick, spec

from fairlead.model.cluster import ACTIVE, DOWN, DRAIN
from fairlead.model.cluster import PAUSE as PAUSED_NODE
from fairlead.model.cluster_commands import RemoveClusterNetwork, RemoveNode, UpdateCluster
from fairlead.model.service import GLOBAL, ON_FAILURE, Restart, TaskState
from fairlead.model.session import RESTING, Heartbeat, LeaseUse


@pytest.fixture
def world() -> ServiceWorld:
    return ServiceWorld.of(3)


def test_as_many_tasks_as_wanted_run_spread_over_the_nodes(world: ServiceWorld) -> None:
    world.create(spec(replicas=6))
    world.go()
    assert [task.slot for task in world.running()] == [1, 2, 3, 4, 5, 6]
    assert sorted(len(node.running) for node in world.workers()) == [0, 2, 2, 2]
    world.check_end()


def test_a_scale_fills_the_lowest_slots_and_takes_the_highest_of_the_fullest(world: ServiceWorld) -> None:
    world.create(spec(replicas=6))
    world.go()
    world.update("web", spec(replicas=3))
    world.go()
    assert len(world.running()) == 3
    assert sorted(len(node.running) for node in world.workers()) == [0, 1, 1, 1]
    world.update("web", spec(replicas=4))
    world.go()
    assert len(world.running()) == 4
    world.update("web", spec(replicas=0))
    world.go()
    assert world.running() == []
    assert world.tasks() == []


def test_a_task_that_ends_is_followed_by_another_after_the_delay(world: ServiceWorld) -> None:
    world.create(spec(restart=Restart(delay_s=5)))
    world.go()
    (task,) = world.running()
    node = next(one for one in world.workers() if one.running)
    node.kill(task.id)
    world.go(4)
    assert world.running() == []
    assert [one.desired for one in world.tasks()] == [TaskState.SHUTDOWN, TaskState.READY]
    world.go(2)
    assert len(world.running()) == 1
    world.check_end()


def test_history_keeps_five_ended_tasks_of_a_slot(world: ServiceWorld) -> None:
    world.create(spec(restart=quick()))
    for _ in range(9):
        world.go()
        (task,) = world.running()
        next(one for one in world.workers() if one.running).kill(task.id)
    world.go()
    assert len([task for task in world.tasks() if task.over]) == 5
    assert len(world.running()) == 1


def test_restarts_end_after_the_most_attempts(world: ServiceWorld) -> None:
    world.create(spec("web", 1, *BROKEN, restart=Restart(delay_s=1, max_attempts=2)))
    world.go(20)
    assert [task.status.state for task in world.tasks()] == [TaskState.FAILED] * 3
    assert world.live() == []


def test_what_completed_is_not_restarted_on_failure_only(world: ServiceWorld) -> None:
    world.create(spec("web", 2, *BRIEF, restart=Restart(ON_FAILURE, delay_s=0)))
    world.go(10)
    assert [task.status.state for task in world.tasks()] == [TaskState.COMPLETE] * 2
    world.update("web", spec("web", 3, *BRIEF, restart=Restart(ON_FAILURE, delay_s=0)))
    world.go(10)
    assert len(world.tasks()) == 3


def test_a_global_service_runs_once_on_each_node(world: ServiceWorld) -> None:
    world.create(spec(mode=GLOBAL))
    world.go()
    assert sorted(len(node.running) for node in world.workers()) == [0, 1, 1, 1]
    world.join("n4")
    world.go()
    assert len(world.worker("n4").running) == 1
    world.availability("n1", DRAIN)
    world.go()
    assert not world.worker("n1").running
    world.availability("n1", ACTIVE)
    world.go()
    assert len(world.worker("n1").running) == 1
    world.availability("n2", PAUSED_NODE)
    world.go()
    assert len(world.worker("n2").running) == 1


def test_a_drained_node_is_emptied_without_delay_and_a_paused_one_gets_nothing_new(world: ServiceWorld) -> None:
    world.create(spec(replicas=6))
    world.go()
    world.availability("n1", DRAIN)
    world.go()
    assert not world.worker("n1").running
    assert len(world.running()) == 6
    world.availability("n2", PAUSED_NODE)
    world.update("web", spec(replicas=9))
    world.go()
    assert (len(world.worker("n2").running), len(world.worker("n3").running)) == (3, 6)


def test_a_lost_nodes_tasks_are_made_elsewhere_and_end_when_it_returns(world: ServiceWorld) -> None:
    world.create(spec(replicas=3))
    world.go()
    lost = world.worker("n1")
    (old,) = lost.running
    lost.disconnect()
    world.go(20)
    assert len([task for task in world.live() if task.node_id != lost.id]) == 3
    assert old in lost.running
    lost.connect()
    world.go()
    assert not lost.running
    world.check_end()


def test_a_removed_nodes_tasks_are_orphans(world: ServiceWorld) -> None:
    world.create(spec(replicas=3, network=world.network("sea").id))
    world.go()
    node = world.worker("n1")
    node.disconnect()
    world.go(20)
    world.must(RemoveNode("n1"))
    world.remove(node)
    world.go()
    assert TaskState.ORPHANED in [task.status.state for task in world.tasks()]
    world.check_end()


def test_what_a_node_that_is_down_for_a_day_had_is_given_up(world: ServiceWorld) -> None:
    network = world.network("sea")
    world.create(spec(replicas=3, network=network.id))
    world.go()
    lost = world.worker("n1")
    (old,) = lost.running
    lost.disconnect()
    world.go(20)
    (place,) = world.manager.state.tasks[old].addresses
    lease_id = f"{network.id}/{place.ipv4.partition('/')[0]}"
    cluster = world.manager.state.cluster
    world.must(UpdateCluster(replace(cluster.spec, heartbeat_s=2 * 3600.0), cluster.version))

    def hours(count: int) -> None:
        for _ in range(count):
            world.tick(3600.0)
            for node in world.workers():
                node.say(Heartbeat())
            world.go()

    hours(23)
    assert world.manager.state.tasks[old].status.state == TaskState.RUNNING
    assert lease_id in world.manager.state.leases
    hours(2)
    assert world.manager.state.tasks[old].status.state == TaskState.ORPHANED
    assert world.manager.state.tasks[old].status.message == "the node has been down for a day"
    assert lease_id not in world.manager.state.leases
    assert world.manager.state.node("n1").state == DOWN
    assert old in lost.running
    lost.leases[lease_id] = replace(lost.leases[lease_id], task_id=old)
    lost.connect()
    assert world.manager.state.leases[lease_id].holder == RESTING  # it comes back, and is wanted back
    world.go()
    assert not lost.running
    assert world.manager.state.node("n1").down_since == 0
    lost.say(LeaseUse(tuple((lease.id, lease.generation, "") for lease in lost.leases.values())))
    world.check_end()


def test_a_removed_service_is_gone_by_name_at_once_and_wholly_when_its_tasks_have_ended(world: ServiceWorld) -> None:
    network = world.network("sea")
    world.create(spec(replicas=3, network="sea"))
    world.go()
    world.remove_service("web")
    with pytest.raises(Exception, match="service web not found"):
        world.service()
    again = world.create(spec())
    world.go(30)
    assert list(world.manager.state.services) == [again.id]
    assert not [lease for lease in world.manager.state.leases.values() if lease.holder]
    assert network.id in world.manager.state.networks
    world.check_end()


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        (spec(""), "meta: name must be provided"),
        (spec("a" * 64), "name must be 63 characters or fewer"),
        (spec("a.b"), "name must be valid as a DNS name component"),
        (spec(replicas=-1), "cannot be negative"),
        (spec(mode="other"), "unrecognized service mode"),
        (spec(restart=Restart("often")), "invalid restart condition"),
        (spec(restart=Restart(delay_s=-1)), "restart-delay cannot be negative"),
        (spec(network="nope"), "network nope not found"),
        (spec(network="ingress"), 'Service cannot be explicitly attached to the ingress network "ingress"'),
    ],
)
def test_what_is_refused_changes_nothing(world: ServiceWorld, wanted: object, text: str) -> None:
    with pytest.raises(Exception, match=text):
        world.create(wanted)  # type: ignore[arg-type]
    assert world.manager.state.services == {}


def test_names_are_unique_and_versions_compared(world: ServiceWorld) -> None:
    made = world.create(spec())
    with pytest.raises(Exception, match="AlreadyExists desc = name conflicts with an existing object: service web"):
        world.create(spec())
    with pytest.raises(Exception, match="update out of sequence"):
        world.update("web", spec(replicas=2), version=made.version + 7)
    with pytest.raises(Exception, match="renaming services is not supported"):
        world.update("web", replace(made.spec, name="other"))
    with pytest.raises(Exception, match="service mode change is not allowed"):
        world.update("web", replace(made.spec, mode=GLOBAL))
    with pytest.raises(Exception, match="does not have a previous spec"):
        world.update("web", rollback=True)


def test_a_network_goes_right_after_the_service_that_used_it(world: ServiceWorld) -> None:
    network = world.network("sea")
    world.create(spec(replicas=3, network="sea"))
    world.go()
    world.remove_service("web")
    ticket = world.must(RemoveClusterNetwork("sea"))
    assert isinstance(ticket, str)
    assert network.id in world.manager.state.networks
    world.go(2)
    answer = world.answers[ticket]
    assert not isinstance(answer, Exception), answer
    assert network.id not in world.manager.state.networks


def test_a_successor_waits_for_the_end_of_the_one_before_but_not_for_ever(world: ServiceWorld) -> None:
    world.create(spec())
    world.go()
    (old,) = world.running()
    stuck = next(node for node in world.workers() if node.running)
    stuck.does_stop = False
    world.availability(stuck.description.hostname, DRAIN)
    world.go(60, step=4)
    assert [task.id for task in world.running()] == [old.id]
    world.go(20, step=4)
    assert len(world.running()) == 2
    stuck.does_stop = True
    world.go()
    world.check_end()


def test_a_network_that_a_service_uses_stays(world: ServiceWorld) -> None:
    network = world.network("sea")
    service = world.create(spec(replicas=0, network="sea"))
    from_command = f"network {network.id} is in use by service {service.id}"
    with pytest.raises(Exception, match=from_command):
        world.must(RemoveClusterNetwork("sea"))
