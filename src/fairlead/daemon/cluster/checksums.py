"""Whether packets within tunnels arrive with the checksums that they must have (moby 41775), seen at another node.

A card that is handed a tunnel's packet computes the checksum within it, and some get it wrong: pings work, TCP hangs, since
the far end drops what it cannot believe, without a word. Nothing on the node itself shows it. So a tunnel is made for a
moment, and a datagram is sent through it to a node whose kernel has no tunnel yet: it answers "port unreachable" and quotes
what has arrived (RFC 792, RFC 1812 section 4.3.2.3), checksum within included. Nothing has to run there.

What cannot be known: a node that has tunnels, or whose firewall drops the datagram or the answer, says nothing. Between
two ends on one machine (veth) nobody computes checksums, and nothing is shown either. And only this node's card is looked
at, with IPv4 between the nodes; each node looks at its own.
"""

from __future__ import annotations

import asyncio
import secrets
import select
import socket
import struct
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from fairlead.kernel import netns
from fairlead.model.errors import NetError
from fairlead.plan.objects import ALIAS_MARK, NOTHING, Address, Bridge, Fdb, Neighbour, Netns, Plan, Vxlan

#: Who has the plan of the tunnel, its namespace and its links.
_OWNER, _SPACE, _BRIDGE, _TUNNEL = "checksums", "checksums", "ov-checksums", "vx-checksums"
#: The greatest VXLAN number but one; managers count from 4096.
VNI = (1 << 24) - 2
#: Addresses within (RFC 5737: documentation), which exist nowhere else; locally administered MACs.
_HERE, _THERE, _LENGTH = "192.0.2.1", "192.0.2.2", 30
_MAC_HERE, _MAC_THERE = "02:42:c0:00:02:01", "02:42:c0:00:02:02"
#: UDP port within (RFC 863: discard).
_PORT = 9
#: Bytes of the datagram's content: what is quoted has 548 bytes at most.
_CONTENT_BYTES = 64
#: Seconds for an answer; times that each node is asked (a kernel answers a node once a second, net.ipv4.icmp_ratelimit).
ANSWER_S, ATTEMPTS = 1.2, 2
#: Seconds after that for which answers are read that have come: on a busy host this process may not have run meanwhile.
LATE_S = 5.0
#: Nodes that are asked.
HOSTS_MAX = 3
#: Bytes of UDP, VXLAN and Ethernet headers between the outer and the inner IP header; of a UDP header.
_BETWEEN, _UDP = 8 + 8 + 14, 8
_UNREACHABLE, _PORT_UNREACHABLE = 3, 3


@dataclass(frozen=True, slots=True)
class Seen:
    """What a node has quoted: the checksum was ``right``, or not."""

    host: str
    right: bool


class Applies(Protocol):
    """What makes plans so (``kernel.apply.Kernel``)."""

    async def apply(self, plans: Mapping[str, Plan]) -> None:
        """As there."""


#: Looks from a data path address and port at what arrives at some of these nodes.
Look = Callable[[str, int, Sequence[str]], Awaitable[Seen | None]]


async def nowhere(_local: str, _port: int, _hosts: Sequence[str]) -> Seen | None:
    """Look at nothing: for who has no kernel at hand."""
    return None


async def look(kernel: Applies, spaces: str, local: str, port: int, hosts: Sequence[str]) -> Seen | None:
    """What the first of these nodes says that says anything; None when nothing can be known. ``spaces`` is the folder of the
    kernel's namespaces, ``local`` and ``port`` are the data path's. Up to ``HOSTS_MAX * ATTEMPTS * ANSWER_S`` seconds."""
    if ":" in local:
        return None
    for host in [host for host in hosts if ":" not in host and host != local][:HOSTS_MAX]:
        try:
            await kernel.apply({_OWNER: _plan(local, port, host)})
        except NetError:
            return None  # something of that number or name is in the way: it is a look, and no need
        try:
            arrived = await asyncio.to_thread(_quoted, f"{spaces}/{_SPACE}", port, host)
        except OSError:
            return None
        finally:
            await kernel.apply({_OWNER: NOTHING})
        if arrived is not None:
            right = is_right(arrived)
            return None if right is None else Seen(host, right)
    return None


def _plan(local: str, port: int, host: str) -> Plan:
    mark, mtu = f"{ALIAS_MARK}checksums", 1280
    return Plan(
        [
            Netns(_SPACE),
            Bridge(_SPACE, _BRIDGE, _MAC_HERE, mtu, mark),
            Vxlan(_SPACE, _TUNNEL, VNI, local, port, mtu, mark, _BRIDGE),
            Address(_SPACE, _BRIDGE, f"{_HERE}/{_LENGTH}"),
            Fdb(_SPACE, _TUNNEL, _MAC_THERE, host),
            Neighbour(_SPACE, _TUNNEL, _THERE, _MAC_THERE),
        ]
    )


def _quoted(space: str, port: int, host: str) -> bytes | None:
    """The inner packet as a node has seen it, None if it says nothing."""
    content = secrets.token_bytes(_CONTENT_BYTES)
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as hearing:
        hearing.setblocking(False)
        with netns.inside(space):
            sending = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with sending:
            for _ in range(ATTEMPTS):
                sending.sendto(content, (_THERE, _PORT))
                until = time.monotonic() + ANSWER_S
                while (left := until - time.monotonic()) > -LATE_S:
                    if not select.select([hearing], [], [], max(0.0, left))[0]:
                        break
                    inner = inner_packet(hearing.recv(65536), port)
                    if inner.endswith(content):
                        return inner
    return None


def inner_packet(message: bytes, port: int) -> bytes:
    """The IPv4 packet within the tunnel's packet to UDP port ``port`` that an ICMP error (with its IP header) quotes; empty
    if it quotes none."""
    outer = message[_header(message) :]
    if outer[:2] != bytes((_UNREACHABLE, _PORT_UNREACHABLE)):
        return b""
    quoted = outer[8:]
    tunnel = quoted[_header(quoted) :]
    if len(tunnel) < _BETWEEN or tunnel[2:4] != port.to_bytes(2, "big") or tunnel[12:15] != VNI.to_bytes(3, "big"):
        return b""
    inner = tunnel[_BETWEEN:]
    total = int.from_bytes(inner[2:4], "big")
    return inner[:total] if len(inner) >= total else b""


def _header(packet: bytes) -> int:
    """Bytes of an IPv4 header."""
    return (packet[0] & 15) * 4 if packet else 0


def is_right(packet: bytes) -> bool | None:
    """Whether the checksum of a UDP packet is what it must be (RFC 768). None when it was left to a card and no card has
    computed it: the sum of the pseudo header alone stands there, as between veths."""
    datagram = packet[_header(packet) :]
    pseudo = packet[12:20] + struct.pack("!BBH", 0, socket.IPPROTO_UDP, len(datagram))
    if int.from_bytes(datagram[6:8], "big") == _sum(pseudo):
        return None
    return _sum(pseudo + datagram) == 0xFFFF


def _sum(data: bytes) -> int:
    """The ones' complement sum of 16-bit words (RFC 1071), not complemented."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data[: len(data) & ~1])) + (
        data[-1] << 8 if len(data) & 1 else 0
    )
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total
