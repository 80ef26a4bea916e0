from __future__ import annotations

import doctest
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.ipam.counting import calls

from fairlead.ipam import default
from fairlead.ipam.contract import IpamDriver
from fairlead.ipam.default import Ipam
from fairlead.model.errors import Exhausted, Forbidden, Invalid


def ipam(**asked):
    return Ipam.create(ula_seed="node", quarantine_s=5.0, **asked)


def test_a_network_is_a_pool_a_gateway_and_addresses():
    driver: IpamDriver = ipam()
    driver, pool_id, subnet = driver.request_pool()
    driver, gateway = driver.request_address(pool_id, "", 0.0)
    driver, first = driver.request_address(pool_id, "", 0.0)
    assert (subnet, gateway, first) == ("172.17.0.0/16", "172.17.0.1/16", "172.17.0.2/16")
    assert driver.usage(pool_id) == (4, 65532)
    assert driver.contains(pool_id, "172.17.9.9")
    assert not driver.contains(pool_id, "172.18.9.9")


def test_ipv6_from_the_derived_pool():
    held, pool_id, subnet = ipam().request_pool(v6=True)
    assert held.request_address(pool_id, "", 0.0)[1] == subnet.replace("/64", "1/64")


def test_the_gateway_of_a_range_is_its_lowest_address():
    held, pool_id, _ = ipam().request_pool("10.0.0.0/16", "10.0.5.0/24")
    held, gateway = held.request_address(pool_id, "", 0.0)
    assert gateway == "10.0.5.0/16"
    assert held.usage(pool_id) == (3, 255)
    assert held.request_address(pool_id, "10.0.9.1", 0.0)[1] == "10.0.9.1/16"


def test_networks_with_ranges_of_one_subnet_share_its_addresses():
    held, first, _ = ipam().request_pool("10.0.0.0/24", "10.0.0.0/25")
    held, second, _ = held.request_pool("10.0.0.0/24", "10.0.0.128/25")
    held, _ = held.request_address(first, "10.0.0.129", 0.0)
    with pytest.raises(Forbidden):
        held.request_address(second, "10.0.0.129", 0.0)
    assert held.request_address(second, "", 0.0)[1] == "10.0.0.128/24"
    assert held.usage(second) == (3, 126)
    held = held.release_pool(first)
    assert held.usage(second) == (3, 126)
    held = held.release_pool(second)
    assert held == ipam()


def test_a_released_address_rests_as_long_as_the_driver_was_told():
    held, pool_id, _ = ipam().request_pool()
    held, first = held.request_address(pool_id, "", 0.0)
    held = held.release_address(pool_id, first, 1.0)
    assert held.request_address(pool_id, "", 5.9)[1] == "172.17.0.2/16"
    assert held.request_address(pool_id, "", 6.0)[1] == first


def test_releasing_takes_addresses_with_and_without_length_and_twice():
    held, pool_id, _ = ipam().request_pool("10.0.0.0/29")
    held, address = held.request_address(pool_id, "10.0.0.3", 0.0)
    for text in (address, "10.0.0.3", "10.0.0.4"):
        held = held.release_address(pool_id, text, 0.0)
    assert held.usage(pool_id) == (2, 6)


def test_a_removed_pool_is_forgotten_with_its_addresses():
    held, pool_id, _ = ipam().request_pool("10.0.0.0/24")
    held, _ = held.request_address(pool_id, "", 0.0)
    held = held.release_pool(pool_id)
    for use in (
        lambda: held.release_pool(pool_id),
        lambda: held.request_address(pool_id, "", 0.0),
        lambda: held.release_address(pool_id, "10.0.0.1", 0.0),
        lambda: held.usage(pool_id),
        lambda: held.contains(pool_id, "10.0.0.1"),
    ):
        with pytest.raises(Invalid, match="address space does not contain specified address pool"):
            use()
    held, pool_id, _ = held.request_pool("10.0.0.0/24")
    assert held.request_address(pool_id, "", 0.0)[1] == "10.0.0.1/24"


def test_a_pool_of_another_range_is_not_this_one():
    held, _, _ = ipam().request_pool("10.0.0.0/24", "10.0.0.0/25")
    with pytest.raises(Invalid):
        held.usage("LocalDefault/10.0.0.0/24")


def test_asking_again_for_what_is_stored_restores_it():
    held, pool_id, _ = ipam().request_pool()
    held, gateway = held.request_address(pool_id, "", 0.0)
    held, address = held.request_address(pool_id, "", 0.0)
    again, same_id, _ = ipam().request_pool("172.17.0.0/16")
    for text in (address, gateway):
        again, _ = again.request_address(same_id, text, 0.0)
    assert (same_id, again) == (pool_id, held)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.sampled_from(["pool", "any", "release", "drop"]), st.integers(0, 9)), max_size=50))
def test_no_address_is_ever_given_twice_and_going_back_is_keeping_the_old_value(steps):
    held, pools, given_out, kept = ipam(default_pools=[("10.0.0.0/26", 29)]), [], {}, []
    for moment, (step, pick) in enumerate(steps):
        kept.append((held, {key: held.usage(key) for key in pools}))
        try:
            if step == "pool":
                held, pool_id, _ = held.request_pool()
                pools.append(pool_id)
            elif pools and step == "any":
                pool_id = pools[pick % len(pools)]
                held, address = held.request_address(pool_id, "", float(moment))
                assert address not in given_out
                given_out[address] = pool_id
            elif given_out and step == "release":
                address = sorted(given_out)[pick % len(given_out)]
                held = held.release_address(given_out.pop(address), address, float(moment))
            elif pools and step == "drop":
                pool_id = pools.pop(pick % len(pools))
                held = held.release_pool(pool_id)
                given_out = {address: owner for address, owner in given_out.items() if owner != pool_id}
        except (Exhausted, Invalid):
            pass
    assert sum(held.usage(key)[0] - 2 for key in pools) == len(given_out)
    for old, usage in kept:
        assert {key: old.usage(key) for key in usage} == usage


def test_the_cost_does_not_grow_with_the_number_of_networks():
    held = ipam(default_pools=[("10.0.0.0/8", 24)])
    empty, only, _ = held.request_pool()
    empty.usage(only)
    costs_empty = calls(held.request_pool), calls(lambda: empty.request_address(only, "", 0.0))
    for _ in range(500):
        held, last, _ = held.request_pool()
    held.usage(last)  # from here on, its id is known
    costs_full = calls(held.request_pool), calls(lambda: held.request_address(last, "", 0.0))
    assert costs_full[0] <= 1.2 * costs_empty[0]
    assert costs_full[1] <= 1.2 * costs_empty[1]


def test_the_examples_of_the_readme_are_true():
    readme = Path(default.__file__).with_name("README.md")
    outcome = doctest.testfile(str(readme), module_relative=False, globs={"Ipam": Ipam})
    assert outcome.attempted
    assert not outcome.failed
