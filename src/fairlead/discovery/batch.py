"""Many UDP packets by one system call: the memory that recvmmsg(2) and sendmmsg(2) work on.

Pure: lays out the structures and never calls; ``aio`` gives the addresses and the two calls. Measured reason (dnsperf,
one sandbox): 75-80 thousand answers a second with a call for each packet, 115-175 thousand so.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import NamedTuple

from fairlead.discovery.wire import EDNS_SIZE_MAX

#: Packets taken from one socket before the others get their turn.
SLOTS = 64
#: Octets kept of one query; those with EDNS options stay far below (a plain one has at most 271).
QUERY_SIZE = 2048
#: Octets of room for one answer: the longest that we give over UDP.
REPLY_SIZE = EDNS_SIZE_MAX

#: struct mmsghdr, recvmmsg(2): name and its size, vectors and their count, control and its size, flags; packet size.
_MESSAGE = Struct("@PIPNPNi0PI0P")
#: Where the packet size stands in it.
_SIZE_AT = Struct("@PIPNPNi0P").size
#: struct iovec, readv(2).
_VECTOR = Struct("@PN")
#: struct sockaddr_in, ip(7): family, port, address, padding.
_PEER = Struct("=2sBBBBBB8s")


class Calls(NamedTuple):
    """What the machine does: the address of a buffer that keeps its size; an address as the calls take it; the two
    system calls, each given descriptor, messages, their number and ``flags`` (receive: and no time limit), and
    returning how many packets were moved or -1. With these flags they must not wait."""

    address: Callable[[bytearray], int]
    pointer: Callable[[int], object]
    receive: Callable[[int, object, int, int, None], int]
    send: Callable[[int, object, int, int], int]
    flags: int


def address(peer: bytes) -> tuple[str, int]:
    """A peer as text and number."""
    _, high, low, a, b, c, d, _ = _PEER.unpack(peer)
    return f"{a}.{b}.{c}.{d}", high << 8 | low


class Batch:
    """``SLOTS`` packets coming in and as many going out. After ``receive``, packet ``slot`` is the first
    ``query_sizes[slot]`` octets of its ``QUERY_SIZE`` in ``queries``; ``put`` answers and ``send``. Apart from that, ``queue`` gathers
    answers to earlier packets until ``flush``; one batch serves for one of the two."""

    __slots__ = ("_calls", "_fd", "_flags", "_in", "_in_at", "_kept", "_out", "_out_at", "_peers", "_receive",
                 "_reply_sizes", "queries", "query_sizes", "queued", "replies")  # fmt: skip

    def __init__(self, calls: Calls) -> None:
        self._calls, self._receive, self._flags = calls, calls.receive, calls.flags
        self._fd = self.queued = 0
        rooms = (bytearray(SLOTS * QUERY_SIZE), bytearray(SLOTS * REPLY_SIZE))
        self._peers = bytearray(SLOTS * _PEER.size)
        vectors = (self._vectors(rooms[0], QUERY_SIZE), self._vectors(rooms[1], REPLY_SIZE))
        self._in, self._out = self._messages(vectors[0]), self._messages(vectors[1])
        at = calls.address(self._out)
        self._in_at = calls.pointer(calls.address(self._in))
        self._out_at = [calls.pointer(at + slot * _MESSAGE.size) for slot in range(SLOTS)]
        self._kept = (rooms, vectors)
        self.queries, self.replies = memoryview(rooms[0]), memoryview(rooms[1])
        self.query_sizes = memoryview(self._in).cast("I")[_SIZE_AT // 4 :: _MESSAGE.size // 4]
        self._reply_sizes = memoryview(vectors[1]).cast("L")[1::2]

    def _vectors(self, room: bytearray, size: int) -> bytearray:
        at = self._calls.address(room)
        return bytearray(b"".join(_VECTOR.pack(at + slot * size, size) for slot in range(SLOTS)))

    def _messages(self, vectors: bytearray) -> bytearray:
        peers, at = self._calls.address(self._peers), self._calls.address(vectors)
        return bytearray(
            b"".join(
                _MESSAGE.pack(peers + slot * _PEER.size, _PEER.size, at + slot * _VECTOR.size, 1, 0, 0, 0, 0)
                for slot in range(SLOTS)
            )
        )

    def receive(self, fd: int) -> int:
        """Read what is there; the number of packets, below 1 if there is none."""
        return self._receive(fd, self._in_at, SLOTS, self._flags, None)

    def peer(self, slot: int) -> bytes:
        """Where a packet came from."""
        return bytes(self._peers[slot * _PEER.size : (slot + 1) * _PEER.size])

    def put(self, to: int, slot: int, reply: bytes) -> None:
        """Make ``reply`` (at most ``REPLY_SIZE`` octets) the outgoing packet ``to``, for the sender of packet
        ``slot``, which is the same or a later one."""
        if slot != to:
            size = _PEER.size
            self._peers[to * size : (to + 1) * size] = self._peers[slot * size : (slot + 1) * size]
        at = to * REPLY_SIZE
        size = self._reply_sizes[to] = len(reply)
        self.replies[at : at + size] = reply

    def send(self, fd: int, count: int) -> int:
        """Write the first ``count`` answers; how many could not be sent (their clients are gone or full)."""
        done = lost = 0
        while done < count:
            sent = self._calls.send(fd, self._out_at[done], count - done, self._flags)
            if sent < 1:
                lost, sent = lost + 1, 1
            done += sent
        return lost

    def queue(self, fd: int, peer: bytes, reply: bytes) -> None:
        """Keep an answer (at most ``REPLY_SIZE`` octets) for ``flush``; what does not go with it leaves now."""
        if self.queued and (fd != self._fd or self.queued == SLOTS):
            self.flush()
        slot = self.queued
        self._peers[slot * _PEER.size : (slot + 1) * _PEER.size] = peer
        self.put(slot, slot, reply)
        self._fd, self.queued = fd, slot + 1

    def flush(self) -> None:
        """Send what is queued; clients that are gone or full are passed over."""
        if self.queued:
            count, self.queued = self.queued, 0
            self.send(self._fd, count)
