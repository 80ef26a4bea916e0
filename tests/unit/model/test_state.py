from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.unit.model.records import container, endpoint, full_id, network, sandbox

from fairlead.model.endpoint import PortBinding
from fairlead.model.errors import Ambiguous, Invalid, NotFound
from fairlead.model.state import Change, State


def filled(*records):
    state = State()
    for record in records:
        state.put(record)
    state.settle()
    return state


def test_a_reference_is_an_id_a_name_or_the_beginning_of_an_id():
    blue, green = network(0xABC, "blue"), network(0xABD, "green")
    state = filled(blue, green)
    for ref in (blue.id, "blue", blue.id[:12], "abce", "abc"):
        assert state.network(ref) == blue


def test_a_name_wins_over_the_beginning_of_an_id_and_a_whole_id_over_a_name():
    first, second = network(0xABC, "blue"), network(0xDEF, "abc")
    third = network(0x123, first.id)
    state = filled(first, second, third)
    assert state.network("abc") == second
    assert state.network(first.id) == first


def test_the_beginning_of_several_ids_is_ambiguous():
    state = filled(network(0xAB1), network(0xAB2))
    with pytest.raises(Ambiguous, match="ambiguous") as caught:
        state.network("ab")
    assert isinstance(caught.value, Invalid)
    assert caught.value.hint


@pytest.mark.parametrize("ref", ["", "nothing", "ff", "AB", full_id(0xFF), "a" * 65])
def test_what_is_not_there_is_not_found(ref):
    state = filled(network(0xAB1), container(0xAB2))
    with pytest.raises(NotFound) as caught:
        state.network(ref)
    assert str(caught.value) == f"network {ref} not found"
    with pytest.raises(NotFound) as caught:
        state.container(ref)
    assert str(caught.value) == f"No such container: {ref}"
    assert caught.value.hint


def test_a_container_may_be_written_with_dockers_slash():
    box = container(0xAB1, "web")
    assert filled(box).container("/web") == box


def test_exact_names():
    state = filled(network(1, "blue"), container(2, "web"))
    assert state.network_named("blue") == network(1, "blue")
    assert state.container_named("web") == container(2, "web")
    assert state.network_named("blu") is None
    assert state.container_named("we") is None


def test_renaming_frees_the_old_name():
    state = filled(container(1, "old"))
    state.put(container(1, "new"))
    assert state.container_named("old") is None
    assert state.container("new") == container(1, "new")


def test_endpoints_by_network_by_container_and_by_port():
    tcp, udp = PortBinding("tcp", 80, "0.0.0.0", 8080), PortBinding("udp", 53, "0.0.0.0", 8080)
    both = PortBinding("tcp", 80, "::", 8080)
    first, second = endpoint(1, 10, 20, bindings=(tcp, both)), endpoint(2, 10, 21, bindings=(udp,))
    state = filled(first, second, endpoint(3, 11, 20))
    assert state.endpoints_of_network(full_id(10)) == [first, second]
    assert [held.id for held in state.endpoints_of_container(full_id(20))] == [full_id(1), full_id(3)]
    assert state.endpoints_with_port("tcp", 8080) == [first]
    assert state.endpoints_with_port("udp", 8080) == [second]
    state.put(replace(first, bindings=()))
    assert state.endpoints_with_port("tcp", 8080) == []
    state.drop(second)
    assert state.endpoints_of_network(full_id(10)) == [replace(first, bindings=())]
    assert state.endpoints_of_network(full_id(77)) == []


def test_an_endpoint_without_container_belongs_to_none():
    lone = replace(endpoint(1, 10, 20), container_id="")
    assert filled(lone).endpoints_of_container("") == []


def test_the_sandbox_of_a_container():
    state = filled(sandbox(1, 20))
    assert state.sandbox_of(full_id(20)) == sandbox(1, 20)
    assert state.sandbox_of(full_id(21)) is None
    state.drop(sandbox(1, 20))
    assert state.sandbox_of(full_id(20)) is None


def test_settling_tells_each_record_once_from_first_to_last():
    state = filled(network(1, "kept"))
    state.put(network(2, "new"))
    state.put(network(2, "newer"))
    state.put(network(1, "renamed"))
    assert state.settle() == (
        Change("network", full_id(2), None, network(2, "newer")),
        Change("network", full_id(1), network(1, "kept"), network(1, "renamed")),
    )
    assert state.settle() == ()


def test_what_came_to_nothing_is_not_told():
    state = filled(network(1))
    state.put(network(1))
    state.put(network(2))
    state.drop(network(2))
    state.drop(network(1))
    state.put(network(1))
    state.drop(network(9))
    assert state.settle() == ()


