"""The reserve of leases: when it is filled up, what is given back, what a manager is told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fairlead.daemon.cluster.stock import Stock, as_kept
from fairlead.model.cluster import Lease
from fairlead.model.network import Network
from fairlead.model.session import RESTING, LeaseWish
from fairlead.model.state import State

WEB, DB = "ab" * 32, "cd" * 32


def lease(number: int, network: str = WEB, **more: object) -> Lease:
    return replace(Lease(network, f"10.0.1.{number}", "n1", number), **more)  # type: ignore[arg-type]


@pytest.fixture
def state() -> State:
    found = State()
    for identifier, name in ((WEB, "web"), (DB, "db")):
        found.put(Network(identifier, name, "overlay", 1.0, scope="swarm", attachable=True))
    return found


def give(state: State, *leases: Lease) -> None:
    for one in leases:
        state.put(one)


def test_a_reserve_below_two_is_filled_up_to_four_free_ones(state: State) -> None:
    give(state, lease(1), lease(2, holder="e1"), lease(3, holder="e2"), lease(4, resting=True, holder="e3"))
    stock = Stock(state)
    assert stock.wishes([WEB, DB], ()) == [LeaseWish(WEB, 7)], "one is free: three more than the four that there are"
    give(state, lease(5))
    assert stock.wishes([WEB], ()) == []


def test_a_network_that_is_to_go_or_has_nothing_here_is_not_filled(state: State) -> None:
    stock = Stock(state)
    assert stock.wishes([WEB], ()) == []
    give(state, lease(1))
    assert stock.wishes([WEB], (WEB,)) == []


def test_addresses_of_tasks_are_no_reserve_and_bring_none(state: State) -> None:
    give(state, *(lease(number, task_id=f"t{number}") for number in range(1, 12)))
    stock = Stock(state)
    assert stock.free(WEB) == stock.surplus(()) == []
    assert stock.wishes([WEB], ()) == [], "nobody but tasks is in the network"
    give(state, lease(12))
    assert stock.wishes([WEB], ()) == [LeaseWish(WEB, 15)]
    state.put(replace(state.networks[WEB], attachable=False))
    assert stock.wishes([WEB], ()) == [], "nobody but tasks may be"


def test_what_a_task_had_goes_back_once_it_is_called_back(state: State) -> None:
    give(state, lease(1, task_id="t1"))
    stock = Stock(state)
    stock.recalled([lease(1).id])
    assert stock.surplus(()) == [], "it is the task's still"
    give(state, lease(1))
    assert stock.wishes([WEB], ()) == []
    assert stock.surplus(()) == [lease(1)]


def test_who_holds_a_lease_in_a_managers_words_is_a_task_or_what_was_said_here() -> None:
    task = "0123456789abcdefghijklmno"
    assert as_kept(lease(1, holder=task)) == lease(1, task_id=task)
    for holder in ("", RESTING, "ab" * 32):
        assert as_kept(lease(1, holder=holder)) == lease(1)


def test_above_eight_free_ones_the_rest_beyond_four_goes_back(state: State) -> None:
    give(state, *(lease(number) for number in range(1, 9)))
    stock = Stock(state)
    assert stock.surplus(()) == []
    give(state, lease(9))
    assert [one.address for one in stock.surplus(())] == [f"10.0.1.{number}" for number in range(5, 10)]


def test_all_that_is_free_goes_back_from_a_network_that_is_to_go(state: State) -> None:
    give(state, lease(1), lease(2, holder="e"), lease(3, DB))
    assert Stock(state).surplus((WEB,)) == [lease(1)]


def test_what_was_given_back_is_said_once_a_session_until_it_was_taken(state: State) -> None:
    give(state, lease(1), lease(2))
    stock = Stock(state)
    surplus = stock.surplus((WEB,))
    state.drop(lease(1))  # the other is in use by now
    assert stock.returns(surplus) == ((lease(1).id, 1),)
    assert stock.returns([]) == ()
    stock.reported()
    assert stock.returns([]) == ((lease(1).id, 1),), "another session, another manager perhaps"
    assert stock.welcome((lease(1), lease(3))) == (lease(3),), "it is not taken for a gift"
    assert stock.welcome((replace(lease(1), generation=7),)), "a lease of another generation is one"
    stock.taken_back([lease(1).id])
    assert stock.welcome((lease(1),)) == (lease(1),)


def test_a_full_list_ends_what_it_does_not_name(state: State) -> None:
    give(state, lease(1), lease(2))
    assert Stock(state).unnamed((lease(2), lease(3))) == (lease(1).id,)


def test_only_what_changed_is_told_of_uses(state: State) -> None:
    stock = Stock(state)
    give(state, lease(1), lease(2, holder="e"))
    assert stock.uses() == ((lease(2).id, 2, "e"),), "a free one is what a manager thinks already"
    assert stock.uses() == ()
    give(state, lease(2, holder="", resting=True))
    assert stock.uses() == ((lease(2).id, 2, "resting"),)
    give(state, lease(2))
    assert stock.uses() == ((lease(2).id, 2, ""),)
    stock.reported()
    assert stock.uses() == ()


def test_what_is_called_back_is_told_of_at_once_and_given_back_when_it_is_free(state: State) -> None:
    give(state, lease(1), lease(2, holder="e"), lease(3))
    stock = Stock(state)
    stock.reported()
    stock.recalled([lease(1).id, lease(2).id])
    assert stock.uses() == ((lease(1).id, 1, ""), (lease(2).id, 2, "e"))
    assert stock.uses() == ()
    assert stock.surplus(()) == [lease(1)]
    give(state, lease(2, holder="e", resting=True))
    assert stock.uses() == ((lease(2).id, 2, "resting"),)
    give(state, lease(2))
    assert stock.surplus(()) == [lease(1), lease(2)]
    stock.taken_back([lease(1).id, lease(2).id])
    assert stock.surplus(()) == []


def test_an_address_that_comes_again_is_given_back_again(state: State) -> None:
    stock = Stock(state)
    assert stock.returns([lease(1)]) == ((lease(1).id, 1),)
    assert stock.returns([]) == (), "told once"
    stock.taken_back([lease(1).id])
    again = replace(lease(1), generation=7)
    assert stock.welcome([again]) == (again,)
    assert stock.returns([again]) == ((again.id, 7),)
