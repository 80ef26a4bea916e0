from __future__ import annotations

from hashlib import sha256
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.unit.ipam.counting import calls

from fairlead.ipam.pools import GLOBAL, LOCAL, AddressSpace, ula_prefix
from fairlead.model.errors import Forbidden, Invalid

#: Docker's 31 default networks, in the order in which they are given out.
DEFAULTS = [f"172.{number}.0.0/16" for number in range(17, 32)] + [f"192.168.{n}.0/20" for n in range(0, 256, 16)]


def space(*pools):
    return AddressSpace.create(LOCAL, pools, "node")


def drain(given, **asked):
    """Every subnet that automatic choice gives until it refuses, and the refusal."""
    subnets = []
    while True:
        try:
            given, _, subnet = given.request(**asked)
        except Invalid as refusal:
            return given, subnets, refusal
        subnets.append(subnet)


def test_the_default_pools_hold_thirty_one_networks():
    _, subnets, refusal = drain(space())
    assert subnets == DEFAULTS
    assert str(refusal) == "all predefined address pools have been fully subnetted"
    assert refusal.status == 400
    for word in ("31 subnets", "fairlead network prune", "default address pools"):
        assert word in refusal.hint


def test_released_subnets_are_given_again_lowest_first():
    held, _, _ = drain(space())
    held = held.release(f"{LOCAL}/172.20.0.0/16").release(f"{LOCAL}/172.18.0.0/16")
    held, pool_id, subnet = held.request()
    assert (pool_id, subnet) == (f"{LOCAL}/172.18.0.0/16", "172.18.0.0/16")
    assert held.request()[2] == "172.20.0.0/16"


def test_automatic_choice_avoids_given_and_shunned_subnets():
    held, _, _ = space().request("172.18.5.0/24")
    avoid = ["0.0.0.0/0", "172.17.0.0/24", "172.19.255.255/32", "172.20.0.0/15", "fd00::/8"]
    assert held.request(avoid=avoid)[2] == "172.22.0.0/16"


def test_a_large_explicit_subnet_is_stepped_over():
    held, _, _ = space().request("172.16.0.0/12")
    assert held.request()[2] == "192.168.0.0/20"


def test_an_explicit_subnet_may_lie_anywhere_and_ignores_what_is_shunned():
    for subnet in (
        "172.17.0.0/16",
        "8.8.8.0/24",
        "10.0.0.0/31",
        "10.0.0.1/32",
        "fd00::/127",
        "fd00::1/128",
        "2001:db8::/32",
    ):
        held, pool_id, given = space().request(subnet, avoid=[subnet])
        assert (pool_id, given) == (f"{LOCAL}/{subnet}", subnet)
        assert held.release(pool_id) == space()


@pytest.mark.parametrize("other", ["10.1.0.0/16", "10.0.0.0/8", "10.1.2.0/24", "10.1.0.0/17", "0.0.0.0/1"])
def test_overlapping_explicit_subnets_are_forbidden(other):
    held, _, _ = space().request("10.1.0.0/16")
    if other == "0.0.0.0/1":
        return
    with pytest.raises(Forbidden) as caught:
        held.request(other)
    assert str(caught.value) == "invalid pool request: Pool overlaps with other one on this address space"
    assert "10.1.0.0/16" in caught.value.hint


def test_two_spaces_do_not_know_each_other():
    space().request("10.0.0.0/24")
    other = AddressSpace.create(GLOBAL, [("10.0.0.0/8", 24)])
    assert other.request()[1:] == (f"{GLOBAL}/10.0.0.0/24", "10.0.0.0/24")


@pytest.mark.parametrize(
    ("asked", "subnet"),
    [
        ("0.0.0.0/0", "172.17.0.0/16"),
        ("0.0.0.0/24", "172.17.0.0/24"),
        ("0.0.0.0/14", "172.20.0.0/14"),
        ("", "172.17.0.0/16"),
    ],
)
def test_any_subnet_of_a_size(asked, subnet):
    assert space().request(asked)[2] == subnet


def test_any_ipv6_subnet_of_a_size():
    base = ip_network(str(ula_prefix("node")))
    assert space().request("::/0")[2] == f"{base[0]}/64"
    assert space().request(v6=True)[2] == f"{base[0]}/64"
    held = space().request("::/56")[0]
    assert held.request("::/64")[2] == f"{base[0] + (256 << 64)}/64"