def test_reverting_undoes_what_was_not_settled_and_nothing_else():
    state = filled(network(1, "one"), container(2, "web"))
    state.put(network(1, "other"))
    state.put(network(3, "one"))
    state.drop(container(2, "web"))
    state.revert()
    assert state.networks == {full_id(1): network(1, "one")}
    assert state.network_named("one") == network(1, "one")
    assert state.network_named("other") is None
    assert state.container_named("web") == container(2, "web")
    assert state.settle() == ()
    state.revert()
    assert state.network_named("one") == network(1, "one")


def test_the_same_id_may_stand_for_records_of_two_kinds():
    state = State()
    state.put(network(1))
    state.put(container(1))
    assert {change.kind for change in state.settle()} == {"network", "container"}
    state.drop(network(1))
    assert state.containers == {full_id(1): container(1)}


def test_endpoints_stay_oldest_first_when_one_changes():
    state = filled(endpoint(1, 10, 20), endpoint(2, 10, 21))
    state.put(endpoint(1, 10, 20, mac="02:00:00:00:00:01"))
    assert [held.id for held in state.endpoints_of_network(full_id(10))] == [full_id(1), full_id(2)]


class AgainstPlainDicts(RuleBasedStateMachine):
    """A state beside one dict of records, looked through from end to end for every question."""

    def __init__(self):
        super().__init__()
        self.state, self.now, self.settled = State(), {}, {}

    numbers = st.integers(1, 4)

    def put(self, record):
        self.state.put(record)
        self.now[(type(record).__name__, record.id)] = record

    @rule(number=numbers, name=st.sampled_from(["red", "green", "blue"]))
    def put_network(self, number, name):
        self.put(network(number, f"{name}{number}"))

    @rule(number=numbers, name=st.sampled_from(["web", "db"]))
    def put_container(self, number, name):
        self.put(container(number, f"{name}{number}"))

    @rule(number=numbers)
    def put_sandbox(self, number):
        self.put(sandbox(number, number))

    @rule(number=numbers, net=numbers, box=numbers, port=st.sampled_from([0, 80, 443]))
    def put_endpoint(self, number, net, box, port):
        bindings = (PortBinding("tcp", 80, "0.0.0.0", port),) if port else ()
        self.put(endpoint(number, net, box, bindings=bindings))

    @precondition(lambda self: self.now)
    @rule(data=st.data())
    def drop(self, data):
        key = data.draw(st.sampled_from(sorted(self.now)))
        self.state.drop(self.now.pop(key))

    @rule()
    def settle(self):
        told = {(change.kind, change.id): (change.before, change.after) for change in self.state.settle()}
        keys = self.now.keys() | self.settled.keys()
        changed = {key for key in keys if self.now.get(key) != self.settled.get(key)}
        assert told == {(key[0].lower(), key[1]): (self.settled.get(key), self.now.get(key)) for key in changed}
        self.settled = dict(self.now)

    @rule()
    def revert(self):
        self.state.revert()
        self.now = dict(self.settled)

    def all_of(self, kind):
        return {identifier: record for (name, identifier), record in self.now.items() if name == kind}

    @invariant()
    def tables_agree(self):
        assert self.state.networks == self.all_of("Network")
        assert self.state.containers == self.all_of("Container")
        assert self.state.sandboxes == self.all_of("Sandbox")
        assert self.state.endpoints == self.all_of("Endpoint")

    @invariant()
    def look_ups_agree(self):
        held = self.all_of("Endpoint").values()
        for number in range(1, 5):
            wanted = full_id(number)
            assert ids(self.state.endpoints_of_network(wanted)) == {e.id for e in held if e.network_id == wanted}
            assert ids(self.state.endpoints_of_container(wanted)) == {e.id for e in held if e.container_id == wanted}
            assert self.state.sandbox_of(wanted) == self.all_of("Sandbox").get(wanted)
            for name in ("red", "green", "blue"):
                expected = [n for n in self.all_of("Network").values() if n.name == f"{name}{number}"]
                assert self.state.network_named(f"{name}{number}") == (expected[0] if expected else None)
        for port in (80, 443):
            expected = {e.id for e in held if any(binding.host_port == port for binding in e.bindings)}
            assert ids(self.state.endpoints_with_port("tcp", port)) == expected


def ids(records):
    found = [record.id for record in records]
    assert len(set(found)) == len(found)
    return set(found)


TestAgainstPlainDicts = AgainstPlainDicts.TestCase
TestAgainstPlainDicts.settings = settings(deadline=None, max_examples=60, stateful_step_count=30)
