from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.model.records import network

from fairlead.model.network import PREDEFINED, Pool


@pytest.mark.parametrize("name", PREDEFINED)
def test_dockers_three_networks_are_predefined(name):
    assert network(1, name).predefined


def test_any_other_network_is_not_predefined():
    assert not network(1, "bridge2").predefined
    assert set(PREDEFINED) == {"bridge", "host", "none"}


def test_the_family_of_a_pool_is_that_of_its_subnet():
    assert Pool("a", "fd00::/64").v6
    assert not Pool("a", "10.0.0.0/24").v6


def test_the_gateway_is_the_first_of_its_family_that_there_is():
    pools = (
        Pool("a", "10.0.0.0/24"),
        Pool("b", "fd00::/64", gateway="fd00::1"),
        Pool("c", "10.1.0.0/24", gateway="10.1.0.1"),
        Pool("d", "10.2.0.0/24", gateway="10.2.0.1"),
    )
    held = replace(network(1), pools=pools)
    assert held.gateway(v6=False) == "10.1.0.1"
    assert held.gateway(v6=True) == "fd00::1"
    assert network(1).gateway(v6=False) == ""
