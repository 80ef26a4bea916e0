"""What keeps a node calm under strangers' and repeated packets.

A packet that is said to one node counts once: its counter must be new for its sender and epoch. Windows of members are
kept for the epoch of their signed card alone, so who holds a cluster key and no identity can neither make up an epoch nor
so many senders that a member's window is lost. Such a forger can still seal a counter from the far future, beside which
all that the member says looks old; the member's next answer to a question of ours (which only its address could hear)
puts the window back (``prove``).

Bytes that cannot be opened cost little, but each source may cause only so much of that work; what is beyond is not even
looked at. A member's own address has no such limit, since anybody can write another's address on a datagram and would
silence it.
"""

from __future__ import annotations

from collections import OrderedDict

from fairlead.gossip.identity import Address
from fairlead.gossip.keyring import Opened, ShortId, Window

#: Members whose windows are remembered: all nodes of a large cluster.
_WINDOWS_MAX = 65536
#: Strangers whose windows are remembered: nodes that come at the same time.
_STRANGERS_MAX = 1024
#: Sources of junk that are remembered.
_SOURCES_MAX = 1024
#: Bytes of junk per source and second that are tried to be opened: 2 us a packet, so a tenth of a percent of a core.
JUNK_BYTES_PER_S = 512 * 1024


class Guard:
    """Replay windows, and the budget for junk."""

    def __init__(self) -> None:
        self._windows: OrderedDict[ShortId, tuple[int, Window]] = OrderedDict()
        self._strangers: OrderedDict[tuple[ShortId, int], Window] = OrderedDict()
        self._junk: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def fresh(self, opened: Opened, epoch: int | None) -> bool:
        """Whether a packet is seen for the first time. ``epoch`` is that of its sender's card, None: not known."""
        if epoch is None or opened.epoch > epoch:
            return self._stranger(opened).fresh(opened.counter)
        if opened.epoch < epoch:
            return False
        known = self._windows.get(opened.sender)
        if known is None or known[0] != epoch:
            window = self._strangers.pop((opened.sender, epoch), None) or Window()
            known = self._windows[opened.sender] = (epoch, window)
            if len(self._windows) > _WINDOWS_MAX:
                self._windows.popitem(last=False)
        return known[1].fresh(opened.counter)

    def past(self, opened: Opened) -> bool:
        """Whether a member's packet is older than its window, so that nobody can say whether it was seen."""
        known = self._windows.get(opened.sender)
        return known is not None and known[0] == opened.epoch and known[1].past(opened.counter)

    def prove(self, opened: Opened) -> None:
        """A member has shown that this packet was sealed just now: what it says next is new."""
        known = self._windows.get(opened.sender)
        if known is not None and known[0] == opened.epoch:
            known[1].restart(opened.counter)

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

    def sizes(self) -> dict[str, int]:
        """How much is remembered of what."""
        return {"windows": len(self._windows), "strangers": len(self._strangers), "sources": len(self._junk)}

    def _stranger(self, opened: Opened) -> Window:
        name = (opened.sender, opened.epoch)
        window = self._strangers.get(name)
        if window is None:
            window = self._strangers[name] = Window()
            if len(self._strangers) > _STRANGERS_MAX:
                self._strangers.popitem(last=False)
        return window
