from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.unit.ipam.counting import calls

from fairlead.ipam.addresses import SHOWN_MAX, AddressPool
from fairlead.model.errors import Exhausted, Forbidden, Invalid

REST_S = 10.0


def fill(pool, count, now=0.0, ip_range=""):
    taken = []
    for _ in range(count):
        pool, address = pool.take_any(now, ip_range)
        taken.append(address)
    return pool, taken


@pytest.mark.parametrize(
    ("subnet", "first", "in_use", "available"),
    [
        ("10.0.0.0/24", "10.0.0.1", 2, 254),
        ("10.0.0.0/8", "10.0.0.1", 2, 2**24 - 2),
        ("10.0.0.0/30", "10.0.0.1", 2, 2),
        ("10.0.0.0/31", "10.0.0.0", 0, 2),
        ("10.0.0.7/32", "10.0.0.7", 0, 1),
        ("fd00::/64", "fd00::1", 1, 2**64 - 1),
        ("fd00::/48", "fd00::1", 1, SHOWN_MAX),
        ("fd00::/127", "fd00::1", 1, 1),
    ],
)
def test_what_a_new_pool_reserves_and_gives_first(subnet, first, in_use, available):
    pool = AddressPool.create(subnet)
    assert (pool.in_use, pool.available()) == (in_use, available)
    assert pool.take_any(0.0)[1] == first


def test_ipv6_reserves_the_all_zero_host_even_in_a_host_prefix():
    with pytest.raises(Exhausted):
        AddressPool.create("fd00::5/128").take_any(0.0)


def test_lowest_free_comes_first():
    pool, _ = fill(AddressPool.create("10.0.0.0/24"), 4)
    pool = pool.release("10.0.0.2", 0.0, 0)
    assert pool.take_any(0.0)[1] == "10.0.0.2"


def test_a_range_without_network_address_begins_at_its_lowest():
    assert AddressPool.create("10.0.0.0/16").take_any(0.0, "10.0.5.0/24")[1] == "10.0.5.0"


def test_a_range_restricts_only_automatic_choice():
    pool = AddressPool.create("10.0.0.0/24").take("10.0.0.200", 0.0)
    assert pool.in_use == 3
    pool, taken = fill(pool, 2, ip_range="10.0.0.8/31")
    assert taken == ["10.0.0.8", "10.0.0.9"]
    with pytest.raises(Exhausted):
        pool.take_any(0.0, "10.0.0.8/31")
    assert pool.available("10.0.0.8/31") == 0
    assert pool.available() == 251


def test_a_range_that_ends_the_subnet_leaves_the_broadcast_address():
    pool, _ = fill(AddressPool.create("10.0.0.0/24"), 3, ip_range="10.0.0.252/30")
    with pytest.raises(Exhausted):
        pool.take_any(0.0, "10.0.0.252/30")


def test_a_range_outside_is_invalid():
    for ip_range in ("10.1.0.0/24", "10.0.0.0/16", "fd00::/64"):
        with pytest.raises(Invalid, match="doesn't contain ip-range"):
            AddressPool.create("10.0.0.0/24").take_any(0.0, ip_range)


@pytest.mark.parametrize("address", ["10.0.0.5", "10.0.0.0", "10.0.0.255"])
def test_what_is_in_use_or_reserved_is_forbidden(address):
    pool = AddressPool.create("10.0.0.0/24").take("10.0.0.5", 0.0)
    with pytest.raises(Forbidden, match=r"^Address already in use$") as caught:
        pool.take(address, 0.0)
    assert address in caught.value.hint


@pytest.mark.parametrize("address", ["10.0.1.1", "9.255.255.255", "fd00::1"])
def test_what_is_outside_is_invalid(address):
    pool = AddressPool.create("10.0.0.0/24")
    assert not pool.contains(address)
    with pytest.raises(Invalid, match=r"^requested address is out of range$") as caught:
        pool.take(address, 0.0)
    assert "10.0.0.0/24" in caught.value.hint


