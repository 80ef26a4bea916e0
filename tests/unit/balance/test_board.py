"""The services of a network: who is ready, whose an address is, what a change touches."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fairlead.balance.board import Board, Task
from fairlead.balance.contract import Aim
from fairlead.balance.nftables import Nftables
from fairlead.model import backend
from fairlead.model.backend import CLIENT_IP, Backend, is_sound
from fairlead.plan.diff import Change, diff
from fairlead.plan.objects import Backends, Netns, Plan
from fairlead.testing.fake_kernel import FakeKernel

VIP4, VIP6 = "10.0.0.200", "fd00::c8"


def task(number: int, service: str = "s", vip4: str = VIP4, vip6: str = VIP6, local: bool = False, **more: Any) -> Task:
    told = Backend(service, (f"name-{service}",), vip4, vip6, **more)
    return Task(told, f"10.0.0.{number}", f"fd00::{number:x}", local, ("80/tcp",))


def aims(board: Board, service: str = "s", source: str = "10.0.0.99") -> dict[str, tuple[str, ...]]:
    return {aim.vip: aim.targets for aim in board.aims(service, source)}


def test_ready_tasks_are_aimed_at_by_both_families() -> None:
    board = Board()
    assert board.put("e1", task(1)) == board.put("e2", task(2)) == {"s"}
    assert aims(board) == {VIP4: ("10.0.0.1", "10.0.0.2"), VIP6: ("fd00::1", "fd00::2")}
    assert board.put("e2", task(2)) == set(), "the same again touches nothing"
    assert board.drop("e1") == {"s"} and aims(board)[VIP4] == ("10.0.0.2",)
    assert board.drop("e1") == set()
    assert board.drop("e2") == {"s"} and aims(board) == {} and board.seen("s") is None and not list(board)


def test_two_claims_to_an_address_do_not_mix_and_the_first_gives_way_when_it_is_gone() -> None:
    board = Board()
    board.put("old", task(1, "old"))
    board.put("new", task(2, "new", vip6=""))
    assert aims(board, "old")[VIP4] == ("10.0.0.1",) and aims(board, "new") == {}
    board.put("old2", task(3, "old"))
    assert aims(board, "new") == {}, "another task of the first changes nothing"
    assert board.drop("old") == {"old"}
    assert board.drop("old2") == {"old", "new"}
    assert aims(board, "new") == {VIP4: ("10.0.0.2",)}


def test_a_service_with_other_addresses_lets_the_old_ones_go() -> None:
    board = Board()
    board.put("e1", task(1))
    board.put("e1", task(1, vip4="10.0.0.201", vip6=""))
    assert aims(board) == {"10.0.0.201": ("10.0.0.1",)}
    board.put("f1", task(2, "other"))
    assert aims(board, "other")[VIP4] == ("10.0.0.2",)


def test_an_endpoint_that_serves_another_service_leaves_the_first() -> None:
    board = Board()
    board.put("e1", task(1))
    assert board.put("e1", task(1, "t", "10.0.0.201", "")) == {"s", "t"}
    assert aims(board) == {} and aims(board, "t") == {"10.0.0.201": ("10.0.0.1",)}


def test_a_node_s_own_tasks_are_preferred_as_long_as_one_weighs_something() -> None:
    board = Board()
    board.put("far", task(1, prefer_local=True))
    assert aims(board)[VIP4] == ("10.0.0.1",)
    board.put("near", task(2, local=True, prefer_local=True))
    assert aims(board)[VIP4] == ("10.0.0.2",)
    board.put("near", task(2, local=True, prefer_local=True, weight=0))
    assert aims(board)[VIP4] == ("10.0.0.1",)


def test_affinity_gives_each_source_one_task_whatever_the_family() -> None:
    board = Board()
    for number in (1, 2, 3):
        board.put(f"e{number}", task(number, algorithm=CLIENT_IP))
    chosen = {source: aims(board, source=source) for source in ("10.0.0.50", "10.0.0.51", "10.0.0.52", "10.0.0.53")}
    for found in chosen.values():
        (four,), (six,) = found[VIP4], found[VIP6]
        assert four.rpartition(".")[2] == six.rpartition(":")[2]
    assert len({found[VIP4] for found in chosen.values()}) > 1
    assert 1 in board.sizes


def test_a_service_without_virtual_addresses_has_tasks_and_leads_nobody() -> None:
    board = Board()
    one, other = (Task(Backend("s", ()), f"10.0.0.{number}", "", False) for number in (1, 2))
    assert board.put("e2", other) == {"s"} and board.put("e1", one) == {"s"}
    assert board.tasks("s") == (one, other) and board.tasks("t") == ()
    assert aims(board) == {} and board.seen("s") is None and not board.sizes
    assert board.drop("e1") == {"s"} and board.tasks("s") == (other,)


def test_only_elements_change_when_a_task_does() -> None:
    """However many services and tasks there are: one object of the plan, two elements of it."""
    board, balancer = Board(), Nftables()
    for number in range(1, 11):
        board.put(f"e{number}", task(number, vip6=""))
    before = _plan(board, balancer)
    board.put("e4", Task(Backend("s", (), VIP4), "10.0.0.44", "", False))
    (step,) = diff(before, _plan(board, balancer))
    assert isinstance(step, Change) and isinstance(step.before, Backends) and isinstance(step.after, Backends)
    assert len({*step.before.elements()} ^ {*step.after.elements()}) == 2


@pytest.mark.parametrize("algorithm", backend.ALGORITHMS)
def test_the_kernel_takes_what_is_planned_through_every_change(algorithm: str) -> None:
    """Chains before what leads to them, and nothing left at the end."""
    kernel, board, balancer = FakeKernel(), Board(), Nftables()

    async def follow() -> None:
        await kernel.apply({"ns": Plan([Netns("ns")])})
        for number in (1, 2, 3):
            board.put(f"e{number}", task(number, algorithm=algorithm))
            await kernel.apply({"balance": _plan(board, balancer)})
        for number in (2, 1, 3):
            board.drop(f"e{number}")
            await kernel.apply({"balance": _plan(board, balancer)})
        assert not [item for item in kernel.objects.values() if isinstance(item, Backends)]
        await kernel.apply({"balance": Plan()})

    asyncio.run(follow())
    assert list(kernel.objects.values()) == [Netns("ns")]


@pytest.mark.parametrize(
    ("told", "sound"),
    [
        (Backend("s1", (), VIP4), True),
        (Backend("s1", (), "", VIP6, weight=0, algorithm=CLIENT_IP), True),
        (Backend("s1", ()), True),
        (Backend("", (), VIP4), False),
        (Backend("s; flush ruleset", (), VIP4), False),
        (Backend("s" * 65, (), VIP4), False),
        (Backend("s1", (), VIP4, weight=-1), False),
        (Backend("s1", (), VIP4, weight=101), False),
        (Backend("s1", (), VIP4, algorithm="best"), False),
    ],
)
def test_what_others_say_of_a_service_is_looked_at_before_it_is_believed_sec_27(told: Backend, sound: bool) -> None:
    assert is_sound(told) == sound


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({backend.AFFINITY: CLIENT_IP, backend.WEIGHT: "3", backend.PREFER: "local", "other": "x"}, ""),
        ({backend.AFFINITY: "cookie"}, "client-ip"),
        ({backend.ALGORITHM: "least"}, "round-robin"),
        ({backend.WEIGHT: "101"}, "0 to 100"),
        ({backend.WEIGHT: "²"}, "0 to 100"),
        ({"fairlead.lb.afinity": "client-ip"}, "fairlead.lb.affinity"),
    ],
)
def test_options_that_make_no_sense_are_named(options: dict[str, str], word: str) -> None:
    said = backend.fault(options)
    assert bool(said) == bool(word) and word in said


def _plan(board: Board, balancer: Nftables) -> Plan:
    plan = balancer.base_plan("ns", board.sizes)
    for service in board:
        for aim in board.aims(service, "10.0.0.99"):
            assert isinstance(aim, Aim)
            plan |= balancer.aim_plan("ns", aim)
    return plan
