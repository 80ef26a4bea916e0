"""Encryption between nodes as the daemon looks after it: whether the kernel can, and whether all of it still stands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from fairlead.kernel import xfrm
from fairlead.kernel.errno import Refused, from_os
from fairlead.kernel.machine import Machine
from fairlead.kernel.reckoning import Ledger
from fairlead.plan.diff import Change, Delete, diff
from fairlead.plan.objects import Plan
from fairlead.plan.render import line
from fairlead.plan.xfrm import Xfrm, XfrmState

_R = TypeVar("_R")


class Ask(Protocol):
    """Runs a job in the kernel's worker."""

    def __call__(self, job: Callable[[], _R]) -> Coroutine[Any, Any, _R]:
        """What the job returns."""


@dataclass(frozen=True, slots=True)
class Mended:
    """What was done, in words; ``lost``: a state that sends has gone, and other keys are needed (``xfrm.lost``)."""

    words: tuple[str, ...] = ()
    lost: bool = False


class Ipsec:
    """The encryption of one node; ``Kernel.ipsec``. Raises ``Refused`` when the kernel cannot be asked."""

    def __init__(self, ask: Ask, machine: Machine, ledger: Ledger) -> None:
        self._ask = ask
        self._machine = machine
        self._ledger = ledger

    async def fault(self, *, v6: bool) -> str:
        """Why this node cannot encrypt to nodes with addresses of this family, in words; empty if it can."""
        return await self._ask(lambda: xfrm.fault(v6=v6))

    async def stands(self) -> bool:
        """Whether there are states of ours: those that an earlier life of the daemon sent with are intact."""
        return await self._ask(self._stands)

    async def mend(self) -> Mended:
        """Compare states and policies with the plans that were applied last, and put right what strangers changed."""
        return await self._ask(self._mend)

    async def counted(self, table: str) -> dict[str, int]:
        """Packets that the rules of each chain of a table of ours, in the node's own namespace, have counted since it was
        made, both families together; none where there is no such table."""
        return await self._ask(lambda: self._counted(table))

    def _stands(self) -> bool:
        try:
            return any(isinstance(item, XfrmState) for item in xfrm.standing())
        except OSError as error:
            raise from_os(error, "look at encryption between nodes") from error

    def _counted(self, table: str) -> dict[str, int]:
        found: Counter[str] = Counter()
        for family in ("ip", "ip6"):
            with suppress(Refused, OSError), self._machine.firewall("") as nft:
                for entry in nft.run_json_terse(f"list table {family} {table}"):
                    rule = entry.get("rule", {})
                    parts = rule.get("expr", ())
                    found[rule.get("chain", "")] += sum(
                        part["counter"]["packets"] for part in parts if "counter" in part
                    )
        return dict(found)

    def _mend(self) -> Mended:
        desired = self._ledger.encryption()
        wanted = Plan(item for item in desired.values() if isinstance(item, Xfrm))
        try:
            actual = Plan(item for item in xfrm.standing() if not xfrm.doubtful(item, desired))
        except OSError as error:
            raise from_os(error, "look at encryption between nodes") from error
        gone = {key for key, item in wanted.items() if xfrm.lost(item, actual)}
        steps = diff(actual, {key: item for key, item in wanted.items() if key not in gone})
        _, failures = xfrm.put(steps)
        failures += xfrm.drop(steps)
        words = [
            f"{'removed' if isinstance(step, Delete) else 'mended'} {line(step.after if isinstance(step, Change) else step.object)}"
            for step in steps
        ]
        words += [f"lost {line(wanted[key])}" for key in sorted(gone)]
        return Mended((*words, *(f"could not mend: {failure}" for failure in failures)), bool(gone))