def test_what_is_no_address_is_invalid():
    with pytest.raises(Invalid, match="invalid IP address"):
        AddressPool.create("10.0.0.0/24").take("10.0.0", 0.0)


def test_exhaustion_is_loud():
    pool, _ = fill(AddressPool.create("10.0.0.0/29"), 6)
    with pytest.raises(Exhausted, match=r"^no available addresses on this pool$") as caught:
        pool.take_any(0.0)
    assert "10.0.0.0/29" in caught.value.hint
    assert "larger subnet" in caught.value.hint
    assert caught.value.status == 503


def test_releasing_is_idempotent_and_never_frees_what_is_reserved():
    pool = AddressPool.create("10.0.0.0/24").take("10.0.0.5", 0.0)
    freed = pool.release("10.0.0.5", 0.0, 0)
    assert freed == AddressPool.create("10.0.0.0/24")
    for address in ("10.0.0.5", "10.0.0.0", "10.0.0.255", "10.0.9.9", "fd00::1"):
        assert freed.release(address, 0.0, REST_S) is freed
    six = AddressPool.create("fd00::/64")
    assert six.release("fd00::", 0.0, REST_S) is six


def test_a_freed_address_rests_before_automatic_choice_takes_it():
    pool, _ = fill(AddressPool.create("10.0.0.0/24"), 2)
    pool = pool.release("10.0.0.1", 100.0, REST_S)
    assert pool.take_any(109.9)[1] == "10.0.0.3"
    assert pool.take_any(110.0)[1] == "10.0.0.1"


def test_a_resting_address_counts_as_available_and_can_be_taken_by_name():
    pool = AddressPool.create("10.0.0.0/24").take("10.0.0.5", 0.0).release("10.0.0.5", 0.0, REST_S)
    assert (pool.in_use, pool.available()) == (2, 254)
    again = pool.take("10.0.0.5", 1.0)
    assert again.in_use == 3
    assert again.confirm(1000.0).in_use == 3, "the end of the old rest must not free it"
    with pytest.raises(Forbidden):
        again.take("10.0.0.5", 1000.0)


def test_an_address_released_twice_rests_from_the_last_release():
    pool = AddressPool.create("10.0.0.0/24").take("10.0.0.1", 0.0).release("10.0.0.1", 0.0, REST_S)
    pool = pool.take("10.0.0.1", 5.0).release("10.0.0.1", 5.0, REST_S)
    assert pool.take_any(12.0)[1] == "10.0.0.2"
    assert pool.take_any(15.0)[1] == "10.0.0.1"


def test_when_all_free_ones_rest_the_one_that_rested_longest_is_taken():
    pool, _ = fill(AddressPool.create("10.0.0.0/29"), 6)
    for moment, address in enumerate(("10.0.0.4", "10.0.0.2", "10.0.0.6")):
        pool = pool.release(address, float(moment), REST_S)
    pool, taken = fill(pool, 3, now=3.0)
    assert taken == ["10.0.0.4", "10.0.0.2", "10.0.0.6"]
    with pytest.raises(Exhausted):
        pool.take_any(3.0)


def test_the_longest_rested_is_looked_for_inside_the_range():
    pool, _ = fill(AddressPool.create("10.0.0.0/29"), 6)
    pool = pool.release("10.0.0.1", 0.0, REST_S).release("10.0.0.5", 1.0, REST_S)
    pool, address = pool.take_any(2.0, "10.0.0.4/31")
    assert address == "10.0.0.5"
    with pytest.raises(Exhausted):
        pool.take_any(2.0, "10.0.0.4/31")


def test_the_old_value_stays_as_it_was():
    pool, _ = fill(AddressPool.create("10.0.0.0/24"), 3)
    pool.take_any(0.0)
    pool.release("10.0.0.1", 0.0, REST_S)
    assert pool.take_any(0.0)[1] == "10.0.0.4"
    assert pool.in_use == 5


def test_confirming_without_rests_answers_the_same_value():
    pool = AddressPool.create("10.0.0.0/24")
    assert pool.confirm(1e9) is pool


