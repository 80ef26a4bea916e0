"""Many addresses taken in one go, as at a start."""

from __future__ import annotations

import pytest

from fairlead.ipam.default import Ipam
from fairlead.model.errors import Forbidden, Invalid


def test_addresses_held_at_once_are_as_if_requested_one_by_one() -> None:
    ipam, pool, _ = Ipam.create().request_pool("10.9.0.0/22")
    addresses = [f"10.9.{high}.{low}" for high in range(3) for low in range(1, 250)]
    one_by_one = ipam
    for address in addresses:
        one_by_one, _ = one_by_one.request_address(pool, address, 0.0)
    assert ipam.hold_addresses(pool, addresses).pools.get(ipam.space.parse(pool)[0]) == one_by_one.pools.get(
        ipam.space.parse(pool)[0]
    )


def test_ipv6_too() -> None:
    ipam, pool, _ = Ipam.create().request_pool("fd00:9::/64")
    held = ipam.hold_addresses(pool, ["fd00:9::1", "fd00:9::ffff"])
    assert held.request_address(pool, "", 0.0)[1] == "fd00:9::2/64"


def test_what_cannot_be_held_is_refused_as_a_request_would_be() -> None:
    ipam, pool, _ = Ipam.create().request_pool("10.9.0.0/24")
    for wrong in (["10.9.0.5", "10.9.0.5"], ["10.9.0.255"], ["10.9.0.0"]):
        with pytest.raises(Forbidden, match="Address already in use"):
            ipam.hold_addresses(pool, wrong)
    with pytest.raises(Invalid, match="requested address is out of range"):
        ipam.hold_addresses(pool, ["10.9.1.1"])
