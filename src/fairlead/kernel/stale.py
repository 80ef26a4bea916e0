"""Connections of addresses that nobody has any more, forgotten when there is time.

A look through connection tracking takes the kernel 13 ms (262,144 buckets, measured), which nobody should wait for who
disconnects an endpoint: an address rests for longer than this before it is given out again. Who takes one at once by
naming it waits.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Collection, Iterable
from contextlib import suppress

from fairlead.kernel import conntrack, sysctl
from fairlead.plan.objects import Flow

#: Seconds without other work after which connections are forgotten, and after which they are however busy we are: well
#: below the 5 s for which a freed address rests (EngineSettings.quarantine_s).
_IDLE_S, _WAITING_S = 0.1, 2.0

_Prefix = ipaddress.IPv4Network | ipaddress.IPv6Network


class StaleConnections:
    """Addresses of the node's own namespace whose connections are still to be forgotten."""

    def __init__(self) -> None:
        self._addresses: set[str] = set()
        self._doubtful: list[_Prefix] = []
        self._living: set[str] = set()
        self._published: set[tuple[int, int]] = set()
        self._own: set[bytes] = set()
        self._since = 0.0
        self._told = False

    def add(self, address: str) -> None:
        """The address has lost its holder."""
        if not self:
            self._since = time.monotonic()
        self._addresses.add(address)

    def doubt(
        self, prefixes: Collection[str], living: Iterable[str], published: Iterable[Flow], host: Iterable[str]
    ) -> None:
        """Whoever was before us may have left connections translated to addresses in these prefixes that are not
        ``living``; others there may be of addresses that a container took by itself. And connections to ``published``
        ports at addresses of the ``host`` that began before these led to a container, and would never get there. To be
        said once, at a start: afterwards we know."""
        if self._told:
            return
        self._told = True
        self._doubtful = [ipaddress.ip_network(prefix, strict=False) for prefix in prefixes]
        own = {prefix.partition("/")[0] for prefix in prefixes}
        self._living = {*living, *own}
        self._published = {(conntrack.PROTOCOLS[flow.proto], flow.host_port) for flow in published}
        self._own = {ipaddress.ip_address(address).packed for address in (*own, *host)}
        self._since = time.monotonic()

    def settle(self, addresses: Collection[str]) -> None:
        """These addresses get a holder now: nothing may be left of an earlier one."""
        if addresses and (self._in_doubt or not self._addresses.isdisjoint(addresses)):
            self.flush()

    def __bool__(self) -> bool:
        return bool(self._addresses) or self._in_doubt

    @property
    def _in_doubt(self) -> bool:
        return bool(self._doubtful or self._published)

    def patience(self) -> float | None:
        """Seconds to wait for other work before ``flush``; None when nothing waits."""
        if not self:
            return None
        return 0 if time.monotonic() >= self._since + _WAITING_S else _IDLE_S

    def flush(self) -> None:
        """Forget them all. A kernel that cannot is one without connection tracking."""
        if not self:
            return
        addresses, doubtful, living = self._addresses, self._doubtful, self._living
        published, own, in_doubt = self._published, self._own, self._in_doubt
        self._addresses, self._doubtful, self._living, self._published, self._own = set(), [], set(), set(), set()
        if sysctl.read(conntrack.COUNT) in (None, "0"):
            return

        def doomed(entry: conntrack.Entry) -> bool:
            if entry.answering == entry.target:
                return (entry.proto, entry.port) in published and entry.target in own
            address = ipaddress.ip_address(entry.answering)
            return str(address) not in living and any(address in prefix for prefix in doubtful)

        with suppress(OSError):
            conntrack.forget_parties(addresses, doomed if in_doubt else None)