@pytest.mark.parametrize("subnet", ["10.0.0.0/16", "fd00::/64"])
def test_an_allocation_costs_the_same_with_none_and_thousands_held(subnet):
    pool = AddressPool.create(subnet)
    empty = calls(lambda: pool.take_any(0.0))
    pool, taken = fill(pool, 3000)
    full = calls(lambda: pool.take_any(0.0))
    assert full <= 1.1 * empty
    for address in taken[:1000]:
        pool = pool.release(address, 0.0, REST_S)
    resting = calls(lambda: pool.take_any(1.0))
    assert resting <= 1.3 * empty, "a thousand resting addresses are stepped over, not scanned"


def test_the_longest_rested_is_found_without_a_scan():
    pool, taken = fill(AddressPool.create("10.0.0.0/23"), 510)
    costs = []
    for address in reversed(taken):
        pool = pool.release(address, 0.0, REST_S)
        costs.append(calls(lambda held=pool: held.take_any(1.0)))
    assert max(costs) <= 1.3 * costs[0]


class AgainstNaiveModel(RuleBasedStateMachine):
    """An address pool beside a dict of users and a list of (address, end of rest)."""

    @initialize(subnet=st.sampled_from(["10.0.0.0/28", "10.0.0.0/31", "10.0.0.4/32", "fd00::/124", "10.9.0.0/24"]))
    def start(self, subnet):
        self.network = ip_network(subnet)
        self.pool = AddressPool.create(subnet)
        self.now = 0.0
        self.reserved = set()
        if self.network.version == 6 or self.network.prefixlen < 31:
            self.reserved.add(str(self.network[0]))
        if self.network.version == 4 and self.network.prefixlen < 31:
            self.reserved.add(str(self.network[-1]))
        self.used = set()
        self.rests = []

    def settle(self):
        self.rests = [(address, until) for address, until in self.rests if until > self.now]

    @rule(seconds=st.floats(0, 8))
    def time_passes(self, seconds):
        self.now += seconds
        self.settle()

    @rule(half=st.booleans())
    def take_any(self, half):
        length = min(self.network.prefixlen + half, self.network.max_prefixlen)
        part = next(iter(self.network.subnets(new_prefix=length)))
        free = [str(a) for a in map(ip_address, range(int(part[0]), int(part[-1]) + 1))]
        free = [address for address in free if address not in self.used | self.reserved]
        resting = [address for address, _ in self.rests]
        rested = [address for address in free if address not in resting]
        if not free:
            with pytest.raises(Exhausted):
                self.pool.take_any(self.now, str(part) if half else "")
            return
        self.pool, address = self.pool.take_any(self.now, str(part) if half else "")
        assert address == (rested[0] if rested else next(a for a in resting if a in free))
        self.took(address)

    @rule(offset=st.integers(0, 255))
    def take(self, offset):
        address = str(self.network[offset % self.network.num_addresses])
        if address in self.used | self.reserved:
            with pytest.raises(Forbidden):
                self.pool.take(address, self.now)
            return
        self.pool = self.pool.take(address, self.now)
        self.took(address)

    @rule(offset=st.integers(0, 255), rests=st.booleans())
    def release(self, offset, rests):
        address = str(self.network[offset % self.network.num_addresses])
        self.pool = self.pool.release(address, self.now, REST_S if rests else 0)
        if address in self.used:
            self.used.remove(address)
            if rests:
                self.rests.append((address, self.now + REST_S))

    def took(self, address):
        self.used.add(address)
        self.rests = [rest for rest in self.rests if rest[0] != address]

    @invariant()
    def counts_agree(self):
        if hasattr(self, "pool"):
            assert self.pool.in_use == len(self.used | self.reserved)
            assert self.pool.available() == self.network.num_addresses - len(self.used | self.reserved)
            assert len(self.pool.queue) == len(self.pool.resting)


TestAgainstNaiveModel = AgainstNaiveModel.TestCase
TestAgainstNaiveModel.settings = settings(deadline=None, max_examples=60, stateful_step_count=40)
