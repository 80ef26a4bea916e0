"""Vnis: which VXLAN network identifiers are given out. Frozen: each operation answers a new value."""

from __future__ import annotations

from dataclasses import dataclass, replace

from fairlead.model import codes, options
from fairlead.model.bitmap import Bitmap
from fairlead.model.errors import Exhausted, Forbidden

#: The first that is chosen (swarm: those below are avoided, since Windows takes them for VLANs).
VNI_FIRST = 4096
#: One more than the last.
VNI_END = options.VXLAN_ID_MAX + 1

_NONE = Bitmap(VNI_END)


@dataclass(frozen=True, slots=True)
class Vnis:
    """The VNIs of a cluster."""

    used: Bitmap = _NONE

    def take(self, vni: int, subnet: str) -> Vnis:
        """Take this very one, for the segment of ``subnet``; raises ``Forbidden`` when a network has it."""
        if self.used.get(vni):
            raise Forbidden(
                f"could not obtain vxlan id for pool {subnet}: requested bit is already allocated",
                hint=f"another network has the VNI {vni}: choose another, or none to have one chosen",
                code=codes.VNI_TAKEN,
            )
        return replace(self, used=self.used.set(vni))

    def take_any(self, start: int) -> tuple[Vnis, int]:
        """Take the first free one from ``start`` on, then from the beginning; raises ``Exhausted``."""
        found = self.used.lowest_clear(max(start, VNI_FIRST))
        if found is None:
            found = self.used.lowest_clear(VNI_FIRST)
        if found is None:
            raise Exhausted("no available vxlan id", hint="remove unused networks", code=codes.VNI_TAKEN)
        return replace(self, used=self.used.set(found)), found

    def release(self, vni: int) -> Vnis:
        """Give one back."""
        return replace(self, used=self.used.clear(vni))
