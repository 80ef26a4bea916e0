"""Addresses of tasks: leased to their node for them alone, and wanted back when they have ended."""

from __future__ import annotations

from tests.sim.service_world import ServiceWorld, quick, spec

from fairlead.model.session import RESTING, Assignments


def test_a_node_is_told_that_an_ended_tasks_address_is_for_nobody_any_more() -> None:
    world = ServiceWorld.of(3)
    world.network("sea")
    world.create(spec(network="sea", restart=quick()))
    world.go()
    (task,) = world.running()
    node = next(one for one in world.workers() if one.running)
    said: list[Assignments] = []
    assigned = node._assigned
    node._assigned = lambda one: (said.append(one), assigned(one))[1]  # type: ignore[method-assign]
    node.kill(task.id)
    world.go()
    address = task.addresses[0].ipv4.partition("/")[0]
    told = [lease for one in said for lease in one.leases if lease.address == address]
    recalled = [name for one in said for name in one.recall]
    assert [lease.holder for lease in told] == [RESTING]
    assert recalled == [told[0].id]
