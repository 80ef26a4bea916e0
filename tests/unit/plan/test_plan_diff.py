"""Properties of the difference of two plans."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fairlead.plan.diff import Change, Create, Delete, Step, diff
from fairlead.plan.objects import (
    Address,
    Bridge,
    Chain,
    Element,
    Flow,
    Key,
    Netns,
    Object,
    Plan,
    PortHold,
    Route,
    Set,
    Sysctl,
    Table,
    Veth,
)

WORD = st.sampled_from(["a", "b", "c"])
NS = st.sampled_from(["", "s1"])
OBJECTS: st.SearchStrategy[Object] = st.one_of(
    st.builds(Netns, WORD),
    st.builds(PortHold, st.just("tcp"), WORD, st.integers(1, 3)),
    st.builds(Sysctl, NS, WORD, WORD),
    st.builds(Bridge, NS, WORD, WORD, st.integers(1, 3), WORD),
    st.builds(Veth, NS, WORD, NS, WORD, WORD, st.integers(1, 3), WORD, master=WORD, hairpin=st.booleans()),
    st.builds(Address, NS, WORD, WORD),
    st.builds(Route, NS, WORD, WORD, WORD, st.integers(0, 1)),
    st.builds(Table, NS, WORD, WORD),
    st.builds(Set, NS, WORD, WORD, WORD, WORD, WORD),
    st.builds(Chain, NS, WORD, WORD, WORD, st.tuples(WORD), WORD),
    st.builds(Element, NS, WORD, WORD, WORD, WORD, WORD),
    st.builds(Flow, NS, WORD, st.integers(1, 3), WORD, st.integers(1, 3)),
)
PLANS = st.lists(OBJECTS, max_size=12).map(lambda items: Plan({item.key: item for item in items}.values()))


def carried_out(steps: tuple[Step, ...], start: Plan) -> dict[Key, Object]:
    """What stands after the steps, each of which must fit what stands before it."""
    standing = dict(start)
    for step in steps:
        match step:
            case Delete(item):
                assert standing.pop(item.key) == item
            case Create(item):
                assert item.key not in standing
                standing[item.key] = item
            case Change(before, after):
                assert before.key == after.key
                assert standing[before.key] == before
                standing[after.key] = after
    return standing


@given(PLANS)
def test_a_plan_does_not_differ_from_itself(plan: Plan) -> None:
    assert diff(plan, plan) == ()


@given(PLANS, PLANS)
def test_the_steps_lead_from_one_plan_to_the_other(first: Plan, second: Plan) -> None:
    left = {key: item for key, item in first.items() if isinstance(item, Sysctl) and key not in second}
    assert carried_out(diff(first, second), first) == {**left, **second}


@given(PLANS, PLANS)
def test_what_goes_goes_first_and_in_reverse(first: Plan, second: Plan) -> None:
    steps = diff(first, second)
    gone = [step.object.rank for step in steps if isinstance(step, Delete)]
    fresh = [(s.after if isinstance(s, Change) else s.object).rank for s in steps if not isinstance(s, Delete)]
    assert all(isinstance(step, Delete) for step in steps[: len(gone)])
    assert gone == sorted(gone, reverse=True)
    assert fresh == sorted(fresh)
