"""Connections that others open: how many, how long, how much.

Members' connections may say nothing for ever (lifelines). A stranger has only one thing to say, that it wants to join: few
bytes, soon. When there are too many strangers the oldest of the host that has most of them goes, so whoever holds a
crowd of them open or sends a byte a second only ever ends its own, and takes nothing from members (SEC-26).
"""

from __future__ import annotations

import errno
import math
from collections import Counter
from collections.abc import Callable
from functools import partial

from fairlead.gossip.contract import STREAM_BYTES_MAX
from fairlead.gossip.frames import SERVE_S, Sock, Stream, Traffic, Turn
from fairlead.gossip.identity import Address

#: Connections from members' hosts at most, in all (lifelines are among them) and from one of them.
INBOUND_MAX, INBOUND_HOST_MAX = 2048, 64
#: Connections of strangers at most: of all, and of one host; a large cluster that starts at once has many.
STRANGERS_MAX, STRANGERS_HOST_MAX = 256, 32
#: Bytes of a stranger's message at most (``voice.JOIN_BYTES``, a card and a seal), and seconds until all of it is here.
STRANGER_BYTES_MAX, STRANGER_S = 68 * 1024, 5.0
#: Seconds between two looks at what has taken too long.
SWEEP_S = 0.5

Serve = Callable[[Address, bytes], bytes]


class Inbound:
    """Who is connected. ``known`` tells whether a member is at a host, ``serve`` the reply to a request."""

    def __init__(self, turn: Turn, traffic: Traffic, known: Callable[[str], bool], serve: Serve) -> None:
        self._turn, self._traffic, self._known, self._serve = turn, traffic, known, serve
        #: Stream -> its host; the oldest first.
        self._members: dict[Stream, str] = {}
        self._strangers: dict[Stream, str] = {}
        self._hosts: Counter[str] = Counter()
        self._sweeping = False

    def __len__(self) -> int:
        return len(self._members) + len(self._strangers)

    def close(self) -> None:
        """Break all of them."""
        for stream in [*self._members, *self._strangers]:
            stream.end()

    def accept(self, sock: Sock, sender: Address) -> None:
        """Somebody has connected."""
        host = sender.host
        member = self._known(host)
        if member and not self._has_room(host):
            sock.close()
            return
        limit = STREAM_BYTES_MAX if member else STRANGER_BYTES_MAX
        stream = Stream(self._turn, self._traffic, sock, partial(self._heard, sender), self._gone, limit)
        if member:
            self._admit(stream, host)
        else:
            self._make_room(host)
            stream.deadline = self._turn.seconds() + STRANGER_S
            self._strangers[stream] = host
        stream.begin()
        self._sweep_soon()

    def _admit(self, stream: Stream, host: str) -> None:
        self._members[stream] = host
        self._hosts[host] += 1
        stream.patience_s = SERVE_S

    def _has_room(self, host: str) -> bool:
        """Whether one more may come from a member's host. When that has as many as may be, its oldest that says nothing
        goes: there may be others on it than the member (containers)."""
        if self._hosts[host] < INBOUND_HOST_MAX and len(self._members) < INBOUND_MAX:
            return True
        self._traffic.turned_away += 1
        oldest = next((stream for stream, one in self._members.items() if one == host and stream.idle), None)
        if oldest is not None:
            oldest.end()
        return oldest is not None

    def _make_room(self, host: str) -> None:
        """Have one stranger less when there are as many as may be, of all or of a host."""
        crowds = Counter(self._strangers.values())
        if crowds[host] < STRANGERS_HOST_MAX:
            if len(self._strangers) < STRANGERS_MAX:
                return
            host = crowds.most_common(1)[0][0]
        self._traffic.turned_away += 1
        next(stream for stream, one in self._strangers.items() if one == host).end()

    def _heard(self, sender: Address, stream: Stream, message: bytes) -> None:
        reply = self._serve(sender, message)
        if reply:
            stream.deadline = self._turn.seconds() + SERVE_S
            stream.reply(reply)
        else:
            stream.end()

    def _gone(self, stream: Stream, _error: int) -> None:
        if self._strangers.pop(stream, None) is None:
            host = self._members.pop(stream)
            self._hosts[host] -= 1
            if not self._hosts[host]:
                del self._hosts[host]

    def _sweep_soon(self) -> None:
        if not self._sweeping and len(self):
            self._sweeping = True
            self._turn.at(self._turn.seconds() + SWEEP_S, self._sweep)

    def _sweep(self) -> None:
        """End what has taken too long. Who was a stranger when it connected may be a member by now: two nodes learn of each
        other at different times."""
        self._sweeping = False
        now = self._turn.seconds()
        for stream in [stream for stream in [*self._strangers, *self._members] if stream.deadline <= now]:
            host = self._strangers.get(stream)
            if host is not None and stream.idle and self._known(host):
                del self._strangers[stream]
                self._admit(stream, host)
                stream.deadline = math.inf
            else:
                stream.end(errno.ETIMEDOUT)
        self._sweep_soon()
