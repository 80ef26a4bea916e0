"""Virtual services of the kernel's own balancer (IPVS)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

#: Where a virtual service leads: bare address and weight.
Destination = tuple[str, int]


@dataclass(frozen=True, slots=True)
class VirtualService:
    """What is led elsewhere in a namespace: packets with a ``mark``, of one family. ``address`` (bare) is the one that they
    were sent to. A destination that is none any more gets no new connections, and keeps those that it has; so does the
    last one of a service that is none any more."""

    rank: ClassVar[int] = 3
    ns: str
    address: str
    mark: int
    scheduler: str
    destinations: tuple[Destination, ...]

    @property
    def v6(self) -> bool:
        """Whether it is of IPv6."""
        return ":" in self.address

    @property
    def key(self) -> tuple[str, ...]:
        """Identity."""
        return ("virtual-service", self.ns, "6" if self.v6 else "4", str(self.mark))
