"""Encryption between nodes in memory, with the surface of ``fairlead.kernel.ipsec.Ipsec``; a part of ``FakeKernel``."""

from __future__ import annotations

from collections.abc import Callable

from fairlead.kernel import xfrm
from fairlead.kernel.ipsec import Mended
from fairlead.kernel.reckoning import Ledger
from fairlead.plan.objects import Key, Object
from fairlead.plan.render import line
from fairlead.plan.xfrm import Xfrm, XfrmState


class FakeIpsec:
    """``lacking`` is why the kernel cannot encrypt; ``objects`` all that stands there."""

    def __init__(self, ledger: Ledger, objects: Callable[[], dict[Key, Object]]) -> None:
        self.lacking = ""
        self._ledger = ledger
        self._objects = objects

    async def fault(self, *, v6: bool) -> str:
        """``lacking``."""
        return self.lacking

    async def stands(self) -> bool:
        """As the real one."""
        return any(isinstance(item, XfrmState) for item in self._objects().values())

    async def mend(self) -> Mended:
        """As the real one."""
        desired, objects = self._ledger.encryption(), self._objects()
        wanted = {key: item for key, item in desired.items() if isinstance(item, Xfrm)}
        gone = [item for item in wanted.values() if xfrm.lost(item, objects)]
        words = [f"lost {line(item)}" for item in gone]
        for key, item in wanted.items():
            if item not in gone and objects.get(key) != item:
                objects[key] = item
                words.append(f"mended {line(item)}")
        for item in [item for item in objects.values() if isinstance(item, Xfrm) and item.key not in wanted]:
            if not xfrm.doubtful(item, desired):
                del objects[item.key]
                words.append(f"removed {line(item)}")
        return Mended(tuple(words), bool(gone))

    def sweep(self) -> None:
        """Take away what no plan has, as the real kernel does when all is known."""
        for item in [item for item in self._objects().values() if isinstance(item, Xfrm)]:
            if item.key not in self._ledger.keys:
                del self._objects()[item.key]