def test_small_subnets_fill_a_default_subnet_from_below():
    held, _, _ = space().request("172.17.0.64/26")
    held, _, first = held.request("0.0.0.0/26")
    held, _, second = held.request("0.0.0.0/26")
    assert (first, second) == ("172.17.0.0/26", "172.17.0.128/26")
    assert held.request()[2] == "172.18.0.0/16"


@pytest.mark.parametrize("asked", ["0.0.0.0/8", "0.0.0.0/13", "::/47"])
def test_a_size_that_no_pool_can_hold_is_invalid(asked):
    with pytest.raises(Invalid, match=r"^invalid address pool$") as caught:
        space().request(asked)
    assert "default address pool" in caught.value.hint


def test_docker_derives_the_ipv6_pool_from_the_node():
    low = int.from_bytes(sha256(b"node").digest()[:8], "big") & (2**40 - 1)
    expected = ip_address((0xFD << 120) | (low << 80))
    assert str(ula_prefix("node")) == f"{expected}/48"
    assert ula_prefix("node") != ula_prefix("another")


def test_a_given_list_replaces_the_built_in_one_and_keeps_the_derived_pool():
    held = space(("10.10.0.0/16", 24))
    assert held.request()[2] == "10.10.0.0/24"
    assert held.request(v6=True)[2].startswith("fd")


def test_a_list_with_only_ipv6_leaves_no_ipv4():
    held = space(("fd00:7::/32", 64))
    assert held.request(v6=True)[2] == "fd00:7::/64"
    with pytest.raises(Invalid, match="all predefined address pools") as caught:
        held.request()
    assert "no IPv4 default address pool" in caught.value.hint


def test_default_pools_are_sorted_and_overlapping_ones_left_out():
    held = space(("10.20.0.0/16", 16), ("10.10.0.0/16", 17), ("10.10.0.0/15", 15), ("10.11.0.0/16", 16))
    _, subnets, _ = drain(held)
    assert subnets == ["10.10.0.0/15", "10.20.0.0/16"]


@pytest.mark.parametrize(
    "pool",
    [
        ("10.0.0.0/16", 15),
        ("10.0.0.0/16", 33),
        ("10.0.0.1/16", 24),
        ("127.0.0.0/8", 24),
        ("nonsense", 24),
        ("fd00::/64", 129),
    ],
)
def test_a_senseless_default_pool_is_invalid(pool):
    with pytest.raises(Invalid):
        space(pool)


@pytest.mark.parametrize(
    "subnet", ["127.0.0.0/24", "224.0.0.0/8", "0.1.0.0/16", "250.0.0.0/8", "fe80:1::/64", "ff00::/16"]
)
def test_an_explicit_subnet_that_makes_no_sense_is_invalid(subnet):
    with pytest.raises(Invalid):
        space().request(subnet)


def test_ranges_of_one_subnet_live_side_by_side():
    held, first, _ = space().request("10.0.0.0/24", "10.0.0.0/25")
    held, second, subnet = held.request("10.0.0.0/24", "10.0.0.128/25")
    assert (first, second) == (f"{LOCAL}/10.0.0.0/24/10.0.0.0/25", f"{LOCAL}/10.0.0.0/24/10.0.0.128/25")
    assert subnet == "10.0.0.0/24"
    for part in ("10.0.0.0/25", "10.0.0.128/25", ""):
        with pytest.raises(Forbidden):
            held.request("10.0.0.0/24", part)
    with pytest.raises(Forbidden):
        held.release(first).request("10.0.0.0/24")
    assert held.release(first).release(second) == space()


def test_a_range_of_a_subnet_that_is_given_without_one_is_forbidden():
    held, _, _ = space().request("10.0.0.0/24")
    with pytest.raises(Forbidden):
        held.request("10.0.0.0/24", "10.0.0.0/25")


def test_a_range_does_not_hide_an_overlap_of_subnets():
    held, _, _ = space().request("10.0.0.0/16")
    with pytest.raises(Forbidden):
        held.request("10.0.0.0/24", "10.0.0.0/25")


def test_a_range_as_large_as_the_subnet_is_none():
    for part in ("10.0.0.0/24", "10.0.0.0/16"):
        assert space().request("10.0.0.0/24", part)[1] == f"{LOCAL}/10.0.0.0/24"


