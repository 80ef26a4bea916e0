"""Vnis: which VXLAN network identifiers are given out. Frozen: each operation answers a new value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from fairlead.model import codes, options
from fairlead.model.bitmap import Bitmap
from fairlead.model.errors import Exhausted, Forbidden, Invalid

#: The first that is chosen (swarm: those below are avoided, since Windows takes them for VLANs).
VNI_FIRST = 4096
#: One more than the last (RFC 7348 section 5: 24 bits).
VNI_END = 1 << 24

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


def listed(given: Mapping[str, str]) -> tuple[int, ...]:
    """The VNIs that a network's options name; raises ``Invalid``."""
    text = given.get(options.VXLAN_IDS, "")
    found = []
    for word in text.split(",") if text else ():
        if not (word.isascii() and word.isdigit() and 0 < int(word) < VNI_END):
            raise Invalid(
                f"invalid vxlan id value {word!r} passed",
                hint=f"{options.VXLAN_IDS} is a list of numbers from 1 to {VNI_END - 1}, separated by commas",
                code=codes.VNI_TAKEN,
            )
        found.append(int(word))
    return tuple(found)
