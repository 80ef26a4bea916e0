"""What the firewalls of sandboxes have counted."""

from __future__ import annotations

from fairlead.kernel import ruleset
from fairlead.kernel.errno import Refused
from fairlead.kernel.ipsec import Ask
from fairlead.kernel.machine import Machine


class Counters:
    """Those of one node; ``Kernel.counters``. Sandboxes are looked at one at a time, between other work."""

    def __init__(self, ask: Ask, machine: Machine) -> None:
        self._ask = ask
        self._machine = machine

    async def of(self, netns_name: str, family: str, table: str, name: str) -> dict[str, int]:
        """Packets that each element of a set with counters has matched; none where there is no such set."""
        return await self._ask(lambda: self._read(netns_name, f"list set {family} {table} {name}"))

    def _read(self, netns_name: str, command: str) -> dict[str, int]:
        try:
            with self._machine.firewall(netns_name) as nft:
                return ruleset.counts_in(nft.run_json(command))
        except (Refused, OSError):
            return {}  # the sandbox may be on its way in, or out
