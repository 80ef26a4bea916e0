"""What an IPAM driver is: a value that gives out subnets and addresses and answers itself changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, Self


class IpamDriver(Protocol):
    """An IPAM driver. Nothing is changed in place: each operation answers the new value, the old one stays valid, so
    going back is keeping it. ``now`` is monotonic seconds.
    """

    def request_pool(
        self, subnet: str = "", ip_range: str = "", *, v6: bool = False, avoid: Sequence[str] = ()
    ) -> tuple[Self, str, str]:
        """Give out a subnet: (driver, pool id, subnet)."""

    def release_pool(self, pool_id: str) -> Self:
        """Take a pool back, its addresses with it."""

    def request_address(self, pool_id: str, address: str, now: float) -> tuple[Self, str]:
        """Give out ``address``, or any when it is empty: (driver, ``address/length``, empty if it has no addresses)."""

    def release_address(self, pool_id: str, address: str, now: float) -> Self:
        """Take an address (with or without ``/length``) back; taking back what was not given is nothing."""

    def contains(self, pool_id: str, address: str) -> bool:
        """Whether the address lies in the pool's subnet."""

    def usage(self, pool_id: str) -> tuple[int, int]:
        """Addresses of the pool's subnet in use, and free ones in its range."""