def test_a_range_outside_the_subnet_is_invalid():
    with pytest.raises(Invalid, match="doesn't contain ip-range"):
        space().request("10.0.0.0/24", "10.0.1.0/25")


@pytest.mark.parametrize("subnet", ["", "0.0.0.0/24", "::/64"])
def test_a_range_without_a_subnet_is_invalid(subnet):
    with pytest.raises(Invalid, match=r"^invalid address subpool$"):
        space().request(subnet, "10.0.1.0/25")


@pytest.mark.parametrize(
    "pool_id", ["", "x", f"{LOCAL}/10.0.0.0/24", f"{GLOBAL}/172.17.0.0/16", f"{LOCAL}/172.17.0.0/16/172.17.0.0/24"]
)
def test_releasing_what_is_not_given_is_invalid(pool_id):
    held, _, _ = space().request()
    with pytest.raises(Invalid, match="address space does not contain specified address pool"):
        held.release(pool_id)


def test_the_old_value_stays_as_it_was():
    old = space()
    new, pool_id, _ = old.request()
    new.release(pool_id)
    assert old.request()[2] == new.release(pool_id).request()[2] == "172.17.0.0/16"
    assert new.request()[2] == "172.18.0.0/16"


def test_a_request_at_five_hundred_networks_costs_little_more_than_at_none():
    avoid = ("10.0.0.0/24", *(f"192.168.{number}.0/24" for number in range(20)))
    held = space(("10.0.0.0/8", 24))
    held.request("0.0.0.0/26", avoid=avoid)  # from here on, these texts are known
    empty = calls(lambda: held.request(avoid=avoid))
    sized = calls(lambda: held.request("0.0.0.0/26", avoid=avoid))
    for _ in range(500):
        held, last, _ = held.request(avoid=avoid)
    assert calls(lambda: held.request(avoid=avoid)) <= 1.2 * empty
    assert calls(lambda: held.request("0.0.0.0/26", avoid=avoid)) <= 1.3 * sized
    held.find(last)
    assert calls(lambda: held.release(last)) <= empty


class NeverTwice(RuleBasedStateMachine):
    """An address space beside the list of subnets that are out."""

    def __init__(self):
        super().__init__()
        self.space = AddressSpace.create(LOCAL, [("10.0.0.0/24", 27), ("10.0.2.0/23", 26)])
        self.out = {}

    @rule(length=st.sampled_from([0, 0, 26, 28]), shun=st.sampled_from([(), ("10.0.0.0/26",), ("10.0.2.64/32",)]))
    def automatic(self, length, shun):
        sizes = [("10.0.0.0/24", length or 27), ("10.0.2.0/23", length or 26)]
        taken = [*self.out.values(), *map(ip_network, shun)]
        free = (
            part
            for base, size in sizes
            for part in ip_network(base).subnets(new_prefix=size)
            if not any(part.overlaps(other) for other in taken)
        )
        expected = next(free, None)
        if expected is None:
            with pytest.raises(Invalid):
                self.space.request(f"0.0.0.0/{length}", avoid=shun)
            return
        self.space, pool_id, subnet = self.space.request(f"0.0.0.0/{length}", avoid=shun)
        assert subnet == str(expected)
        self.out[pool_id] = expected

    @rule(number=st.integers(0, 1023), length=st.integers(22, 32))
    def explicit(self, number, length):
        subnet = ip_network((int(ip_address("10.0.0.0")) + number, length), strict=False)
        if any(subnet.overlaps(other) for other in self.out.values()):
            with pytest.raises(Forbidden):
                self.space.request(str(subnet))
            return
        self.space, pool_id, given = self.space.request(str(subnet))
        assert given == str(subnet)
        self.out[pool_id] = subnet

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def release(self, data):
        pool_id = data.draw(st.sampled_from(sorted(self.out)))
        self.space = self.space.release(pool_id)
        del self.out[pool_id]

    @invariant()
    def the_runs_cover_what_is_out(self):
        runs = self.space.runs_v4
        covered = sum(end - start for start, end in zip(runs.starts, runs.ends, strict=True))
        assert covered == sum(subnet.num_addresses for subnet in self.out.values())
        assert len(self.space.subnets) == len(self.out)


TestNeverTwice = NeverTwice.TestCase
TestNeverTwice.settings = settings(deadline=None, max_examples=50, stateful_step_count=30)
