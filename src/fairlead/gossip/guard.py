"""What keeps a node calm under strangers' and repeated packets.

A direct packet counts once: its counter must be new for its sender and epoch. Bytes that cannot be opened cost little, but
each source may cause only so much of that work; what is beyond is not even looked at. A member's own address has no such
limit, since anybody can write another's address on a datagram and would silence it.
"""

from __future__ import annotations

from collections import OrderedDict

from fairlead.gossip.identity import Address
from fairlead.gossip.keyring import Opened, ShortId, Window

#: Senders whose windows are remembered: all nodes of a large cluster.
_WINDOWS_MAX = 16384
#: Sources of junk that are remembered.
_SOURCES_MAX = 1024
#: Bytes of junk per source and second that are tried to be opened: 2 us a packet, so a tenth of a percent of a core.
JUNK_BYTES_PER_S = 512 * 1024


class Guard:
    """Replay windows, and the budget for junk."""

    def __init__(self) -> None:
        self._windows: OrderedDict[ShortId, tuple[int, Window]] = OrderedDict()
        self._junk: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def fresh(self, opened: Opened) -> bool:
        """Whether a direct packet is seen for the first time, and is of its sender's newest epoch."""
        epoch, window = self._windows.get(opened.sender, (-1, None))
        if window is None or opened.epoch > epoch:
            window = Window()
            self._windows[opened.sender] = (opened.epoch, window)
            if len(self._windows) > _WINDOWS_MAX:
                self._windows.popitem(last=False)
        elif opened.epoch < epoch:
            return False
        return window.fresh(opened.counter)

    def overdrawn(self, source: Address, now: float) -> bool:
        """Whether a source has sent so much junk in this second that the rest is not looked at."""
        second, amount = self._junk.get(source.host, (now, 0))
        return amount > JUNK_BYTES_PER_S and now - second < 1

    def junk(self, source: Address, size: int, now: float) -> None:
        """A source has sent what cannot be opened."""
        second, amount = self._junk.pop(source.host, (now, 0))
        self._junk[source.host] = (second, amount + size) if now - second < 1 else (now, size)
        if len(self._junk) > _SOURCES_MAX:
            self._junk.popitem(last=False)
