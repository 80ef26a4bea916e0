"""The ``null`` IPAM: networks whose addresses are none of our business."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fairlead.model.addresses import is_v6


@dataclass(frozen=True, slots=True)
class NullIpam:
    """One endless pool for each family, and never an address (cnm 3.6). It has nothing to remember."""

    def request_pool(
        self, subnet: str = "", ip_range: str = "", *, v6: bool = False, avoid: Sequence[str] = ()
    ) -> tuple[NullIpam, str, str]:
        """The endless pool of the family."""
        everything = "::/0" if v6 else "0.0.0.0/0"
        return self, f"null/{everything}", everything

    def release_pool(self, pool_id: str) -> NullIpam:
        """Nothing to do."""
        return self

    def request_address(self, pool_id: str, address: str, now: float) -> tuple[NullIpam, str]:
        """Always empty text."""
        return self, ""

    def release_address(self, pool_id: str, address: str, now: float) -> NullIpam:
        """Nothing to do."""
        return self

    def contains(self, pool_id: str, address: str) -> bool:
        """Whether the address is of the pool's family."""
        return is_v6(address) == is_v6(pool_id)

    def usage(self, pool_id: str) -> tuple[int, int]:
        """Nothing in use, nothing available."""
        return 0, 0
