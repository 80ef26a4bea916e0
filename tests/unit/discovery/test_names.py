import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.discovery.names import Tables
from fairlead.model.errors import Invalid


def test_a_registered_name_is_found_in_any_case_and_with_packed_addresses():
    tables = Tables()
    tables.register("n", "net", "e", ("Web", "w"), "10.0.0.2/24", "fd00::2")
    (holder,) = tables.zone("n").find("web")
    assert holder.ipv4 == bytes([10, 0, 0, 2]) and holder.ipv6[0] == 0xFD
    assert tables.zone("n").find("w") == (holder,)
    assert tables.zone("n").holder("2.0.0.10.in-addr.arpa") is holder


def test_the_same_registration_again_changes_nothing():
    tables = Tables()
    tables.register("n", "net", "e", ("web",), "10.0.0.2", "")
    before = (tables.epoch, tables.generation("n"))
    tables.register("n", "net", "e", ("web",), "10.0.0.2", "")
    assert (tables.epoch, tables.generation("n")) == before


def test_a_new_registration_replaces_the_old_names_and_addresses():
    tables = Tables()
    tables.register("n", "net", "e", ("old",), "10.0.0.2", "")
    tables.register("n", "net", "e", ("new",), "10.0.0.3", "")
    zone = tables.zone("n")
    assert zone.find("old") == () and zone.holder("2.0.0.10.in-addr.arpa") is None
    assert len(zone.find("new")) == 1 and zone.holder("3.0.0.10.in-addr.arpa") is not None


def test_endpoints_share_an_alias_and_leave_it_one_by_one():
    tables = Tables()
    for number in range(3):
        tables.register("n", "net", f"e{number}", ("all",), f"10.0.0.{number + 2}", "")
    tables.unregister("n", "e1")
    assert [holder.ipv4[3] for holder in tables.zone("n").find("all")] == [2, 4]


def test_unregistering_the_unknown_is_harmless():
    tables = Tables()
    tables.unregister("n", "e")
    assert tables.epoch == 1


def test_an_empty_zone_is_dropped_and_its_generation_never_comes_back():
    tables = Tables()
    seen = {tables.generation("n")}
    for _ in range(3):
        tables.register("n", "net", "e", ("web",), "10.0.0.2", "")
        assert tables.generation("n") not in seen
        seen.add(tables.generation("n"))
        tables.unregister("n", "e")
        assert tables.zone("n") is None and tables.generation("n") == 0


def test_a_bad_address_is_refused_before_any_change():
    tables = Tables()
    with pytest.raises(Invalid):
        tables.register("n", "net", "e", ("web",), "10.0.0.300", "")
    assert tables.zone("n") is None and tables.epoch == 1


def test_one_network_does_not_touch_the_generation_of_another():
    tables = Tables()
    tables.register("a", "a", "e", ("x",), "", "")
    before = tables.generation("a")
    tables.register("b", "b", "e", ("x",), "", "")
    assert tables.generation("a") == before


NAMES = st.lists(st.sampled_from(("a", "B", "c")), unique=True).map(tuple)
STEPS = st.lists(st.tuples(st.sampled_from("ef"), st.none() | NAMES, st.sampled_from(("", "10.0.0.2", "10.0.0.3"))))


@given(STEPS)
def test_the_tables_equal_a_plain_model_after_any_history(steps):
    tables, model = Tables(), {}
    for endpoint, names, address in steps:
        if names is None:
            tables.unregister("n", endpoint)
            model.pop(endpoint, None)
        else:
            tables.register("n", "net", endpoint, names, address, "")
            model[endpoint] = (names, address)
    zone = tables.zone("n")
    for name in "abc":
        wanted = sum(name in [each.lower() for each in names] for names, _ in model.values())
        assert (len(zone.find(name)) if zone else 0) == wanted
    for last in (2, 3):
        held = any(address == f"10.0.0.{last}" for _, address in model.values())
        assert bool(zone and zone.holder(f"{last}.0.0.10.in-addr.arpa")) == held
