"""What is planned where the kernel's own balancer is asked for: services by marks, and maps for what has no connections."""

from __future__ import annotations

from dataclasses import replace

from fairlead.balance.contract import Aim
from fairlead.balance.ipvs import SCHEDULER, Ipvs, mark_of
from fairlead.balance.nftables import TABLE, Nftables
from fairlead.plan.diff import Change, diff
from fairlead.plan.ipvs import VirtualService
from fairlead.plan.objects import NOTHING, Backends, Chain, Element, Set

AIM = Aim("s1", "10.0.1.2", ("10.0.1.4", "10.0.1.3", "10.0.1.4"))


def test_targets_are_destinations_by_weight_and_slots_for_the_rest() -> None:
    plan = Ipvs().aim_plan("box", AIM)
    (service,) = [item for item in plan.values() if isinstance(item, VirtualService)]
    assert (service.scheduler, service.destinations) == (SCHEDULER, (("10.0.1.3", 1), ("10.0.1.4", 2)))
    (mark,) = [item for item in plan.values() if isinstance(item, Element)]
    assert (mark.set, mark.element, int(mark.value, 16)) == ("marks4", "10.0.1.2", service.mark)
    (rest,) = [item for item in plan.values() if isinstance(item, Backends)]
    (maps,) = [item for item in Nftables().aim_plan("box", AIM).values() if isinstance(item, Backends)]
    assert (rest.index, rest.targets, rest.slots) == ("rest4", maps.targets, maps.slots)


def test_a_task_that_comes_or_goes_changes_the_service_in_place() -> None:
    before, after = (Ipvs().aim_plan("box", replace(AIM, targets=targets)) for targets in (("10.0.1.3",), AIM.targets))
    steps = diff(before, after)
    assert {type(step.before) for step in steps if isinstance(step, Change)} == {Backends, VirtualService}
    assert len(steps) == 2


def test_both_back_ends_can_be_in_one_namespace() -> None:
    both = Ipvs().base_plan("box", [2, 3], ("127.0.0.11",)) | Nftables().base_plan("box", [3, 4], ("127.0.0.11",))
    other = Aim("s2", "10.0.2.2", ("10.0.2.3",))
    both |= Ipvs().aim_plan("box", AIM) | Nftables().aim_plan("box", other)
    chains = {item.name for item in both.values() if isinstance(item, Chain)}
    assert {"output", "marking", "rest", "any_of_2", "any_of_3", "any_of_4"} <= chains
    named = {item.name for item in both.values() if isinstance(item, Set)}
    used = {item.set for item in both.values() if isinstance(item, Element)}
    used |= {name for item in both.values() if isinstance(item, Backends) for name in (item.index, item.slots)}
    assert used <= named
    assert {item.table for item in both.values() if isinstance(item, Set)} == {TABLE}


def test_nothing_is_made_for_nobody() -> None:
    assert Ipvs().base_plan("box", []) == NOTHING
    assert Ipvs().aim_plan("box", Aim("s1", "10.0.1.2", ())) == NOTHING


def test_marks_are_the_same_in_every_life_and_different_for_each_address() -> None:
    addresses = [f"10.{number >> 8}.{number & 255}.1" for number in range(2000)] + [f"fd00::{n:x}" for n in range(2000)]
    marks = [mark_of(address) for address in addresses]
    assert len({*marks}) == len(marks) and all(0 < mark < 1 << 32 for mark in marks)
    assert mark_of("10.0.1.2") == 0xEF794473
