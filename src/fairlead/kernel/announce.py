"""Telling neighbours where an address is: gratuitous ARP and unsolicited neighbour advertisement, as whole frames.

A broadcast costs as much as its bridge has ports, so a thread of its own sends it, at once, while the change that it
belongs to goes on to its answer. Whoever misses all messages still finds the address by asking, so what cannot be sent
is not an error of the change.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import queue
import socket
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from fairlead.plan.objects import Announce, Key

log = logging.getLogger(__name__)

#: Announcements that wait for their next message at one time; each holds a socket. Of more, only the first is sent.
WAITING_MAX = 512
#: Threads that close packet sockets: the kernel lets each close wait for all processors (16 ms on an idle machine).
_CLOSERS = 8

_BROADCAST = b"\xff" * 6
#: Ethernet address and IPv6 address of all nodes of the link (RFC 2464 section 7, RFC 4291 section 2.7.1).
_ALL_NODES_MAC = bytes.fromhex("333300000001")
_ALL_NODES = socket.inet_pton(socket.AF_INET6, "ff02::1")
_ETHER_ARP, _ETHER_IPV6 = 0x0806, 0x86DD
#: Hardware type Ethernet, protocol IPv4, their lengths, operation "request" (RFC 826).
_ARP_HEAD = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1)
#: Next header ICMPv6 (RFC 4443); neighbour advertisement with the override flag, its option "target link-layer address"
#: (RFC 4861 sections 4.4, 4.6.1), for which the hop limit must be 255.
_ICMPV6, _ADVERTISEMENT, _OVERRIDE, _HOPS = 58, 136, 0x20000000, 255
_TARGET_MAC = b"\x02\x01"


def frames(item: Announce) -> list[bytes]:
    """The frames of one message: one for each address family that the endpoint has."""
    mac = bytes.fromhex(item.mac.replace(":", ""))
    found = []
    if item.ipv4:
        address = socket.inet_aton(item.ipv4)
        ethernet = _BROADCAST + mac + struct.pack("!H", _ETHER_ARP)
        found.append(ethernet + _ARP_HEAD + mac + address + _BROADCAST + address)
    if item.ipv6:
        found.append(_advertisement(mac, socket.inet_pton(socket.AF_INET6, item.ipv6)))
    return found


def _advertisement(mac: bytes, address: bytes) -> bytes:
    rest = struct.pack("!I", _OVERRIDE) + address + _TARGET_MAC + mac
    length = 4 + len(rest)
    pseudo = address + _ALL_NODES + struct.pack("!II", length, _ICMPV6)
    head = struct.pack("!BB", _ADVERTISEMENT, 0)
    body = head + struct.pack("!H", _checksum(pseudo + head + b"\0\0" + rest)) + rest
    ethernet = _ALL_NODES_MAC + mac + struct.pack("!H", _ETHER_IPV6)
    return ethernet + struct.pack("!IHBB", 6 << 28, length, _ICMPV6, _HOPS) + address + _ALL_NODES + body


def _checksum(data: bytes) -> int:
    """The Internet checksum of an even number of bytes (RFC 1071)."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


@dataclass(order=True, slots=True)
class _Waiting:
    """An announcement whose next message is due at a time (monotonic seconds)."""

    at: float
    number: int
    item: Announce = field(compare=False)
    sender: socket.socket = field(compare=False)
    frames: list[bytes] = field(compare=False)
    left: int = field(compare=False)


def sender_here() -> socket.socket:
    """A socket for announcements from the namespace that the calling thread is in. Raises ``OSError``."""
    return socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)


class Announcer:
    """Sends announcements, from a thread that is made with the first one."""

    def __init__(self) -> None:
        self._orders: queue.SimpleQueue[tuple[Announce, socket.socket | None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closers = ThreadPoolExecutor(_CLOSERS, thread_name_prefix="fairlead-announce-close")
        #: Used by the thread only.
        self._due: list[_Waiting] = []
        self._current: dict[Key, _Waiting] = {}
        self._numbers = itertools.count()

    def start(self, item: Announce, sender: socket.socket) -> None:
        """Send the messages, the first one now; ``sender`` is closed after the last."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="fairlead-announce", daemon=True)
            self._thread.start()
        self._orders.put((item, sender))

    def stop(self, item: Announce) -> None:
        """Send nothing more of it; not having started it is nothing."""
        if self._thread is not None:
            self._orders.put((item, None))

    def drop(self, sender: socket.socket) -> None:
        """Close a sender that is not needed, without waiting for it."""
        self._closers.submit(sender.close)

    def close(self) -> None:
        """Send nothing more at all."""
        if self._thread is not None:
            self._orders.put(None)
            self._thread.join()
        for waiting in self._current.values():
            self.drop(waiting.sender)
        self._closers.shutdown()

    def _work(self) -> None:
        while True:
            patience = max(self._due[0].at - time.monotonic(), 0) if self._due else None
            try:
                order = self._orders.get(timeout=patience)
            except queue.Empty:
                self._send(heapq.heappop(self._due))
                continue
            if order is None:
                return
            item, sender = order
            before = self._current.pop(item.key, None)
            if before is not None:
                before.left = 0
                self.drop(before.sender)
            if sender is not None:
                waiting = _Waiting(time.monotonic(), next(self._numbers), item, sender, frames(item), item.messages)
                self._current[item.key] = waiting
                self._send(waiting)

    def _send(self, waiting: _Waiting) -> None:
        """Send one message, and see to the next one if there is any."""
        if not waiting.left:
            return  # stopped
        try:
            for frame in waiting.frames:
                waiting.sender.sendto(frame, (waiting.item.link, 0))
            waiting.left -= 1
        except OSError as error:
            log.debug("cannot announce the addresses of %s: %s", waiting.item.link, error.strerror)
            waiting.left = 0
        if waiting.left and len(self._current) <= WAITING_MAX:
            waiting.at += waiting.item.interval_ms / 1000
            heapq.heappush(self._due, waiting)
            return
        del self._current[waiting.item.key]
        self.drop(waiting.sender)
