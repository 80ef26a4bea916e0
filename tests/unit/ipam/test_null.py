from __future__ import annotations

import pytest

from fairlead.ipam.contract import IpamDriver
from fairlead.ipam.null import NullIpam


@pytest.mark.parametrize(("v6", "everything"), [(False, "0.0.0.0/0"), (True, "::/0")])
def test_it_has_one_endless_pool_a_family_and_never_an_address(v6, everything):
    driver: IpamDriver = NullIpam()
    for _ in range(2):
        driver, pool_id, subnet = driver.request_pool("10.0.0.0/24", v6=v6)
        assert (pool_id, subnet) == (f"null/{everything}", everything)
    assert driver.request_address(pool_id, "", 0.0) == (driver, "")
    assert driver.request_address(pool_id, "10.0.0.1", 0.0) == (driver, "")
    assert driver.release_address(pool_id, "10.0.0.1", 0.0) == driver
    assert driver.usage(pool_id) == (0, 0)
    assert driver.contains(pool_id, "fd00::1" if v6 else "10.0.0.1")
    assert not driver.contains(pool_id, "10.0.0.1" if v6 else "fd00::1")
    assert driver.release_pool(pool_id) == NullIpam()
